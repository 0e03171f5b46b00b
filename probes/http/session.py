"""One run's stay at its hosts: the connections that it may use again, its cookies, its token, and each request there and back."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

import httpx

from probes.core import Failed, Reason
from probes.http.cookies import Cookies
from probes.http.message import Request, Response
from probes.http.oauth2 import Tokens
from probes.http.pool import BODY_CAP, PORTS, UNTOLD, ConnectionPool
from probes.http.redirects import following
from probes.http.route import HttpRoute
from probes.http.transport import access_token
from probes.probe import Context

__all__ = ["BODY_CAP", "UNTOLD", "HttpSession", "OnData"]

OnData = Callable[[bytes, float], None]
_UNAUTHORIZED = 401


class HttpSession:
    """What the requests of one run share. To be left (`async with`), so that no connection stays open.

    Requests to one origin share a connection, one after the other, as a browser's do. With `keep_alive` the connection stays
    in the wire for the check's next run.
    """

    def __init__(self, route: HttpRoute) -> None:
        self._route = route
        self._cookies = Cookies()
        self._pool = ConnectionPool(route)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.close()

    async def ask(
        self, ctx: Context, request: Request, *, cap: int = BODY_CAP, redirects: int = 0, on_data: OnData | None = None
    ) -> Response:
        """Sends one request and returns the answer whole; `on_data` gets each piece of the body with the moment it came.

        Follows at most so many redirects; with none asked for, the redirect itself is the answer.
        Raises Failed(SIZE) above `cap` bytes, Failed(TRUNCATED) where the connection ends before the answer does,
        Failed(PROTOCOL) for what is no HTTP, Failed(REDIRECT), and whatever the permit and the wire raise.
        """
        held, oauth2 = None, self._route.oauth2
        if oauth2 and not any(name.lower() == "authorization" for name in request.headers):
            held = await access_token(ctx, self._route, oauth2)
            request = replace(request, headers={**request.headers, "Authorization": f"Bearer {held.value}"})
        started = ctx.clock.monotonic()
        for hop in count():
            ctx.facts["redirects"] = hop
            answer = await self._answer(ctx, request, cap, on_data)
            answer.seconds -= started
            follow_up = following(request, answer.status, answer.header("location")) if redirects else None
            if follow_up is None:
                if oauth2 and held and answer.status == _UNAUTHORIZED:
                    ctx.wire.shared(Tokens).drop(
                        oauth2, held
                    )  # it isn't used again; that it was refused is this run's verdict all the same
                return answer
            if hop == redirects:
                raise Failed(Reason.REDIRECT, f"more than {redirects} redirects; the last leads to {follow_up.url}")
            request = follow_up
        raise AssertionError  # count() never ends

    async def _answer(self, ctx: Context, request: Request, cap: int, on_data: OnData | None) -> Response:
        """One request and its answer; `seconds` is the moment of the last byte, from which the caller takes the start."""
        made = self._made(ctx, request)
        response = await self._pool.send(ctx, made, request.body or b"")
        body = bytearray()
        try:
            async for piece in response.body(cap):
                if on_data:
                    on_data(piece, response.last_read_at)
                body += piece
        except BaseException:
            response.abort()
            raise
        self._cookies.take(request.url, response.headers)
        return Response(response.status, response.headers, bytes(body), response.last_read_at, request.url, response.http_version)

    def _made(self, ctx: Context, request: Request) -> httpx.Request:
        encodings = ", ".join(self._route.encodings) or "identity"
        headers = {"Accept": "*/*", "Accept-Encoding": encodings, **ctx.sender.headers(), **request.headers}
        try:
            made = httpx.Request(request.method, request.url, headers=headers, content=request.body)
        except httpx.InvalidURL as error:
            raise Failed(Reason.REDIRECT, f"this is not an address: {error}") from error
        if made.url.scheme not in PORTS:
            raise Failed(Reason.REDIRECT, f"the redirect leads to a {made.url.scheme} address, which an HTTP check can't follow")
        if made.url.userinfo and "authorization" not in made.headers:
            made.headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(made.url.userinfo)).decode()}"
        self._cookies.give(made, ctx.conceal)
        return made
