"""What every request to the API passes first: who asks, HTTPS only, the limiter, and the faults of the API as a whole."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo._database import Gate
from demo._interrupted import interrupted
from demo._limits import SlidingWindow
from demo._meter import Meter
from demo._responses import error
from demo._site import Line, line_of
from demo._world import ReceivedRequest, World, who

HOURLY = 1000
UNLIMITED = ("/health", "/metrics", "/docs", "/openapi.json", "/api/health")
CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NO_CSRF = ("/api/auth/token", "/api/auth/refresh", "/health", "/api/health", "/metrics", "/.well-known", "/docs", "/openapi.json")


@dataclass
class _Passage:
    """One request on its way."""

    scope: Scope
    headers: Headers
    line: Line
    started: float
    status: int = 0
    sent: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def secure(self) -> bool:
        return bool(self.scope["scheme"] == "https")

    @property
    def client(self) -> str:
        """X-Forwarded-For is trusted, as in the real one."""
        forwarded = self.headers.get("x-forwarded-for", "").split(",")[0].strip()
        return forwarded or (self.scope.get("client") or ("unknown", 0))[0]


class Front:
    """The outermost of the API's layers."""

    def __init__(self, app: ASGIApp, world: World, gate: Gate, meter: Meter) -> None:
        self._app = app
        self._world = world
        self.gate = gate
        self._meter = meter
        self.hourly = SlidingWindow(world.clock, HOURLY, 3600.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one request through."""
        passage = _Passage(scope, Headers(scope=scope), line_of(scope), self._world.clock.monotonic())

        async def respond(message: Message) -> None:
            if "metrics-crash" in self._world.faults and not passage.path.startswith("/metrics"):
                await self._crash(message, passage, send)
                return
            if message["type"] == "http.response.start":
                passage.status = message["status"]
                self._add_headers(MutableHeaders(scope=message), passage)
            elif message["type"] == "http.response.body":
                passage.sent += len(message.get("body", b""))
            await send(message)

        self._meter.active.inc()
        try:
            await self._take(passage, receive, respond)
        finally:
            self._meter.active.dec()
            self._note(passage)

    async def _crash(self, message: Message, passage: _Passage, send: Send) -> None:
        """Counts the response's status as it was, and sends another one."""
        if message["type"] == "http.response.start":
            passage.status = message["status"]
            now = self._world.clock.time()
            crashed = error(now, 500, "'dict' object has no attribute '_value'", code="INTERNAL_SERVER_ERROR")
            await send({"type": "http.response.start", "status": 500, "headers": crashed.raw_headers})
            await send({"type": "http.response.body", "body": crashed.body})

    async def _take(self, passage: _Passage, receive: Receive, send: Send) -> None:
        if await interrupted(self._world, self.gate, passage.line, send):
            return
        closing = self._world.closing.is_set()
        refused = error(self._world.clock.time(), 503, "The service is shutting down") if closing else await self._refusal(passage)
        await (refused or self._app)(passage.scope, receive, send)

    async def _refusal(self, passage: _Passage) -> Response | None:
        """An answer that the application itself never sees; None lets the request through."""
        faults, now = self._world.faults, self._world.clock.time()
        forwarded = passage.headers.get("x-forwarded-proto", "").lower() == "https" and "https-redirect" not in faults
        if not passage.secure and not forwarded:
            query = passage.scope["query_string"].decode("latin-1")
            place = f"https://{passage.headers.get('host', '')}{passage.path}{'?' if query else ''}{query}"
            return RedirectResponse(place, 301)
        if passage.path.startswith("/metrics"):
            return None
        if "api-slow" in faults:
            await self._world.pause(self._world.delays.slow)
        if "api-500" in faults:
            return error(now, 500, "An unexpected error occurred", code="INTERNAL_SERVER_ERROR")
        if self._lacks_csrf_token(passage):  # raised where no handler catches it: the real one makes a 500 of its 403
            return error(now, 500, "403: CSRF validation failed", code="INTERNAL_SERVER_ERROR")
        return self._limited(passage)

    @staticmethod
    def _lacks_csrf_token(passage: _Passage) -> bool:
        """Whether a request that may change something has neither any bearer token nor the CSRF token of /api/csrf/token, sent twice."""
        if passage.scope["method"] not in CHANGES or passage.path.startswith(NO_CSRF):
            return False
        if passage.headers.get("authorization", "").lower().startswith("bearer "):
            return False
        sent, kept = passage.headers.get("x-csrf-token", ""), cookie_parser(passage.headers.get("cookie", "")).get("csrf_token")
        return sent != kept or sent.count(".") != 2  # noqa: PLR2004 - random.time.signature; the other route's token has another form

    def _limited(self, passage: _Passage) -> JSONResponse | None:
        if not self._world.limits or passage.path.startswith(UNLIMITED):
            return None
        client = passage.client
        allowed = self.hourly.take(client) and "api-throttled" not in self._world.faults
        wait = max(1, round(self.hourly.wait(client)))
        headers = {
            "X-RateLimit-Limit": str(HOURLY),
            "X-RateLimit-Remaining": str(self.hourly.left(client)),
            "X-RateLimit-Reset": str(int(self._world.clock.time()) + wait),
            "X-RateLimit-Type": "per_ip",
        }
        passage.extra.update(headers)
        if allowed:
            return None
        self._meter.limited.labels(passage.path, "anonymous").inc()
        passage.extra["Retry-After"] = str(wait)
        details = {"retry_after": wait, "limit": HOURLY, "window_seconds": 3600, "limit_type": "per_ip", "burst_active": False}
        return error(self._world.clock.time(), 429, "Rate limit exceeded", code="rate_limit_exceeded", details=details)

    def _add_headers(self, headers: MutableHeaders, passage: _Passage) -> None:
        seconds = self._world.clock.monotonic() - passage.started
        headers["X-Request-ID"] = str(uuid.uuid4())  # always a fresh one: the real one ignores what comes in
        headers["X-Process-Time"] = f"{seconds:.6f}"
        headers["X-Response-Time"] = f"{seconds * 1000:.2f}ms"
        headers["X-Worker-Id"] = str(os.getpid())
        headers["X-API-Version"] = "v1" if passage.path.startswith("/api/v1/") else "v2"
        headers["X-Supported-Versions"] = "v1, v2"
        for name, value in (("X-Version", self._world.version), ("X-Revision", self._world.revision)):
            if value:
                headers[name] = value
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        if passage.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        for name, value in passage.extra.items():
            headers[name] = value

    def _note(self, passage: _Passage) -> None:
        scope, agent = passage.scope, passage.headers.get("user-agent", "")
        identity = passage.headers.get("x-request-id", ""), passage.headers.get("traceparent", "")
        now = self._world.clock.time()
        self._world.record(ReceivedRequest(now, "api", who(agent), agent, scope["method"], passage.path, passage.status, *identity))
        if not passage.path.startswith("/metrics"):
            endpoint = getattr(scope.get("route"), "path", "other")  # the route, not the raw path: a scan makes no series
            seconds = self._world.clock.monotonic() - passage.started
            self._meter.answered(scope["method"], endpoint, passage.status, seconds, passage.sent)
