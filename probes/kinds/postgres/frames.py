"""A guard before asyncpg: only whole, well-formed messages of PostgreSQL's protocol reach its parser.

The parser is C: a message with a negative length ends the process, and one of no known type can hold the loop for ever.
"""

from __future__ import annotations

import asyncio

import asyncpg
from asyncpg.pgproto import pgproto

_BACKEND = frozenset(b"123ACDEGHIKNRSTVWZcdnstv")  # the types of messages that a server sends (protocol 3, "Message Formats")
_ERROR = ord("E")
_ROW = ord("D")  # may be long in earnest: the session's own cap says so then
_HEADER = 5  # a type and a length, which counts itself and not the type
BROKEN: tuple[type[Exception], ...] = (  # what the parser raises on messages whose insides are wrong
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


class Malformed(ValueError):  # noqa: N818 - what a message is
    """What came is no message of PostgreSQL's protocol."""


class Frames:
    """Cuts what comes into whole messages; `most` bounds the length of one that is no row."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        self.farewell: dict[str, str] = {}  # the fields of the error with which the server ended the session

    def whole(self, data: bytes) -> bytes:
        """The messages that are complete now, one behind the other. Raises Malformed."""
        self._rest += data
        end = 0
        while len(self._rest) - end >= _HEADER:
            kind, length = self._rest[end], int.from_bytes(self._rest[end + 1 : end + _HEADER], signed=True)
            if kind not in _BACKEND:
                raise Malformed(f"no server sends a message of type {kind:#04x}")
            if length < _HEADER - 1 or (length > self._most and kind != _ROW):
                raise Malformed(f"a message can't be {length} bytes long")
            if len(self._rest) - end < 1 + length:
                break
            if kind == _ERROR:
                self._hear(bytes(self._rest[end + _HEADER : end + 1 + length]))
            end += 1 + length
        messages = bytes(self._rest[:end])
        del self._rest[:end]
        return messages

    def _hear(self, error: bytes) -> None:
        fields = {chr(field[0]): field[1:].decode("utf-8", "replace") for field in error.split(b"\0") if field}
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            self.farewell = fields


class Guard(asyncio.Protocol):
    """asyncpg's protocol behind Frames. `error` is what was wrong with what came, and ends the connection."""

    def __init__(self, inner: asyncio.Protocol, most: int) -> None:
        self._inner = inner
        self._frames = Frames(most)
        self._transport: asyncio.BaseTransport | None = None
        self.error: Exception | None = None

    @property
    def farewell(self) -> dict[str, str]:
        """What the server said as it ended the session: asyncpg forgets it where a query was under way."""
        return self._frames.farewell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets asyncpg begin."""
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Passes whole messages on, as long as all is well."""
        if self.error is not None:
            return
        try:
            if messages := self._frames.whole(data):
                self._inner.data_received(messages)
        except BROKEN as error:
            self.error = error
            if isinstance(self._transport, asyncio.Transport):
                self._transport.abort()

    def eof_received(self) -> bool | None:
        """Passes the end on."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Passes the loss on; a parser that is already confused may stumble over it."""
        try:
            self._inner.connection_lost(exc)
        except BROKEN as error:
            self.error = self.error or error

    def pause_writing(self) -> None:
        """Passes the peer's slowness on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As pause_writing."""
        self._inner.resume_writing()
