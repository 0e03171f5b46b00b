"""The health routes, with the real ones' habits: most say healthy whatever is so, and not ready is a 200."""

from __future__ import annotations

import os
from typing import Any

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from demo._cache import Cache
from demo._database import POOL, Database, DatabaseDown
from demo._meter import Meter
from demo._responses import stamp
from demo._world import World

DATABASE_TRUTH = "/api/health/database/test-query"


class Health:
    """What the application says of itself."""

    def __init__(self, world: World, database: Database, cache: Cache, meter: Meter) -> None:
        self._world, self._database, self._cache, self._meter = world, database, cache, meter
        self._born = world.clock.time()

    def routes(self) -> list[Route]:
        """The routes of this room."""
        return [
            Route("/health/", self.healthy),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/health/detailed", self.detailed),
            Route("/health/metrics", self.report),
            Route("/health/v2/live", self.worker_live),
            Route("/health/v2/ready", self.worker_ready),
            Route("/health/v2/status", self.status),
            Route("/health/v2/worker", self.worker),
            Route("/health/v2/shutdown/graceful", self.shutdown, methods=["POST"]),
            Route(DATABASE_TRUTH, self.query_test),
            Route("/metrics", self.metrics),
            Route("/metrics/health", self.metrics_health),
        ]

    @property
    def _now(self) -> str:
        return stamp(self._world.clock.time())

    async def healthy(self, _request: Request) -> Response:
        """Always healthy: checks nothing."""
        return JSONResponse({"status": "healthy", "timestamp": self._now, "version": self._world.version})

    async def live(self, _request: Request) -> Response:
        """Always alive."""
        return JSONResponse({"status": "alive", "timestamp": self._now})

    async def _database_state(self) -> dict[str, Any]:
        start = self._world.clock.monotonic()
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            return {"status": "unhealthy", "error": str(problem)}
        seconds = self._world.clock.monotonic() - start
        self._meter.queries.labels("select").observe(seconds)
        pool = {
            "size": self._database.size,
            "checked_in": self._database.size - self._database.used,
            "overflow": 0,
            "total": self._database.size,
        }
        return {"status": "healthy", "response_time_ms": round(seconds * 1000, 2), "pool_status": pool}

    async def _redis_state(self) -> dict[str, Any]:
        start = self._world.clock.monotonic()
        try:
            await self._cache.ping()
            info = await self._cache.info()
        except (RedisError, OSError) as problem:
            return {"status": "unhealthy", "error": f"{type(problem).__name__}: {problem}"}
        return {"status": "healthy", "response_time_ms": round((self._world.clock.monotonic() - start) * 1000, 2), **info}

    async def _checks(self) -> tuple[bool, dict[str, Any]]:
        checks = {"database": await self._database_state(), "redis": await self._redis_state()}
        return all(check["status"] == "healthy" for check in checks.values()), checks

    async def ready(self, _request: Request) -> Response:
        """Asks database and Redis. Not ready is 200 with `[{...}, 503]`: a pair that the real framework sends as an array."""
        well, checks = await self._checks()
        if well and "health-lies" not in self._world.faults:
            return JSONResponse({"status": "ready", "timestamp": self._now, "checks": checks})
        return JSONResponse([{"status": "not_ready", "timestamp": self._now, "checks": checks}, 503])

    async def detailed(self, _request: Request) -> Response:
        """200 whatever is so; `configured` says only that a key is set."""
        _, checks = await self._checks()
        names = ("Google Maps", "Ticketmaster", "OpenWeatherMap", "Recreation.gov", "Google AI")
        external = {name: {"configured": True, "status": "configured"} for name in names}
        body = {
            "status": "detailed_check",
            "timestamp": self._now,
            "version": self._world.version,
            "environment": "demo",
            "uptime_seconds": round(self._world.clock.time() - self._born, 1),
            "health_checks": {**checks, "external_apis": external},
            "application_metrics": {"token_blacklist_size": 0, "debug_mode": False, "log_level": "INFO"},
        }
        return JSONResponse(body)

    async def report(self, _request: Request) -> Response:
        """The guide's flat report. Database and Redis are asked; of AI and partners it knows, as the real one, only that keys are set."""
        if "report-broken" in self._world.faults:
            text = f'# HELP app_info Application information\n# TYPE app_info gauge\napp_info{{version="{self._world.version}"}} 1\n'
            return JSONResponse([text, 200, {"Content-Type": "text/plain; charset=utf-8"}])
        _, checks = await self._checks()
        body = {
            "db_healthy": checks["database"]["status"] == "healthy",
            "redis_healthy": checks["redis"]["status"] == "healthy",
            "ai_service_healthy": True,
            "booking_providers_healthy": True,
        }
        return JSONResponse(body)

    async def worker_live(self, _request: Request) -> Response:
        """The worker lives."""
        return JSONResponse({"status": "alive", "worker_id": str(os.getpid()), "timestamp": self._now})

    async def worker_ready(self, _request: Request) -> Response:
        """The worker is ready, honestly: 503 when database or Redis isn't."""
        well, _ = await self._checks()
        return JSONResponse(
            {"ready": well, "status": "ready" if well else "not_ready", "worker_id": str(os.getpid())}, 200 if well else 503
        )

    async def status(self, _request: Request) -> Response:
        """The worker and what it stands on."""
        well, checks = await self._checks()
        components = {"worker": {"status": "healthy"}, "system": {"status": "healthy"}, **checks}
        word = "healthy" if well else "unhealthy"
        return JSONResponse(
            {"status": word, "timestamp": self._now, "worker_id": str(os.getpid()), "components": components}, 200 if well else 503
        )

    async def worker(self, _request: Request) -> Response:
        """What the worker has done."""
        body = {"worker_id": str(os.getpid()), "uptime_seconds": self._born, "accepting_requests": True, "shutting_down": False}
        return JSONResponse(body)

    async def shutdown(self, _request: Request) -> Response:
        """Stops the real worker, without asking who calls: no probe may touch it. Here it is only noted."""
        self._world.forbidden.append("POST /health/v2/shutdown/graceful")
        return JSONResponse({"message": "Graceful shutdown initiated"}, 202)

    async def query_test(self, _request: Request) -> Response:
        """The one honest route about the database: 503 when it can't be asked."""
        start = self._world.clock.monotonic()
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            return JSONResponse({"status": "error", "message": str(problem)}, 503)
        took = round((self._world.clock.monotonic() - start) * 1000, 2)
        return JSONResponse(
            {"status": "success", "test_value": 1, "server_time": self._now, "query_time_ms": took, "message": "Database is reachable"}
        )

    async def metrics(self, _request: Request) -> Response:
        """What Prometheus scrapes."""
        self._meter.pool_used.set(self._database.used)
        self._meter.pool_size.set(POOL)
        text = self._meter.render(silent="metrics-silent" in self._world.faults)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def metrics_health(self, _request: Request) -> Response:
        """Whether metrics are kept."""
        return JSONResponse({"status": "healthy", "multiprocess_mode": False, "registry_type": "CollectorRegistry"})
