"""What the application counts about itself: every family of the monitoring guide, by the guide's names, with data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SILENT = frozenset({"ai_request_duration_seconds", "booking_completed"})  # what metrics-silent declares and never fills
AI_EDGES = (0.1, 0.5, 1, 2, 5, 10, 30)


class Meter:
    """The application's registry. `silence` empties the families in SILENT, as the real application's mostly are."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ("method", "endpoint")
        self.requests = Counter("http_requests_total", "Requests answered", (*labels, "status"), registry=registry)
        self.duration = Histogram("http_request_duration_seconds", "Time to answer a request", labels, registry=registry)
        self.sent = Summary("http_response_size_bytes", "Size of the answers", labels, registry=registry)
        self.active = Gauge("http_requests_active", "Requests under way", registry=registry)
        self.ai = Histogram(
            "ai_request_duration_seconds", "Time the model took", ("service", "operation"), buckets=AI_EDGES, registry=registry
        )
        self.queries = Histogram("db_query_duration_seconds", "Time of a query", ("query_type",), registry=registry)
        self.pool_used = Gauge("db_connection_pool_used", "Connections in use", registry=registry)
        self.pool_size = Gauge("db_connection_pool_size", "Connections that the pool may open", registry=registry)
        self.limited = Counter("rate_limit_exceeded_total", "Requests refused by the limiter", ("endpoint", "user_type"), registry=registry)
        self.logins_failed = Counter("auth_login_failed_total", "Logins refused", ("reason",), registry=registry)
        self.incidents = Counter("security_incident_total", "Security incidents", ("type",), registry=registry)
        self.log_entries = Counter("log_entries_total", "Lines logged", ("level",), registry=registry)
        self.initiated = Counter("booking_initiated_total", "Bookings begun", ("partner",), registry=registry)
        self.completed = Counter("booking_completed_total", "Bookings made", ("partner",), registry=registry)
        self.failed = Counter("booking_failed_total", "Bookings that failed", ("partner",), registry=registry)
        self.active_users = Gauge("active_users_total", "Users seen in the last minutes", ("user_type",), registry=registry)
        self.conversion = Gauge("booking_conversion_rate", "Bookings made of those begun", registry=registry)
        self.revenue = Counter("revenue_total", "Revenue", ("currency",), registry=registry)
        self.commission = Counter("commission_earned_total", "Commission earned", ("partner", "currency"), registry=registry)
        self.two_factor = Gauge("user_2fa_enabled", "Users with a second factor", registry=registry)
        Info("worker", "The worker process", registry=registry).info({"pid": str(os.getpid()), "python_version": platform.python_version()})
        self._day_of_traffic()

    def _day_of_traffic(self) -> None:
        """Figures that only users' bookings move: no probe may book, and a dashboard wants to be seen filled."""
        for partner, begun, made in (("opentable", 42, 9), ("recreation", 17, 4)):
            self.initiated.labels(partner).inc(begun)
            self.completed.labels(partner).inc(made)
            self.failed.labels(partner).inc(1)
            self.commission.labels(partner, "USD").inc(made * 2.5)
        self.conversion.set(13 / 59)
        self.revenue.labels("USD").inc(2147.0)
        self.active_users.labels("standard").set(37)
        self.active_users.labels("premium").set(5)
        self.two_factor.set(12)
        for level in ("INFO", "WARNING", "ERROR"):
            self.log_entries.labels(level)
        self.log_entries.labels("INFO").inc()
        self.ai.labels("vertex-ai", "story").observe(0.8)
        self.queries.labels("select").observe(0.004)
        self.limited.labels("/api/stories/generate", "standard")
        self.logins_failed.labels("password")
        self.incidents.labels("lockout")

    def answered(self, method: str, endpoint: str, status: int, seconds: float, size: int) -> None:
        """Counts one answer."""
        self.requests.labels(method, endpoint, str(status)).inc()
        self.duration.labels(method, endpoint).observe(seconds)
        self.sent.labels(method, endpoint).observe(size)
        self.log_entries.labels("ERROR" if status >= 500 else "WARNING" if status >= 400 else "INFO").inc()  # noqa: PLR2004 - HTTP's classes

    def render(self, *, silent: bool = False) -> bytes:
        """The text that a scrape reads."""
        return generate_latest(_Scraped(self._registry, SILENT if silent else frozenset()))


class _Scraped(Collector):
    """A registry's families, without the times of their creation, and without samples where they are to be silent."""

    def __init__(self, registry: CollectorRegistry, silent: frozenset[str]) -> None:
        self._registry, self._silent = registry, silent

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            kept = [] if metric.name in self._silent else [s for s in metric.samples if not s.name.endswith("_created")]
            metric.samples = kept
            yield metric
