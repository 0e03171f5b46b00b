"""One run's stay at its hosts: the connections that it may use again, its cookies, its token, and each request there and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

import httpx

from probes.core import Failed, Reason, Refused
from probes.http.connect import Origin, connected, is_relayed
from probes.http.cookies import Cookies
from probes.http.decoding import Decoder
from probes.http.exchange import Connection, Exchange, Sent
from probes.http.http1 import refuse_line_breaks
from probes.http.message import Answer, Request
from probes.http.oauth2 import OAuth2, Token, token
from probes.http.redirects import following
from probes.probe import Context
from probes.wire.settings import Way
from probes.wire.wire import Place

BODY_CAP = 1024 * 1024  # bytes
EVIDENCE_BODY = 2048  # bytes of a body that a failure keeps
OnData = Callable[[bytes, float], None]
UNTOLD = "none"  # the revision of an answer that tells none, where its target's answers should
_PORTS = {"http": 80, "https": 443}
_MOST_KEPT = 4  # connections that one run leaves behind: a check asks few origins
_REPEATABLE = frozenset({"GET", "HEAD"})
_UNAUTHORIZED = 401
_PRIVATE = frozenset({"authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "apikey", "proxy-authorization"})


def _nothing() -> None:
    """Where no connection is to be kept."""


class Visit:
    """What the requests of one run share. To be left (`async with`), so that no connection stays open.

    Requests to one origin share a connection, one after the other, as a browser's do. With `keep_alive` the connection stays
    in the wire for the check's next run.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._cookies = Cookies()
        self._connections: dict[Origin, Connection] = {}
        self._keep: Callable[[], None] = _nothing
        self._token: Token | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._keep()
        for connection in self._connections.values():
            connection.stream.abort()
        self._connections.clear()

    async def ask(
        self, ctx: Context, request: Request, *, cap: int = BODY_CAP, redirects: int = 0, on_data: OnData | None = None
    ) -> Answer:
        """As probes.http.probe.ask, with what this visit has learnt."""
        if self._way.oauth2:
            request = await self._authorized(ctx, request, self._way.oauth2)
        started = ctx.clock.monotonic()
        for hop in count():
            ctx.facts["redirects"] = hop
            answer = await self._answer(ctx, request, cap, on_data)
            answer.seconds -= started
            follow_up = following(request, answer.status, answer.header("location")) if redirects else None
            if follow_up is None:
                return self._not_unauthorized(ctx, answer)
            if hop == redirects:
                raise Failed(Reason.REDIRECT, f"more than {redirects} redirects; the last leads to {follow_up.url}")
            request = follow_up
        raise AssertionError  # count() never ends

    # -- tokens

    async def _authorized(self, ctx: Context, request: Request, oauth2: OAuth2) -> Request:
        if any(name.lower() == "authorization" for name in request.headers):
            return request
        with ctx.phase("token"):
            self._token = await ctx.wire.tokens.get(oauth2, ctx.clock.time, lambda: self._fetch(ctx, oauth2))
        ctx.conceal(self._token.value)
        return replace(request, headers={**request.headers, "Authorization": f"Bearer {self._token.value}"})

    async def _fetch(self, ctx: Context, oauth2: OAuth2) -> Token:
        """Asks the token endpoint, with a notebook of its own: what it measures is not the target's."""
        asked = oauth2.request()

        async def permit(method: str, url: str) -> None:
            if (method, url) != (asked.method, asked.url):
                raise Refused(f"{method} {url} is not what is sent to a token endpoint")

        aside = ctx.side_context(permit=permit)
        try:
            async with Visit(self._way.to_tokens(oauth2)) as visit:
                answer = await visit.ask(aside, asked)
        except Failed as failed:
            raise Failed(failed.reason, f"the token endpoint: {failed.message}") from failed
        except OSError as error:
            raise type(error)(error.errno, f"the token endpoint: {error.strerror or error}") from error
        finally:
            ctx.evidence["token"] = {"url": asked.url, "status": aside.facts.get("status_code"), "phases": aside.phases}
        return token(answer, ctx.clock.time())

    def _not_unauthorized(self, ctx: Context, answer: Answer) -> Answer:
        """A refused token is not used again; that it was refused is this run's verdict all the same."""
        if answer.status == _UNAUTHORIZED and self._token and self._way.oauth2:
            ctx.wire.tokens.drop(self._way.oauth2, self._token)
        return answer

    # -- one request

    async def _answer(self, ctx: Context, request: Request, cap: int, on_data: OnData | None) -> Answer:
        """One request and its answer; `seconds` is the moment of the last byte, from which the caller takes the start."""
        made = self._made(ctx, request)
        _note_request(ctx, made)
        await ctx.permit(request.method, str(made.url))
        place = _origin(made.url)
        connection, exchange = await self._begun(ctx, place, self._sent(made, await made.aread()))
        try:
            if is_relayed(self._way, place):
                assert self._way.proxy is not None  # noqa: S101 - for the type checker; is_relayed asked
                _note_answer(ctx, exchange)
                self._way.proxy.judge_answer(exchange.status, exchange.fields())
            body = await self._body(ctx, exchange, cap, on_data)
        except BaseException:
            connection.stream.abort()
            raise
        self._put_back(ctx, place, connection, exchange)
        self._cookies.take(request.url, exchange.fields())
        return Answer(exchange.status, exchange.fields(), body, exchange.stream.last_read_at, request.url, exchange.version)

    def _made(self, ctx: Context, request: Request) -> httpx.Request:
        encodings = ", ".join(self._way.encodings) or "identity"
        headers = {"Accept": "*/*", "Accept-Encoding": encodings, **ctx.sender.headers(), **request.headers}
        try:
            made = httpx.Request(request.method, request.url, headers=headers, content=request.body)
        except httpx.InvalidURL as error:
            raise Failed(Reason.REDIRECT, f"the address is none: {error}") from error
        if made.url.scheme not in _PORTS:
            raise Failed(Reason.REDIRECT, f"the redirect leads to a {made.url.scheme} address")
        if made.url.userinfo and "authorization" not in made.headers:
            made.headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(made.url.userinfo)).decode()}"
        self._cookies.give(made, ctx.conceal)
        return made

    def _sent(self, made: httpx.Request, body: bytes) -> Sent:
        target, headers = made.url.raw_path, made.headers.raw
        if self._way.proxy and is_relayed(self._way, _origin(made.url)):
            target = str(made.url.copy_with(userinfo=b"", fragment=None)).encode("ascii")
            headers = [*headers, *((k.encode(), v.encode()) for k, v in self._way.proxy.headers().items())]
        sent = Sent(made.method, target, made.url.scheme, tuple(headers), body)
        refuse_line_breaks(sent)
        return sent

    async def _body(self, ctx: Context, exchange: Exchange, cap: int, on_data: OnData | None) -> bytes:
        _note_answer(ctx, exchange)
        encoding = ", ".join(value for name, value in exchange.fields() if name == "content-encoding")
        decoder = Decoder(encoding, cap, self._way.encodings)
        body = bytearray()
        try:
            async for piece in exchange.body():
                plain = decoder.feed(piece)
                if on_data and plain:
                    on_data(plain, exchange.stream.last_read_at)
                body += plain
            decoder.end()
        finally:
            ctx.facts["body_bytes"] = len(body)
            ctx.evidence["body"] = bytes(body[:EVIDENCE_BODY]).decode("utf-8", "replace")
        return bytes(body)

    # -- connections

    async def _begun(self, ctx: Context, place: Origin, sent: Sent) -> tuple[Connection, Exchange]:
        """The request is sent and the answer's head is there; over a connection that was used before, where there is one."""
        used = self._connections.pop(place, None) or (ctx.wire.take(self._place(ctx, place)) if self._way.keep_alive else None)
        if used and (exchange := await self._over_used(ctx, used, sent)):
            return used, exchange
        connection = await connected(ctx, self._way, place)
        try:
            exchange = await connection.send(ctx, sent)
            await exchange.receive_head()
        except BaseException:
            connection.stream.abort()
            raise
        return connection, exchange

    async def _over_used(self, ctx: Context, connection: Connection, sent: Sent) -> Exchange | None:
        """None where it turns out that the connection was stale, which says nothing of the target.

        The server may close it just as we send. Then a GET or HEAD, of which no byte was answered, can go out once more.
        """
        exchange = None
        try:
            if connection.alive():
                exchange = await connection.send(ctx, sent)
                await exchange.receive_head()
                ctx.facts["connection_reused"] = ctx.facts.get("connection_reused", 0) + 1
                return exchange
        except (Failed, OSError) as error:
            connection.stream.abort()
            if sent.method not in _REPEATABLE or (exchange and exchange.begun) or not _is_stale(error):
                raise
            ctx.halted_in = ctx.halted_step = ""
        except BaseException:
            connection.stream.abort()
            raise
        connection.stream.abort()
        ctx.facts["connection_replaced"] = ctx.facts.get("connection_replaced", 0) + 1
        return None

    def _put_back(self, ctx: Context, place: Origin, connection: Connection, exchange: Exchange) -> None:
        if not exchange.reusable():
            connection.stream.abort()
            return
        self._connections[place] = connection
        if self._way.keep_alive:
            self._keep = lambda: self._into_wire(ctx)

    def _into_wire(self, ctx: Context) -> None:
        for origin in list(self._connections)[:_MOST_KEPT]:
            ctx.wire.keep(self._place(ctx, origin), self._connections.pop(origin))

    def _place(self, ctx: Context, origin: Origin) -> Place:
        return Place(ctx.check, origin, self._way)


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or _PORTS[url.scheme]


def _is_stale(error: Failed | OSError) -> bool:
    """Whether the connection ended, and nothing else went wrong."""
    return isinstance(error, ConnectionError) or (isinstance(error, Failed) and error.reason in (Reason.TRUNCATED, Reason.RESET))


def _note_request(ctx: Context, request: httpx.Request) -> None:
    url = request.url.copy_with(userinfo=b"") if request.url.userinfo else request.url
    ctx.evidence["request"] = {"method": request.method, "url": str(url), "headers": _shown(request.headers.items())}


def _note_answer(ctx: Context, exchange: Exchange) -> None:
    length = exchange.header("content-length") or ""
    ctx.facts |= {
        "status_code": exchange.status,
        "http_version": float(exchange.version),
        "ssl": int(exchange.stream.tls is not None),
        "content_length": int(length) if length.isdigit() else None,
    }
    ctx.evidence["answer"] = {"status": exchange.status, "headers": _shown(exchange.fields())}
    if ctx.revision_header:
        told = exchange.header(ctx.revision_header.lower()) or UNTOLD
        known = str(ctx.facts.get("revision", "")).split(", ")
        ctx.facts["revision"] = ", ".join(dict.fromkeys([*filter(None, known), told]))


def _shown(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: "(secret)" if name.lower() in _PRIVATE else value for name, value in headers}
