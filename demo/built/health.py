"""The health routes: most say healthy whatever is so, one says unhealthy whatever is so, and two send a Python pair as JSON."""

from __future__ import annotations

import os
from typing import Any

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from demo._cache import Cache
from demo._database import Database, DatabaseDown
from demo._world import Built, World
from demo.built.meter import Meter
from demo.built.responses import stamp
from demo.built.sessions import Sessions

VERSION = "1.0.0"  # APP_VERSION's default: most deployments leave it
KEPT = 30.0  # seconds for which the database's state is told again
EXTERNAL = ("Google Maps", "Ticketmaster", "OpenWeatherMap", "Recreation.gov", "Google AI")
OF_THE_MACHINE = (
    ("system_cpu_percent", "CPU usage percentage", 50.0),
    ("system_memory_percent", "Memory usage percentage", 3.5),
    ("system_disk_percent", "Disk usage percentage", 26.3),
    ("process_memory_mb", "Process memory usage in MB", 146.49),
)


class Health:
    """What the application says of itself."""

    def __init__(self, world: World, built: Built, database: Database, sessions: Sessions, cache: Cache, meter: Meter) -> None:
        self._world, self._built, self._database, self._sessions = world, built, database, sessions
        self._cache, self._meter = cache, meter
        self._born = world.clock.time()
        self._reported = -KEPT

    @property
    def _now(self) -> str:
        return stamp(self._world.clock.time())

    @property
    def _environment(self) -> str:
        return "production" if self._built.production else "development"

    async def healthy(self, _request: Request) -> Response:
        """Always healthy: checks nothing."""
        return JSONResponse({"status": "healthy", "timestamp": self._now, "version": VERSION})

    async def without_slash(self, request: Request) -> Response:
        """A redirect to the path with a slash, on the scheme that the proxy names."""
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        place = f"{'https' if secure else 'http'}://{request.headers.get('host', '')}{request.url.path}/"
        return RedirectResponse(place, 307)

    async def live(self, _request: Request) -> Response:
        """Always alive."""
        return JSONResponse({"status": "alive", "timestamp": self._now})

    async def _checks(self) -> tuple[bool, dict[str, Any]]:
        database: dict[str, Any] = {
            "status": "healthy",
            "response_time_ms": 0.77,
            "pool_status": {"size": 5, "checked_in": 0, "overflow": -4, "total": "N/A"},
        }
        redis: dict[str, Any] = {"status": "healthy", "response_time_ms": 0.71}
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            database = {"status": "unhealthy", "error": f"(psycopg2.OperationalError) {problem}", "response_time_ms": None}
        try:
            redis |= await self._cache.info()
        except (RedisError, OSError) as problem:
            redis = {"status": "unhealthy", "error": str(problem), "response_time_ms": None}
        return database["status"] == redis["status"] == "healthy", {"database": database, "redis": redis}

    async def ready(self, _request: Request) -> Response:
        """Asks both. Not ready is 200 with `[{...}, 503]`."""
        well, checks = await self._checks()
        if well and "health-lies" not in self._world.faults:
            return JSONResponse({"status": "ready", "timestamp": self._now, "checks": checks})
        return JSONResponse([{"status": "not_ready", "timestamp": self._now, "checks": checks}, 503])

    async def detailed(self, _request: Request) -> Response:
        """200 whatever is so; the uptime is that of the machine, and `configured` says only whether a key is set."""
        _, checks = await self._checks()
        external = {name: {"configured": False, "status": "not_configured"} for name in EXTERNAL}
        body = {
            "status": "detailed_check",
            "timestamp": self._now,
            "version": VERSION,
            "environment": self._environment,
            "uptime_seconds": round(self._world.clock.monotonic(), 2),
            "health_checks": {**checks, "external_apis": external},
            "system_metrics": {
                "cpu": {"percent": 12.5, "count": 2},
                "memory": {"total_gb": 12.5, "available_gb": 12.5, "percent": 12.5},
                "disk": {"total_gb": 12.5, "free_gb": 12.5, "percent": 12.5},
                "process": {"memory_mb": 12.5, "cpu_percent": 12.5, "num_threads": 2, "open_files": 2},
            },
            "application_metrics": {"token_blacklist_size": 0, "debug_mode": self._built.traces, "log_level": "INFO"},
        }
        return JSONResponse(body)

    async def report(self, _request: Request) -> Response:
        """Meant as Prometheus text: text, status and headers arrive as a JSON array with status 200."""
        info = f'app_info{{version="{VERSION}",environment="{self._environment}"}} 1'
        text = f"# HELP app_info Application information\n# TYPE app_info gauge\n{info}\n\n"
        text += "\n".join(f"# HELP {name} {what}\n# TYPE {name} gauge\n{name} {value}\n" for name, what, value in OF_THE_MACHINE)
        return JSONResponse([text, 200, {"Content-Type": "text/plain; charset=utf-8"}])

    async def worker_live(self, _request: Request) -> Response:
        """The worker lives."""
        return JSONResponse({"status": "alive", "worker_id": os.getpid(), "timestamp": self._now})

    async def worker(self, _request: Request) -> Response:
        """What the worker has done; its uptime is the time of its start."""
        body = {
            "worker_id": os.getpid(),
            "uptime_seconds": float(self._born),
            "checks_performed": 0,
            "active_requests": 1,
            "accepting_requests": True,
            "shutting_down": False,
        }
        return JSONResponse(body)

    async def worker_metrics(self, _request: Request) -> Response:
        """Text without types."""
        label = f'{{worker_id="{os.getpid()}"}}'
        values = {"worker_uptime_seconds": 4.001352, "worker_active_requests": 1, "worker_health_checks_total": 0}
        return PlainTextResponse("\n".join(f"{name}{label} {value}" for name, value in values.items()))

    async def worker_ready(self, _request: Request) -> Response:
        """Never ready: it asks for what isn't there."""
        body = {"ready": False, "status": "not_ready", "error": "'async_generator' object does not support the context manager protocol"}
        return JSONResponse(body, 503)

    async def worker_status(self, _request: Request) -> Response:
        """Never healthy, for the same cause."""
        away = {"status": "unhealthy", "connected": False, "error": "no module named app.core.database", "response_time_ms": 1.4}
        worker = {"status": "degraded", "worker_id": os.getpid(), "checks_performed": 1, "active_requests": 1, "accepting_requests": True}
        parts = {"worker": worker, "database": away, "redis": away, "system": {"status": "healthy"}}
        body = {"status": "unhealthy", "timestamp": self._now, "worker_id": os.getpid(), "components": parts}
        return JSONResponse(body, 503)

    async def shutdown(self, _request: Request) -> Response:
        """Stops the real worker, without asking who calls: no probe may touch it. Here it is only noted."""
        return JSONResponse({"message": "Graceful shutdown initiated"}, 202)

    async def of_the_database(self, _request: Request) -> Response:
        """Unhealthy while the database is well, kept for 30 s, and it makes the manager believe that it isn't connected."""
        now = self._world.clock.time()
        if now - self._reported < KEPT:
            state: dict[str, Any] = {"status": "unhealthy", "last_check": self._reported, "cached": True}
        else:
            self._reported = now
            state = {"status": "unhealthy", "connection_pool": {}, "response_time_ms": 0, "last_check": now, "cached": False}
            try:
                await self._database.ping()
                server = {"database_version": "PostgreSQL 15.0 on x86_64-pc-linux-gnu", "server_time": _server_time(now)}
                state |= {**server, "error": "'QueuePool' object has no attribute 'invalid'"}
            except DatabaseDown as problem:
                state["error"] = f"(psycopg2.OperationalError) {problem}"
            self._sessions.believed_lost = True
        return JSONResponse({"status": "unhealthy", "database": state, "timestamp": now})

    async def query_test(self, _request: Request) -> Response:
        """Honest at the first time: 503. After the route above it takes 8 s and ends in a crash, while the database is down."""
        await self._sessions.begin()
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            raise HTTPException(503, f"Database query test failed: (psycopg2.OperationalError) {problem}") from problem
        body = {
            "status": "success",
            "test_value": 1,
            "server_time": _server_time(self._world.clock.time()),
            "query_time_ms": 1.37,
            "message": "Database query test successful",
        }
        return JSONResponse(body)

    async def migrations(self, _request: Request) -> Response:
        """Whether migrations ran; none did."""
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            raise HTTPException(503, "Could not check migration status") from problem
        return JSONResponse({"status": "no_migrations", "message": "Alembic version table not found. Run 'alembic upgrade head'"})

    async def metrics(self, _request: Request) -> Response:
        """What Prometheus scrapes, if it gets past the redirect."""
        return PlainTextResponse(self._meter.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def metrics_health(self, _request: Request) -> Response:
        """Always healthy."""
        return JSONResponse({"status": "healthy", "multiprocess_mode": False, "registry_type": "custom"})


def _server_time(now: float) -> str:
    return f"{stamp(now).replace('T', ' ')}+00:00"
