"""HTTP/2 on a stream, one request at a time. h2 parses the frames, except GOAWAY: a response may still be complete after it."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
from probes.http.exchange import HEAD_CAP, Connection, Exchange, OutgoingRequest, read_field
from probes.http.head import TOKEN
from probes.text import clipped
from probes.wire.stream import Stream

WINDOW = 1024 * 1024  # bytes that a server may send before we acknowledge some
_FRAME = 16 * 1024  # bytes of the longest frame that we accept (RFC 9113, 6.5.2: the smallest limit that is allowed)
_HEADER = 9  # bytes of a frame's header
_DATA, _HEADERS, _SETTINGS, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x4, 0x7, 0x9
_MOST_FRAMES = 1000  # frames of one response beside its body, and as many DATA frames of few bytes
_LEAST_DATA = 16  # bytes that further DATA frames have on average
_STATUS = re.compile(rb"[1-9]\d\d")
_CONNECTION_HEADERS = frozenset(
    {b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)  # RFC 9113, 8.2.2


class Http2(Connection):
    """A connection of HTTP/2. GOAWAY is parsed here: a stream that it still allows may finish its response."""

    def __init__(self, stream: Stream, *, strict: bool = False) -> None:
        super().__init__(stream)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=False, validate_inbound_headers=strict))
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
        self.is_spoiled = False  # what came after a complete response was no HTTP/2, or a flood

    async def send(self, ctx: Measurements, request: OutgoingRequest) -> Exchange:
        if not self._opened:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(WINDOW)
            self._opened = True
        number = self.h2.get_next_available_stream_id()
        exchange = Exchange2(ctx, self, number, request.method)
        headers = [(name.lower(), value) for name, value in request.headers]
        pseudo = [
            (b":method", request.method.encode()),
            (b":authority", next((value for name, value in headers if name == b"host"), b"")),
            (b":scheme", request.scheme.encode()),
            (b":path", request.target),
        ]
        plain = [(name, value) for name, value in headers if name not in _CONNECTION_HEADERS]
        self.h2.send_headers(number, pseudo + plain, end_stream=not request.body)
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
        return self.stream.is_idle() and self.go_away is None and not self.is_spoiled

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete. Raises Failed where the bytes are not HTTP/2."""
        self._unread += data
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
                return
            frame = bytes(self._unread[: _HEADER + length])
            del self._unread[: _HEADER + length]
            yield frame

    def decode(self, frame: bytes) -> list[Event]:
        """What a frame means for a response. A GOAWAY is only noted."""
        if frame[3] == _GOAWAY and len(frame) >= _HEADER + 8:  # RFC 9113, 6.8
            self.go_away = GoAway(frame[_HEADER:])
            return []
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


class Exchange2(Exchange):
    """One request and its response on one HTTP/2 stream."""

    version = "2"

    def __init__(self, ctx: Measurements, connection: Http2, number: int, method: str) -> None:
        super().__init__(ctx, connection.stream, method)
        self._connection = connection
        self._number = number
        self._frames = [0, 0]  # all but DATA, and DATA
        self._head_bytes = 0  # of heads and trailers, as they were sent
        self._beside = 0  # bytes of all other frames but DATA

    async def _first_bytes(self) -> bytes:
        """Waits for the HEADERS frame: SETTINGS and other frames may come before it."""
        while not self.begun:
            data = await self._read()
            if self.stream.received_bytes == len(data):
                self.refuse_tls(data)
            await self.feed(data)
        return b""

    async def more(self) -> None:
        """Reads from the socket once, and parses what came."""
        await self.feed(await self._read())

    async def feed(self, data: bytes) -> None:
        try:
            for frame in self._connection.receive(data):
                self._count(frame[3], len(frame) - _HEADER)
                for event in self._connection.decode(frame):
                    self._apply(event)
        except Failed:
            self._connection.is_spoiled = True
            if not self.done:  # frames after a complete response don't make it wrong
                raise
        await self._connection.flush()
        if (go_away := self._connection.go_away) and not self.done and (go_away.last_stream < self._number or go_away.code):
            raise self.broken_off()

    def _count(self, kind: int, length: int) -> None:
        """Bounds what isn't the body: frames of headers, other frames, and DATA frames of few bytes."""
        self.begun = self.begun or kind == _HEADERS
        self._frames[kind == _DATA] += 1
        if kind in (_HEADERS, _CONTINUATION):
            self._head_bytes += length
            if self._head_bytes > (2 if self.head_done else 1) * HEAD_CAP:
                raise Failed(Reason.SIZE, f"the response's {'trailers' if self.head_done else 'head'} exceeds {HEAD_CAP // 1024} KiB")
        elif kind != _DATA:
            self._beside += length
        if self._frames[False] > _MOST_FRAMES or self._beside > HEAD_CAP:
            raise Failed(
                Reason.PROTOCOL, f"the server floods us: more than {_MOST_FRAMES:,} frames, or {HEAD_CAP // 1024} KiB, beside the body"
            )
        if self._frames[True] > _MOST_FRAMES + self.body_bytes // _LEAST_DATA:
            raise Failed(
                Reason.PROTOCOL, f"the server floods us: DATA frames of fewer than {_LEAST_DATA} bytes, more than {_MOST_FRAMES:,}"
            )

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
            self._read_head([(bytes(name), bytes(value)) for name, value in event.headers])
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
            self.trailers = tuple((bytes(name).decode("latin-1"), read_field(bytes(value))) for name, value in event.headers)
        elif isinstance(event, InformationalResponseReceived):
            pass  # the head is still to come

    def _read_head(self, fields: list[tuple[bytes, bytes]]) -> None:
        statuses = [value for name, value in fields if name == b":status"]
        if len(statuses) != 1 or not _STATUS.fullmatch(statuses[0]):
            found = clipped(repr(b", ".join(statuses))[1:], 40) if statuses else "missing"
            raise Failed(Reason.PROTOCOL, f"the server broke HTTP/2: the :status of its response is {found}")
        if any(character in name + value for name, value in fields for character in (b"\0", b"\r", b"\n")):
            raise Failed(Reason.PROTOCOL, "the server broke HTTP/2: a header has a line break or a NUL")
        self.status = int(statuses[0])
        self.headers = [(name, value) for name, value in fields if TOKEN.fullmatch(name)]

    def reusable(self) -> bool:
        return self.done and self._connection.alive()
