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
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probes.text import is_address
from runner.config.plan import Server

OPEN = ("/-/healthy", "/-/ready")
_OWN_SUFFIXES = (".localhost", ".internal", ".svc", ".svc.cluster.local")
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
    name = _host_name(host)
    if not name or name in {"localhost", _host_name(server.host), *(_host_name(own) for own in server.hosts)}:
        return True  # a browser always sends a name
    return is_address(name) or "." not in name or name.endswith(_OWN_SUFFIXES)


def _host_name(host: str) -> str:
    """The name without port and brackets, in lower case, without the root's dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name = host if host.count(":") > 1 else host.partition(":")[0]
    return name.removesuffix(".")


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


class Guard:
    """Wraps the application: refuses foreign names and readers without the token, and adds the security headers."""

    def __init__(self, app: ASGIApp, server: Callable[[], Server]) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request; anything but HTTP is ignored."""
        if scope["type"] != "http":
            return
        app = self._refusal(scope) or self._app
        await app(scope, receive, _add_headers(send))

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


def _add_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
