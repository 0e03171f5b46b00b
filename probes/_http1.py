"""HTTP/1.1 over the wire, as httpx's transport: what was sent, what came, and when, at the socket's own events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import httptools
import httpx

from probes._core import Context, Failed, Reason, Refused
from probes._stream import Stream
from probes._tls import Tls

HEAD_CAP = 64 * 1024  # bytes of an answer's head
_BODILESS = {204, 304}


class Transport(httpx.AsyncBaseTransport):
    """One request on a connection of its own. `ctx` and `tls` come in the request's extensions."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends, and returns as soon as the head is there; the body streams. Every send passes ctx.permit."""
        ctx: Context = request.extensions["ctx"]
        tls: Tls = request.extensions["tls"]
        url = request.url
        if url.scheme not in ("http", "https"):
            raise Failed(Reason.REDIRECT, f"the redirect leads to a {url.scheme} address")
        await ctx.permit(request.method, str(url))
        secure = url.scheme == "https"
        stream = await ctx.wire.stream(ctx, url.host, url.port or (443 if secure else 80), tls if secure else None, ("http/1.1",))
        exchange = Exchange(ctx, stream, request.method)
        try:
            await exchange.send(_head(request) + await request.aread())
            await exchange.receive_head()
        except BaseException:
            stream.abort()
            raise
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=Body(exchange),
            extensions={"http_version": b"HTTP/" + exchange.version.encode(), "exchange": exchange},
        )


def _head(request: httpx.Request) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    for name, value in request.headers.raw:
        if any(c in name + value for c in b"\r\n\0"):
            raise Refused(f"header {name.decode('ascii', 'replace')!r} holds a line break or a NUL")
        lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])


class Exchange:
    """One request and its answer on one stream; the C parser calls the `on_` methods."""

    def __init__(self, ctx: Context, stream: Stream, method: str) -> None:
        self.ctx = ctx
        self.stream = stream
        self.status = 0
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.body_bytes = 0
        self.first_byte_at = 0.0
        self._head_only = method == "HEAD"
        self._head_done = False
        self._done = False
        self._before = 0  # bytes on this stream before the answer: the TLS handshake's
        self._parser = httptools.HttpResponseParser(self)

    # -- the parser's calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.version = self._parser.get_http_version()
        if self.status >= 200:  # noqa: PLR2004 - below are interim answers (RFC 9110, 15.2)
            self._head_done = True
            self._done = self._head_only or self.status in _BODILESS

    def on_body(self, piece: bytes) -> None:
        self.body_bytes += len(piece)
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._head_done:
            self._done = True
        else:
            self.headers.clear()

    # -- the probe's side

    async def send(self, data: bytes) -> None:
        self._before = self.stream.received_bytes
        await self.stream.write(data)

    async def receive_head(self) -> None:
        """Phase `processing`: from the request written to the answer's first byte."""
        with self.ctx.phase("processing") as stretch:
            data = await self._read()
            stretch.end = self.first_byte_at = self.stream.last_read_at
        taken = 0
        while True:
            taken += len(data)
            self._feed(data)
            if self._head_done:
                return
            if taken > HEAD_CAP:
                raise Failed(Reason.SIZE, f"the answer's head exceeds {HEAD_CAP // 1024} KiB")
            with self.ctx.phase("transfer") as stretch:
                data = await self._read()
                stretch.end = self.stream.last_read_at

    async def body(self) -> AsyncIterator[bytes]:
        """The body's pieces as they come: phase `transfer`."""
        self.ctx.mark("transfer", self.stream.last_read_at, self.stream.last_read_at)  # there, though all came with the head
        while True:
            for piece in self._take():
                yield piece
            if self._done:
                return
            with self.ctx.phase("transfer") as stretch:
                data = await self._read(ending=True)
                stretch.end = self.stream.last_read_at
            if data:
                self._feed(data)
            else:
                self._end_of_stream()

    def _take(self) -> Iterable[bytes]:
        pieces, self.pieces = self.pieces, []
        return pieces

    async def _read(self, *, ending: bool = False) -> bytes:
        try:
            data = await self.stream.read()
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionResetError(error.errno or 104, f"the connection was reset {self._so_far()}") from error
        if not data and not ending:
            raise Failed(Reason.TRUNCATED, f"the connection was closed {self._so_far()}")
        return data

    def _so_far(self) -> str:
        if not self._head_done:
            came = self.stream.received_bytes - self._before
            return f"in the middle of the answer's head, {came} bytes in" if came else "before any answer came"
        length = self.header("content-length")
        of = f" of {length}" if length else ""
        return f"after {self.body_bytes}{of} bytes of the body"

    def _end_of_stream(self) -> None:
        if self.header("content-length") is not None or "chunked" in (self.header("transfer-encoding") or "").lower():
            raise Failed(Reason.TRUNCATED, f"the connection was closed {self._so_far()}")
        self._done = True

    def fields(self) -> tuple[tuple[str, str], ...]:
        """The headers in the order received, names in lower case."""
        return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in self.headers)

    def header(self, name: str) -> str | None:
        """The first value of a header; None where it is absent."""
        return next((value for key, value in self.fields() if key == name), None)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise Failed(Reason.PROTOCOL, f"the server switched protocols ({self.status}), which wasn't asked for") from error
        except httptools.HttpParserError as error:
            if not self._done:  # bytes beyond an answer's end are not the answer's
                raise Failed(Reason.PROTOCOL, f"what came is no HTTP/1.1 answer: {str(error).rstrip('.').lower()}") from error

    def abort(self) -> None:
        self.stream.abort()


class Body(httpx.AsyncByteStream):
    """An answer's body; closing it closes its connection."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._exchange.body():
            yield piece

    async def aclose(self) -> None:
        self._exchange.abort()
