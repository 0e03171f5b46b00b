"""The connections of one session, and the response to a request whose body is still to come. HttpSession and HttpTransport use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx

from probes.core import Failed, Reason
from probes.facts import CONNECTION_REUSED, NO_REVISION, REVISION, STATUS_CODE
from probes.http.connect import Origin, is_relayed, open_connection
from probes.http.decoding import Decoder
from probes.http.exchange import Connection, Exchange, Fields, OutgoingRequest
from probes.http.head import LONGEST_LENGTH
from probes.http.http1 import Exchange1, refuse_line_breaks
from probes.http.kept import ConnectionKey, KeptConnections
from probes.http.plain import PORTS, PlainRequest
from probes.http.privacy import hide_in_address, shown_headers
from probes.http.route import HttpRoute
from probes.probe import Context
from probes.text import MARGIN, clipped
from probes.wire.once import Once
from probes.wire.stream import Stream

BODY_CAP = 1024 * 1024  # bytes
EVIDENCE_BODY = 2048  # bytes of a body that a failure keeps
_MOST_KEPT = 4  # connections that one run keeps: a check sends requests to few origins
_ENDED = (Reason.TRUNCATED, Reason.RESET)
_REPEATABLE = frozenset({"GET", "HEAD"})


class StreamingResponse:
    """A response whose head has come. Read its body once, to the end, or call `abort`."""

    def __init__(self, pool: ConnectionPool, ctx: Context, origin: Origin, exchange: Exchange, connection: Connection | None) -> None:
        self.status = exchange.status
        self.http_version = exchange.version
        self._pool = pool
        self._ctx = ctx
        self._origin = origin
        self._connection = connection
        self._exchange = exchange
        self._ended = False

    @property
    def headers(self) -> Fields:
        """The headers in the order received, names in lower case."""
        return self._exchange.fields()

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they were sent, for what is not text: names in lower case, no blanks around the values."""
        return [(name.lower(), value.strip(b" \t")) for name, value in self._exchange.headers]

    @property
    def last_read_at(self) -> float:
        """When the socket last gave bytes or its end (`clock.monotonic()`)."""
        return self._exchange.stream.last_read_at

    async def body(self, cap: int) -> AsyncGenerator[bytes, None]:
        """The body's pieces as they come, decoded. At its end the connection goes back to the pool.

        Raises Failed(SIZE) above `cap` bytes, Failed(TRUNCATED) where the body ends early, Failed(PROTOCOL) where it isn't encoded
        as declared.
        """
        encoding = [value for name, value in self.headers if name == "content-encoding"]
        allowed = self._pool.route.encodings if self._pool.route.framing == "strict" else None
        decoder = Decoder(", ".join([*encoding, *self._exchange.transfer_codings]), cap, allowed)
        length, beginning = 0, bytearray()
        try:
            async for piece in self._exchange.body():
                for at in range(0, len(piece), decoder.slice):
                    if at:
                        await asyncio.sleep(0)
                    if plain := decoder.feed(piece[at : at + decoder.slice]):
                        length += len(plain)
                        beginning += plain[: EVIDENCE_BODY + MARGIN - len(beginning)]
                        yield plain
            decoder.end()
        except Failed as failed:
            length = cap if failed.reason is Reason.SIZE else length  # so far it was read
            raise
        finally:
            self._ctx.facts["body_bytes"] = length
            self._ctx.evidence["body"] = clipped(beginning.decode("utf-8", "replace"), EVIDENCE_BODY)
        self._ended = True
        self._pool.release(self._ctx, self._origin, self._exchange, self._connection)

    def abort(self) -> None:
        """Closes the connection at once, unless the body was read to its end: then the connection is the pool's again."""
        if not self._ended:
            self._pool.drop(self._exchange)


class ConnectionPool:
    """The connections of one session. Requests to one origin share a connection, one after the other, as in a browser.

    With `keep_alive` the connections are kept for the check's next run. `resends`: whether a GET or HEAD is sent once more where its
    connection had been used before and ends without a byte of a response. Must be closed.
    """

    def __init__(self, route: HttpRoute, *, resends: bool = True) -> None:
        self.route = route
        self._resends = resends
        self._connections: dict[Origin, Connection] = {}  # idle ones
        self._reading: set[Exchange] = set()  # those whose response is being read
        self._used_by: Context | None = None

    def close(self) -> None:
        """Keeps the idle connections for the next run where the route says so, and closes the others."""
        if self._used_by and self.route.keep_alive:
            for origin in list(self._connections)[:_MOST_KEPT]:
                key = ConnectionKey(self._used_by.check, origin, self.route)
                self._used_by.wire.shared(KeptConnections).keep(key, self._connections.pop(origin))
        for connection in self._connections.values():
            connection.stream.abort()
        for exchange in self._reading:
            exchange.stream.abort()
        self._connections.clear()
        self._reading.clear()

    def drop(self, exchange: Exchange) -> None:
        """Closes the connection of an exchange at once."""
        self._reading.discard(exchange)
        exchange.stream.abort()

    def release(self, ctx: Context, origin: Origin, exchange: Exchange, connection: Connection | None) -> None:
        """Takes back a connection whose response has been read, if it can carry another request; at most one for each origin."""
        self._reading.discard(exchange)
        if connection is None or not exchange.reusable() or origin in self._connections:
            exchange.stream.abort()
            return
        self._connections[origin] = connection
        self._used_by = ctx

    async def send(self, ctx: Context, request: httpx.Request, body: bytes) -> StreamingResponse:
        """Sends a request for which the run has a permit, and returns when the response's head has come.

        Records the request and the response in evidence and facts. Raises what `permit` and the wire raise, and Failed.
        """
        url = request.url.copy_with(userinfo=b"") if request.url.userinfo else request.url
        shown = hide_in_address(str(url)) if ctx.facts.get("redirects") else str(url)  # what a server wrote may hold its secrets
        ctx.evidence["request"] = {"method": request.method, "url": shown, "headers": shown_headers(request.headers.items())}
        await ctx.permit(request.method, str(request.url))
        origin = request.url.scheme, request.url.raw_host.decode("ascii"), request.url.port or PORTS[request.url.scheme]
        relaying = self.route.proxy if is_relayed(self.route, origin) else None
        target, headers = request.url.raw_path, request.headers.raw
        if relaying:
            target = str(request.url.copy_with(userinfo=b"", fragment=None)).encode("ascii")
            headers = [*headers, *((k.encode(), v.encode()) for k, v in relaying.headers().items())]
        outgoing = OutgoingRequest(request.method, target, request.url.scheme, tuple(headers), body)
        refuse_line_breaks(outgoing)
        if (sent := await self._send_on_used_connection(ctx, origin, outgoing)) is None:
            sent = await self._send_on_new_connection(ctx, origin, outgoing)
        connection, exchange = sent
        try:
            _record_response(ctx, exchange)
            if relaying:
                relaying.judge_response(exchange.status, exchange.fields())
        except BaseException:
            connection.stream.abort()
            raise
        self._reading.add(exchange)
        return StreamingResponse(self, ctx, origin, exchange, connection)

    async def send_once(self, ctx: Context, request: PlainRequest) -> StreamingResponse:
        """Sends a plain request over a connection of its own: as `send`, with the same records and failures, in fewer steps."""
        sender = ctx.sender.headers()
        ctx.evidence["request"] = {"method": request.method, "url": request.shown, "headers": request.shown_headers(sender)}
        await ctx.permit(request.method, request.url)
        (scheme, host, port), text = request.origin, request.written(sender)
        stream: Stream | Once
        if scheme == "https":
            stream = await ctx.wire.stream(ctx, host, port, self.route.tls, self.route.alpn(), self.route)
        else:
            stream = await ctx.wire.once(ctx, host, port, text, self.route)
        try:
            exchange = Exchange1(ctx, stream, request.method, strict=self.route.framing == "strict")
            if isinstance(stream, Once):
                await exchange.receive_head(stream.asked_at)
            else:
                await stream.write(text)
                await exchange.receive_head()
            _record_response(ctx, exchange)
        except BaseException:
            stream.abort()
            raise
        self._reading.add(exchange)
        return StreamingResponse(self, ctx, request.origin, exchange, None)

    async def _send_on_new_connection(self, ctx: Context, origin: Origin, request: OutgoingRequest) -> tuple[Connection, Exchange]:
        connection = await open_connection(ctx, self.route, origin)
        try:
            exchange = await connection.send(ctx, request)
            await exchange.receive_head()
        except BaseException:
            connection.stream.abort()
            raise
        return connection, exchange

    async def _send_on_used_connection(self, ctx: Context, origin: Origin, request: OutgoingRequest) -> tuple[Connection, Exchange] | None:
        """None where there is no such connection, or where it is stale: the server may close it just as the request is sent.

        A stale connection says nothing about the target.
        """
        connection = self._connections.pop(origin, None)
        if connection is None and self.route.keep_alive:
            connection = ctx.wire.shared(KeptConnections).take(ConnectionKey(ctx.check, origin, self.route))
        if connection is None:
            return None
        exchange = None
        try:
            if connection.alive():
                exchange = await connection.send(ctx, request)
                await exchange.receive_head()
                ctx.facts[CONNECTION_REUSED] = ctx.facts.get(CONNECTION_REUSED, 0) + 1
                return connection, exchange
        except (Failed, OSError) as error:
            connection.stream.abort()
            has_ended = isinstance(error, ConnectionError) or (isinstance(error, Failed) and error.reason in _ENDED)
            repeatable = self._resends and request.method in _REPEATABLE and not (exchange and exchange.begun)
            if not (has_ended and repeatable):
                raise
            ctx.halted_in = ctx.halted_step = ""
        except BaseException:
            connection.stream.abort()
            raise
        connection.stream.abort()
        ctx.facts["connection_replaced"] = ctx.facts.get("connection_replaced", 0) + 1
        return None


def _record_response(ctx: Context, exchange: Exchange) -> None:
    length = exchange.header("content-length") or ""
    ctx.facts |= {
        STATUS_CODE: exchange.status,
        "http_version": float(exchange.version),
        "ssl": int(exchange.stream.tls is not None),
        "content_length": int(length) if length.isascii() and length.isdigit() and len(length) <= LONGEST_LENGTH else None,
    }
    ctx.evidence["response"] = {"status": exchange.status, "headers": shown_headers(exchange.fields())}
    if ctx.revision and ctx.revision.header:
        revision = ctx.revision.taken_from(exchange.header(ctx.revision.header.lower())) or NO_REVISION
        before = str(ctx.facts.get(REVISION, "")).split(", ")
        ctx.facts[REVISION] = ", ".join(dict.fromkeys([*filter(None, before), revision]))
