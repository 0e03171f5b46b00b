"""A Stream handed over to a library that brings a protocol of its own (asyncpg, redis-py): TLS inside, the moments kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from probes.wire.stream import Stream

CAP = 1024 * 1024  # bytes that a run may be answered with


class StreamTransport(asyncio.Transport, asyncio.Protocol):
    """A transport towards the library, a protocol towards the socket.

    `last_read_at` is when the socket last gave something, so that a phase ends there and not when our loop came round to
    it. Above `cap` bytes the connection is dropped and `overflowed` is true: nobody fills our memory.
    """

    def __init__(self, stream: Stream, protocol: asyncio.Protocol, monotonic: Callable[[], float], cap: int = CAP) -> None:
        super().__init__()
        parts = stream.detach()
        self._transport, self._tls = parts.transport, parts.tls
        self._incoming, self._outgoing = parts.incoming, parts.outgoing
        self._protocol: asyncio.BaseProtocol = protocol
        self._monotonic = monotonic
        self._left = cap
        self._ended = False
        self.overflowed = False
        self.answered = False  # whether anything came at all
        self.error: Exception | None = None  # why the connection was lost, where it did not just end
        self.last_read_at = monotonic()
        self._transport.set_protocol(self)
        protocol.connection_made(self)
        if parts.unread:
            self.data_received(parts.unread)
        elif self._tls:
            self._decrypt()  # what came with the handshake's last bytes
        if parts.ended:
            self.eof_received()

    # -- towards the socket

    def data_received(self, data: bytes) -> None:
        """Passes on what came, decrypted."""
        self.last_read_at, self.answered = self._monotonic(), True
        self._left -= len(data)
        if self._left < 0:
            self.overflowed = True
            self._transport.abort()
        elif self._tls is None:
            self._pass_on(data)
        else:
            self._incoming.write(data)
            self._decrypt()

    def eof_received(self) -> bool:
        """Passes the end on, and closes: a peer that has said all is of no more use to a dialogue."""
        self.last_read_at = self._monotonic()
        if not self._ended:
            self._ended = True
            if isinstance(self._protocol, asyncio.Protocol):
                self._protocol.eof_received()
        self._transport.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Passes the loss on."""
        self.error = self.error or exc
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Passes the peer's slowness on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """As pause_writing."""
        self._protocol.resume_writing()

    def _pass_on(self, data: bytes) -> None:
        if isinstance(self._protocol, asyncio.Protocol) and not self._ended:
            self._protocol.data_received(data)

    def _decrypt(self) -> None:
        assert self._tls is not None  # noqa: S101 - for the type checker; the callers asked
        try:
            while plain := self._tls.read(65536):
                self._pass_on(plain)
        except ssl.SSLWantReadError:
            self._transport.write(self._outgoing.read())
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.eof_received()
        except ssl.SSLError as error:
            self._transport.abort()
            self.error = error
            self._protocol.connection_lost(error)
            self._protocol = asyncio.Protocol()  # it has been told; the socket's own end tells nobody

    # -- towards the library

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Sends, encrypted where there is TLS."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Sends all of them at once."""
        self.write(b"".join(list_of_data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the socket's own transport; `ssl_object` is the TLS inside."""
        return self._tls if name == "ssl_object" else self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """What comes goes to another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whom what comes is passed to."""
        return self._protocol

    def is_closing(self) -> bool:
        """Whether the socket is closed or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Closes when what is unsent has gone out."""
        self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Lets the peer wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Lets the peer go on."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Whether the peer may send."""
        return self._transport.is_reading()

    def can_write_eof(self) -> bool:
        """Never: TLS can't, and no dialogue here needs to."""
        return False

    def get_write_buffer_size(self) -> int:
        """Bytes that are not sent yet."""
        return self._transport.get_write_buffer_size()
