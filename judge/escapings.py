"""Undoes the ways in which texts are escaped, one at a time, and knows for each byte of the result where it came from. Pure."""

from __future__ import annotations

import base64
import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from judge.matching import compiled

_PERCENT = re.compile(rb"%(?:u([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))")
_FORM = re.compile(rb"%(?:u([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))|\+")
_BACKSLASH = re.compile(
    rb"\\(?:u([dD][89abAB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|U([0-9A-Fa-f]{8})"
    rb"|x([0-9A-Fa-f]{2})|([0-7]{1,3})|([^ux0-7]))",
    re.DOTALL,
)
_ENTITY = re.compile(rb"&(?:#[xX]([0-9A-Fa-f]{1,6});?|#([0-9]{1,7});?|([A-Za-z][A-Za-z0-9]{1,31};|amp|lt|gt|quot))")
_WIDE = re.compile(rb"\0(?=[^\0]\0)|(?<=\0[^\0])\0")
_FOLD = re.compile(rb"(?<=[!-~])\r?\n[ \t]*(?=[!-~])")
_ROW = re.compile(rb"(?:%[0-9A-Fa-f]{2}){2,}|(?:\\x[0-9A-Fa-f]{2}){2,}")
_ASCII_ROW = re.compile(rb"(?:\\x[0-7][0-9A-Fa-f]){2,}")  # the same bytes, whether they are meant as characters or as bytes
_BASE64, _HEX, _SPACED_HEX = rb"[A-Za-z0-9+/_-]{11,}", rb"[0-9A-Fa-f]{8,}", rb"[0-9A-Fa-f]{2}(?:[ :-][0-9A-Fa-f]{2}){3,}"
_HEX_ALONE = re.compile(_HEX)
# RE2 searches five times as quickly as re, and takes five times as long for each match: it is for short texts, which most are.
_QUICK = {pattern: compiled(pattern) for pattern in (_BASE64, _HEX, _SPACED_HEX)}
_PLAIN = {pattern: re.compile(pattern) for pattern in (_BASE64, _HEX, _SPACED_HEX)}
_SHORT_TEXT = 8 * 1024  # bytes
_SHORT_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"a": b"\a"}
_HIGHEST = 0x10FFFF
_STANDARD = bytes.maketrans(b"-_", b"+/")
_CONTROLS = bytes({*range(1, 32), 127} - set(b"\t\r\n"))
_FEW = 2  # control characters, of what a name before a token is decoded to
_BREAK = b"\xff"  # between decoded pieces: no secret contains it, since it is no UTF-8


class Flood(Exception):  # noqa: N818 - a trait of a text
    """A text has more escapes than are undone."""


@dataclass(slots=True)
class Work:
    """What may still be done for one value: a target must not make the runner search for long."""

    left: int = 512 * 1024  # bytes that are made by undoing
    escapes: int = 10_000  # that are undone one by one

    def count(self) -> None:
        """Counts an escape, or a row of them that is undone at once. Raises Flood where it is one too many."""
        self.escapes -= 1
        if self.escapes < 0:
            raise Flood


@dataclass(slots=True)
class Unescaped:
    """A text with one way of escaping undone. Its pieces say where each byte came from."""

    text: bytearray = field(default_factory=bytearray)
    _starts: list[int] = field(default_factory=list)  # of each piece, in `text`
    _pieces: list[tuple[int, int, int]] = field(default_factory=list)  # start in the source, bytes of a unit here and there

    def add(self, piece: bytes, start: int, unit: int = 1, source: int = 1) -> None:
        """Appends bytes: each `unit` of them was written as `source` bytes, the first at `start`."""
        self._starts.append(len(self.text))
        self._pieces.append((start, unit, source))
        self.text += piece

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where text[start:end] stands in the source, whole units of it."""
        first, last = bisect_right(self._starts, start) - 1, bisect_right(self._starts, end - 1) - 1
        begin, unit, source = self._pieces[first]
        finish, last_unit, last_source = self._pieces[last]
        return (
            begin + (start - self._starts[first]) // unit * source,
            finish + ((end - 1 - self._starts[last]) // last_unit + 1) * last_source,
        )


def unescapings(text: bytes, work: Work, *, plus: bool) -> Iterator[Unescaped]:
    """The text with each way of escaping undone that occurs in it. `plus`: whether a plus sign may stand for a blank.

    Raises Flood where more escapes would be undone than `work` allows.
    """
    for sign, pattern, meaning in _ESCAPINGS if plus else _ESCAPINGS[1:]:
        if sign in text and (found := _replaced(text, pattern, meaning, work)):
            yield found
    if (blocks := _blocks(text, work)).text:
        yield blocks


def _replaced(text: bytes, pattern: re.Pattern[bytes], meaning: Callable[[re.Match[bytes]], bytes], work: Work) -> Unescaped | None:
    found, at = Unescaped(), 0
    while escape := pattern.search(text, at):
        work.count()
        start, end = escape.span()
        if at < start:
            found.add(text[at:start], at)
        at, size = end, end - start
        rows = _ROW if meaning in (_percent, _backslash_byte) else _ASCII_ROW
        if row := rows.match(text, start):  # what a flood is made of is undone at once
            found.add(bytes.fromhex(row[0].translate(None, b"%\\x").decode()), start, 1, size)
            at = row.end()
        else:
            piece = meaning(escape)
            found.add(piece, start, max(1, len(piece)), size)
    if at == 0:
        return None
    found.add(text[at:], at)
    return found


def _percent(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return _character(int(escape[1], 16))
    return bytes.fromhex(escape[2].decode()) if escape[2] else b" "


def _backslash(escape: re.Match[bytes]) -> bytes:
    high, low, four, braced, eight, two, octal, sign = escape.groups()
    if high:
        return _character(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    if digits := four or braced or eight or two:
        return _character(int(digits, 16))
    return _character(int(octal, 8)) if octal else _SHORT_ESCAPES.get(sign, sign)


def _backslash_byte(escape: re.Match[bytes]) -> bytes:
    r"""As Python and C mean it for bytes: `\xc3\xb6` is one character of UTF-8."""
    if escape[6]:
        return bytes.fromhex(escape[6].decode())
    return bytes([int(escape[7], 8) & 0xFF]) if escape[7] else _backslash(escape)


def _entity(escape: re.Match[bytes]) -> bytes:
    if digits := escape[1] or escape[2]:
        return _character(int(digits, 16 if escape[1] else 10))
    return html.unescape(f"&{escape[3].decode()}").encode()


def _nothing(_escape: re.Match[bytes]) -> bytes:
    return b""


def _character(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass") if code <= _HIGHEST else b"?"


_ESCAPINGS: tuple[tuple[bytes, re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]], ...] = (
    (b"+", _FORM, _percent),
    (b"%", _PERCENT, _percent),
    (b"\\", _BACKSLASH, _backslash),
    (b"\\x", _BACKSLASH, _backslash_byte),
    (b"\\2", _BACKSLASH, _backslash_byte),
    (b"\\3", _BACKSLASH, _backslash_byte),
    (b"&", _ENTITY, _entity),
    (b"\0", _WIDE, _nothing),
    (b"\n", _FOLD, _nothing),
)


def _blocks(text: bytes, work: Work) -> Unescaped:
    """The runs of base64 and of hex in a text, decoded at each alignment that may be theirs."""
    found = Unescaped()
    patterns = _QUICK if len(text) <= _SHORT_TEXT else _PLAIN
    for run in patterns[_BASE64].finditer(text):
        work.count()
        if not run[0].islower() and not _HEX_ALONE.fullmatch(run[0]):  # neither a word nor a number
            standard = run[0].translate(_STANDARD)
            # What a path or a name puts before a token shifts it: only such a run may begin in the middle of a group.
            for skipped in range(4 if b"+" in standard or b"/" in standard else 1):
                _add_base64(found, standard[skipped:], run.start() + skipped)
    for run in patterns[_HEX].finditer(text):
        work.count()
        for skipped in range(2):
            digits = run[0][skipped:]
            found.add(bytes.fromhex(digits[: len(digits) // 2 * 2].decode()), run.start() + skipped, 1, 2)
            found.add(_BREAK, run.end())
    for run in patterns[_SPACED_HEX].finditer(text):
        work.count()
        decoded = bytes.fromhex(re.sub(r"[:-]", " ", run[0].decode()))
        found.add(decoded[:-1], run.start(), 1, 3)
        found.add(decoded[-1:], run.end() - 2, 1, 2)
        found.add(_BREAK, run.end())
    return found


def _add_base64(found: Unescaped, run: bytes, start: int) -> None:
    whole = len(run) // 4 * 4
    decoded = base64.b64decode(run[:whole])
    if len(decoded) - len(decoded.translate(None, _CONTROLS)) > max(_FEW, len(decoded) // 20):
        return  # it was no base64: a ninth of what comes out would be control characters
    found.add(decoded, start, 3, 4)
    rest = run[whole:]
    if len(rest) > 1:
        found.add(base64.b64decode(rest + b"=" * (4 - len(rest))), start + whole, len(rest) - 1, len(rest))
    found.add(_BREAK, start + len(run))
