"""A check before asyncpg: only whole, well-formed messages of PostgreSQL's protocol reach its parser.

The parser is written in C: a message with a negative length ends the process, and an unknown type can block the loop for ever.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Iterator

import asyncpg
from asyncpg.pgproto import pgproto

from probes.text import clipped

_HEAD = struct.Struct("!Bi")
_BACKEND = frozenset(b"123ACDEGHIKNRSTVWZcdnstv")  # the types of messages that a server sends (protocol 3, "Message Formats")
_ERROR, _NOTICE = ord("E"), ord("N")
_AUTHENTICATION = ord("R")
_AFTER = {11: 10, 12: 11}  # a step of SASL, and the one that it follows: asyncpg's parser ends the process at one out of turn
_ROUNDS = re.compile(rb",i=0*(\d+)")  # of hashing, which a server asks for in its first SCRAM message
MOST_ROUNDS = 100_000  # PostgreSQL's default is 4096; asyncpg computes them on the loop, so many in some 40 ms
_ROW = ord("D")  # a row may be long; the transport's own cap bounds it
_READY = b"Z\0\0\0\5"  # how ReadyForQuery begins
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
    struct.error,
)


class Malformed(ValueError):  # noqa: N818 - a property of a message
    """The received data is no message of PostgreSQL's protocol."""


class Frames:
    """Cuts received data into whole messages; `cap` bounds the length of every message except a row."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._rest = bytearray()
        self._login_step = 0  # the code of the latest message of the login
        self.fatal_error: dict[str, str] = {}  # the fields of the error with which the server ended the session
        self.farewell: dict[str, str] = {}  # those of a notice that it ends the session: another process crashed (57P02)

    def feed(self, data: bytes) -> bytes:
        """Adds data and returns the messages that are complete, as bytes. Raises Malformed."""
        self._rest += data
        rest, end, size = self._rest, 0, len(self._rest)
        while size - end >= _HEADER:
            kind, length = _HEAD.unpack_from(rest, end)
            if kind not in _BACKEND:
                raise Malformed(f"no server sends a message of type {kind:#04x}")
            if length < _HEADER - 1 or (length > self._cap and kind != _ROW):
                raise Malformed(f"a message can't be {length} bytes long")
            if size - end < 1 + length:
                break
            if kind == _ERROR and rest.find(b"\0C", end, end + 1 + length) > 0:
                fields = error_fields(bytes(rest[end + _HEADER : end + 1 + length]))
                self.fatal_error = fields if is_fatal(fields) else self.fatal_error
            elif kind == _AUTHENTICATION:
                self._follow_login(bytes(rest[end + _HEADER : end + 1 + length]))
            elif kind == _NOTICE and rest.find(b"\0C57P", end, end + 1 + length) > 0:
                self.farewell = error_fields(bytes(rest[end + _HEADER : end + 1 + length]))
            end += 1 + length
        whole = bytes(rest[:end])
        del rest[:end]
        return whole

    def _follow_login(self, content: bytes) -> None:
        """Notes a step of the login. Raises Malformed for one out of turn, and for one that asks for too much work."""
        step, before = int.from_bytes(content[:4]), self._login_step
        if step in _AFTER and before != _AFTER[step]:
            raise Malformed(f"step {step} of the login came out of turn")
        if (rounds := _ROUNDS.search(content)) and (len(rounds[1]) > len(str(MOST_ROUNDS)) or int(rounds[1]) > MOST_ROUNDS):
            raise Malformed(f"the login asks for {clipped(rounds[1].decode(), 20)} rounds of hashing; at most {MOST_ROUNDS:,} are done")
        self._login_step = step


def messages(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type and the content of each message in what `Frames.feed` returned."""
    at = 0
    while at < len(data):
        end = at + 1 + int.from_bytes(data[at + 1 : at + _HEADER])
        yield data[at : at + 1], data[at + _HEADER : end]
        at = end


def error_fields(content: bytes) -> dict[str, str]:
    """The fields of an error or a notice by their letters: C is the SQLSTATE, M the text. Before login a server may use any charset."""
    return {chr(field[0]): field[1:].decode("utf-8", "replace") for field in content.split(b"\0") if field}


def is_fatal(fields: dict[str, str]) -> bool:
    """Whether an error with these fields ends the session. S may be in the server's language, V is not (PostgreSQL 9.6 and later)."""
    return fields.get("V", fields.get("S")) in ("FATAL", "PANIC")


class MessageGuard(asyncio.Protocol):
    """asyncpg's protocol behind Frames, up to the end of the login: `unread` is what came behind it.

    `error` is the first error in the received data; it ends the connection.
    """

    def __init__(self, inner: asyncio.Protocol, frames: Frames) -> None:
        self._inner = inner
        self._frames = frames
        self._transport: asyncio.BaseTransport | None = None
        self.error: Exception | None = None
        self.unread = b""  # whole messages
        self._logged_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Passes whole messages on, until the first error."""
        if self.error is not None:
            return
        try:
            whole = self._frames.feed(data)
            if not self._logged_in and _READY in whole:  # only a look: the letters may stand within another message
                at = 0
                for kind, content in messages(whole):
                    at += _HEADER + len(content)
                    if kind == b"Z":
                        self._logged_in = True
                        self._inner.data_received(whole[:at])
                        whole = whole[at:]
                        break
            if self._logged_in:
                self.unread += whole
            elif whole:
                self._inner.data_received(whole)
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
