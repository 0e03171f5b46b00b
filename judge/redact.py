"""Replaces secrets by value, in every output and whatever escaping, with three stars.

A secret is looked for as it is, URL-quoted, JSON-, HTML- and Python-escaped, in base64 (standard and URL-safe, at each of the
three alignments, so inside a Basic `user:secret` too) and in hex, and each long line of a secret of several lines by itself.
Secrets shorter than SHORTEST characters would damage ordinary words: they are replaced only where they are the whole value.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import re2  # type: ignore[import-untyped]  # it comes without types

REPLACEMENT = "***"
SHORTEST = 4
HEAD = 6  # characters of a secret at the end of a text of CUT characters or more: the text was cut in the middle of a secret
CUT = 256
_LONG_LINE = 16  # characters: a line of a PEM key, not its "}" or "-----"
_MEMORY = 64 * 2**20  # bytes that the matcher may use, instead of falling back to something slower


class Redactor:
    """Knows the secrets of one plan (and of one run). Time is linear in the text, however many secrets there are."""

    def __init__(self, secrets: Iterable[str]) -> None:
        given = {secret for secret in secrets if secret}
        self._short = frozenset(secret for secret in given if len(secret) < SHORTEST)
        forms = {form for secret in given if len(secret) >= SHORTEST for form in _forms(secret)}
        self._pattern = _compile(sorted(forms, key=lambda form: (-len(form), form))) if forms else None
        self._longest = max(map(len, forms), default=0)
        self._heads: dict[str, list[str]] = defaultdict(list)
        for form in forms:
            self._heads[form[:HEAD]].append(form)
        self._begun = _compile(sorted(self._heads)) if forms else None

    def text(self, text: str) -> str:
        """The text without any secret."""
        if text in self._short:
            return REPLACEMENT
        if self._pattern is None or not text:
            return text
        found = self._pattern.sub(REPLACEMENT.encode(), _bytes(text))
        return self._without_head(str(found.decode("utf-8", "surrogatepass")))

    def _without_head(self, text: str) -> str:
        """Removes the beginning of a secret from the end of a text that was cut to a length."""
        if len(text) < CUT or self._begun is None or not self._begun.search(_bytes(text[-self._longest :])):
            return text
        for start in range(max(0, len(text) - self._longest), len(text) - HEAD + 1):
            ending = text[start:]
            if any(form.startswith(ending) for form in self._heads.get(ending[:HEAD], ())):
                return text[:start] + REPLACEMENT
        return text

    def tree(self, value: Any) -> Any:
        """The same shape with every text in it redacted, keys too. Bytes become text; numbers, booleans and None stay."""
        texts: list[str] = []

        def noted(text: str) -> str:
            texts.append(text)
            return text

        plain = _each_text(value, noted)
        return plain if self._is_clean(texts) else _each_text(plain, self.text)

    def _is_clean(self, texts: list[str]) -> bool:
        """Whether none of the texts holds a secret, by one search for all of them: the common case, and ten times as quick."""
        if self._short and not self._short.isdisjoint(texts):
            return False
        if any(self._without_head(text) is not text for text in texts):
            return False
        return self._pattern is None or self._pattern.search(_bytes("\n".join(texts))) is None


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


def _compile(forms: list[str]) -> Any:
    """One alternation, longest first. On bytes: a text may hold what is no valid Unicode."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = True
    options.max_mem = _MEMORY
    return re2.compile(b"|".join(re2.escape(_bytes(form)) for form in forms), options)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forms(secret: str) -> Iterator[str]:
    """Every way in which a secret may be written."""
    for value in {secret, secret.strip(), *(line.strip() for line in secret.splitlines() if len(line.strip()) >= _LONG_LINE)}:
        if len(value) >= SHORTEST:
            yield from _written(value)


def _written(value: str) -> Iterator[str]:
    yield value
    yield from _quoted(value)
    for escaped in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        yield escaped[1:-1]
        yield escaped[1:-1].replace("/", "\\/")  # as JavaScript and PHP like to write it
        yield json.dumps(escaped)[3:-3]  # JSON inside JSON
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield html.escape(value).replace("&#x27;", "&#39;")
    yield repr(value)[1:-1]
    raw = _bytes(value)
    yield raw.hex()
    yield raw.hex().upper()
    yield from _base64(raw)


def _quoted(value: str) -> Iterator[str]:
    raw = _bytes(value)
    for safe in ("", "/", "/:", "!$&'()*+,;=:@/?"):  # quote's own choices, and what a path or a query may hold as it is
        for escaped in (quote(raw, safe=safe), quote_plus(raw, safe=safe)):
            yield escaped
            yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), escaped)


def _base64(raw: bytes) -> Iterator[str]:
    """The part of the secret's base64 that doesn't depend on what stands before and behind it, for each of the three alignments."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        certain = encoded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        if len(certain) >= SHORTEST:
            yield certain
            yield certain.replace("+", "-").replace("/", "_")
