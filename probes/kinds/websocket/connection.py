"""A WebSocket on a stream of the wire. wsproto reads and writes the frames."""

from __future__ import annotations

import asyncio
import contextlib
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
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from probes import Context, Failed, PolicyRefused, Reason
from probes.core import Measurements
from probes.expect.patterns import shown
from probes.facts import STATUS_CODE
from probes.http.http1 import Exchange1
from probes.wire.stream import Stream

CAP = 1024 * 1024  # bytes that the server may send in one run
FRAMES = 10_000  # frames that it may send: each takes time on the loop, and a megabyte may hold half a million
_PIECE = 512  # bytes that are read at a time: as many as 256 pings
_REJECTION_WAIT = 1.0  # seconds for a refusal's body, which may have no end; they don't count as the target's time
_SWITCHED = 101
_OF_THE_HANDSHAKE = (b"upgrade", b"connection", b"sec-websocket-")  # headers that mean something to wsproto
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
        self._ended = False

    async def open(self, request: Request) -> AcceptConnection:
        """The handshake. Raises Rejected for any other status than 101, PolicyRefused for headers that can't be sent."""
        try:
            data = self._wire.send(request)
        except (h11.LocalProtocolError, LocalProtocolError, UnicodeError) as error:
            raise PolicyRefused(f"the handshake can't be sent: {error}") from error
        await self._stream.write(data)
        aside = Measurements(self._ctx.clock, self._ctx.deadline)  # its phases are parts of the handshake
        exchange = Exchange1(aside, self._stream, "GET", switches=True)
        try:
            await exchange.receive_head()
        except Failed:  # what follows a refusal's head is of no matter
            if not exchange.head_done:
                raise
        finally:
            self._ctx.evidence |= aside.evidence
            self._ctx.facts |= {STATUS_CODE: exchange.status} if exchange.status else {}
        if exchange.status != _SWITCHED:
            raise Rejected(exchange.status, exchange.fields(), await self._read_rejection(exchange))
        lines = [name + b": " + value for name, value in exchange.headers if name.lower().startswith(_OF_THE_HANDSHAKE)]
        switched = b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *lines, b"", exchange.behind_the_head()])
        for at in range(0, len(switched), _PIECE):
            await self._take(switched[at : at + _PIECE])
            await asyncio.sleep(0)
        event = await self._next("before the response to the handshake")
        if not isinstance(event, AcceptConnection):
            raise Failed(Reason.PROTOCOL, f"the response to the handshake is {type(event).__name__}")
        return event

    async def _read_rejection(self, exchange: Exchange1) -> bytes:
        """What came of a refusal's body, at most _REJECTED_BODY bytes. Its status is known: how the body ends changes nothing."""
        body = bytearray()
        with contextlib.suppress(Failed, OSError):
            async with asyncio.timeout(min(_REJECTION_WAIT, self._ctx.remaining() / 2)):
                async for piece in exchange.body():
                    body += piece
                    if len(body) >= _REJECTED_BODY:
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
            data = await self._stream.read(_PIECE)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionResetError(error.errno or 104, f"the connection was reset {when}") from error
        if not data:
            self._ended = True
            raise Failed(Reason.TRUNCATED, f"the connection was closed {when}")
        if self._stream.received_bytes - self._before > CAP:
            raise Failed(Reason.SIZE, f"the server sent more than {CAP // 1024} KiB")
        await self._take(data)

    async def _take(self, data: bytes) -> None:
        """Queues the events of data; replies to pings."""
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
        except Failed as failed:
            self._events.append(failed)
        except (RemoteProtocolError, LocalProtocolError, UnicodeError) as error:
            self._events.extend(self._wire.events())  # what came before
            text = str(error)
            what = f"the server's response is not a WebSocket handshake: {text[:1].lower()}{text[1:]}"
            self._events.append(Failed(Reason.PROTOCOL, what))


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
