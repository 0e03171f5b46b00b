"""A session after its login: one read-only transaction in PostgreSQL's extended query protocol (protocol 3, "Message Flow").

asyncpg logs in. The query is sent here, because a check takes every type in PostgreSQL's own words, needs no look into the catalogue
for it, and must hear what the server says between two messages.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from probes.kinds.postgres.frames import Frames, Malformed, error_fields, messages
from probes.wire.handover import StreamTransport

_PIECE = 16_384  # received bytes that are read before the loop has its turn
_BETWEEN = frozenset({b"N", b"S", b"A"})  # notices, settings and notifications may come at any time
_LOCK_SHARE, _LOCK_MOST = 10, 100  # a lock is given up a tenth, at most 100 ms, before the statement: so the server can say which it was
_OWN = "nullif((extract(epoch from pg_catalog.current_setting('{}')::pg_catalog.interval) * 1000)::pg_catalog.int8, 0)"  # 0 is no limit
_BEGIN = (
    "BEGIN READ ONLY; SELECT s, l, pg_catalog.set_config('statement_timeout', s::pg_catalog.text, true), "
    "pg_catalog.set_config('lock_timeout', l::pg_catalog.text, true){applied} FROM "
    "(SELECT least({own_statement}, {statement}) AS s, least({own_lock}, {lock}) AS l) AS limits"
)
_SESSION_COMMANDS = frozenset({"SET", "RESET", "LISTEN", "UNLISTEN"})  # a pooler's server connection must not keep what they do


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the server lets the query and its locks take, in milliseconds: the smaller of the role's own limits and the check's."""

    statement: int
    lock: int


class Column(NamedTuple):
    """A column of a query: its name, and its type by the OID in pg_type."""

    name: str
    oid: int


@dataclass(slots=True)
class Outcome:
    """What a query returned. `tag` names the command (`SELECT 1`); `copies` is set where it is a COPY, `empty` where it is none."""

    rows: int = 0
    kept: list[list[bytes | None]] = field(default_factory=list)  # the first rows; None for null
    tag: str = ""
    copies: bool = False
    empty: bool = False


class Session(asyncio.Protocol):
    """Sends and reads messages on a connection that asyncpg has logged in on. Raises asyncpg's errors, and Malformed."""

    def __init__(self, transport: StreamTransport, frames: Frames, unread: bytes) -> None:
        self._transport = transport
        self._frames = frames
        self._unread = bytearray()
        self._messages: Iterator[tuple[bytes, bytes]] = messages(unread)
        self._ended = transport.is_closing()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._status = b"I"  # of the transaction: idle, in one (T), or in a failed one (E)
        self.ends_with = "COMMIT"
        transport.set_protocol(self)

    # -- the transport's events

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, exc
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- the dialogue

    async def begin(self, milliseconds: int, settings: Mapping[str, str]) -> Limits:
        """Begins the read-only transaction. Its limits are at most `milliseconds`, and never above what the role has of its own.

        They are set in the transaction, since PgBouncer refuses them at start-up and hands a session's settings to other clients.
        """
        lock = lock_limit(milliseconds)
        applied = "".join(f", pg_catalog.set_config({_literal(name)}, {_literal(value)}, true)" for name, value in settings.items())
        own = {"own_statement": _OWN.format("statement_timeout"), "own_lock": _OWN.format("lock_timeout")}
        rows = await self.simple(_BEGIN.format(statement=milliseconds, lock=lock, applied=applied, **own))
        if self._status != b"T":
            raise Malformed("BEGIN began no transaction")  # without one the query could write
        return Limits(int(rows[0][0] or 0), int(rows[0][1] or 0)) if rows else Limits(milliseconds, lock)

    async def prepare(self, query: str) -> tuple[list[Column], int]:
        """The query's columns, and the number of its parameters."""
        self._send((b"P", b"\0" + query.encode() + b"\0\0\0"), (b"D", b"S\0"), (b"H", b""))
        parameters = 0
        while True:
            kind, content = await self._message()
            if kind == b"t":
                (parameters,) = struct.unpack_from("!H", content)
            elif kind == b"T":
                return list(_described(content)), parameters
            elif kind == b"n":
                return [], parameters
            elif kind != b"1":
                raise Malformed(f"a message of type {kind.decode('latin-1')} in response to Parse")

    async def execute(self, formats: list[bool], keep: int = 1) -> Outcome:
        """Runs the prepared query; `formats` says which of its columns are asked for in the binary form. Keeps the first rows."""
        codes = b"".join(struct.pack("!H", binary) for binary in formats)
        self._send((b"B", b"\0\0\0\0\0\0" + struct.pack("!H", len(formats)) + codes), (b"E", b"\0\0\0\0\0"), (b"S", b""))
        outcome = Outcome()
        while True:
            kind, content = await self._message()
            if kind == b"D":
                if outcome.rows < keep:
                    outcome.kept.append(_columns(content))
                outcome.rows += 1
            elif kind == b"C":
                outcome.tag = content.rstrip(b"\0").decode("utf-8", "replace")
                if outcome.tag in _SESSION_COMMANDS:
                    self.ends_with = "ROLLBACK"
            elif kind in (b"H", b"G", b"W"):
                outcome.copies = True
                return outcome
            elif kind == b"Z" and (outcome.tag or outcome.empty):
                return outcome
            elif kind == b"I":
                outcome.empty = True
            elif kind != b"2":
                raise Malformed(f"a message of type {kind.decode('latin-1')} in response to Execute")

    async def show(self, command: str, keep: int) -> tuple[list[Column], Outcome]:
        """Runs a command of PgBouncer's console, which knows no other protocol than the simple one and no transaction."""
        self._send((b"Q", command.encode() + b"\0"))
        columns, outcome = [], Outcome()
        while (message := await self._message())[0] != b"Z":
            if message[0] == b"T":
                columns = list(_described(message[1]))
            elif message[0] == b"D" and outcome.rows < keep:
                outcome.kept.append(_columns(message[1]))
            elif message[0] == b"C":
                outcome.tag = message[1].rstrip(b"\0").decode("utf-8", "replace")
            elif message[0] not in (b"D", b"I"):
                raise Malformed(f"a message of type {message[0].decode('latin-1')} in response to Query")
            outcome.rows += message[0] == b"D"
        return columns, outcome

    async def simple(self, statements: str) -> list[list[str | None]]:
        """Runs statements without parameters; the rows of all of them, as texts."""
        self._send((b"Q", statements.encode() + b"\0"))
        rows, described = [], False
        while (message := await self._message())[0] != b"Z":
            described = message[0] == b"T" or (described and message[0] == b"D")
            if message[0] == b"D" and described:
                rows.append([None if value is None else value.decode("utf-8", "replace") for value in _columns(message[1])])
            elif message[0] not in (b"C", b"I", b"T"):
                raise Malformed(f"a message of type {message[0].decode('latin-1')} in response to Query")
        return rows

    async def leave(self) -> None:
        """Ends the transaction, and then the session as the protocol asks, so that no server or pooler counts it as broken off."""
        if self._ended:
            return
        self._send((b"S", b""), (b"Q", self.ends_with.encode() + b"\0"))  # Sync, since after an error everything before one is ignored
        while (message := await self._message())[0] != b"C" or message[1] not in (b"COMMIT\0", b"ROLLBACK\0"):
            pass
        while (await self._message())[0] != b"Z":
            pass
        self.terminate()

    def terminate(self) -> None:
        """Ends the session without a transaction, as the protocol asks."""
        if not self._ended:
            self._send((b"X", b""))
            self._transport.close()

    def _send(self, *outgoing: tuple[bytes, bytes]) -> None:
        self._transport.write(b"".join(kind + struct.pack("!i", len(content) + 4) + content for kind, content in outgoing))

    async def _message(self) -> tuple[bytes, bytes]:
        """The server's next message. Raises its error at once: what it sends after one is for `leave` to read."""
        while True:
            while (message := next(self._messages, None)) is None:
                await self._more()
            if message[0] == b"E":
                raise asyncpg.PostgresError.new(error_fields(message[1]))
            if message[0] == b"Z":
                self._status = message[1]
            if message[0] not in _BETWEEN:
                return message

    async def _more(self) -> None:
        """Waits for received bytes and cuts a piece of them into messages."""
        if self._unread:
            piece = bytes(self._unread[:_PIECE])
            del self._unread[:_PIECE]
            self._messages = messages(self._frames.feed(piece))
            if self._unread:
                await asyncio.sleep(0)
            return
        if self._ended:
            raise asyncpg.ConnectionDoesNotExistError("the connection was closed") from self._error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


def lock_limit(milliseconds: int) -> int:
    """How long a lock may take in a statement that may take `milliseconds`."""
    return max(1, milliseconds - min(milliseconds // _LOCK_SHARE, _LOCK_MOST))


def _literal(text: str) -> str:
    """An SQL literal, whatever standard_conforming_strings is."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _described(content: bytes) -> Iterator[Column]:
    (count,) = struct.unpack_from("!H", content)
    at = 2
    for _ in range(count):
        end = content.index(b"\0", at)
        yield Column(content[at:end].decode("utf-8", "replace"), struct.unpack_from("!IHIhih", content, end + 1)[2])
        at = end + 19


def _columns(content: bytes) -> list[bytes | None]:
    (count,) = struct.unpack_from("!H", content)
    columns: list[bytes | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", content, at)
        at += 4
        if length > len(content) - at:
            raise Malformed("a row is shorter than it says")
        columns.append(None if length < 0 else content[at : at + length])
        at += max(length, 0)
    return columns
