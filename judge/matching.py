"""Finds secrets, and the pieces that a cut has left of them, in bytes. Pure."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import re2  # type: ignore[import-untyped]  # it comes without types

SHORTEST = 4
HEAD = 6  # bytes of a secret that are recognised at a cut
CUT = 256  # bytes of a text that may have been cut, whatever it ends with
_LONG = 96  # bytes: a longer secret is found by its blocks
_BLOCK = 16  # bytes: every piece of a long secret of twice this length contains a whole block
_LEAST_SIGNS = 4  # different bytes of a block that says something: a row of blanks doesn't
_LONG_LINE = 16  # characters: a line of a PEM key, not its "}" or "-----"
_MOST_LINES = 256  # of one secret, that are secrets by themselves
_PATTERN = 4 * 1024  # bytes of the forms that one pattern looks for: RE2 refuses to compile large ones
_MEMORY = 16 * 2**20  # bytes that a pattern may use, instead of falling back to something slower
_MOST_CUTS = 64  # of one text
_STEPS = 1000  # matches of one text that may overlap
_ELLIPSIS = re.compile(rb"\xe2\x80\xa6|\.\.\.|\xff")  # ... and the end of a decoded piece
_HALF_ESCAPE = re.compile(rb"(?:%[0-9A-Fa-f]?|\\(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&[#\w]{0,9})\Z")
_CHARSETS = ("latin-1", "utf-16-le", "utf-16-be", "utf-8")
Span = tuple[int, int]


class Secrets:
    """Several secrets to look for. `short` are those that are replaced only where they are the whole value.

    `any`: whether there are others. `with_blanks`: whether a blank is in one of them. `size` is about how many bytes all this takes.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        given = {secret for secret in secrets if secret}
        values = {value for secret in given for value in _values(secret)}
        self.short = frozenset(secret for secret in given if len(secret) < SHORTEST)
        self.with_blanks = any(" " in value for value in values)
        forms: set[bytes] = set()
        self._blocks: dict[bytes, tuple[bytes, int]] = {}  # the secret that it is from, and where
        self._heads: dict[bytes, list[bytes]] = defaultdict(list)
        self._tails: dict[bytes, list[bytes]] = defaultdict(list)
        for value in values:
            raw = as_bytes(value)
            if len(raw) <= _LONG:
                forms.update(_forms(value, raw))
            else:
                for at in range(0, len(raw) - _BLOCK + 1, _BLOCK):
                    block = raw[at : at + _BLOCK]
                    if len(set(block)) >= _LEAST_SIGNS:
                        self._blocks.setdefault(block, (raw, at))
                self._heads[raw[:HEAD]].append(raw[:_LONG])
                self._tails[raw[-HEAD:]].append(raw[-_LONG:])
        for form in sorted(forms):
            if len(form) > HEAD:
                self._heads[form[:HEAD]].append(form)
                self._tails[form[-HEAD:]].append(form)
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self.any = bool(forms or self._blocks)  # whether a text can hold one of them
        self._patterns = list(_patterns(ordered))
        self._begun = list(_patterns(sorted({*self._heads, *self._tails})))
        self._longest = max((len(form) for found in self._heads.values() for form in found), default=0)
        self.size = 40 * sum(map(len, forms)) + 150 * len(self._blocks) + sum(map(len, {secret for secret, _ in self._blocks.values()}))

    def spans(self, text: bytes) -> Iterator[Span]:
        """Where secrets and pieces of them stand in a text."""
        for pattern in self._patterns:
            at, steps = 0, 0
            while found := pattern.search(text, at):
                yield found.span()
                steps += 1
                at = found.start() + 1 if steps < _STEPS else found.end()  # another secret may begin inside this one
        if self._blocks:
            yield from self._pieces_of_long_ones(text)
        if any(pattern.search(text) for pattern in self._begun):
            yield from self._cut_ones(text)

    def _pieces_of_long_ones(self, text: bytes) -> Iterator[Span]:
        at, blocks = 0, self._blocks
        while at <= len(text) - _BLOCK:
            if (known := blocks.get(text[at : at + _BLOCK])) is None:
                at += 1
                continue
            secret, place = known
            before = _shared_length(text[:at][::-1], secret[:place][::-1])
            after = _shared_length(text[at:], secret[place:])
            yield at - before, at + after
            at += after

    def _cut_ones(self, text: bytes) -> Iterator[Span]:
        """The beginnings of secrets before a cut, and their ends behind one."""
        cuts = [found.span() for _, found in zip(range(_MOST_CUTS), _ELLIPSIS.finditer(text), strict=False)]
        ends, starts = [start for start, _ in cuts], [end for _, end in cuts]
        if len(text) >= CUT:
            ends.append(len(text))
            starts.append(0)
        for end in ends:
            half = _HALF_ESCAPE.search(text, max(0, end - 12), end)
            for last in {end, half.start() if half else end}:
                for start in range(max(0, last - self._longest), last - HEAD + 1):
                    if any(form.startswith(text[start:last]) for form in self._heads.get(text[start : start + HEAD], ())):
                        yield start, end
                        break
        for start in starts:
            for end in range(min(len(text), start + self._longest), start + HEAD - 1, -1):
                if any(form.endswith(text[start:end]) for form in self._tails.get(text[end - HEAD : end], ())):
                    yield start, end
                    break


def _values(secret: str) -> Iterator[str]:
    """A secret, without the blanks around it too, and its longer lines."""
    lines = secret.splitlines()[:_MOST_LINES]
    for value in {secret, secret.strip(), *(line.strip() for line in lines if len(line.strip()) >= _LONG_LINE)}:
        if len(value) >= SHORTEST:
            yield value


def as_bytes(text: str) -> bytes:
    """A text as bytes; it may hold what is no valid Unicode."""
    return text.encode("utf-8", "surrogatepass")


def _shared_length(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def compiled(pattern: bytes) -> Any:
    """A pattern for bytes, found in time that is linear in the text; of several matches at a place the longest."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = True
    options.log_errors = False  # RE2 prints a pattern that it refuses on standard error
    options.max_mem = _MEMORY
    return re2.compile(pattern, options)


def _patterns(forms: list[bytes]) -> Iterator[Any]:
    """Alternations, longest form first, none of them too large to be compiled. On bytes: a text may hold what is no valid Unicode."""
    batch: list[bytes] = []
    for form in forms:
        if batch and sum(map(len, batch)) + len(form) > _PATTERN:
            yield compiled(b"|".join(map(re2.escape, batch)))
            batch = []
        batch.append(form)
    if batch:
        yield compiled(b"|".join(map(re2.escape, batch)))


def _forms(value: str, raw: bytes) -> Iterator[bytes]:
    """How a secret is written where nothing is escaped: as it is, in base64, and read in another charset than it was sent in."""
    yield raw
    yield from _base64(raw)
    for charset in _CHARSETS if not value.isascii() else ():
        sent = value.encode(charset, "replace")
        yield from _base64(sent)
        for form in (sent, *(as_bytes(sent.decode(read, "replace")) for read in ("utf-8", "latin-1"))):
            if len(form.replace(b"\xef\xbf\xbd", b"").strip(b"?\0")) >= SHORTEST:
                yield form


def _base64(raw: bytes) -> Iterator[bytes]:
    """The part of the base64 that doesn't depend on what stands before and behind the secret, for each of the three alignments."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        certain = encoded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        if len(certain) >= SHORTEST:
            yield certain
            yield certain.replace(b"+", b"-").replace(b"/", b"_")
