"""What the application counts about itself: six families with samples, and 25 that are declared and never filled."""

from __future__ import annotations

import os
import platform
import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NEVER_FILLED: tuple[tuple[type[Counter | Gauge | Histogram], str, str, tuple[str, ...]], ...] = (
    (Counter, "stories_generated_total", "Total stories generated", ("story_type", "voice_personality")),
    (Histogram, "story_generation_duration_seconds", "Story generation duration in seconds", ("story_type",)),
    (Counter, "bookings_total", "Total bookings made", ("booking_type", "partner")),
    (Counter, "booking_revenue_usd_total", "Total booking revenue in USD", ("booking_type", "partner")),
    (Gauge, "active_users", "Currently active users", ("user_type",)),
    (Counter, "user_sessions_total", "Total user sessions", ("session_type", "platform")),
    (Histogram, "trip_duration_minutes", "Trip duration in minutes", ("trip_type",)),
    (Gauge, "db_connections_active", "Active database connections", ("pool_name",)),
    (Histogram, "db_query_duration_seconds", "Database query duration in seconds", ("query_type", "table")),
    (Counter, "celery_tasks_total", "Total Celery tasks", ("task_name", "status")),
    (Histogram, "celery_task_duration_seconds", "Celery task duration in seconds", ("task_name",)),
    (Counter, "ai_api_calls_total", "Total AI API calls", ("service", "operation", "status")),
    (Histogram, "ai_api_latency_seconds", "AI API call latency in seconds", ("service", "operation")),
    (Counter, "ai_tokens_used_total", "Total AI tokens consumed", ("service", "model")),
    (Counter, "ai_cost_usd_total", "AI service cost in USD", ("service", "model")),
    (Counter, "voice_synthesis_total", "Total voice synthesis", ("voice_id", "language")),
    (Counter, "voice_recognition_total", "Total voice recognition", ("language", "status")),
    (Counter, "cache_operations_total", "Total cache operations", ("operation", "cache_tier", "status")),
    (Gauge, "cache_hit_rate", "Cache hit rate", ("cache_tier",)),
    (Gauge, "cache_memory_bytes", "Cache memory in bytes", ("cache_tier",)),
    (Counter, "cache_evictions_total", "Total cache evictions", ("cache_tier", "reason")),
    (Counter, "security_events_total", "Total security events", ("event_type", "severity", "action")),
    (Counter, "rate_limit_exceeded_total", "Total rate limit violations", ("endpoint", "user_type")),
    (Counter, "authentication_attempts_total", "Total authentication attempts", ("method", "status")),
    (Counter, "csrf_violations_total", "Total CSRF violations", ("endpoint",)),
)
_NUMBER = re.compile(r"/(?:[0-9a-f]{8}-[0-9a-f-]{27}|\d+)(?=/|$)")
_OF_A_KIND = re.compile(r"/(users|stories|trips|bookings)/[^/]+")
_SINGULAR = {"users": "user", "stories": "story", "trips": "trip", "bookings": "booking"}


def endpoint_of(path: str) -> str:
    """The label of a path: numbers and what follows a few words are replaced; anything else makes a series of its own."""
    named = _OF_A_KIND.sub(lambda found: f"/{found[1]}/{{{_SINGULAR[found[1]]}_id}}", path)
    return _NUMBER.sub("/{id}", named)


class Meter:
    """The application's registry, with the families in the order in which it declares them."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ("method", "endpoint")
        self._requests = Counter("http_requests_total", "Total HTTP requests", (*labels, "status"), registry=registry)
        self._duration = Histogram(
            "http_request_duration_seconds", "HTTP request duration in seconds", labels, buckets=EDGES, registry=registry
        )
        self._received = Summary("http_request_size_bytes", "HTTP request size in bytes", labels, registry=registry)
        self._sent = Summary("http_response_size_bytes", "HTTP response size in bytes", labels, registry=registry)
        self._active = Gauge("http_requests_active", "Active HTTP requests", labels, registry=registry)
        for kind, name, text, names in NEVER_FILLED:
            kind(name, text, names, registry=registry)
        worker = {"pid": str(os.getpid()), "python_version": platform.python_version()}
        Info("worker_info", "Worker information", registry=registry).info(worker)

    def answered(self, method: str, path: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Counts one response, by the status that the middleware saw: what the client gets may be another one."""
        endpoint = endpoint_of(path)
        self._requests.labels(method, endpoint, str(status)).inc()
        self._duration.labels(method, endpoint).observe(seconds)
        self._received.labels(method, endpoint).observe(received)
        self._sent.labels(method, endpoint).observe(sent)
        self._active.labels(method, endpoint).set(0)

    def render(self) -> bytes:
        """The text of a scrape."""
        return generate_latest(self._registry)
