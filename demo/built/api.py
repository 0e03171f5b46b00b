"""The API as it is built, put together: its routes, its handlers, its middlewares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from demo._cache import Cache
from demo._database import Database
from demo._world import Built, World
from demo.built.accounts import Accounts
from demo.built.front import CsrfTokens, Front
from demo.built.health import VERSION, Health
from demo.built.journeys import Journeys
from demo.built.meter import Meter
from demo.built.responses import Crash, Invalid, refused
from demo.built.sessions import Sessions

Handler = Callable[[Request], Awaitable[Response]]


class BuiltApi:
    """An ASGI application; `auth` and `front` are open to faults and to tests that look at its limits."""

    def __init__(self, world: World, built: Built, *, database: Database, cache: Cache, client: httpx.AsyncClient, ai_url: str) -> None:
        meter, csrf, sessions = Meter(), CsrfTokens(), Sessions(world, database)
        self.auth = Accounts(world, built, database, cache, csrf)
        health = Health(world, built, database, sessions, cache, meter)
        journeys = Journeys(world, database, sessions, self.auth, client, ai_url)

        async def handled(_: Request, problem: Exception) -> Response:
            return refused(world.clock.time(), problem)

        routes = [_route(path, handler) for path, handler in (*_of_health(health), *_of_accounts(self.auth), *_of_journeys(journeys))]
        described = {route.path: sorted(method.lower() for method in route.methods or ()) for route in routes}

        async def openapi(_: Request) -> Response:
            info = {"title": "AI Road Trip Storyteller", "description": "An Imagineering-inspired road trip companion", "version": VERSION}
            return JSONResponse(
                {"openapi": "3.1.0", "info": info, "paths": {path: {verb: {} for verb in verbs} for path, verbs in described.items()}}
            )

        routes.append(_route("GET /openapi.json", openapi))
        handlers = dict.fromkeys((HTTPException, Invalid, Crash), handled)
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        self.front = Front(app, world, built, database.gate, meter, cache, csrf)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await self.front(scope, receive, send)


def _route(line: str, handler: Handler) -> Route:
    """A route of one method; a GET route answers no HEAD, as in the real one."""
    method, _, path = line.partition(" ")
    route = Route(path, handler, methods=[method])
    route.methods = {method}
    return route


def _of_health(health: Health) -> list[tuple[str, Handler]]:
    return [
        ("GET /health/", health.healthy),
        ("GET /health", health.without_slash),
        ("GET /health/live", health.live),
        ("GET /health/ready", health.ready),
        ("GET /health/detailed", health.detailed),
        ("GET /health/metrics", health.report),
        ("GET /health/v2/live", health.worker_live),
        ("GET /health/v2/ready", health.worker_ready),
        ("GET /health/v2/status", health.worker_status),
        ("GET /health/v2/worker", health.worker),
        ("GET /health/v2/metrics/worker", health.worker_metrics),
        ("POST /health/v2/shutdown/graceful", health.shutdown),
        ("GET /api/health/database", health.of_the_database),
        ("GET /api/health/database/test-query", health.query_test),
        ("GET /api/health/database/migrations", health.migrations),
        ("GET /metrics", health.metrics),
        ("GET /metrics/health", health.metrics_health),
    ]


def _of_accounts(accounts: Accounts) -> list[tuple[str, Handler]]:
    return [
        ("POST /api/auth/token", accounts.token),
        ("POST /api/auth/refresh", accounts.refresh),
        ("POST /api/auth/revoke", accounts.revoke),
        ("POST /api/auth/register", accounts.register),
        ("GET /api/auth/me", accounts.me),
        ("GET /api/auth/two-factor/status", accounts.two_factor),
        ("GET /api/users/{user_id}", accounts.user),
        ("GET /api/csrf/token", accounts.csrf),
        ("GET /api/csrf-token", accounts.other_csrf),
        ("GET /.well-known/jwks.json", accounts.jwks),
    ]


def _of_journeys(journeys: Journeys) -> list[tuple[str, Handler]]:
    return [
        ("POST /api/directions", journeys.directions),
        ("POST /api/stories/generate", journeys.story),
        ("POST /api/stories/personalized", journeys.personalized),
        ("GET /api/stories/saved", journeys.saved),
        ("GET /api/tts/voices", journeys.voices),
        ("POST /api/tts/synthesize", journeys.synthesize),
        ("GET /api/monitoring/circuit-breakers/status", journeys.breakers),
    ]
