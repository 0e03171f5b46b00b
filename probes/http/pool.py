"""One request over a connection, and its response while the body is still to come: what kinds and httpx's transport stand on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

import httpx

from probes.core import Failed, Reason
from probes.http.connect import Origin, connected, is_relayed
from probes.http.decoding import Decoder
from probes.http.exchange import Connection, Exchange, Fields, OutgoingRequest
from probes.http.http1 import refuse_line_breaks
from probes.http.kept import ConnectionKey, KeptConnections
from probes.http.route import HttpRoute
from probes.probe import Context

BODY_CAP = 1024 * 1024  # bytes
EVIDENCE_BODY = 2048  # bytes of a body that a failure keeps
UNTOLD = "none"  # the revision of an answer that tells none, where its target's answers should
PORTS = {"http": 80, "https": 443}
_MOST_KEPT = 4  # connections that one run leaves behind: a check asks few origins
_ENDED = (Reason.TRUNCATED, Reason.RESET)
_REPEATABLE = frozenset({"GET", "HEAD"})
_PRIVATE = frozenset({"authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "apikey", "proxy-authorization"})


class StreamingResponse:
    """A response whose head has come. Its body is read once, to the end; whoever stops before that calls `abort`."""

    def __init__(self, pool: ConnectionPool, ctx: Context, origin: Origin, connection: Connection, exchange: Exchange) -> None:
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
        """In the order received, names in lower case."""
        return self._exchange.fields()

    @property
    def last_read_at(self) -> float:
        """When the socket last gave bytes or its end (`clock.monotonic()`)."""
        return self._exchange.stream.last_read_at

    async def body(self, cap: int) -> AsyncGenerator[bytes, None]:
        """The body's pieces as they come, decoded. At its end the connection goes back to the pool.

        Raises Failed(SIZE) above `cap` bytes, Failed(TRUNCATED) where it breaks off, Failed(PROTOCOL) for what isn't encoded as declared.
        """
        encoding = ", ".join(value for name, value in self.headers if name == "content-encoding")
        decoder = Decoder(encoding, cap, self._pool.route.encodings)
        length, beginning = 0, bytearray()
        try:
            async for piece in self._exchange.body():
                if plain := decoder.feed(piece):
                    length += len(plain)
                    beginning += plain[: EVIDENCE_BODY - len(beginning)]
                    yield plain
            decoder.end()
        finally:
            self._ctx.facts["body_bytes"] = length
            self._ctx.evidence["body"] = beginning.decode("utf-8", "replace")
        self._ended = True
        self._pool.put_back(self._ctx, self._origin, self._connection, self._exchange)

    def abort(self) -> None:
        """Closes the connection at once, unless the body was read to its end: then the pool has it, or another request."""
        if not self._ended:
            self._pool.drop(self._connection)


class ConnectionPool:
    """The connections of one session. Requests to one origin share a connection, one after the other, as a browser's do.

    With `keep_alive` the connections stay in the wire for the check's next run. `resends` says whether a GET or HEAD goes out once
    more where its connection, used before, ends without a byte of an answer. To be closed.
    """

    def __init__(self, route: HttpRoute, *, resends: bool = True) -> None:
        self.route = route
        self._resends = resends
        self._connections: dict[Origin, Connection] = {}  # those that wait for a request
        self._lent: set[Connection] = set()  # those whose response is being read
        self._used_by: Context | None = None

    def close(self) -> None:
        """Leaves to the wire what is to be kept, and aborts the rest."""
        if self._used_by and self.route.keep_alive:
            for origin in list(self._connections)[:_MOST_KEPT]:
                place = ConnectionKey(self._used_by.check, origin, self.route)
                self._used_by.wire.shared(KeptConnections).keep(place, self._connections.pop(origin))
        for connection in (*self._connections.values(), *self._lent):
            connection.stream.abort()
        self._connections.clear()
        self._lent.clear()

    def drop(self, connection: Connection) -> None:
        """Closes a connection at once."""
        self._lent.discard(connection)
        connection.stream.abort()

    def put_back(self, ctx: Context, origin: Origin, connection: Connection, exchange: Exchange) -> None:
        """Takes a connection whose response is read, where it can carry another request; one for each origin."""
        self._lent.discard(connection)
        if not exchange.reusable() or origin in self._connections:
            connection.stream.abort()
            return
        self._connections[origin] = connection
        self._used_by = ctx

    async def send(self, ctx: Context, request: httpx.Request, body: bytes) -> StreamingResponse:
        """Sends a request that the run's permit lets pass, and returns when the response's head is there.

        Evidence and facts say what was sent and what came. Raises what `permit` and the wire raise, and Failed.
        """
        url = request.url.copy_with(userinfo=b"") if request.url.userinfo else request.url
        ctx.evidence["request"] = {"method": request.method, "url": str(url), "headers": _shown(request.headers.items())}
        await ctx.permit(request.method, str(request.url))
        origin = request.url.scheme, request.url.host, request.url.port or PORTS[request.url.scheme]
        sent = self._as_sent(request, origin, body)
        connection, exchange = await self._over_used(ctx, origin, sent) or await self._over_new(ctx, origin, sent)
        try:
            _note_response(ctx, exchange)
            if self.route.proxy and is_relayed(self.route, origin):
                self.route.proxy.judge_answer(exchange.status, exchange.fields())
        except BaseException:
            connection.stream.abort()
            raise
        self._lent.add(connection)
        return StreamingResponse(self, ctx, origin, connection, exchange)

    def _as_sent(self, request: httpx.Request, origin: Origin, body: bytes) -> OutgoingRequest:
        target, headers = request.url.raw_path, request.headers.raw
        if self.route.proxy and is_relayed(self.route, origin):
            target = str(request.url.copy_with(userinfo=b"", fragment=None)).encode("ascii")
            headers = [*headers, *((k.encode(), v.encode()) for k, v in self.route.proxy.headers().items())]
        sent = OutgoingRequest(request.method, target, request.url.scheme, tuple(headers), body)
        refuse_line_breaks(sent)
        return sent

    async def _over_new(self, ctx: Context, origin: Origin, sent: OutgoingRequest) -> tuple[Connection, Exchange]:
        connection = await connected(ctx, self.route, origin)
        try:
            exchange = await connection.send(ctx, sent)
            await exchange.receive_head()
        except BaseException:
            connection.stream.abort()
            raise
        return connection, exchange

    async def _over_used(self, ctx: Context, origin: Origin, sent: OutgoingRequest) -> tuple[Connection, Exchange] | None:
        """None where there is no such connection, or it turns out to be stale, which says nothing of the target.

        The server may close it just as we send.
        """
        connection = self._connections.pop(origin, None)
        if connection is None and self.route.keep_alive:
            connection = ctx.wire.shared(KeptConnections).take(ConnectionKey(ctx.check, origin, self.route))
        if connection is None:
            return None
        exchange = None
        try:
            if connection.alive():
                exchange = await connection.send(ctx, sent)
                await exchange.receive_head()
                ctx.facts["connection_reused"] = ctx.facts.get("connection_reused", 0) + 1
                return connection, exchange
        except (Failed, OSError) as error:
            connection.stream.abort()
            has_ended = isinstance(error, ConnectionError) or (isinstance(error, Failed) and error.reason in _ENDED)
            repeatable = self._resends and sent.method in _REPEATABLE and not (exchange and exchange.begun)
            if not (has_ended and repeatable):
                raise
            ctx.halted_in = ctx.halted_step = ""
        except BaseException:
            connection.stream.abort()
            raise
        connection.stream.abort()
        ctx.facts["connection_replaced"] = ctx.facts.get("connection_replaced", 0) + 1
        return None


def _note_response(ctx: Context, exchange: Exchange) -> None:
    length = exchange.header("content-length") or ""
    ctx.facts |= {
        "status_code": exchange.status,
        "http_version": float(exchange.version),
        "ssl": int(exchange.stream.tls is not None),
        "content_length": int(length) if length.isdigit() else None,
    }
    ctx.evidence["response"] = {"status": exchange.status, "headers": _shown(exchange.fields())}
    if ctx.revision_header:
        told = exchange.header(ctx.revision_header.lower()) or UNTOLD
        known = str(ctx.facts.get("revision", "")).split(", ")
        ctx.facts["revision"] = ", ".join(dict.fromkeys([*filter(None, known), told]))


def _shown(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: "(secret)" if name.lower() in _PRIVATE else value for name, value in headers}
