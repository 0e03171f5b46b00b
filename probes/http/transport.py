"""httpx on the wire: `httpx.AsyncClient(transport=HttpTransport(ctx))` is the HTTP client of a kind from outside.

What leaves through it passes the run's permit, and leaves the phases, facts and evidence that kind `http` leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx

from probes.core import Failed, PolicyRefused, Reason
from probes.http.message import Response
from probes.http.oauth2 import OAuth2, Token, Tokens, token
from probes.http.pool import BODY_CAP, PORTS, ConnectionPool, StreamingResponse
from probes.http.route import HttpRoute
from probes.probe import Context

# What httpx itself raises above its transport: for the `errors` of a kind.
HTTPX_ERRORS: Mapping[type[Exception], Reason] = {
    httpx.HTTPStatusError: Reason.STATUS,
    httpx.TooManyRedirects: Reason.REDIRECT,
    httpx.RemoteProtocolError: Reason.PROTOCOL,
}
_HOP = "outrider.hop"  # httpx copies a request's extensions into the request that a redirect asks for
_UNAUTHORIZED = 401
_NOT_CONNECTED = frozenset(
    {Reason.DNS, Reason.REFUSED, Reason.UNREACHABLE, Reason.TLS, Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.HOSTNAME}
    | {Reason.UNTRUSTED, Reason.CHAIN}
)


class HttpTransport(httpx.AsyncBaseTransport):
    """The transport of one run. The client that it is given to closes it, and its connections with it.

    - Redirects that the client follows pass the permit hop by hop. What was meant for one origin never goes to another: neither
      headers of the user's own nor a body. Cookies are the client's.
    - The run's deadline is the only timeout: httpx's own, 5 s by default, is ignored. For a shorter one use `asyncio.timeout`.
    - `way.encodings` is what is asked for and decoded, under the cap, whatever Accept-Encoding the client has. The headers of a
      response that was encoded have no Content-Encoding and Content-Length any more; the evidence has them.
    - PolicyRefused and QuotaRefused escape as they are: nothing was sent. What fails later is an httpx.TransportError, raised from the
      Failed or OSError that the engine makes the verdict of.
    """

    def __init__(self, ctx: Context, route: HttpRoute | None = None, *, cap: int = BODY_CAP) -> None:
        self._ctx = ctx
        self._pool = ConnectionPool(route or HttpRoute())
        self._cap = cap

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx.AsyncBaseTransport: one request, redirects are the client's."""
        hop = _follow(request)
        self._ctx.facts["redirects"] = hop
        held, oauth2 = None, self._pool.route.oauth2
        try:
            if oauth2 and not hop and "authorization" not in request.headers:
                held = await access_token(self._ctx, self._pool.route, oauth2)
                request.headers["Authorization"] = f"Bearer {held.value}"
            response = await send(self._ctx, self._pool, request, cap=self._cap)
        except (Failed, OSError) as error:
            raise as_httpx(error) from error
        if oauth2 and held and response.status_code == _UNAUTHORIZED:
            self._ctx.wire.shared(Tokens).drop(oauth2, held)
        return response

    async def aclose(self) -> None:
        """Closes the connections, or leaves them to the check's next run (`way.keep_alive`)."""
        self._pool.close()


@dataclass(frozen=True, slots=True)
class _Hop:
    """A request that was sent: by which number of a chain of redirects, and to which origin."""

    request: int
    origin: tuple[str, str, int | None]
    number: int


def _follow(request: httpx.Request) -> int:
    """How many redirects led to this request. One that leads to another origin is stripped of what was meant for the one before."""
    url, before = request.url, request.extensions.get(_HOP)
    origin, number = (url.scheme, url.host, url.port or PORTS.get(url.scheme)), 0
    if isinstance(before, _Hop):
        number = before.number + (before.request != id(request))  # the same one may be sent again, with other credentials
        if before.origin != origin:
            kept = [(name, value) for name, value in request.headers.multi_items() if name in ("host", "cookie")]
            request.headers, request.stream = httpx.Headers(kept), httpx.ByteStream(b"")
    request.extensions = {**request.extensions, _HOP: _Hop(id(request), origin, number)}
    return number


async def send(ctx: Context, pool: ConnectionPool, request: httpx.Request, *, cap: int, ends: float | None = None) -> httpx.Response:
    """Sends a request; the body of what is returned is still to be read. `ends` by the loop's clock, None for the run's own deadline.

    Raises what ConnectionPool.send raises, and TimeoutError at `ends`.
    """
    if request.url.scheme not in PORTS or not request.url.host:
        raise httpx.UnsupportedProtocol(f"{request.url.scheme or 'no scheme'}: the address must begin with http:// or https:// and a host")
    async with asyncio.timeout_at(ends):
        body = b"".join([piece async for piece in request.stream]) if isinstance(request.stream, httpx.AsyncByteStream) else b""
        _complete(ctx, pool.route, request, body)
        response = await pool.send(ctx, request, body)
    headers = httpx.Headers(list(response.headers))
    if "content-encoding" in headers and request.method != "HEAD":
        headers.pop("content-length", None)
        del headers["content-encoding"]
    version = {"http_version": f"HTTP/{response.http_version}".encode()}
    return httpx.Response(response.status, headers=headers, stream=_Body(response, cap, ends), extensions=version)


def _complete(ctx: Context, route: HttpRoute, request: httpx.Request, body: bytes) -> None:
    """The headers as a run sends them: who asks instead of httpx's own name, what can be decoded, and a body's length."""
    headers = request.headers
    if headers.get("user-agent", "").startswith("python-httpx/"):
        del headers["user-agent"]
    if headers.get("connection", "").lower() == "keep-alive":  # nothing else is meant where it is absent
        del headers["connection"]
    if "transfer-encoding" in headers:
        del headers["transfer-encoding"]
        headers["Content-Length"] = str(len(body))
    headers["Accept-Encoding"] = ", ".join(route.encodings) or "identity"
    for name, value in ({"Accept": "*/*"} | ctx.sender.headers()).items():
        headers.setdefault(name, value)
    for pair in filter(None, headers.get("cookie", "").split("; ")):
        ctx.conceal(pair.partition("=")[2])


class _Body(httpx.AsyncByteStream):
    """The body as it comes. Where it is closed before its end, the connection is closed with it."""

    def __init__(self, response: StreamingResponse, cap: int, ends: float | None) -> None:
        self._response = response
        self._pieces = response.body(cap)
        self._ends = ends

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._ends):
                return await anext(self._pieces)
        except (Failed, OSError) as error:
            self._response.abort()
            raise as_httpx(error) from error

    async def aclose(self) -> None:
        self._response.abort()
        await self._pieces.aclose()


def as_httpx(error: Failed | OSError) -> httpx.TransportError:
    """A failure as httpx's callers know it."""
    if isinstance(error, Failed):
        if error.reason in _NOT_CONNECTED:
            return httpx.ConnectError(error.message)
        kinds = {Reason.TIMEOUT: httpx.ReadTimeout, Reason.RESET: httpx.ReadError}
        return kinds.get(error.reason, httpx.RemoteProtocolError)(error.message)
    text = error.strerror or str(error)
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout(text or "no response came in time")
    reset = isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)
    return (httpx.ReadError if reset else httpx.ConnectError)(text)


async def access_token(ctx: Context, route: HttpRoute, oauth2: OAuth2) -> Token:
    """A token that holds, kept or asked for: phase `token`. Raises Failed and OSError, told as the token endpoint's."""
    with ctx.phase("token"):
        held = await ctx.wire.shared(Tokens).get(oauth2, ctx.clock.time, lambda: _ask_for_token(ctx, route, oauth2))
    ctx.conceal(held.value)
    return held


async def _ask_for_token(ctx: Context, route: HttpRoute, oauth2: OAuth2) -> Token:
    """Asks the token endpoint in a context of its own: what it measures is not the target's."""
    asked = oauth2.request()

    async def permit(method: str, url: str) -> None:
        if (method, url) != (asked.method, asked.url):
            raise PolicyRefused(f"{method} {url} is not what is sent to a token endpoint")

    side = ctx.side_context(permit=permit)
    try:
        async with httpx.AsyncClient(transport=HttpTransport(side, route.to_tokens(oauth2))) as client:
            response = await client.request(asked.method, asked.url, headers=asked.headers, content=asked.body)
    except httpx.InvalidURL as error:
        raise Failed(Reason.REDIRECT, f"the token endpoint: the address is none: {error}") from error
    except httpx.TransportError as error:
        match error.__cause__:
            case Failed() as failed:
                raise Failed(failed.reason, f"the token endpoint: {failed.message}") from error
            case OSError() as cause:
                raise type(cause)(cause.errno, f"the token endpoint: {cause.strerror or cause}") from error
            case _:
                raise
    finally:
        ctx.evidence["token"] = {"url": asked.url, "status": side.facts.get("status_code"), "phases": side.phases}
    headers = tuple(response.headers.multi_items())
    return token(Response(response.status_code, headers, response.content, 0.0, asked.url), ctx.clock.time())
