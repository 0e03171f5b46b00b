"""What the requests of one run share: connections, cookies and a token."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

import httpx

from probes.core import Failed, Reason, Sender
from probes.http.cookies import Cookies
from probes.http.decoding import WrongEncoding
from probes.http.message import Request, Response
from probes.http.oauth2 import Tokens
from probes.http.plain import NOBODY, PORTS, PlainRequest
from probes.http.pool import BODY_CAP, ConnectionPool, StreamingResponse
from probes.http.privacy import hide_in_address
from probes.http.redirects import following
from probes.http.route import HttpRoute
from probes.http.signature import Signature
from probes.http.transport import access_token
from probes.probe import Context
from probes.target import ascii_url, origin

__all__ = ["BODY_CAP", "HttpSession", "OnData"]

OnData = Callable[[bytes, float], bool]  # a piece of the body, and when it came (`clock.monotonic()`); True: no more is needed
_UNAUTHORIZED = 401


class HttpSession:
    """The HTTP client of one run. Use it with `async with`, so that no connection stays open.

    Requests to one origin share a connection, one after the other, as in a browser. With `keep_alive` the connection is kept
    for the check's next run. `cookies` are those that it begins with, and where it stores others. `signature` is for the requests to
    the origin of `home`, and no others.
    """

    def __init__(self, route: HttpRoute, cookies: Cookies | None = None, *, signature: Signature | None = None, home: str = "") -> None:
        self._route = route
        self._signature = signature
        self._home = origin(home) if signature else None
        self._cookies = cookies or Cookies()
        self._pool = ConnectionPool(route)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.close()

    async def send(
        self, ctx: Context, request: Request, *, cap: int = BODY_CAP, redirects: int = 0, on_data: OnData | None = None
    ) -> Response:
        """Sends one request and returns the whole response; `on_data` gets each piece of the body and the moment it came.

        Where it returns True the rest of the body isn't waited for.

        Follows at most `redirects` redirects; with 0, the redirect itself is the response.
        Raises Failed(SIZE) above `cap` bytes, Failed(TRUNCATED) where the connection ends before the response does,
        Failed(PROTOCOL) for a response that is not HTTP, Failed(REDIRECT), and whatever the permit and the wire raise.
        """
        bearer, oauth2 = None, self._route.oauth2
        if oauth2 and not any(name.lower() == "authorization" for name in request.headers):
            bearer = await access_token(ctx, self._route, oauth2)
            request = replace(request, headers={**request.headers, "Authorization": f"Bearer {bearer.value}"})
        started = ctx.clock.monotonic()
        for hop in count():
            ctx.facts["redirects"] = hop
            response, location = await self._send_once(ctx, request, cap, on_data)
            response.seconds -= started
            follow_up = following(request, response.status, location) if redirects else None
            if follow_up is None:
                if oauth2 and bearer and response.status == _UNAUTHORIZED:
                    # The token is not used again; that it was refused is this run's verdict all the same.
                    ctx.wire.shared(Tokens).drop(oauth2, bearer)
                return response
            if hop == redirects:
                raise Failed(Reason.REDIRECT, f"more than {redirects} redirects; the last leads to {hide_in_address(follow_up.url)}")
            request = follow_up
        raise AssertionError  # count() never ends

    async def _send_once(self, ctx: Context, request: Request, cap: int, on_data: OnData | None) -> tuple[Response, bytes | None]:
        """One request, its response and its Location. `seconds` is the moment of the last byte; the caller subtracts the start."""
        if self._signature and origin(request.url) == self._home:
            request = self._signature.signed(request, ctx.clock.time(), ctx.rng)
        built = build_request(self._route, ctx.sender, request)
        self._cookies.add_to(built, ctx.conceal)
        response = await self._pool.send(ctx, built, request.body or b"")
        whole = await _whole(response, request.url, cap, self._route.charset, on_data)
        values = response.raw_headers
        self._cookies.store(request.url, (value for name, value in values if name == b"set-cookie"), ctx.clock.time())
        location = next((value for name, value in values if name == b"location"), None)
        return whole, location


def plain_request(route: HttpRoute, request: Request) -> PlainRequest | None:
    """The request written once for all runs of a check that follows no redirect; None where only a session can send it."""
    try:
        return PlainRequest.of(route, build_request(route, NOBODY, request), request.body or b"")
    except Failed:
        return None


async def send_plain(ctx: Context, route: HttpRoute, request: PlainRequest, *, cap: int = BODY_CAP) -> Response:
    """The whole response to a plain request: what a session's `send` returns, records and raises, without a session's cost."""
    pool, started = ConnectionPool(route), ctx.clock.monotonic()
    ctx.facts["redirects"] = 0
    try:
        response = await pool.send_once(ctx, request)
        whole = await _whole(response, request.url, cap, route.charset)
    finally:
        pool.close()
    whole.seconds -= started
    return whole


async def _whole(response: StreamingResponse, url: str, cap: int, charset: str, on_data: OnData | None = None) -> Response:
    """The response with its body. A body that isn't encoded as the response says is a fault of the body: the status comes first."""
    body, fault = bytearray(), None
    try:
        async with aclosing(response.body(cap)) as pieces:
            async for piece in pieces:
                body += piece
                if on_data and on_data(piece, response.last_read_at):
                    response.abort()
                    break
    except WrongEncoding as error:
        response.abort()
        fault = error
    except BaseException:
        response.abort()
        raise
    whole = Response(response.status, response.headers, bytes(body), response.last_read_at, url, response.http_version)
    whole.charset, whole.fault = charset, fault
    return whole


def build_request(route: HttpRoute, sender: Sender, request: Request) -> httpx.Request:
    """The request with all its headers but cookies. Raises Failed(REDIRECT) for what is no address of HTTP."""
    encodings = ", ".join(route.encodings) or "identity"
    named = {"Accept": "*/*", "Accept-Encoding": encodings, **sender.headers(), **request.headers}
    headers = [(name.encode(), value.encode("utf-8", "replace")) for name, value in named.items()]  # as curl sends them
    try:
        url = httpx.URL(ascii_url(request.url))
        if not any(name.lower() == "host" for name in named):  # httpx would decode the name, and knows fewer than DNS does
            headers.insert(0, (b"Host", url.netloc))
        built = httpx.Request(request.method, url, headers=headers, content=request.body)
    except (httpx.InvalidURL, ValueError) as error:
        raise Failed(Reason.REDIRECT, f"this is not an address: {error}") from error
    if built.url.scheme not in PORTS:
        raise Failed(Reason.REDIRECT, f"the redirect leads to a {built.url.scheme} address, which an HTTP check can't follow")
    if built.url.userinfo and "authorization" not in built.headers:
        built.headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(built.url.userinfo)).decode()}"
    return built
