"""How a load reaches its target: the settings of the journeys are kept, and those that a load doesn't know are refused."""

from __future__ import annotations

from collections.abc import Mapping

from probes.core import Failed
from probes.journeys.script import Script
from probes.wire.tls import Tls
from runner.usage import unusable


def judge_connections(scripts: Mapping[str, Script]) -> None:
    """Raises Unusable for a journey whose requests would travel otherwise than its probe's: that would measure something else."""
    for name, script in scripts.items():
        route = script.route
        found = [
            text
            for refused, text in (
                (route.proxy, "goes through a proxy"),
                (route.oauth2, "logs in by oauth2"),
                (route.resolve, "connects to an address of its own"),
                (route.http == "2", "uses HTTP/2"),
                (route.ip in ("4", "6"), f"requires IPv{route.ip}"),
            )
            if refused
        ]
        if found:
            unusable(f"checks.{name} {' and '.join(found)}, which a load test doesn't support; nothing was sent")


def tls_of(scripts: Mapping[str, Script], scenario: str) -> Tls:
    """The TLS settings that the journeys have in common. Raises Unusable where they differ, or where a file can't be read."""
    found = list(dict.fromkeys(script.route.tls for script in scripts.values()))
    if len(found) > 1:
        unusable(f"scenario {scenario}: its journeys have different tls: settings, but a load test has one for all; nothing was sent")
    if not found:
        return Tls()
    try:
        found[0].context()
    except Failed as failed:
        unusable(f"scenario {scenario}: {failed.message}; nothing was sent")
    return found[0]
