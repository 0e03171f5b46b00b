"""httpx on the wire: `httpx.AsyncClient(transport=HttpTransport(ctx))` is the HTTP client of a kind from outside.

Its requests need the run's permit, and record the same phases, facts and evidence as kind `http`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx

from probes.core import Failed, PolicyRefused, Reason
from probes.facts import STATUS_CODE
from probes.http.charset import declared, is_charset
from probes.http.cookies import read_cookie, read_date
from probes.http.message import Response
from probes.http.oauth2 import OAuth2, Token, Tokens, read_token
from probes.http.plain import PORTS
from probes.http.pool import BODY_CAP, ConnectionPool, StreamingResponse
from probes.http.route import HttpRoute
from probes.probe import Context

# What httpx itself raises above its transport: a kind adds these to its `errors`.
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
    """The transport of one run. Its httpx client closes it, and with it its connections.

    - Every redirect that the client follows needs the permit, too. Nothing that was meant for one origin goes to another: no headers
      of the user's own, no body. The client keeps the cookies.
    - The run's deadline is the only timeout: httpx's own, 5 s by default, is ignored. For a shorter one use `asyncio.timeout`.
    - `route.encodings` decides what is requested and decoded, up to the cap, whatever Accept-Encoding the client has. A decoded
      response has neither Content-Encoding nor Content-Length; the evidence keeps both.
    - PolicyRefused and QuotaRefused escape unchanged: nothing was sent. A later failure is an httpx.TransportError, raised from the
      Failed or OSError from which the engine makes the verdict.
    """

    def __init__(self, ctx: Context, route: HttpRoute | None = None, *, cap: int = BODY_CAP) -> None:
        self._ctx = ctx
        self._pool = ConnectionPool(route or HttpRoute())
        self._cap = cap

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request; the client follows redirects."""
        hop = _count_redirects(request)
        self._ctx.facts["redirects"] = hop
        bearer, oauth2 = None, self._pool.route.oauth2
        try:
            if oauth2 and not hop and "authorization" not in request.headers:
                bearer = await access_token(self._ctx, self._pool.route, oauth2)
                request.headers["Authorization"] = f"Bearer {bearer.value}"
            response = await send(self._ctx, self._pool, request, cap=self._cap)
        except (Failed, OSError) as error:
            raise as_httpx(error) from error
        if oauth2 and bearer and response.status_code == _UNAUTHORIZED:
            self._ctx.wire.shared(Tokens).drop(oauth2, bearer)
        return response

    async def aclose(self) -> None:
        """Closes the connections, or keeps them for the check's next run (`route.keep_alive`)."""
        self._pool.close()


@dataclass(frozen=True, slots=True)
class _Hop:
    """A request that was sent: its origin, and how many redirects led to it."""

    request: int  # its id()
    origin: tuple[str, str, int | None]
    number: int


def _count_redirects(request: httpx.Request) -> int:
    """How many redirects led to this request. Removes headers and body that were meant for another origin."""
    url, before = request.url, request.extensions.get(_HOP)
    origin, number = (url.scheme, url.raw_host.decode("ascii"), url.port or PORTS.get(url.scheme)), 0
    if isinstance(before, _Hop):
        number = before.number + (before.request != id(request))  # httpx may send the same request again, with other credentials
        if before.origin != origin:
            kept = [(name, value) for name, value in request.headers.multi_items() if name in ("host", "cookie")]
            request.headers, request.stream = httpx.Headers(kept), httpx.ByteStream(b"")
    request.extensions = {**request.extensions, _HOP: _Hop(id(request), origin, number)}
    return number


async def send(ctx: Context, pool: ConnectionPool, request: httpx.Request, *, cap: int, until: float | None = None) -> httpx.Response:
    """Sends a request; the body of the returned response is still to be read.

    `until` is a moment by the loop's clock, or None where the run's deadline is the only timeout. Raises what ConnectionPool.send
    raises, and TimeoutError at `until`.
    """
    if request.url.scheme not in PORTS or not request.url.raw_host:
        raise httpx.UnsupportedProtocol(f"{request.url.scheme or 'no scheme'}: the address must begin with http:// or https:// and a host")
    async with asyncio.timeout_at(until):
        body = b"".join([piece async for piece in request.stream]) if isinstance(request.stream, httpx.AsyncByteStream) else b""
        _complete_headers(ctx, pool.route, request, body)
        response = await pool.send(ctx, request, body)
    now = ctx.clock.time()
    headers = httpx.Headers(
        [(name, value) for name, value in response.raw_headers if name != b"set-cookie" or _is_plain(str(request.url), value, now)]
    )
    if not is_charset(declared(headers.get("content-type", "utf-8")) or "utf-8"):  # httpx decodes by any codec of Python's
        headers["content-type"] = headers["content-type"].partition(";")[0]
    if "content-encoding" in headers and request.method != "HEAD":
        headers.pop("content-length", None)
        del headers["content-encoding"]
    version = {"http_version": f"HTTP/{response.http_version}".encode()}
    return httpx.Response(response.status, headers=headers, stream=_Body(response, cap, until), extensions=version)


def _is_plain(url: str, set_cookie: bytes, now: float) -> bool:
    """Whether the standard library's cookie jar, which httpx uses, can read a cookie as RFC 6265 does: it warns of what it can't."""
    dates = [part.partition(b"=")[2] for part in set_cookie.split(b";") if part.strip().lower().startswith(b"expires")]
    return set_cookie.isascii() and read_cookie(url, set_cookie, now) is not None and all(read_date(date) is not None for date in dates)


def _complete_headers(ctx: Context, route: HttpRoute, request: httpx.Request, body: bytes) -> None:
    """Adds the run's own headers: the User-Agent instead of httpx's, the encodings that can be decoded, the length of the body."""
    headers = request.headers
    if headers.get("user-agent", "").startswith("python-httpx/"):
        del headers["user-agent"]
    if headers.get("connection", "").lower() == "keep-alive":  # the default of HTTP/1.1
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
    """The body as it comes. Closing it before its end closes the connection, too."""

    def __init__(self, response: StreamingResponse, cap: int, until: float | None) -> None:
        self._response = response
        self._pieces = response.body(cap)
        self._until = until

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._until):
                return await anext(self._pieces)
        except (Failed, OSError) as error:
            self._response.abort()
            raise as_httpx(error) from error

    async def aclose(self) -> None:
        self._response.abort()
        await self._pieces.aclose()


def as_httpx(error: Failed | OSError) -> httpx.TransportError:
    """The httpx exception for a failure."""
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
    """A valid token, kept or requested now: phase `token`. Raises Failed and OSError whose messages name the token endpoint."""
    with ctx.phase("token"):
        valid = await ctx.wire.shared(Tokens).get(oauth2, ctx.clock.time, lambda: _request_token(ctx, route, oauth2))
    ctx.conceal(valid.value)
    return valid


async def _request_token(ctx: Context, route: HttpRoute, oauth2: OAuth2) -> Token:
    """Requests a token in a context of its own, so that its phases don't count as the target's."""
    request = oauth2.request(ctx.clock.time())

    async def permit(method: str, url: str) -> None:
        if (method, url) != (request.method, request.url):
            raise PolicyRefused(f"{method} {url} is not what is sent to a token endpoint")

    side = ctx.side_context(permit=permit)
    try:
        async with httpx.AsyncClient(transport=HttpTransport(side, route.to_tokens(oauth2))) as client:
            response = await client.request(request.method, request.url, headers=request.headers, content=request.body)
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
        ctx.evidence["token"] = {"url": request.url, "status": side.facts.get(STATUS_CODE), "phases": side.phases}
    headers = tuple(response.headers.multi_items())
    return read_token(
        Response(response.status_code, headers, response.content, 0.0, request.url), ctx.clock.time(), id_token=oauth2.id_token
    )
