"""HTTP/2 on a stream: h2 does the frames, one request at a time, with goodbyes told apart from what they say of our answer."""

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
from probes.wire.stream import Stream

WINDOW = 1024 * 1024  # bytes that a server may send before it hears from us
_FRAME = 16 * 1024  # bytes of the longest frame that we take (RFC 9113, 6.5.2: the least that one may say)
_HEADER = 9  # bytes before a frame's own
_SETTINGS, _GOAWAY, _HEADERS = 0x4, 0x7, 0x1
_OWN_WORDS = frozenset({b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})  # RFC 9113, 8.2.2


class Http2(Connection):
    """A connection of HTTP/2. The server's goodbye (GOAWAY) is read here: what is answered before it takes effect, counts."""

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
        self._greeted = False  # the server has sent its settings
        self.goodbye: Goodbye | None = None

    async def send(self, ctx: Measurements, sent: OutgoingRequest) -> Exchange:
        if not self._opened:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(WINDOW)
            self._opened = True
        number = self.h2.get_next_available_stream_id()
        exchange = Exchange2(ctx, self, number, sent.method)
        self.h2.send_headers(number, _fields(sent), end_stream=not sent.body)
        if sent.body:
            await self._send_body(exchange, number, sent.body)
        await self.flush()
        return exchange

    async def _send_body(self, exchange: Exchange2, number: int, body: bytes) -> None:
        """As fast as the server lets us; an answer that comes before all is sent ends it."""
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
        """Hands what h2 has to say to the socket."""
        if data := self.h2.data_to_send():
            await self.stream.write(data)

    def alive(self) -> bool:
        return self.stream.quiet() and self.goodbye is None

    def take(self, data: bytes) -> tuple[list[Event], bool]:
        """Reads frames; the events, and whether a frame of headers was among them. Raises Failed for what is no HTTP/2."""
        self._unread += data
        events: list[Event] = []
        headers = False
        while len(self._unread) >= _HEADER:
            length, kind = int.from_bytes(self._unread[:3]), self._unread[3]
            if not self._greeted:
                self._greet(kind, length)
            if length > _FRAME:
                raise Failed(Reason.PROTOCOL, f"the server broke HTTP/2: a frame of {length:,} bytes, at most {_FRAME:,} are allowed")
            if len(self._unread) < _HEADER + length:
                break
            frame = bytes(self._unread[: _HEADER + length])
            del self._unread[: _HEADER + length]
            headers = headers or kind == _HEADERS
            if kind == _GOAWAY and length >= 8:  # noqa: PLR2004 - RFC 9113, 6.8
                self.goodbye = Goodbye(frame[_HEADER:])
            else:
                events += self._receive(frame)
        return events, headers

    def _greet(self, kind: int, length: int) -> None:
        if kind != _SETTINGS or length > _FRAME:
            raise Failed(Reason.PROTOCOL, f"the server's response is not HTTP/2: it begins {bytes(self._unread[:40])!r}")
        self._greeted = True

    def _receive(self, frame: bytes) -> list[Event]:
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


class Goodbye:
    """A GOAWAY frame's content."""

    def __init__(self, payload: bytes) -> None:
        self.last = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        self.code = int.from_bytes(payload[4:8])
        self.said = payload[8:108].decode("utf-8", "replace")

    def __str__(self) -> str:
        return f"GOAWAY {code_name(self.code)}{f' ({self.said})' if self.said else ''}"


def code_name(code: int) -> str:
    """An error code by its name in RFC 9113, or as a number."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"{code:#x}"


def _fields(sent: OutgoingRequest) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in sent.headers]
    host = next((value for name, value in headers if name == b"host"), b"")
    pseudo = [
        (b":method", sent.method.encode()),
        (b":authority", host),
        (b":scheme", sent.scheme.encode()),
        (b":path", sent.target),
    ]
    return pseudo + [(name, value) for name, value in headers if name not in _OWN_WORDS]


class Exchange2(Exchange):
    """One request and its answer on a stream of HTTP/2's."""

    version = "2"

    def __init__(self, ctx: Measurements, connection: Http2, number: int, method: str) -> None:
        super().__init__(ctx, connection.stream, method)
        self._connection = connection
        self._number = number
        self._clean = True

    async def _first_bytes(self) -> bytes:
        """The answer begins with its headers: settings and the like come before."""
        while not self.begun:
            await self.more()
        return b""

    async def more(self) -> None:
        """Waits for the socket and takes what it gives."""
        await self.feed(await self._read())

    async def feed(self, data: bytes) -> None:
        if data:
            events, headers = self._connection.take(data)
            self.begun = self.begun or headers
            for event in events:
                self._happened(event)
            await self._connection.flush()
        if (goodbye := self._connection.goodbye) and not self.done and (goodbye.last < self._number or goodbye.code):
            raise self.broken_off()

    def broken_off(self) -> Failed:
        """The server may have said why it won't go on with this answer."""
        if not (goodbye := self._connection.goodbye):
            return super().broken_off()
        reason = Reason.PROTOCOL if goodbye.code else Reason.TRUNCATED if self.head_done else Reason.RESET
        return Failed(reason, f"the server closed the connection {self.so_far()}: {goodbye}")

    def _happened(self, event: Event) -> None:
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
            pass  # not the answer's head

    def reusable(self) -> bool:
        return self.done and self._connection.alive()
