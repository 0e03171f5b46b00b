"""A Stream for a library with a protocol class of its own (asyncpg, redis-py): TLS inside, the socket's moments kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from probes.wire.stream import Stream

CAP = 1024 * 1024  # bytes that a run may receive


class StreamTransport(asyncio.Transport, asyncio.Protocol):
    """The library's transport and the socket's protocol.

    `last_read_at` is when the socket last gave bytes: a phase ends there, however late the loop runs the library's code. Above `cap`
    bytes the connection is closed and `overflowed` is true, so that no server can fill the runner's memory.
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
        self.received_any = False  # whether a byte has come
        self.error: Exception | None = None  # why the connection was lost; None for an orderly end
        self.last_read_at = monotonic()
        self._transport.set_protocol(self)
        protocol.connection_made(self)
        if parts.unread:
            self.data_received(parts.unread)
        elif self._tls:
            self._decrypt()  # bytes that came with the end of the handshake
        if parts.ended:
            self.eof_received()

    # -- towards the socket

    def data_received(self, data: bytes) -> None:
        """Decrypts the bytes and passes them on."""
        self.last_read_at, self.received_any = self._monotonic(), True
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
        """Passes the end on, and closes: without the peer's side no dialogue can go on."""
        self.last_read_at = self._monotonic()
        if not self._ended:
            self._ended = True
            if isinstance(self._protocol, asyncio.Protocol):
                self._protocol.eof_received()
        self._transport.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = self.error or exc
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def _pass_on(self, data: bytes) -> None:
        if isinstance(self._protocol, asyncio.Protocol) and not self._ended:
            self._protocol.data_received(data)

    def _decrypt(self) -> None:
        assert self._tls is not None  # noqa: S101 - for the type checker; the callers have checked it
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
            self._protocol = asyncio.Protocol()  # so that the socket's end doesn't call connection_lost a second time

    # -- towards the library

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the socket's transport; `ssl_object` is the TLS inside."""
        return self._tls if name == "ssl_object" else self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def can_write_eof(self) -> bool:
        return False  # TLS can't, and no dialogue here needs it

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()
