"""A WebSocket on a stream of the wire. wsproto reads and writes the frames."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Sequence

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from probes import Context, Failed, PolicyRefused, Reason
from probes.expect.patterns import shown
from probes.wire.stream import Stream

CAP = 1024 * 1024  # bytes that the server may send in one run
FRAMES = 10_000  # frames that it may send: each takes time on the loop, and a megabyte may hold half a million
_SLICE = 512  # bytes that are read at a time, before the loop gets its turn
_INTERIM_HEADS = 20  # responses before the final one
_INTERIM_CAP = 16 * 1024  # bytes of one of them
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?:0[02-9]|[1-9][0-9])[^0-9]")  # its beginning: 1xx, but not 101
_END = re.compile(rb"\r?\n\r?\n")
_REJECTION_WAIT = 1.0  # seconds for a refusal's body, which may have no end; they don't count as the target's time
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake begin
_HEAD_TOO_LONG = 431  # h11's hint for a head that exceeds its buffer
_REJECTED_BODY = 4096  # bytes of a refusal's body that are read, for the application's error text
_OUR_FAULTS = {1002, 1003, 1007, 1009, 1010}  # RFC 6455, 7.4.1: the server says that the client broke the protocol
_ABNORMAL = 1006


class Rejected(Exception):  # noqa: N818 - as in probes.core: a response, not an accident
    """The server responds to the handshake with another status than 101."""

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        super().__init__(f"{status}, expected 101")
        self.status = status
        self.headers = tuple(headers)
        self.body = body


class Socket:
    """One WebSocket, from its handshake to its close."""

    def __init__(self, ctx: Context, stream: Stream) -> None:
        self._ctx = ctx
        self._stream = stream
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._before = stream.received_bytes
        self._events: deque[Event | Failed] = deque()  # a failure stands behind the events that came before it
        self._frames = 0
        self._head: bytearray | None = bytearray()  # what came of an interim response; None once the final one has begun
        self._interim_heads = 0
        self._ended = False

    async def open(self, request: Request) -> AcceptConnection:
        """The handshake. Raises Rejected for any other status than 101, PolicyRefused for headers that can't be sent."""
        try:
            data = self._wire.send(request)
        except (h11.LocalProtocolError, LocalProtocolError, UnicodeError) as error:
            raise PolicyRefused(f"the handshake can't be sent: {error}") from error
        await self._stream.write(data)
        event = await self._next("before the response to the handshake")
        if isinstance(event, RejectConnection):
            headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in event.headers]
            raise Rejected(event.status_code, headers, await self._read_rejection() if event.has_body else b"")
        if not isinstance(event, AcceptConnection):
            raise Failed(Reason.PROTOCOL, f"the response to the handshake is {type(event).__name__}")
        return event

    async def _read_rejection(self) -> bytes:
        """What came of a refusal's body, at most _REJECTED_BODY bytes. Its status is known: how the body ends changes nothing."""
        body = bytearray()
        with contextlib.suppress(Failed, OSError):
            async with asyncio.timeout(min(_REJECTION_WAIT, self._ctx.remaining() / 2)):
                while len(body) < _REJECTED_BODY:
                    event = await self._next("in a refusal's body")
                    if not isinstance(event, RejectData):
                        break
                    body += event.data
                    if event.body_finished:
                        break
        return bytes(body[:_REJECTED_BODY])

    async def send(self, data: str | bytes) -> None:
        """Sends one message: a text or bytes."""
        await self._send_event(TextMessage(data) if isinstance(data, str) else BytesMessage(data))

    async def ping(self, payload: bytes, *, may_close: bool) -> None:
        """Sends a ping and waits for its pong; messages before it are kept for `receive`.

        Where the server may close, its close ends the wait, too, and is kept for `closed`.
        """
        if may_close and self._close_received():
            return
        await self._send_event(Ping(payload))
        kept: list[Event | Failed] = []
        while True:
            event = await self._next_event_or_close("before the pong")
            if isinstance(event, CloseConnection) and not may_close:
                raise _closed(event, "before the pong")
            if isinstance(event, CloseConnection):
                kept.append(event)
                break
            if isinstance(event, Pong) and bytes(event.payload) == payload:
                break
            kept += [] if isinstance(event, Pong) else [event]
        self._events.extendleft(reversed(kept))

    async def receive(self) -> str | bytes:
        """The next message, whole. Raises Failed where the server closes instead."""
        pieces: list[str | bytes | bytearray] = []
        while True:
            event = await self._next("before the message")
            if isinstance(event, TextMessage | BytesMessage):
                pieces.append(event.data)
                if event.message_finished:
                    return (
                        "".join(map(str, pieces))
                        if isinstance(event, TextMessage)
                        else b"".join(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in pieces)
                    )

    async def closed(self, code: int) -> None:
        """Waits for the server to close with this code; messages are ignored. Raises Failed for another code."""
        while True:
            event = await self._next_event_or_close("without a WebSocket close")
            if isinstance(event, CloseConnection):
                if event.code != code:
                    raise Failed(Reason.STATUS, f"the server closed with {_close_text(event)}, expected {code}")
                return

    async def close(self) -> int | None:
        """Sends a close and waits for the server's. Returns its code, or None if the connection ends without one."""
        if self._wire.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            await self._send_event(CloseConnection(CloseReason.NORMAL_CLOSURE))
        while self._wire.state is not ConnectionState.CLOSED and not self._ended:
            try:
                event = await self._next_event_or_close("")
            except Failed:
                return None
            if isinstance(event, CloseConnection):
                return int(event.code)
        return None

    # -- frames

    async def _send_event(self, event: Event) -> None:
        try:
            data = self._wire.send(event)
        except LocalProtocolError as error:  # it has begun to close
            if close := self._close_received():
                self._ctx.facts["close_code"] = int(close.code)
                raise _closed(close, "before all messages were sent") from error
            raise Failed(Reason.TRUNCATED, "the server closed the connection before all messages were sent") from error
        await self._stream.write(data)

    def _close_received(self) -> CloseConnection | None:
        """The server's close, where it has come and waits behind other events."""
        return next((event for event in self._events if isinstance(event, CloseConnection)), None)

    async def _next(self, when: str) -> Event:
        """The next event. Raises Failed where it is the server's close."""
        event = await self._next_event_or_close(when)
        if isinstance(event, CloseConnection):
            raise _closed(event, when)
        return event

    async def _next_event_or_close(self, when: str) -> Event:
        while not self._events:
            await self._receive_data(when)
        event = self._events.popleft()
        if isinstance(event, Failed):
            raise event
        if isinstance(event, CloseConnection):
            self._ctx.facts["close_code"] = int(event.code)
            if self._wire.state is ConnectionState.OPEN:  # wsproto reports an unreadable frame like this
                raise Failed(Reason.PROTOCOL, f"the server broke the WebSocket protocol: {event.reason}")
        return event

    async def _receive_data(self, when: str) -> None:
        """Reads data from the stream and queues its events; replies to pings."""
        try:
            data = await self._stream.read()
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionResetError(error.errno or 104, f"the connection was reset {when}") from error
        if not data:
            self._ended = True
            hint = "" if self._stream.tls or self._stream.received_bytes else "; does the port speak TLS?"
            raise Failed(Reason.TRUNCATED, f"the connection was closed {when}{hint}")
        if self._stream.received_bytes - self._before > CAP:
            raise Failed(Reason.SIZE, f"the server sent more than {CAP // 1024} KiB")
        if self._head is not None:
            data = self._without_interim(data)
        try:
            for at in range(0, len(data), _SLICE):
                if at:
                    await asyncio.sleep(0)
                await self._handle(data[at : at + _SLICE])
        except Failed as failed:
            self._events.append(failed)

    def _without_interim(self, data: bytes) -> bytes:
        """The bytes of the final response to the handshake; those before it (1xx, RFC 9110, 15.2) have no meaning here."""
        assert self._head is not None  # noqa: S101 - for the type checker; the caller has checked it
        self._head += data
        if self._stream.tls is None and self._head[:2] in _TLS_RECORDS:
            raise Failed(Reason.PROTOCOL, f"the response is a TLS record ({self._head[:8].hex(' ')}): the port speaks TLS")
        while _INTERIM.match(self._head):
            if not (end := _END.search(self._head)):
                if len(self._head) > _INTERIM_CAP:
                    raise Failed(Reason.SIZE, "the head of an interim response is too long")
                return b""
            self._interim_heads += 1
            if self._interim_heads > _INTERIM_HEADS:
                raise Failed(Reason.SIZE, f"the server sent more than {_INTERIM_HEADS} responses before the final one")
            del self._head[: end.end()]
        if len(self._head) < len(b"HTTP/1.1 100 ") and b"HTTP/1.1 1"[: len(self._head)] == self._head[:10].replace(b"/1.0", b"/1.1"):
            return b""  # it may become one
        received, self._head = bytes(self._head), None
        return received

    async def _handle(self, data: bytes) -> None:
        """Queues the events of a slice of data; replies to pings."""
        try:
            self._wire.receive_data(data)
            for event in self._wire.events():
                self._frames += 1
                if self._frames > FRAMES:
                    raise Failed(Reason.SIZE, f"the server sent more than {FRAMES:,} frames")
                if isinstance(event, Ping) and self._wire.state is ConnectionState.OPEN:
                    await self._send_event(event.response())
                elif not isinstance(event, Ping):
                    self._events.append(event)
        except (RemoteProtocolError, LocalProtocolError, UnicodeError) as error:
            self._events.extend(self._wire.events())  # what came before: a refusal's status is known though its body is broken
            if getattr(error.__context__, "error_status_hint", None) == _HEAD_TOO_LONG:  # wsproto keeps h11's own only there
                raise Failed(Reason.SIZE, "the head of the handshake response is too long") from error
            text = str(error)
            raise Failed(Reason.PROTOCOL, f"the server's response is not a WebSocket handshake: {text[:1].lower()}{text[1:]}") from error


def _closed(event: CloseConnection, when: str) -> Failed:
    """The failure for a close that nobody expected."""
    reason = Reason.PROTOCOL if event.code in _OUR_FAULTS else Reason.TRUNCATED if event.code == _ABNORMAL else Reason.STATUS
    return Failed(reason, f"the server closed with {_close_text(event)} {when}")


def _close_text(event: CloseConnection) -> str:
    try:
        name = f" ({CloseReason(event.code).name.lower().replace('_', ' ')})"
    except ValueError:
        name = ""
    return f"{int(event.code)}{name}{f', {shown(event.reason)}' if event.reason else ''}"
