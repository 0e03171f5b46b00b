"""An incremental reader of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from probes.core import Failed, Reason

MOST_LINES = 50_000  # of a stream: each is read on the loop, and a mebibyte of empty ones would hold it for half a second


class ServerEvent(NamedTuple):
    """One event: its data, and its name where the server gave it one."""

    data: str
    name: str = ""


class EventReader:
    """Reads the bytes of a `text/event-stream` in pieces of any size, and yields each event when it is complete."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._name = ""
        self._after_return = False  # the last byte was a carriage return: a line feed after it belongs to the same line end
        self._first = True
        self._lines_read = 0
        self.events = 0

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """Each event that this piece completes: with the blank line after it. Raises Failed(size) above MOST_LINES."""
        for line in self._lines(piece):
            if line:
                self._field(line)
            elif self._data:
                yield self._event()
            else:
                self._name = ""

    def rest(self) -> Iterator[ServerEvent]:
        """The event whose blank line never came, after the end of the stream: clients that read by lines take it."""
        if self._line:
            self._field(bytes(self._line).decode("utf-8", "replace"))
            self._line.clear()
        if self._data:
            yield self._event()

    def _event(self) -> ServerEvent:
        self.events += 1
        event = ServerEvent("\n".join(self._data), self._name)
        self._data, self._name = [], ""
        return event

    def _lines(self, piece: bytes) -> Iterator[str]:
        for part in piece.splitlines(keepends=True):  # of bytes: after \\n, \\r and \\r\\n alone
            if self._after_return and part == b"\n":
                self._after_return = False
                continue
            self._after_return = part.endswith(b"\r")
            self._line += part
            if part.endswith((b"\n", b"\r")):
                self._lines_read += 1
                if self._lines_read > MOST_LINES:
                    raise Failed(Reason.SIZE, f"the stream has more than {MOST_LINES:,} lines")
                line = bytes(self._line).rstrip(b"\r\n").decode("utf-8", "replace")
                self._line.clear()
                if self._first:
                    line, self._first = line.removeprefix("\ufeff"), False
                yield line

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        elif name == "event":
            self._name = value.removeprefix(" ")
