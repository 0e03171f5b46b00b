"""One connection: bytes in and out, the moment of each socket event, and TLS.

TLS runs over memory buffers, so that the server's certificates are known even when their verification fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from probes.wire.pace import MOST, Pace

READ_AHEAD = 256 * 1024  # unread bytes above which reading from the socket pauses


@dataclass(frozen=True, slots=True)
class Detached:
    """The parts of a Stream: the plain transport, TLS where there is any, and received bytes that nobody has read."""

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
        self._pace = Pace(monotonic)

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
        return True  # keep our side open: the probe judges a half-closed peer

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

    async def _raw_read(self, most: int) -> bytes:
        while not self._received and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            self._pace.waits()
            await self._waiter
        if not self._received and self._error:
            raise self._error
        data = bytes(self._received[:most])
        del self._received[:most]
        if self._paused and self._transport and not self._ended and len(self._received) <= READ_AHEAD:
            self._transport.resume_reading()
            self._paused = False
        return data

    def _raw_write(self, data: bytes) -> None:
        if self._error:
            raise self._error
        if self._transport and data:
            self._transport.write(data)

    # -- the probe's side

    async def read(self, most: int = 65536) -> bytes:
        """At most `most` bytes, as soon as there are some; b"" at the end. Raises ConnectionResetError after a reset.

        A reader that is busy with what it gets is given less at once, and the loop gets its turn between two pieces.
        """
        if self._pace.is_over():
            self._pace.waits()
            await asyncio.sleep(0)
        most = min(most, self._pace.most)
        piece = await (self._raw_read(most) if self.tls is None else self._tls_read(most))
        self._pace.gives(len(piece))
        return piece

    async def write(self, data: bytes) -> None:
        """Gives bytes to the socket. Waits only while its buffer is full."""
        if self.tls is not None:
            self.tls.write(data)
            data = self._outgoing.read()
        self._raw_write(data)
        await self._writable.wait()

    async def handshake(self, context: ssl.SSLContext, server_name: str) -> None:
        """Makes the TLS handshake as a client. `tls` is set first, so that the server's certificates are known even after a failure."""
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._raw_write(self._outgoing.read())
                await self._feed_tls()
            except ssl.SSLError:
                self._raw_write(self._outgoing.read())  # the alert that tells the server why
                raise
            else:
                self._raw_write(self._outgoing.read())
                return

    async def close_tls(self) -> None:
        """Sends close_notify and waits for the server's. Raises ssl.SSLError for an alert: in TLS 1.3, about our certificate."""
        assert self.tls is not None  # noqa: S101 - for the type checker; only a secured stream closes TLS
        with contextlib.suppress(ssl.SSLWantReadError):  # unwrap would wait for the server's close_notify and miss an alert before it
            self.tls.unwrap()
        self._raw_write(self._outgoing.read())
        while await self._tls_read(65536):
            pass

    async def _tls_read(self, most: int) -> bytes:
        assert self.tls is not None  # noqa: S101 - for the type checker; `read` has checked it
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLWantReadError:
                self._raw_write(self._outgoing.read())
                await self._feed_tls()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def _feed_tls(self) -> None:
        if data := await self._raw_read(MOST):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def is_idle(self) -> bool:
        """Whether the connection is open and holds no unread bytes. With TLS unread bytes are no sign: they may be session tickets."""
        return not self._ended and self._error is None and (self.tls is not None or not self._received)

    def detach(self) -> Detached:
        """Hands over the connection with its unread bytes: see probes.wire.handover. The stream can't be used afterwards."""
        assert self._transport is not None  # noqa: S101 - for the type checker; a Stream in hand is connected
        if self._paused and not self._ended:
            self._transport.resume_reading()
        return Detached(self._transport, self.tls, self._incoming, self._outgoing, bytes(self._received), self._ended)

    def close(self) -> None:
        """Closes after everything unsent is sent."""
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once; unsent bytes are lost."""
        if self._transport:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Waits until the socket is closed."""
        await self._lost
