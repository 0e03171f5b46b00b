"""Access to every route: who may read, who may change something, and which names of this runner a Host header may hold.

Reading is open unless `read_token` is set. Then a request sends it as `Authorization: Bearer TOKEN`, or as the password of
Basic with any user name (a browser asks the user for it). A change always needs `operate_token`, as Bearer alone: a browser never
sends that by itself, so that no foreign page can make it change something. Without an operate token every change is refused (403).
/-/healthy and /-/ready are open: they show nothing about the targets, and an orchestrator asks them.

A Host header with an unknown name is refused (421): a page that a browser loaded from elsewhere could otherwise read the
runner by letting its own name point here (DNS rebinding). Names that a stranger can't own are accepted: IP addresses, localhost,
names of one label (`outrider:9797`, as Prometheus asks in Compose or Kubernetes), those under .localhost, .internal, .svc and
.svc.cluster.local, and the name that the runner listens on. Others are listed under `server: {hosts: [...]}`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probes.text import is_address
from runner.config.plan import Server
from runner.web.connections import Refused
from runner.web.readers import Pace

OPEN = ("/-/healthy", "/-/ready")
URGENT = (*OPEN, "/metrics")
_URGENT_WAIT, _WAIT = 0.25, 1.0  # seconds for which a request waits for its turn
_OWN_SUFFIXES = (".localhost", ".internal", ".svc", ".svc.cluster.local")
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?))(?::[0-9]{1,5})?", re.ASCII)
_SLOW = 1.0  # seconds before the response to a wrong token
_CHALLENGE = 'Basic realm="outrider", charset="UTF-8"'
_FORBIDDEN = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'self'; img-src 'self'; {_FORBIDDEN}",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_known_host(host: str, server: Server) -> bool:
    """Whether a Host header names this runner, by the rule of this module."""
    if not host.strip():
        return True  # a browser always sends a name
    name = _host_name(host)
    if name is None:
        return False
    known = name in {"localhost", _host_name(server.host), *(_host_name(own) for own in server.hosts)}
    return known or is_address(name) or "." not in name or name.endswith(_OWN_SUFFIXES)


def _host_name(host: str) -> str | None:
    """The name or address, in lower case, without port, brackets and the root's dot; None for a header that is neither."""
    host = host.strip().lower()
    if is_address(host) and "%" not in host:  # also an IPv6 address without brackets, as programs send it
        return host
    if (found := _HOST.fullmatch(host)) is None:
        return None
    if (inside := found["address"]) is not None:
        return inside if ":" in inside and is_address(inside) else None
    return found["name"].removesuffix(".")


def _is_token(given: str, token: str) -> bool:
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def bearer(authorization: str) -> str:
    """The token of `Bearer TOKEN`, or nothing."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return ""
    return token.strip().encode("latin-1", "replace").decode("utf-8", "replace")  # a header's bytes arrive as latin-1


def _password(authorization: str) -> str:
    """The password of `Basic ...`, or nothing."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def may_read(authorization: str, server: Server) -> bool:
    """Whether reading is allowed. The operate token allows it too."""
    if not server.read_token:
        return True
    given = bearer(authorization) or _password(authorization)
    return _is_token(given, server.read_token) | _is_token(given, server.operate_token)


def refuse_without_operate_token(server: Server) -> Response | None:
    """The refusal of every change while checks.yaml sets no operate token; None when it sets one."""
    if server.operate_token:
        return None
    return refusal(
        403, "Every change is refused, also from pipelines, until operate_token is set: add server: {operate_token: ...} to checks.yaml"
    )


def refuse_operating(request: Request, server: Server) -> Response | None:
    """The refusal of a request that would change something; None when it is allowed."""
    if (refused := refuse_without_operate_token(server)) is not None:
        return refused
    if not _is_token(bearer(request.headers.get("authorization", "")), server.operate_token):
        return refusal(401, "A change needs the operate token: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})
    return None


def refusal(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """A response that says in one line why a request is refused."""
    return PlainTextResponse(f"{text}\n", status, headers)


_BUSY = refusal(503, "This runner gets too many requests", {"retry-after": "2"})


class Guard:
    """Wraps the application: refuses foreign names and readers without the token, and adds the security headers.

    Where more requests come than may begin, they wait, and are refused in the end; those that orchestrators and scrapers send are not.

    A wrong token is counted by `refused`, and its response comes a second late by `wait`, so that guessing takes long.
    """

    def __init__(
        self, app: ASGIApp, server: Callable[[], Server], refused: Refused, wait: Callable[[float], Awaitable[None]], pace: Pace
    ) -> None:
        self._app = app
        self._server = server
        self._refused = refused
        self._wait = wait
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; anything but HTTP is ignored."""
        if scope["type"] != "http":
            return
        urgent = scope["path"] in URGENT
        in_turn = await self._pace.turn(_URGENT_WAIT if urgent else _WAIT)
        app = self._refusal(scope) or (self._app if urgent or in_turn else _BUSY)
        # A browser asks without a token first. A webhook of Flagger has its token in the body.
        has_token = scope["method"] not in {"GET", "HEAD"} or "authorization" in Headers(scope=scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if app is _BUSY:
                    self._refused("busy", _peer(scope))
                elif message["status"] == HTTPStatus.MISDIRECTED_REQUEST:
                    self._refused("host", _peer(scope))
                elif message["status"] == HTTPStatus.UNAUTHORIZED and has_token:
                    self._refused("token", _peer(scope))
                    await self._wait(_SLOW)
            await send(message)

        await app(scope, receive, _add_headers(sending))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, server = Headers(scope=scope), self._server()
        hosts = headers.getlist("host")
        if len(hosts) > 1 or not all(is_known_host(host, server) for host in hosts):
            return refusal(
                421, "This runner doesn't know that host name. If the name is right, add it to server: {hosts: [...]} in checks.yaml"
            )
        if scope["path"] not in OPEN and scope["method"] in {"GET", "HEAD"} and not may_read(headers.get("authorization", ""), server):
            return refusal(401, "Reading needs the read token", {"www-authenticate": _CHALLENGE})
        return None


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _add_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
