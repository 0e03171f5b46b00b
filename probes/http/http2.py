"""HTTP/2 on a stream, one request at a time. h2 parses the frames, except GOAWAY: a response may still be complete after it."""

from __future__ import annotations

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import DenialOfServiceError, H2Error, InvalidBodyLengthError
from h2.settings import SettingCodes, Settings

from probes.core import Failed, Measurements, Reason
from probes.http.exchange import HEAD_CAP, Connection, Exchange, OutgoingRequest
from probes.text import clipped
from probes.wire.stream import Stream

WINDOW = 1024 * 1024  # bytes that a server may send before we acknowledge some
_FRAME = 16 * 1024  # bytes of the longest frame that we accept (RFC 9113, 6.5.2: the smallest limit that is allowed)
_HEADER = 9  # bytes of a frame's header
_SETTINGS, _GOAWAY, _HEADERS = 0x4, 0x7, 0x1
_CONNECTION_HEADERS = frozenset(
    {b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)  # RFC 9113, 8.2.2


class Http2(Connection):
    """A connection of HTTP/2. GOAWAY is parsed here: a stream that it still allows may finish its response."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=False))
        self.h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_CAP,
            },
        )
        self.h2.decoder.max_header_list_size = HEAD_CAP
        self._unread = bytearray()
        self._opened = False
        self._greeted = False  # the server's first frame (SETTINGS) has come
        self.go_away: GoAway | None = None

    async def send(self, ctx: Measurements, request: OutgoingRequest) -> Exchange:
        if not self._opened:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(WINDOW)
            self._opened = True
        number = self.h2.get_next_available_stream_id()
        exchange = Exchange2(ctx, self, number, request.method)
        self.h2.send_headers(number, _header_fields(request), end_stream=not request.body)
        if request.body:
            await self._send_body(exchange, number, request.body)
        await self.flush()
        return exchange

    async def _send_body(self, exchange: Exchange2, number: int, body: bytes) -> None:
        """Sends the body as fast as flow control allows. Stops early where the response begins before the end."""
        at = 0
        while at < len(body):
            most = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if most > 0:
                self.h2.send_data(number, body[at : at + most], end_stream=at + most >= len(body))
                at += most
                continue
            await self.flush()
            await exchange.more()
            if exchange.head_done:
                return

    async def flush(self) -> None:
        """Writes the frames that h2 has prepared."""
        if data := self.h2.data_to_send():
            await self.stream.write(data)

    def alive(self) -> bool:
        return self.stream.is_idle() and self.go_away is None

    def receive(self, data: bytes) -> tuple[list[Event], bool]:
        """Parses frames: their events, and whether one was a HEADERS frame. Raises Failed where the bytes are not HTTP/2."""
        self._unread += data
        events: list[Event] = []
        headers = False
        while len(self._unread) >= _HEADER:
            length, kind = int.from_bytes(self._unread[:3]), self._unread[3]
            if not self._greeted:
                if kind != _SETTINGS or length > _FRAME:
                    raise Failed(
                        Reason.PROTOCOL,
                        f"the server's response is not HTTP/2: it begins {clipped(repr(bytes(self._unread)), 60)}",
                    )
                self._greeted = True
            if length > _FRAME:
                raise Failed(Reason.PROTOCOL, f"the server broke HTTP/2: a frame of {length:,} bytes, at most {_FRAME:,} are allowed")
            if len(self._unread) < _HEADER + length:
                break
            frame = bytes(self._unread[: _HEADER + length])
            del self._unread[: _HEADER + length]
            headers = headers or kind == _HEADERS
            if kind == _GOAWAY and length >= 8:  # noqa: PLR2004 - RFC 9113, 6.8
                self.go_away = GoAway(frame[_HEADER:])
            else:
                events += self._decode(frame)
        return events, headers

    def _decode(self, frame: bytes) -> list[Event]:
        try:
            return list(self.h2.receive_data(frame))
        except DenialOfServiceError as error:
            raise Failed(Reason.SIZE, f"the response head exceeds {HEAD_CAP // 1024} KiB") from error
        except InvalidBodyLengthError as error:
            raise Failed(Reason.TRUNCATED, f"the response ended after {error.actual_length} of {error.expected_length} bytes") from error
        except H2Error as error:
            words = (str(error) or type(error).__name__).rstrip(".")
            too_long = "header list" in words.lower() or "continuation" in words.lower()
            if too_long:
                raise Failed(Reason.SIZE, f"the response head is too long: {words.lower()}") from error
            raise Failed(Reason.PROTOCOL, f"the server broke HTTP/2: {words.lower()}") from error
        except hpack.HPACKError as error:
            raise Failed(Reason.PROTOCOL, f"the server broke HTTP/2's header compression: {str(error).lower()}") from error


class GoAway:
    """The payload of a GOAWAY frame."""

    def __init__(self, payload: bytes) -> None:
        self.last_stream = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        self.code = int.from_bytes(payload[4:8])
        self.debug_data = payload[8:108].decode("utf-8", "replace")

    def __str__(self) -> str:
        return f"GOAWAY {code_name(self.code)}{f' ({self.debug_data})' if self.debug_data else ''}"


def code_name(code: int) -> str:
    """An error code by its name in RFC 9113, or as a number."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"{code:#x}"


def _header_fields(request: OutgoingRequest) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in request.headers]
    host = next((value for name, value in headers if name == b"host"), b"")
    pseudo = [
        (b":method", request.method.encode()),
        (b":authority", host),
        (b":scheme", request.scheme.encode()),
        (b":path", request.target),
    ]
    return pseudo + [(name, value) for name, value in headers if name not in _CONNECTION_HEADERS]


class Exchange2(Exchange):
    """One request and its response on one HTTP/2 stream."""

    version = "2"

    def __init__(self, ctx: Measurements, connection: Http2, number: int, method: str) -> None:
        super().__init__(ctx, connection.stream, method)
        self._connection = connection
        self._number = number
        self._clean = True

    async def _first_bytes(self) -> bytes:
        """Waits for the HEADERS frame: SETTINGS and other frames may come before it."""
        while not self.begun:
            await self.more()
        return b""

    async def more(self) -> None:
        """Reads from the socket once, and parses what came."""
        await self.feed(await self._read())

    async def feed(self, data: bytes) -> None:
        if data:
            events, headers = self._connection.receive(data)
            self.begun = self.begun or headers
            for event in events:
                self._apply(event)
            await self._connection.flush()
        if (go_away := self._connection.go_away) and not self.done and (go_away.last_stream < self._number or go_away.code):
            raise self.broken_off()

    def broken_off(self) -> Failed:
        """A GOAWAY frame may say why the server ends the connection."""
        if not (go_away := self._connection.go_away):
            return super().broken_off()
        reason = Reason.PROTOCOL if go_away.code else Reason.TRUNCATED if self.head_done else Reason.RESET
        return Failed(reason, f"the server closed the connection {self.so_far()}: {go_away}")

    def _apply(self, event: Event) -> None:
        if getattr(event, "stream_id", self._number) != self._number:
            return
        if isinstance(event, ResponseReceived):
            fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            status = next((value for name, value in fields if name == b":status"), b"")
            self.status = int(status) if status.isdigit() else 0
            self.headers = [(name, value) for name, value in fields if not name.startswith(b":")]
            self.head_done = True
        elif isinstance(event, DataReceived):
            self.body_bytes += len(event.data)
            self.pieces.append(event.data)
            self._connection.h2.acknowledge_received_data(event.flow_controlled_length, self._number)
        elif isinstance(event, StreamEnded):
            self.done = True
        elif isinstance(event, StreamReset) and not self.done:
            code = int(event.error_code)
            if code == ErrorCodes.HTTP_1_1_REQUIRED:
                raise Failed(Reason.PROTOCOL, "the server requires HTTP/1.1 for this request; write http: 1.1")
            reason = Reason.TRUNCATED if self.head_done else Reason.RESET
            raise Failed(reason, f"the server reset the stream {self.so_far()}: {code_name(code)}")
        elif isinstance(event, TrailersReceived):
            self.trailers = tuple((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers)
        elif isinstance(event, InformationalResponseReceived):
            pass  # the head is still to come

    def reusable(self) -> bool:
        return self.done and self._connection.alive()
