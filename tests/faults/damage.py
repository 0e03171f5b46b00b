"""How the fuzz suite damages a valid dialogue: hypothesis chooses what, and this file says how."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from hypothesis import strategies as st

from tests.faults.replies import ACCEPT, NONCE, NUMBER, ODD, PING, REPLIES, VALUE, Dialogue, Reply, Unit
from tests.support import servers

MOST = 2 * 1024 * 1024  # bytes of one reply after damage
_POURED = 8 * 1024 * 1024  # bytes that a server repeats without end sends at most
_DIGITS = re.compile(rb"\d+")
ENDINGS = ("close", "reset", "pour", "silent")


@dataclass(frozen=True)
class Script:
    """What a server sends: reply by reply in pieces of `size` bytes, and how it ends."""

    replies: tuple[bytes, ...]
    size: int  # bytes of a piece; 0: all at once
    at_once: bool  # all replies in response to the client's first bytes
    ending: str

    def __repr__(self) -> str:
        """Short enough for a failure's message; the bytes can be run again."""
        return f"Script({self.replies!r:.4000}, size={self.size}, at_once={self.at_once}, ending={self.ending!r})"


def _at(share: float, length: int) -> int:
    return min(length, int(share * (length + 1)))


def _many(data: bytes, times: int) -> bytes:
    return data * min(times, MOST // max(1, len(data)))


Edit = Callable[[bytes, float, bytes, int], bytes]
_EDITS: dict[str, Edit] = {  # of the data, at a share of its length, with a piece, and a number
    "cut": lambda data, share, _piece, _n: data[: _at(share, len(data))],
    "behead": lambda data, share, _piece, _n: data[_at(share, len(data)) :],
    "insert": lambda data, share, piece, _n: data[: _at(share, len(data))] + piece + data[_at(share, len(data)) :],
    "replace": lambda data, share, piece, n: data[: _at(share, len(data))] + piece + data[_at(share, len(data)) + n :],
    "flip": lambda data, share, _piece, n: _flipped(data, _at(share, len(data)), n),
    "number": lambda data, share, piece, _n: _renumbered(data, share, piece),
    "long": lambda data, share, piece, n: data[: _at(share, len(data))] + _many(piece, n * 1000) + data[_at(share, len(data)) :],
    "instead": lambda _data, _share, piece, _n: piece,
}


def _flipped(data: bytes, at: int, n: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (n % 255 + 1)]) + data[at + 1 :] if at < len(data) else data


def _renumbered(data: bytes, share: float, piece: bytes) -> bytes:
    found = list(_DIGITS.finditer(data))
    if not found:
        return data
    one = found[_at(share, len(found) - 1)]
    return data[: one.start()] + piece + data[one.end() :]


def _edited(units: Reply, edit: tuple[float, str, float, bytes, int, bool], other: Unit) -> Reply:
    """The units with one of them damaged, left out, repeated, or beside another."""
    where, how, share, piece, n, outer = edit
    if not units:
        return (other,)
    at = _at(where, len(units) - 1)
    before, unit, after = units[:at], units[at], units[at + 1 :]
    if how in _EDITS:
        struck = unit.wrapped() if outer else unit
        return *before, struck.with_data(_EDITS[how](struck.data, share, piece, n)), *after
    beside: dict[str, Reply] = {
        "drop": (*before, *after),
        "repeat": (*before, Unit(_many(unit.wrapped().data, n**2)), *after),
        "twice": (*before, unit, unit, *after),
        "last": (*before, *after, unit),
        "splice": (*before, other, unit, *after),
    }
    return beside[how]


_PIECE = st.one_of(st.sampled_from(ODD), st.binary(max_size=12))
_EDIT = st.tuples(
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from((*_EDITS, "insert", "number", "drop", "repeat", "twice", "last", "splice")),
    st.floats(0, 1),
    _PIECE,
    st.integers(0, 255),
    st.booleans(),
)


@st.composite
def scripts(draw: st.DrawFn, asking: str, endings: Sequence[str] = ENDINGS) -> Script:
    """A valid dialogue of this way of asking, damaged in one to four places."""
    dialogue: list[Reply] = list(draw(st.sampled_from(REPLIES[asking])))
    other: Dialogue = draw(st.sampled_from(REPLIES[asking]))
    spare = [unit for reply in other for unit in reply]
    for which, *edit in draw(st.lists(_EDIT, min_size=1, max_size=4)):
        at = _at(which, len(dialogue) - 1)
        dialogue[at] = _edited(dialogue[at], tuple(edit), spare[_at(edit[0], len(spare) - 1)])
    replies = tuple(b"".join(unit.wrapped().data for unit in reply)[:MOST] for reply in dialogue)
    size = draw(st.sampled_from((0, 0, 0, 1, 7, 1000)))
    return Script(replies, size if sum(map(len, replies)) < 3000 * max(1, size) else 0, draw(st.booleans()), draw(st.sampled_from(endings)))


def filled(reply: bytes, request: bytes) -> bytes:
    """The reply with what it takes from the request."""
    if ACCEPT in reply and (key := re.search(rb"(?i)sec-websocket-key:\s*(\S+)", request)):
        digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 - the protocol's
        reply = reply.replace(ACCEPT, base64.b64encode(digest))
    if PING in reply and (ping := re.search(rb"\x89\x88(.{4})(.{8})", request, re.DOTALL)):
        reply = reply.replace(PING, bytes(byte ^ ping[1][at % 4] for at, byte in enumerate(ping[2])))
    if VALUE in reply and (value := re.search(rb"\$16\r\n([0-9a-f]{16})\r\n", request)):
        reply = reply.replace(VALUE, value[1])
    if NONCE in reply and (nonce := re.search(rb"r=([^,]{%d})\Z" % len(NONCE), request)):
        reply = reply.replace(NONCE, nonce[1])
    return reply


def numbered(reply: bytes, question: bytes) -> bytes:
    """The reply with the number of the question."""
    return reply.replace(NUMBER, question[:2], 1)


class Hostile(servers.Behaviour):
    """Plays a script."""

    script: Script

    def begin(self) -> None:
        self._replies = list(self.script.replies)
        self._queue = bytearray()
        self._poured, self._paused, self._sending, self._over = 0, False, False, False

    def respond(self) -> None:
        if self._over:
            return
        request = bytes(self.server.received)
        while self._replies:
            self._queue += self._reply(self._replies.pop(0), request)
            if not self.script.at_once:
                break
        if not self._sending:
            self._sending = True
            self._send()

    def _reply(self, reply: bytes, request: bytes) -> bytes:
        return filled(reply, request)

    def _send(self) -> None:
        if self.transport.is_closing() or self._paused:
            self._sending = False
            return
        size = self.script.size or len(self._queue)
        self.transport.write(bytes(self._queue[:size]))
        del self._queue[:size]
        if self._queue:
            self.loop.call_soon(self._send)
            return
        self._sending = False
        if not self._replies:
            self._end()

    def _end(self) -> None:
        self._over = True
        match self.script.ending:
            case "close":
                self.transport.close()
            case "reset":
                servers.reset(self.transport)
            case "pour":
                self._pour()
            case _:
                pass

    def _pour(self) -> None:
        last = self.script.replies[-1][-4096:] or b"\0"
        piece = last * (65536 // len(last))
        while not self._paused and not self.transport.is_closing() and self._poured < _POURED:
            self.transport.write(piece)
            self._poured += len(piece)
        if self._poured >= _POURED:
            self.transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._over and self.script.ending == "pour":
            self._pour()
        elif self._queue and not self._sending:
            self._sending = True
            self._send()


class HostileMessages(Hostile):
    """Plays a script of DNS messages over TCP."""

    def _reply(self, reply: bytes, request: bytes) -> bytes:
        reply = numbered(reply, request[2:])
        return (len(reply) % 65536).to_bytes(2) + reply


class HostileDatagrams(asyncio.DatagramProtocol):
    """Plays a script of DNS messages in datagrams."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for reply in self._script.replies:
            for _ in range(300 if self._script.ending == "pour" else 1):
                self._transport.sendto(numbered(reply, data)[:60_000], addr)
