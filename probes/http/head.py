"""The head of an HTTP/1.1 response, line by line: as browsers and curl read it, or strictly as RFC 9112 has it (`framing: strict`)."""

from __future__ import annotations

import re

from probes.core import Failed, Reason
from probes.text import clipped

FIELDS_CAP = 1000  # lines of a response's head, and as many of its trailers
_BEGINNING = 80  # characters of a response's first line that a message shows
_STATUS_LINE = re.compile(rb"(?:HTTP/(\d{1,3})(?:\.(\d{1,3}))?|ICY)[ \t]+([1-9]\d\d)(?:[ \t].*)?", re.IGNORECASE | re.DOTALL)
_STRICT_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9]\d\d(?: .*)?", re.DOTALL)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
LONGEST_LENGTH = 18  # digits of a Content-Length


def malformed(what: str) -> Failed:
    """The failure where a response breaks HTTP/1.1."""
    return Failed(Reason.PROTOCOL, f"the server's response is not HTTP/1.1: {what}")


def begins(data: bytes) -> str:
    """What came first, for a message."""
    line = bytes(data).partition(b"\n")[0].rstrip(b"\r")
    return f"it begins {clipped(repr(line)[1:], _BEGINNING)}"


class Head:
    """The status line and the fields. Interim responses (RFC 9110, 15.2) are read and forgotten, but count.

    Switching Protocols (101) is final where the request asked for it (`switches`), and else the server's fault.
    What a browser takes although RFC 9112 doesn't allow it is taken, and fails where the check says `framing: strict`.
    """

    def __init__(self, *, strict: bool, switches: bool = False) -> None:
        self._strict = strict
        self._switches = switches
        self._lines = 0
        self.first_line = b""
        self.status = 0
        self.version = "1.1"
        self.fields: list[tuple[bytes, bytes]] = []

    def check_beginning(self, beginning: bytes) -> None:
        """Raises Failed where a response that begins so can't be HTTP, so that nobody waits for the end of its first line."""
        if self.status or beginning[:1] in (b"\r", b"\n"):
            return
        if not any(word.startswith(beginning[: len(word)].upper()) for word in (b"HTTP/", b"ICY ")):
            raise malformed(begins(beginning))

    def add(self, line: bytes) -> bool:
        """Takes a line with its end; returns whether it is the last one of the final response's head."""
        text = self.without_end(line)
        self._lines += 1
        if self._lines > FIELDS_CAP:
            raise Failed(Reason.SIZE, f"the response head has more than {FIELDS_CAP:,} lines")
        if not self.status:
            self._read_status(text)
        elif not text:
            if self.status >= 200 or (self._switches and self.status == 101):  # noqa: PLR2004 - below are interim responses
                return True
            if self.status == 101:  # noqa: PLR2004 - Switching Protocols
                raise Failed(Reason.PROTOCOL, "the server switched protocols (101), which the request didn't ask for")
            self.status = 0
            self.fields.clear()
        elif text[:1] in (b" ", b"\t"):
            self.deviation("a header is folded over several lines")
            if self.fields:
                name, value = self.fields[-1]
                self.fields[-1] = name, (value + b" " + text.strip(b" \t")).strip(b" ")
        else:
            name, colon, value = text.partition(b":")
            bare = name.rstrip(b" \t")
            if not colon or not TOKEN.fullmatch(bare):
                self.deviation("a line of its head is no header")
                return False
            if bare != name:
                self.deviation("a header's name is followed by a blank")
            self.fields.append((bare, value.strip(b" \t")))
        return False

    def _read_status(self, text: bytes) -> None:
        if not text:  # an empty line before a response
            return
        self.first_line = text
        found = _STATUS_LINE.fullmatch(text)
        if not found:
            raise malformed(begins(text))
        if not _STRICT_STATUS_LINE.fullmatch(text):
            self.deviation("its first line is not HTTP/1.1's")
        self.status = int(found[3])
        version = int(found[1] or 1), int(found[2] or 0)
        self.version = "1.1" if version >= (1, 1) else "1.0"

    def without_end(self, line: bytes) -> bytes:
        """A line without CRLF. LF alone is a deviation (RFC 9112, 2.2 allows to take it)."""
        if line[-2:-1] != b"\r":
            self.deviation("a line ends in LF without CR")
        text = line.rstrip(b"\r\n")
        if b"\0" in text:
            raise self.fault("a line has a NUL")
        if b"\r" in text:
            self.deviation("a line has a CR in its middle")
        return text.replace(b"\r", b" ")

    def fault(self, what: str) -> Failed:
        """The failure, with how the response begins."""
        return malformed(f"{what}; {begins(self.first_line)}" if self.first_line else what)

    def deviation(self, what: str) -> None:
        """Raises Failed where the check takes nothing but what the RFC allows."""
        if self._strict:
            raise self.fault(f"{what}, and this check has framing: strict")

    # -- what follows the head

    def listed(self, name: bytes) -> list[str]:
        """The elements of a field whose value is a list, in lower case."""
        values = (value.decode("latin-1").lower() for key, value in self.fields if key.lower() == name)
        return [element for value in values for part in value.split(",") if (element := part.strip(" \t"))]

    def transfer_codings(self) -> tuple[str, ...]:
        """Transfer-Encoding without `identity`, which isn't a coding any more."""
        codings = [coding.partition(";")[0].rstrip() for coding in self.listed(b"transfer-encoding")]
        known = tuple(coding for coding in codings if coding != "identity")
        if len(known) != len(codings):
            self.deviation("its Transfer-Encoding is identity")
        if "chunked" in known[:-1]:
            self.deviation("it is chunked more than once, or not at last")
        if known and (self.version == "1.0" or any(key.lower() == b"content-length" for key, _ in self.fields)):
            self.deviation("it has Transfer-Encoding beside Content-Length, or in HTTP/1.0")
        return known

    def content_length(self) -> int | None:
        """The body's length; None where there is none. Raises Failed where it can't be read or there are two."""
        values = [value for key, value in self.fields if key.lower() == b"content-length"]
        lengths = [part.strip(b" \t") for value in values for part in value.split(b",")]
        if not lengths:
            return None
        for length in lengths:
            if not length.isdigit() or len(length) > LONGEST_LENGTH:
                raise self.fault(f"its Content-Length is {clipped(repr(length)[1:], 40)}")
        if len(lengths) > 1:
            self.deviation("it has Content-Length more than once")
        if len({int(length) for length in lengths}) > 1:
            raise self.fault(f"its Content-Length is {' and '.join(str(int(length)) for length in lengths[:4])}")
        return int(lengths[0])

    def keeps_alive(self) -> bool:
        """Whether the server keeps the connection open."""
        wishes = self.listed(b"connection")
        return "close" not in wishes and (self.version == "1.1" or "keep-alive" in wishes)
