"""A load run as Prometheus metrics while it runs, served by the command and not by the process that sends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from loadtests.result import Progress

FAMILIES = (
    "outrider_load_info",
    "outrider_load_arrivals_due_total",
    "outrider_load_arrivals_begun_total",
    "outrider_load_arrivals_done_total",
    "outrider_load_arrivals_failed_total",
    "outrider_load_elapsed_seconds",
    "outrider_load_duration_seconds",
    "outrider_load_in_flight",
    "outrider_load_start_lag_seconds",
    "outrider_load_generator_cpu_ratio",
    "outrider_load_response_p95_seconds",
    "outrider_load_slo_budget_used_ratio",
)


class LoadMetrics(Collector):
    """The latest snapshot of a run, and its counts so far. Snapshots come from one thread, scrapes from others."""

    def __init__(self, *, scenario: str, target: str, shape: str, arrivals: str) -> None:
        self._info = {"scenario": scenario, "target": target, "shape": shape, "arrivals": arrivals}
        self._lock = threading.Lock()
        self._now: Progress | None = None

    def show(self, now: Progress) -> None:
        """Takes a snapshot."""
        with self._lock:
            self._now = now

    def collect(self) -> Iterator[Metric]:
        """Every family; those that are known only once it runs come with the first snapshot."""
        with self._lock:
            now = self._now
        yield InfoMetricFamily("outrider_load", "The current run.", value=self._info)
        if now is None:
            return
        for name, what, value in (
            ("due", "Arrivals that were due.", now.due),
            ("begun", "Arrivals that began.", now.begun),
            ("done", "Arrivals that ended.", now.done),
            ("failed", "Arrivals that failed.", now.errors),
        ):
            yield CounterMetricFamily(f"outrider_load_arrivals_{name}", what, value=value)
        for name, what, gauge in (
            ("elapsed_seconds", "Seconds since the start of the run.", now.at),
            ("duration_seconds", "Planned length of the run in seconds.", now.duration),
            ("in_flight", "Arrivals under way.", now.in_flight),
            ("start_lag_seconds", "The longest delay of a start in the last second.", now.lag),
            ("generator_cpu_ratio", "The busiest worker's share of its core in the last second.", now.cpu),
            ("response_p95_seconds", "Response time of the last second, 95th percentile.", now.p95),
        ):
            if gauge is not None:
                yield GaugeMetricFamily(f"outrider_load_{name}", what, value=gauge)
        what = "Share of an SLO's error budget that is used so far; above 1 it is overspent."
        budgets = GaugeMetricFamily("outrider_load_slo_budget_used_ratio", what, labels=("subject", "slo"))
        for name, used in now.budget.items():
            subject, _, slo = name.rpartition(" ")
            budgets.add_metric((subject, slo), used)
        yield budgets


@contextmanager
def serving(metrics: LoadMetrics, host: str, port: int) -> Iterator[int]:
    """Serves them at this address until the end; gives the port. Raises OSError where it is taken."""
    registry = CollectorRegistry()
    registry.register(metrics)
    server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def address(text: str) -> tuple[str, int]:
    """`9798`, `0.0.0.0:9798`, `[::1]:9798`: host and port, loopback where only a port is given. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        raise ValueError(f"{text} is not an address; write a port, or host:port")
    return host.strip("[]") or "127.0.0.1", int(port)
