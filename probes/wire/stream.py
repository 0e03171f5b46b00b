"""One connection: bytes in and out with the moment of each socket event, and TLS inside it.

TLS runs over memory buffers, so that the certificates presented are there even when they don't hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

READ_AHEAD = 256 * 1024  # bytes kept unread before the socket is told to wait


@dataclass(frozen=True, slots=True)
class Detached:
    """What a Stream was made of: the plain transport, TLS inside it where there is any, and bytes of the transport not read yet."""

    transport: asyncio.Transport
    tls: ssl.SSLObject | None
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    unread: bytes
    ended: bool


class Stream(asyncio.Protocol):
    """A byte stream over a connected socket. One reader and one writer at a time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.get_running_loop().create_future()
        self._paused = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None
        self.last_read_at = 0.0  # when the socket last gave bytes or its end
        self.received_bytes = 0

    # -- the socket's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.last_read_at = self._monotonic()
        self.received_bytes += len(data)
        self._received += data
        if len(self._received) > READ_AHEAD and self._transport and not self._paused:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> bool:
        self.last_read_at = self._monotonic()
        self._ended = True
        self._wake()
        return True  # we may still write: a half-closed peer is the probe's to judge

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, exc or self._error
        self._writable.set()
        self._wake()
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # -- plain bytes

    async def _raw_read(self) -> bytes:
        while not self._received and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._received and self._error:
            raise self._error
        data = bytes(self._received)
        self._received.clear()
        if self._paused and self._transport and not self._ended:
            self._transport.resume_reading()
            self._paused = False
        return data

    def _raw_write(self, data: bytes) -> None:
        if self._error:
            raise self._error
        if self._transport and data:
            self._transport.write(data)

    # -- what probes use

    async def read(self, most: int = 65536) -> bytes:
        """At most so many bytes, as soon as there are some; b"" at the end. A reset escapes as ConnectionResetError."""
        if self.tls is not None:
            return await self._tls_read(most)
        if len(self._received) > most:
            piece = bytes(self._received[:most])
            del self._received[:most]
            return piece
        return await self._raw_read()

    async def write(self, data: bytes) -> None:
        """Hands bytes to the socket, waiting only while its buffer is full."""
        if self.tls is not None:
            self.tls.write(data)
            data = self._outgoing.read()
        self._raw_write(data)
        await self._writable.wait()

    async def handshake(self, context: ssl.SSLContext, server_name: str) -> None:
        """Shakes hands as a client. `tls` is set before, so that what the server showed is there after a failure."""
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._raw_write(self._outgoing.read())
                await self._more()
            except ssl.SSLError:
                self._raw_write(self._outgoing.read())  # the alert says to the server why we leave
                raise
            else:
                self._raw_write(self._outgoing.read())
                return

    async def farewell(self) -> None:
        """Says the end of TLS and waits for the server's. Raises ssl.SSLError where it objects: in TLS 1.3, to our certificate."""
        assert self.tls is not None  # noqa: S101 - for the type checker; only TLS has a farewell
        with contextlib.suppress(ssl.SSLWantReadError):  # it would wait for the server's, and pass over an alert before it
            self.tls.unwrap()
        self._raw_write(self._outgoing.read())
        while await self._tls_read(65536):
            pass

    async def _tls_read(self, most: int) -> bytes:
        assert self.tls is not None  # noqa: S101 - for the type checker; `read` asked
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLWantReadError:
                self._raw_write(self._outgoing.read())
                await self._more()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def _more(self) -> None:
        if data := await self._raw_read():
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def quiet(self) -> bool:
        """Whether it is open and nothing unread has come: TLS may have records of its own, such as tickets for another session."""
        return not self._ended and self._error is None and (self.tls is not None or not self._received)

    def detach(self) -> Detached:
        """Gives the connection away, with what came and was not read: see probes.wire.handover. The stream itself is then of no use."""
        assert self._transport is not None  # noqa: S101 - for the type checker; a Stream in hand is connected
        if self._paused and not self._ended:
            self._transport.resume_reading()
        return Detached(self._transport, self.tls, self._incoming, self._outgoing, bytes(self._received), self._ended)

    def close(self) -> None:
        """Closes at once; what is still unsent goes out first."""
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Closes and drops what is unsent: for a run that was cut short."""
        if self._transport:
            self._transport.abort()

    async def closed(self) -> None:
        """Waits until the socket is gone."""
        await self._lost
