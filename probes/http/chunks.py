"""The chunked transfer coding (RFC 9112, 7.1). What isn't the body, sizes, extensions and trailers, is counted and bounded."""

from __future__ import annotations

import re

from probes.core import Failed, Reason
from probes.http.exchange import HEAD_CAP
from probes.http.head import FIELDS_CAP, Head
from probes.text import clipped

_FREE = 16  # bytes of a chunk's first line that aren't counted: any size has as many
_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*")


class Chunks:
    """Decodes one body. `ended`: its last byte has been read. `complete`: of the content nothing is missing."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._left = 0  # bytes of the chunk that are still to come
        self._closing = False  # a chunk's content is over, its line end isn't
        self._beside = 0  # bytes beside the content
        self._lines = 0  # trailers
        self._scanned = 0
        self.complete = False
        self.ended = False

    def take(self, unread: bytearray) -> bytes:
        """Removes from `unread` what can be read, and returns its content."""
        content = bytearray()
        at = 0
        while True:
            if self._left:
                piece = unread[at : at + self._left]
                content += piece
                at += len(piece)
                self._left -= len(piece)
                self._closing = not self._left
            if self.ended or at == len(unread):
                break
            if self._closing and unread[at] not in b"\r\n":
                raise self._head.fault("a chunk is longer than its size")
            end = unread.find(b"\n", at + self._scanned)
            if end < 0:
                self._scanned = len(unread) - at
                self._count(self._scanned, 0)
                break
            line, at, self._scanned = bytes(unread[at : end + 1]), end + 1, 0
            text = self._head.without_end(line)
            if self._closing:
                if text:
                    raise self._head.fault("a chunk is longer than its size")
                self._closing = False
            elif self.complete:
                self._lines += 1
                self._beside = self._count(len(line), 0)
                self.ended = not text
            else:
                size, _, _ = text.partition(b";")
                found = _SIZE.fullmatch(size)
                if not found:
                    raise self._head.fault(f"{clipped(repr(size)[1:], 40)} is not the size of a chunk")
                self._left = int(found[1], 16)
                self._beside = self._count(len(line), self._left)
                self.complete = not self._left
        del unread[:at]
        return bytes(content)

    def _count(self, length: int, content: int) -> int:
        """The bytes beside the content with those of a line. An extension may be as long as its chunk."""
        beside = self._beside + max(0, length - (0 if self.complete else _FREE + content))
        if beside > HEAD_CAP or self._lines > FIELDS_CAP:
            what = "trailers" if self.complete else "chunk extensions"
            more = f"{FIELDS_CAP:,} lines" if self._lines > FIELDS_CAP else f"{HEAD_CAP // 1024} KiB"
            raise Failed(Reason.SIZE, f"the response has more than {more} of {what}")
        return beside
