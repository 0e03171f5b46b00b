"""The runner's own process as prometheus-client names it: CPU, memory, descriptors. Reads /proc, so not on the loop."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.process_collector import ProcessCollector

from runner.sinks.exposition import Exposition, Piece, line
from runner.sinks.families import OF_THE_PROCESS


def sample() -> Mapping[str, float]:
    """The values by sample name, as far as this machine tells them (nothing where there is no /proc)."""
    collector = ProcessCollector(registry=None)
    return {sample.name: sample.value for family in collector.collect() for sample in family.samples}


def render(values: Mapping[str, float], *, openmetrics: bool) -> str:
    """The families' text, ready to follow that of the checks."""
    page = Exposition()
    page.declare(OF_THE_PROCESS)
    for head in OF_THE_PROCESS:
        if head.name in values:
            page.put(head.name, "", Piece(line(head.name, {}, values[head.name])))
    return page.render(openmetrics=openmetrics)
