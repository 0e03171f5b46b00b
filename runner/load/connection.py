"""How a load reaches its target: with the TLS settings of its checks."""

from __future__ import annotations

from collections.abc import Mapping

from probes.core import Failed
from probes.journeys.script import Script
from probes.wire.tls import Tls
from runner.usage import unusable


def tls_of(scripts: Mapping[str, Script], scenario: str) -> Tls:
    """The TLS settings that the journeys have in common. Raises Unusable where a file can't be read."""
    found = list(dict.fromkeys(script.route.tls for script in scripts.values()))
    if not found:
        return Tls()
    try:
        found[0].context()
    except Failed as failed:
        unusable(f"scenario {scenario}: {failed.message}; nothing was sent")
    return found[0]
