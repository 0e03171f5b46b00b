"""An incremental reader of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator


class EventReader:
    """Reads the bytes of a `text/event-stream` in pieces of any size, and yields each event's data when it is complete."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._after_return = False  # the last byte was a carriage return: a line feed after it belongs to the same line end
        self._first = True
        self.events = 0

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of each event that this piece completes. An event without its blank line is never yielded."""
        for line in self._lines(piece):
            if line:
                self._field(line)
            elif self._data:
                self.events += 1
                data, self._data = "\n".join(self._data), []
                yield data

    def _lines(self, piece: bytes) -> Iterator[str]:
        for part in piece.splitlines(keepends=True):  # of bytes: after \\n, \\r and \\r\\n alone
            if self._after_return and part == b"\n":
                self._after_return = False
                continue
            self._after_return = part.endswith(b"\r")
            self._line += part
            if part.endswith((b"\n", b"\r")):
                line = bytes(self._line).rstrip(b"\r\n").decode("utf-8", "replace")
                self._line.clear()
                if self._first:
                    line, self._first = line.removeprefix("\ufeff"), False
                yield line

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
