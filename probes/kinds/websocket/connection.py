"""A WebSocket on a stream of the wire. wsproto reads and writes the frames."""

from __future__ import annotations

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
        self._events: deque[Event] = deque()
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
        """The body of a refusal, at most _REJECTED_BODY bytes."""
        body = bytearray()
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

    async def ping(self, payload: bytes) -> None:
        """Sends a ping and waits for its pong; messages before it are kept for `receive`."""
        await self._send_event(Ping(payload))
        kept: list[Event] = []
        while not (isinstance(event := await self._next("before the pong"), Pong) and bytes(event.payload) == payload):
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
            await self._stream.write(self._wire.send(event))
        except LocalProtocolError as error:  # it has begun to close
            raise Failed(Reason.TRUNCATED, "the server closed the connection before all messages were sent") from error

    async def _next(self, when: str) -> Event:
        """The next event. Raises Failed where it is the server's close."""
        event = await self._next_event_or_close(when)
        if isinstance(event, CloseConnection):
            reason = Reason.PROTOCOL if event.code in _OUR_FAULTS else Reason.TRUNCATED if event.code == _ABNORMAL else Reason.STATUS
            raise Failed(reason, f"the server closed with {_close_text(event)} {when}")
        return event

    async def _next_event_or_close(self, when: str) -> Event:
        while not self._events:
            await self._receive_data(when)
        event = self._events.popleft()
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
            raise Failed(Reason.TRUNCATED, f"the connection was closed {when}")
        if self._stream.received_bytes - self._before > CAP:
            raise Failed(Reason.SIZE, f"the server sent more than {CAP // 1024} KiB")
        try:
            self._wire.receive_data(data)
            events = list(self._wire.events())
        except (RemoteProtocolError, LocalProtocolError, UnicodeError) as error:
            if getattr(error.__context__, "error_status_hint", None) == _HEAD_TOO_LONG:  # wsproto keeps h11's own only there
                raise Failed(Reason.SIZE, "the head of the handshake response is too long") from error
            raise Failed(Reason.PROTOCOL, f"the server's response is not a WebSocket handshake: {error}".lower()) from error
        for event in events:
            if isinstance(event, Ping) and self._wire.state is ConnectionState.OPEN:
                await self._send_event(event.response())
            elif not isinstance(event, Ping):
                self._events.append(event)


def _close_text(event: CloseConnection) -> str:
    try:
        name = f" ({CloseReason(event.code).name.lower().replace('_', ' ')})"
    except ValueError:
        name = ""
    return f"{int(event.code)}{name}{f', {shown(event.reason)}' if event.reason else ''}"
