"""The API of the stand-in, put together."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from demo._cache import Cache
from demo._database import Database, DatabaseDown
from demo._front import Front
from demo._meter import Meter
from demo._responses import Trouble, error
from demo._world import World
from demo.api.auth import Auth
from demo.api.booking import Bookings
from demo.api.health import Health
from demo.api.trips import Trips
from demo.api.voice import Voice


class Api:
    """An ASGI application; `auth`, `trips` and `front` are open to tests that look at its limits."""

    def __init__(
        self, world: World, *, database: Database, cache: Cache, client: httpx.AsyncClient, ai_url: str, partners: dict[str, str]
    ) -> None:
        meter = Meter()
        self.auth = Auth(world, database, meter)
        self.trips = Trips(world, database, cache, meter, self.auth, client, ai_url)
        rooms = (
            Health(world, database, cache, meter),
            self.auth,
            self.trips,
            Voice(world, self.auth),
            Bookings(world, database, cache, self.auth, client, partners),
        )

        async def refused(_: Request, problem: Exception) -> Response:
            if isinstance(problem, Trouble):
                return error(
                    world.clock.time(),
                    problem.status_code,
                    problem.detail,
                    code=problem.code,
                    details=problem.details,
                    headers=problem.headers,
                )
            status = problem.status_code if isinstance(problem, HTTPException) else 500
            return error(world.clock.time(), status, str(getattr(problem, "detail", problem)))

        async def database_down(_: Request, _problem: Exception) -> Response:
            meter.log_entries.labels("ERROR").inc()
            return error(world.clock.time(), 500, "An unexpected error occurred", code="INTERNAL_SERVER_ERROR")

        routes = [route for room in rooms for route in room.routes()]
        app = Starlette(routes=routes, exception_handlers={HTTPException: refused, DatabaseDown: database_down})
        self.front = Front(app, world, database.gate, meter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await self.front(scope, receive, send)
