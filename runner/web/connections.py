"""Connections of strangers: uvicorn's protocol with bounds on what each may cost, and on how many there are.

A request arrives whole within a time, and beside its body it has few bytes: its head, the frames of its chunks and its trailers are
counted before they are parsed, since the parser keeps a header of any length. A response is taken within a time. Where there are too
many connections, one of those whose address holds most gives way, an idle one first: whoever is new gets in, and somebody who opens
many connections shuts out nobody but himself.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

Refused = Callable[[str, str], None]
"""Counts a refused request: its reason (a label), and the address of the peer."""

_PIECE = 4096  # bytes that are parsed between two looks at what was counted
_FEWEST = 8


def most_connections(descriptors: int) -> int:
    """How many connections the web may hold: at most a quarter of the descriptors, since the checks need them too."""
    return 256 if descriptors == resource.RLIM_INFINITY else max(_FEWEST, min(256, descriptors // 4))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What connections may cost. Sizes in bytes, times in seconds."""

    connections: int = field(default_factory=lambda: most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    beside_body: int = 32 * 1024  # of one request: head, frames of chunks, trailers
    headers: int = 100
    pipelined: int = 16  # requests that wait for the response to an earlier one of their connection
    unread: int = 256 * 1024  # of a body after the response, which are thrown away
    arrival: float = 10.0  # until a request has arrived, from the connection's start or from the request's first byte
    taken: float = 30.0  # until a response has been taken


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `connections` of uvicorn's state holds all that count."""

    connections: set[BoundedProtocol]  # type: ignore[assignment]  # uvicorn's set; each of its protocols is one of these

    def __init__(self, *, bounds: Bounds, refused: Refused, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._bounds = bounds
        self._refused = refused
        self._address = ""
        self._since = self.loop.time()  # when it was opened, or had its latest response
        self._arriving: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._open = False  # whether a request has begun, and hasn't arrived whole
        self._in_head = False
        self._excess = False  # whether the request is refused, so that no application sees it
        self._beside_body = 0
        self._headers = 0
        self._unread = 0

    @property
    def _busy(self) -> bool:
        """Whether the application works on a request of this connection."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # uvicorn begins with None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._expect_request()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._arriving, self._taking):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        if len(self.connections) <= self._bounds.connections:
            return
        held = Counter(one._address for one in self.connections)  # noqa: SLF001 - of the same class
        most = max(held.values())
        fullest = [one for one in self.connections if held[one._address] == most]  # noqa: SLF001
        idle = [one for one in fullest if not one._busy]  # noqa: SLF001
        min(idle or fullest, key=lambda one: one._since)._refuse(503, "too_many", "This runner has too many connections")  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._arriving is None:
            self._expect_request()
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._beside_body += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                pass  # the request is answered as if it asked for no other protocol
            except httptools.HttpParserError:
                return self._refuse(400, "malformed", "This is not an HTTP request")
            if self._excess or self._beside_body > self._bounds.beside_body or self._unread > self._bounds.unread:
                most = f"{self._bounds.beside_body:,} bytes beside its body, and {self._bounds.headers} headers"
                return self._refuse(431, "too_large", f"A request may have at most {most}")
            if self.transport.is_closing():
                return None
        return None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._open = self._in_head = True
        self._beside_body = self._headers = self._unread = 0
        if self._arriving is None:  # it comes in one piece with the request before it
            self._expect_request()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._in_head and self._headers <= self._bounds.headers:  # a trailer is no header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._excess |= self._headers > self._bounds.headers or len(self.pipeline) >= self._bounds.pipelined
        if not self._excess:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._beside_body -= len(body)
        if self._excess:
            return
        if self.cycle.response_complete:
            self._unread += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._open = False
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None
        if not self._excess:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        self._expect_taking()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taking()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: a stranger can't fill the journal."""

    def _expect_request(self) -> None:
        self._arriving = self.loop.call_later(self._bounds.arrival, self._late)

    def _late(self) -> None:
        self._arriving = None
        if self._busy and (not self._open or self.flow.read_paused):
            self._expect_request()  # what hasn't arrived isn't what the response waits for
        elif self._open:
            self._refuse(408, "late", "The request took too long to arrive")
        else:
            self.transport.close()

    def _expect_taking(self) -> None:
        if self._taking is None and self.transport.get_write_buffer_size():
            self._taking = self.loop.call_later(self._bounds.taken, self._untaken)

    def _untaken(self) -> None:
        self._taking = None
        if self.transport.get_write_buffer_size():
            self._refused("untaken", self._address)
            self.transport.abort()

    def _refuse(self, status: int, reason: str, text: str) -> None:
        """Ends the connection: with a response if none is under way and the peer takes what it gets, else without."""
        self._refused(reason, self._address)
        self.connections.discard(self)  # it no longer counts, although it is lost only in the loop's next turn
        if self.transport.get_write_buffer_size() or (self._busy and self.cycle.response_started):
            return self.transport.abort()
        if not self.transport.is_closing():
            body = f"{text}.\n".encode()
            head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
            self.transport.close()
        return None
