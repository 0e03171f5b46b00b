"""A check before asyncpg: only whole, well-formed messages of PostgreSQL's protocol reach its parser.

The parser is written in C: a message with a negative length ends the process, and an unknown type can block the loop for ever.
"""

from __future__ import annotations

import asyncio

import asyncpg
from asyncpg.pgproto import pgproto

_BACKEND = frozenset(b"123ACDEGHIKNRSTVWZcdnstv")  # the types of messages that a server sends (protocol 3, "Message Formats")
_ERROR = ord("E")
_ROW = ord("D")  # a row may be long; the transport's own cap bounds it
_HEADER = 5  # a type and a length, which counts itself and not the type
BROKEN: tuple[type[Exception], ...] = (  # what the parser raises on messages with an invalid content
    asyncpg.InternalClientError,
    AssertionError,
    AttributeError,
    BufferError,
    pgproto.BufferError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
)


class Malformed(ValueError):  # noqa: N818 - a property of a message
    """The received data is no message of PostgreSQL's protocol."""


class Frames:
    """Cuts received data into whole messages; `cap` bounds the length of every message except a row."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._rest = bytearray()
        self.fatal_error: dict[str, str] = {}  # the fields of the error with which the server ended the session

    def feed(self, data: bytes) -> bytes:
        """Adds data and returns the messages that are complete, as bytes. Raises Malformed."""
        self._rest += data
        end = 0
        while len(self._rest) - end >= _HEADER:
            kind, length = self._rest[end], int.from_bytes(self._rest[end + 1 : end + _HEADER], signed=True)
            if kind not in _BACKEND:
                raise Malformed(f"no server sends a message of type {kind:#04x}")
            if length < _HEADER - 1 or (length > self._cap and kind != _ROW):
                raise Malformed(f"a message can't be {length} bytes long")
            if len(self._rest) - end < 1 + length:
                break
            if kind == _ERROR:
                error = bytes(self._rest[end + _HEADER : end + 1 + length])
                fields = {chr(field[0]): field[1:].decode("utf-8", "replace") for field in error.split(b"\0") if field}
                if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
                    self.fatal_error = fields
            end += 1 + length
        messages = bytes(self._rest[:end])
        del self._rest[:end]
        return messages


class MessageGuard(asyncio.Protocol):
    """asyncpg's protocol behind Frames. `error` is the first error in the received data; it ends the connection."""

    def __init__(self, inner: asyncio.Protocol, cap: int) -> None:
        self._inner = inner
        self._frames = Frames(cap)
        self._transport: asyncio.BaseTransport | None = None
        self.error: Exception | None = None

    @property
    def fatal_error(self) -> dict[str, str]:
        """The fields of the error with which the server ended the session. asyncpg drops it during a query."""
        return self._frames.fatal_error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Passes whole messages on, until the first error."""
        if self.error is not None:
            return
        try:
            if messages := self._frames.feed(data):
                self._inner.data_received(messages)
        except BROKEN as error:
            self.error = error
            if isinstance(self._transport, asyncio.Transport):
                self._transport.abort()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Passes the loss on; a parser that has already failed may raise again."""
        try:
            self._inner.connection_lost(exc)
        except BROKEN as error:
            self.error = self.error or error

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
