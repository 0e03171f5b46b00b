"""One request and its response on a connection, in any version of HTTP, with phases at the socket's own events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass

from probes.core import Failed, Measurements, Reason
from probes.facts import STATUS_CODE
from probes.http.privacy import shown_headers
from probes.wire.once import Once
from probes.wire.stream import Stream

HEAD_CAP = 64 * 1024  # bytes of a response's head, and as many beside its body
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake begin
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request as it is written. `target` is the request line's: a path with its query, or for a proxy the whole address."""

    method: str
    target: bytes
    scheme: str
    headers: tuple[tuple[bytes, bytes], ...]  # Host first
    body: bytes


class Exchange(ABC):
    """The response to one request as it comes. Each version of HTTP implements `feed`."""

    version = "1.1"

    def __init__(self, ctx: Measurements, stream: Stream | Once, method: str) -> None:
        self.ctx = ctx
        self.stream = stream
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: Fields = ()  # HTTP/2 alone
        self.transfer_codings: tuple[str, ...] = ()  # encodings of the body that Transfer-Encoding names
        self.pieces: list[bytes] = []
        self.body_bytes = 0
        self.begun = False  # a byte of the response has come
        self.head_done = False
        self.done = False
        self._head_only = method == "HEAD"
        self._bytes_before = stream.received_bytes  # of the TLS handshake and of earlier responses on this connection
        self._fields: Fields | None = None

    @abstractmethod
    async def feed(self, data: bytes) -> None:
        """Parses bytes from the socket."""

    @abstractmethod
    def reusable(self) -> bool:
        """Whether the connection can carry another request after this one."""

    def ends_with_connection(self) -> bool:
        """Whether the body lasts until the server closes the connection."""
        return False

    def begins(self) -> str:
        """How the response begins, for evidence, where its head never came whole; "" where its bytes aren't text."""
        return ""

    async def receive_head(self, asked_at: float = 0.0) -> None:
        """Reads the response's head. Phase `processing` lasts from the request written to the response's first byte.

        `asked_at` is when the request was written, where that was long before. Where it fails, what came of the head is evidence.
        """
        try:
            with self.ctx.phase("processing") as interval:
                interval.start = asked_at or interval.start
                data = await self._first_bytes()
                interval.end = self.stream.last_read_at
            taken = 0
            while True:
                first, rest = (
                    data[: HEAD_CAP - taken],
                    data[HEAD_CAP - taken :],
                )  # so that the cap doesn't depend on how the bytes were split
                taken += len(first)
                await self.feed(first)
                if self.head_done:
                    if rest:
                        await self.feed(rest)
                    return
                if taken >= HEAD_CAP:
                    raise Failed(Reason.SIZE, f"the response head exceeds {HEAD_CAP // 1024} KiB")
                with self.ctx.phase("transfer") as interval:
                    data = await self._read()
                    interval.end = self.stream.last_read_at
        except (Failed, OSError):
            if self.begun:
                known = {"status": self.status, "headers": shown_headers(self.fields())} if self.status else {}
                self.ctx.evidence["response"] = known | ({"begins": self.begins()} if self.begins() else {})
                self.ctx.facts |= {STATUS_CODE: self.status} if self.status else {}
            raise

    async def _first_bytes(self) -> bytes:
        data = await self._read()
        self.begun = True
        self.refuse_tls(data)
        return data

    def refuse_tls(self, beginning: bytes) -> None:
        """Raises Failed where the server answers a plain request in TLS."""
        if self.stream.tls is None and beginning[:2] in _TLS_RECORDS:
            raise Failed(Reason.PROTOCOL, f"the server's response is a TLS record ({beginning[:8].hex(' ')}): the port speaks TLS")

    async def body(self) -> AsyncIterator[bytes]:
        """The body's pieces as they come: phase `transfer`."""
        self.ctx.mark(
            "transfer", self.stream.last_read_at, self.stream.last_read_at
        )  # the phase exists even if the whole body came with the head
        while True:
            pieces, self.pieces = self.pieces, []
            for piece in pieces:
                yield piece
            if self.done:
                return
            with self.ctx.phase("transfer") as interval:
                data = await self._read(ending=True)
                interval.end = self.stream.last_read_at
            if data:
                await self.feed(data)
            elif self.ends_with_connection():
                self.done = True
            else:
                raise self.broken_off()

    async def _read(self, *, ending: bool = False) -> bytes:
        try:
            data = await self.stream.read()
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionResetError(error.errno or 104, f"the connection was reset {self.so_far()}") from error
        if not data and not ending:
            raise self.broken_off()
        return data

    def broken_off(self) -> Failed:
        """The failure where the connection ended before the response did."""
        hint = "" if self.begun or self.stream.tls or self.stream.received_bytes else "; does the port speak TLS?"
        return Failed(Reason.TRUNCATED, f"the connection was closed {self.so_far()}{hint}")

    def so_far(self) -> str:
        """How much of the response had come, for a message."""
        if not self.head_done:
            came = self.stream.received_bytes - self._bytes_before
            return f"after {came} bytes of the response head" if self.begun and came else "before any response"
        length = self.header("content-length")
        of = f" of {length}" if length else ""
        return f"after {self.body_bytes}{of} bytes of the body"

    def fields(self) -> Fields:
        """The headers in the order received, names in lower case; known when the head is there."""
        if self._fields is None:
            self._fields = tuple((name.decode("latin-1").lower(), read_field(value)) for name, value in self.headers)
        return self._fields

    def header(self, name: str) -> str | None:
        """The first value of a header; None where it is absent."""
        return next((value for key, value in self.fields() if key == name), None)


def read_field(value: bytes) -> str:
    """The value of a header as text, without the blanks around it (RFC 9110, 5.5): UTF-8 where it is that, else ISO 8859-1."""
    value = value.strip(b" \t")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Connection(ABC):
    """A connection that speaks one version of HTTP, one request at a time."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @abstractmethod
    async def send(self, ctx: Measurements, request: OutgoingRequest) -> Exchange:
        """Sends a request. Its response is read from the exchange."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether it can carry another request, as far as is known: it is open, and no unexpected bytes have come."""
