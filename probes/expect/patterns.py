"""Regular expressions in linear time, and values as a message shows them.

Both are applied to bodies from outside, and no body may make them run for long.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import re2  # type: ignore[import-untyped] # it has no type hints; only Pattern calls it

from probes.fields import TextSetting
from probes.text import MARGIN, clipped

SHOWN = 80  # characters of a value that a message shows


def shown(value: Any, most: int = SHOWN) -> str:
    """A value for a message: JSON in one line, of which `most` characters are shown (`probes.text.clipped`).

    Of a long value no more is written than is needed for that.
    """
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(clipped(value, most) if isinstance(value, str) else value):
        text += piece
        if len(text) > most + MARGIN:
            break
    return clipped(whole_characters(text), most)


def whole_characters(text: str) -> str:
    """The text without halves of surrogate pairs: JSON may contain them, but no output can."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Pattern(TextSetting):
    """A regular expression of RE2: no look-around and no back-references, and time that grows with the text alone."""

    DESCRIPTION: ClassVar[str] = "a regular expression (RE2)"

    text: str
    compiled: Any = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: Any) -> Pattern:
        """Compiles a pattern. Raises ValueError with RE2's own message."""
        if isinstance(text, Pattern):
            return text
        if not isinstance(text, str):
            raise ValueError("write a regular expression as a text")
        options = re2.Options()
        options.log_errors = False  # RE2 prints them on standard error
        try:
            return cls(text, re2.compile(whole_characters(text), options=options))
        except re2.error as error:
            message = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
            raise ValueError(f"RE2 can't read this regular expression: {message}") from None

    def search(self, text: str) -> Any:
        """The first match anywhere in the text, or None."""
        return self.compiled.search(whole_characters(text))

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches."""
        return self.compiled.fullmatch(whole_characters(text)) is not None
