"""Replaces secrets by value, in every output and whatever escaping, with three stars; then cuts texts, and shows their controls.

A text is searched as it is and with each way of escaping undone (`judge.escapings`), three of them one after the other. Besides
whole secrets, every piece of a long one is found, and what a cut has left of any (`judge.matching`).
Secrets of fewer than four characters would damage ordinary words: they are replaced only where they are the whole value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from judge.escapings import Flood, Unescaped, Work, unescapings
from judge.matching import Secrets, Span, as_bytes
from probes.text import clips, has_controls, shortened

REPLACEMENT = "***"
MOST = 64 * 1024  # characters of a text: no output needs more
_REMEMBERED, _MOST_REMEMBERED = 200, 1000  # characters of a text that was found to be clean, and how many of them are remembered
_DEEPEST = 3  # ways of escaping that are undone one after the other


class Redactor:
    """Knows the secrets of one plan (and of one run: `known` are those that another redactor knows).

    Time is linear in the text, however many secrets there are.
    """

    def __init__(self, secrets: Iterable[str], known: tuple[Secrets, ...] = ()) -> None:
        self.known = (*known, Secrets(secrets))
        self._short = frozenset().union(*(one.short for one in self.known))
        self._with_blanks = any(one.with_blanks for one in self.known)
        self._any = any(one.any for one in self.known)
        self._clean: set[str] = set()  # short texts in which nothing was found: most runs say what the runs before said

    def text(self, text: str) -> str:
        """The text without any secret, and cut where it says so (`probes.text.clipped`)."""
        if text in self._clean:
            return text
        redacted = self._text(text, Work())
        if redacted == text and len(text) <= _REMEMBERED:
            if len(self._clean) >= _MOST_REMEMBERED:
                self._clean.clear()
            self._clean.add(text)
        return redacted

    def tree(self, value: Any) -> Any:
        """The same shape with every text in it redacted, keys too. Bytes become text; numbers, booleans and None stay."""
        texts: list[str] = []

        def noted(text: str) -> str:
            texts.append(text)
            return text

        plain, work = _each_text(value, noted), Work()
        return plain if self._is_clean(texts) else _each_text(plain, lambda text: self._text(text, work))

    def _is_clean(self, texts: list[str]) -> bool:
        """Whether nothing is to be changed, by one search of all texts: the common case, and ten times as quick."""
        if any(text in self._short or len(text) > MOST or has_controls(text) or clips(text)[1] for text in texts):
            return False
        work = Work()
        together = b"\xff".join(map(as_bytes, texts))  # what no secret contains
        return not self._found(together, work) and work.left > 0

    def _text(self, text: str, work: Work) -> str:
        if text in self._short:
            return REPLACEMENT
        text, marked = clips(text)
        if len(text) > MOST:
            text = f"{text[:MOST]}…"
        raw = as_bytes(text)
        found = self._found(raw, work)
        if work.left <= 0:
            return f"… ({len(text):,} characters)"
        if found and len(raw) != len(text):
            found = {(_characters(raw, start), _characters(raw, end)) for start, end in found}
        return shortened(text, marked, _joined(found), REPLACEMENT)

    def _found(self, raw: bytes, work: Work) -> set[Span]:
        """Where secrets stand in a text: as they are, and behind up to three ways of escaping."""
        found: set[Span] = set()
        if not self._any:
            return found
        seen = {raw}
        views: deque[tuple[bytes, tuple[Unescaped, ...]]] = deque([(raw, ())])
        while views and work.left > 0:
            view, undone = views.popleft()
            for span in (span for known in self.known for span in known.spans(view)):
                for one in reversed(undone):
                    span = one.origin(*span)  # noqa: PLW2901 - the same place, one way of escaping further out
                found.add(span)
            try:
                for one in unescapings(view, work, plus=self._with_blanks) if len(undone) < _DEEPEST else ():
                    if (text := bytes(one.text)) not in seen:
                        seen.add(text)
                        work.left -= len(text)
                        views.append((text, (*undone, one)))
            except Flood:
                work.left = 0
        return found


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; those that overlap or touch as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _characters(raw: bytes, count: int) -> int:
    """How many characters begin in the first `count` bytes."""
    return count - sum(byte & 0xC0 == 0x80 for byte in raw[:count])  # noqa: PLR2004 - UTF-8's continuation bytes


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same shape in plain dicts and lists, each text changed."""
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_each_text(key, change): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_each_text(item, change) for item in value]
    if isinstance(value, bytes | bytearray):
        return change(bytes(value).decode("utf-8", "backslashreplace"))
    return change(str(value))
