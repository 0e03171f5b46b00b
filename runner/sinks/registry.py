"""The one registry of a runner, and the page that is rendered from it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from runner.sinks.exposition import Rendered

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_END = b"# EOF\n"


class Registry(CollectorRegistry):
    """The collectors of /metrics: the checks' collector, the runner's own metrics, the process, and any other registered one.

    A kind from outside declares `families`, as every kind does: the checks' collector fills them from its runs. A service from
    outside, which starts the runner itself, registers its own metrics and collectors while the runner runs:

        async with running(load, path=path, clock=clock, version="1", journal=sys.stdout) as (service, _, _):
            trips = Counter("fleet_trips_total", "Trips that were planned.", registry=service.registry)
            service.registry.register(FleetCollector())

    Each scrape calls the collectors in a thread; one that raises fails the scrape. A name that is taken is refused
    (DuplicateTimeseries). Times of creation are left out: in the text format each `_created` would be one more family.
    """

    def collect(self) -> Iterable[Metric]:
        """Every family of every collector, in the order in which the collectors were registered."""
        for metric in super().collect():
            if isinstance(metric, Rendered):
                yield metric
                continue
            kept = copy(metric)
            kept.samples = [sample for sample in metric.samples if sample.name != f"{metric.name}_created"]
            yield kept


def render(registry: Collector, content_type: str) -> bytes:
    """The text of prometheus-client's generate_latest for a registry, byte for byte; the checks' text is only joined.

    `content_type` is TEXT or OPENMETRICS. Any thread may call it.
    """
    return b"".join(texts(collected(registry, content_type), content_type))


def collected(registry: Collector, content_type: str) -> list[bytes | Rendered]:
    """Every family at this moment: the text of each, and a Rendered, whose text is still to be made, of those of the checks."""
    encode, _ = choose_encoder(content_type)
    return [family if isinstance(family, Rendered) else encode(_Alone(family)).removesuffix(_END) for family in registry.collect()]


def texts(families: Iterable[bytes | Rendered], content_type: str) -> list[bytes]:
    """The text of each family, and the end that the format wants."""
    openmetrics = content_type == OPENMETRICS
    made = [family.text(openmetrics=openmetrics) if isinstance(family, Rendered) else family for family in families]
    return [*made, _END] if openmetrics else made


class _Alone(Collector):
    """One family as a registry of its own."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
