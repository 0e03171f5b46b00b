"""How a load reaches its target: what the journeys of checks.yaml say of it is kept, or refused where a load can't do it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from probes.core import Failed
from probes.wire.tls import Tls
from runner.config.plan import Planned
from runner.usage import unusable

# Settings of a journey that would measure something else if they were left out.
ELSEWHERE = {
    "proxy": "goes through a proxy",
    "oauth2": "logs in by oauth2",
    "resolve": "connects to an address of its own",
}


def judge_ways(journeys: Iterable[Planned]) -> None:
    """Ends the command with exit 2 for a journey that a load would send on another way than its probe does."""
    for planned in journeys:
        probe: Any = planned.probe
        found = [said for setting, said in ELSEWHERE.items() if getattr(probe, setting) is not None]
        found += ["uses HTTP/2"] if probe.http == "2" else []
        found += [f"requires IPv{probe.ip}"] if probe.ip in ("4", "6") else []
        if found:
            unusable(f"checks.{planned.check.name} {' and '.join(found)}, which a load test doesn't support; nothing was sent")


def tls_of(journeys: Iterable[Planned], scenario: str) -> dict[str, Any]:
    """The TLS settings that they have in common, as data. Ends the command with exit 2 where they differ, or a file can't be read."""
    found = list(dict.fromkeys(_tls(planned.probe) for planned in journeys))
    if len(found) > 1:
        unusable(f"scenario {scenario}: its journeys have different tls: settings, but a load test has one for all; nothing was sent")
    if not found:
        return {}
    try:
        found[0].context()
    except Failed as failed:
        unusable(f"scenario {scenario}: {failed.message}; nothing was sent")
    return found[0].model_dump(mode="json", exclude_none=True)


def _tls(probe: Any) -> Tls:
    found: Tls = probe.tls
    return found
