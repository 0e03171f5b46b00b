"""A server of HTTP/2 by h2's other side, and one whose frames a test writes itself."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, WindowUpdated
from hpack import Encoder

from tests.support import servers

SETTINGS = bytes.fromhex("000000 04 00 00000000".replace(" ", ""))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame as RFC 9113, 4.1 lays it out."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def goaway(last: int, code: int, debug_data: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame(7, 0, 0, last.to_bytes(4) + code.to_bytes(4) + debug_data)


def head(status: int = 200, *, stream: int = 1, end: bool = False, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A HEADERS frame with all headers in it."""
    block = Encoder().encode([(":status", str(status)), *headers])
    return frame(1, 0x4 | (0x1 if end else 0), stream, block)


def data(piece: bytes, *, stream: int = 1, end: bool = True) -> bytes:
    """A DATA frame."""
    return frame(0, 0x1 if end else 0, stream, piece)


class Site(servers.Behaviour):
    """Answers each request by `page(headers, body)`: a status, headers and a body; it keeps what it was asked."""

    page: Callable[[dict[str, str], bytes], tuple[int, dict[str, str], bytes]]
    asked: list[dict[str, str]]
    window = 65535

    def begin(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.unsent: dict[int, bytes] = {}
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for event in self.h2.receive_data(data):
            self._happened(event)
        for number in list(self.unsent):
            self._send(number)
        self.transport.write(self.h2.data_to_send())

    def _happened(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self.asked.append(headers)
            self.requests[event.stream_id] = headers, bytearray()
        elif isinstance(event, DataReceived):
            self.requests[event.stream_id][1].extend(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            headers, body = self.requests.pop(event.stream_id)
            status, more, text = type(self).page(headers, bytes(body))
            self.h2.send_headers(event.stream_id, [(":status", str(status)), *more.items()])
            self.unsent[event.stream_id] = text
        elif isinstance(event, WindowUpdated):
            pass  # what is unsent is tried after each event

    def _send(self, number: int) -> None:
        while number in self.unsent:
            text = self.unsent[number]
            most = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if text and most <= 0:
                return
            self.h2.send_data(number, text[:most], end_stream=len(text) <= most)
            self.unsent[number] = text[most:]
            if len(text) <= most:
                del self.unsent[number]


@asynccontextmanager
async def site(
    page: Callable[[dict[str, str], bytes], tuple[int, dict[str, str], bytes]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[servers.Server, list[dict[str, str]]]]:
    """A well-behaved server; yields it and the list of what it is asked."""
    asked: list[dict[str, str]] = []
    kind = type("Site", (Site,), {"page": staticmethod(page), "asked": asked})
    async with servers.serve(kind, tls=tls) as server:
        yield server, asked
