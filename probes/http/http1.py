"""HTTP/1.1 on a stream."""

from __future__ import annotations

from probes.core import Failed, Measurements, PolicyRefused
from probes.http.chunks import Chunks
from probes.http.exchange import Connection, Exchange, OutgoingRequest
from probes.http.head import Head, begins
from probes.wire.once import Once
from probes.wire.stream import Stream

_BODILESS = {101, 204, 304}


class Http1(Connection):
    """A connection of HTTP/1.1. `strict`: nothing is taken that RFC 9112 doesn't allow."""

    def __init__(self, stream: Stream, *, strict: bool = False) -> None:
        super().__init__(stream)
        self._strict = strict

    async def send(self, ctx: Measurements, request: OutgoingRequest) -> Exchange:
        exchange = Exchange1(ctx, self.stream, request.method, strict=self._strict)
        await self.stream.write(written(request))
        return exchange

    def alive(self) -> bool:
        return self.stream.is_idle()


def written(request: OutgoingRequest) -> bytes:
    """A request as it goes over the connection."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.target)]
    lines += [name + b": " + value for name, value in request.headers]
    return b"\r\n".join([*lines, b"", request.body])


def refuse_line_breaks(request: OutgoingRequest) -> None:
    """Raises PolicyRefused for a header that would smuggle in another one, before a byte is sent."""
    for name, value in request.headers:
        if any(character in name + value for character in b"\r\n\0"):
            raise PolicyRefused(f"header {name.decode('ascii', 'replace')!r} has a line break or a NUL")


class Exchange1(Exchange):
    """One request and its response."""

    def __init__(self, ctx: Measurements, stream: Stream | Once, method: str, *, strict: bool = False, switches: bool = False) -> None:
        super().__init__(ctx, stream, method)
        self._is_tunnel = method == "CONNECT"  # what follows the response's head belongs to the tunnel (RFC 9110, 9.3.6)
        self._strict = strict
        self._head = Head(strict=strict, switches=switches)
        self._unread = bytearray()
        self._scanned = 0  # bytes of `_unread` that hold no line's end
        self._chunks: Chunks | None = None
        self._left: int | None = None  # bytes of the body that are still to come; None: until the connection's end
        self._keep = False

    async def feed(self, data: bytes) -> None:
        self._unread += data
        try:
            while not self.head_done:
                self._head.check_beginning(bytes(self._unread[:100]))
                end = self._unread.find(b"\n", self._scanned)
                if end < 0:
                    self._scanned = len(self._unread)
                    return
                line = bytes(self._unread[: end + 1])
                del self._unread[: end + 1]
                self._scanned = 0
                if self._head.add(line):
                    self._end_head()
        except Failed:
            self.status, self.headers = self._head.status, self._head.fields  # as far as they are known
            raise
        if not self.done:
            self._read_body()

    def _end_head(self) -> None:
        """Decides where the body ends (RFC 9112, 6.3)."""
        head = self._head
        self.status, self.version, self.headers = head.status, head.version, head.fields
        self._keep = head.keeps_alive()
        if self._head_only or self.status in _BODILESS or self._is_tunnel:
            self.done = True
        else:
            codings = head.transfer_codings()
            self.transfer_codings = tuple(coding for coding in codings if coding != "chunked")
            if codings[-1:] == ("chunked",):
                self._chunks = Chunks(head)
                self._keep = self._keep and self.header("content-length") is None
            else:
                self._left = head.content_length()
                self.done = self._left == 0
                self._keep = self._keep and not codings
        self.head_done = True

    def _read_body(self) -> None:
        if self._chunks:
            piece = self._chunks.take(self._unread)
            self.done = self._chunks.ended
        else:
            piece = bytes(self._unread[: self._left])
            del self._unread[: self._left]
            if self._left is not None:
                self._left -= len(piece)
                self.done = not self._left
        if piece:
            self.body_bytes += len(piece)
            self.pieces.append(piece)

    def behind_the_head(self) -> bytes:
        """What has come of another protocol, after CONNECT or Switching Protocols."""
        return bytes(self._unread)

    def begins(self) -> str:
        return begins(self._head.first_line or bytes(self._unread))

    def ends_with_connection(self) -> bool:
        if self._chunks:  # the line end behind the last trailer may be missing
            return self._chunks.complete and not self._strict
        return self._left is None

    def reusable(self) -> bool:
        return self.done and self._keep and not self._unread and self.stream.is_idle()
