"""The middlewares of the application in their order: request id, CSRF, rate limit, metrics, performance, CORS, and HTTPS innermost."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo._cache import Cache
from demo._database import Gate
from demo._interrupted import interrupted
from demo._limits import SlidingWindow
from demo._site import line_of
from demo._world import Built, ReceivedRequest, World, who
from demo.built.meter import Meter
from demo.built.responses import error, uncaught

HOURLY = 1000
UNLIMITED = ("/health", "/metrics", "/api/health", "/docs", "/redoc", "/openapi.json", "/api/metrics", "/favicon.ico")
CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NO_CSRF = ("/api/auth/token", "/api/auth/refresh", "/health", "/api/health", "/metrics", "/.well-known", "/docs", "/redoc", "/openapi.json")
NEVER = (
    "/api/auth/register",
    "/api/auth/account",
    "/api/auth/rotate-keys",
    "/api/reservations/book",
    "/api/bookings",
    "/health/v2/shutdown",
    "/api/voice-assistant/booking-action",
)
HSTS = "max-age=31536000; includeSubDomains"


@dataclass(slots=True)
class _Collected:
    """A response of the application, kept until the middlewares have seen it."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        else:
            self.body += message.get("body", b"")

    def response(self, more: dict[str, str]) -> Response:
        response = Response(self.body, self.status)
        ours = [(name.encode(), value.encode()) for name, value in more.items()]
        response.raw_headers = [pair for pair in self.headers if pair[0].decode() not in more] + ours
        return response


class CsrfTokens:
    """Signed tokens of the form random.time.signature, good for whoever sends one in the cookie and in X-CSRF-Token."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self, now: float) -> str:
        """A fresh token."""
        unsigned = f"{secrets.token_urlsafe(32)}.{int(now)}"
        return f"{unsigned}.{self._signature(unsigned)}"

    def allow(self, headers: Headers) -> bool:
        """Whether cookie and header hold the same token, and it is one of ours."""
        sent, kept = headers.get("x-csrf-token", ""), cookie_parser(headers.get("cookie", "")).get("csrf_token")
        unsigned, _, signature = sent.rpartition(".")
        return sent == kept and hmac.compare_digest(signature.encode(), self._signature(unsigned).encode())

    def _signature(self, unsigned: str) -> str:
        return hmac.new(self._key, unsigned.encode(), hashlib.sha256).hexdigest()


class Front:
    """Everything that a request passes before it reaches a route, and that a response passes on its way back."""

    def __init__(self, app: ASGIApp, world: World, built: Built, gate: Gate, meter: Meter, cache: Cache, csrf: CsrfTokens) -> None:
        self._app, self._world, self._built, self._meter, self._cache, self._csrf = app, world, built, meter, cache, csrf
        self.gate = gate
        self.hourly = SlidingWindow(world.clock, HOURLY, 3600.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one request through."""
        headers, line, path, status = Headers(scope=scope), line_of(scope), str(scope["path"]), 0
        try:
            if await interrupted(self._world, self.gate, line, send):
                return
            started = self._world.clock.monotonic()
            response = await self._outermost(scope, receive, headers, started)
            status = response.status_code
            await response(scope, receive, send)
        finally:
            agent = headers.get("user-agent", "")
            identity = headers.get("x-request-id", ""), headers.get("traceparent", "")
            now = self._world.clock.time()
            self._world.record(ReceivedRequest(now, "api", who(agent), agent, scope["method"], path, status, *identity))
            if scope["method"] in CHANGES and path.startswith(NEVER):
                self._world.forbidden.append(f"{scope['method']} {path}")

    async def _outermost(self, scope: Scope, receive: Receive, headers: Headers, started: float) -> Response:
        """The request id's middleware: what is raised further in gets out without its headers."""
        now, path = self._world.clock.time(), scope["path"]
        if self._world.closing.is_set():
            return error(now, 503, "The service is shutting down")
        bearer = headers.get("authorization", "").lower().startswith("bearer ")
        if scope["method"] in CHANGES and not path.startswith(NO_CSRF) and not bearer and not self._csrf.allow(headers):
            return uncaught(now, "403: CSRF validation failed", self._built)
        limit = await self._limit(scope, headers)
        if "retry-after" in limit:
            response: Response = _too_many(limit)
        elif (counted := await self._counted(scope, receive, headers, started)) is None:
            return uncaught(now, "'dict' object has no attribute '_value'", self._built)
        else:
            response = counted
            response.headers.update(limit)
        response.headers.update({"x-request-id": str(uuid.uuid4()), "x-process-time": f"{self._world.clock.monotonic() - started:.6f}"})
        return response

    async def _limit(self, scope: Scope, headers: Headers) -> dict[str, str]:
        """The limiter's headers, with Retry-After where the hour is used up; none without Redis, which it asks twice."""
        if not self._world.limits or scope["method"] == "OPTIONS" or scope["path"].startswith(UNLIMITED):
            return {}
        there = True
        for _ in range(2):
            async with self.gate.call():
                there &= await self._cache.responds(self._world.delays.redis)
        if not there:
            return {}
        client = headers.get("x-forwarded-for", "").split(",")[0].strip() or (scope.get("client") or ("unknown", 0))[0]
        allowed = self.hourly.take(client) and "api-throttled" not in self._world.faults
        wait = max(1, round(self.hourly.wait(client)))
        limits = {
            "x-ratelimit-limit": str(HOURLY),
            "x-ratelimit-remaining": str(self.hourly.left(client)),
            "x-ratelimit-reset": str(int(self._world.clock.time()) + wait),
            "x-ratelimit-type": "per_ip",
        }
        return limits if allowed else {**limits, "retry-after": str(wait)}

    async def _counted(self, scope: Scope, receive: Receive, headers: Headers, started: float) -> Response | None:
        """The metrics middleware; None where it counts the status and then fails itself (metrics-crash)."""
        size, path = int(headers.get("content-length") or 0), scope["path"]
        collected = await self._innermost(scope, receive, headers)
        seconds = self._world.clock.monotonic() - started
        if path == "/metrics":  # it isn't counted
            return collected.response({**_of_performance(collected), "x-response-time": f"{seconds:.3f}s"})
        self._meter.answered(scope["method"], path, collected.status, seconds, size, len(collected.body))
        if "metrics-crash" in self._world.faults:
            return None
        times = {"x-response-time": f"{seconds * 1000:.2f}ms", "x-worker-id": str(os.getpid())}
        return collected.response({**_of_performance(collected), **times})

    async def _innermost(self, scope: Scope, receive: Receive, headers: Headers) -> _Collected:
        """The redirect of plain HTTP, and the application."""
        collected, faults, path = _Collected(), self._world.faults, scope["path"]
        forwarded = headers.get("x-forwarded-proto", "").lower() == "https" and "https-redirect" not in faults
        if scope["scheme"] != "https" and not forwarded:
            query = scope["query_string"].decode("latin-1")
            place = f"https://{headers.get('host', '')}{path}{'?' if query else ''}{query}"
            response: ASGIApp = Response("Redirecting to HTTPS", 301, {"location": place, "strict-transport-security": HSTS})
        elif "api-500" in faults and path != "/metrics":
            response = error(self._world.clock.time(), 500, "An unexpected error occurred", code="INTERNAL_SERVER_ERROR")
        elif scope["method"] == "OPTIONS":
            response = Response("Disallowed CORS origin", 400, media_type="text/plain")
        else:
            response = self._app
            if "api-slow" in faults and path != "/metrics":
                await self._world.pause(self._world.delays.slow)
        await response(scope, receive, collected.send)
        return collected


def _of_performance(collected: _Collected) -> dict[str, str]:
    """What the performance and HTTPS middlewares add: nothing to an error that they never see."""
    if any(name == b"x-error-id" for name, _ in collected.headers):
        return {}
    if any(name == b"strict-transport-security" for name, _ in collected.headers):  # the redirect has its own
        return {"x-performance-optimized": "true"}
    return {
        "strict-transport-security": f"{HSTS}; preload",
        "cache-control": "no-store, max-age=0",
        "x-performance-optimized": "true",
    }


def _too_many(limit: dict[str, str]) -> JSONResponse:
    body = {
        "error": "rate_limit_exceeded",
        "message": "Too many requests. Please retry after some time.",
        "retry_after": int(limit["retry-after"]),
        "limit": HOURLY,
        "window_seconds": 3600,
        "limit_type": "per_ip",
        "burst_active": False,
    }
    return JSONResponse(body, 429, {**limit, "cache-control": "no-cache, no-store, must-revalidate"})
