"""Regular expressions in linear time, and JSONPath that uses them.

They are applied to bodies from outside, and no body may make them run for long.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import re2  # type: ignore[import-untyped] # it has no type hints; only Pattern calls it
from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError
from jsonpath.function_extensions import ExpressionType, FilterFunction
from jsonpath.selectors import NameSelector

from probes.fields import TextSetting
from probes.text import clipped

SHOWN = 80  # characters of a value that a message shows


def shown(value: Any, most: int = SHOWN) -> str:
    """A value for a message: JSON in one line, of which `most` characters are shown (`probes.text.clipped`)."""
    try:
        text = json.dumps(clipped(value, most) if isinstance(value, str) else value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "[…] (nested too deeply to be shown)"
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


class _Regular(FilterFunction):
    """RFC 9535's match() and search() with RE2. The library's own functions use a backtracking engine."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 - the library declares these so
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole

    def __call__(self, value: object, pattern: object) -> bool:
        """Whether the value matches. False for a value that is no text and for an invalid pattern, as in the RFC."""
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        try:
            compiled = Pattern.parse(pattern)
        except ValueError:
            return False
        return compiled.fullmatch(value) if self.whole else compiled.search(value) is not None


class _Environment(JSONPathEnvironment):
    """Strict RFC 9535, with regular expressions in linear time."""

    def __init__(self) -> None:
        super().__init__(strict=True)

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _Regular(whole=True)
        self.function_extensions["search"] = _Regular(whole=False)


_RFC9535 = _Environment()  # a constant, since making one takes milliseconds


@dataclass(frozen=True, slots=True)
class JsonPath(TextSetting):
    """A JSONPath query (RFC 9535), compiled when the configuration is read."""

    DESCRIPTION: ClassVar[str] = "a JSONPath, such as $.status"
    EXAMPLE: ClassVar[str] = "$.status"

    text: str
    compiled: JSONPath = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: Any) -> JsonPath:
        """Compiles a query. Raises ValueError with what is wrong and where."""
        if isinstance(text, JsonPath):
            return text
        if not isinstance(text, str) or not text.startswith("$"):
            raise ValueError(f"{text} is no JSONPath; it starts with $, as in $.status")
        try:
            compiled = _RFC9535.compile(text)
        except JSONPathError as error:
            at = f" at character {error.token.index + 1}" if error.token is not None and error.token.index >= 0 else ""
            raise ValueError(f"{text} is no JSONPath: {error.message}{at}") from None
        if not isinstance(compiled, JSONPath):
            raise ValueError(f"{text} is no single JSONPath")
        return cls(text, compiled)

    def find(self, document: Any) -> list[Any]:
        """Every value that the query selects, in document order. Raises ValueError for a document nested too deeply."""
        try:
            return [match.obj for match in self.compiled.finditer(document)]
        except (JSONPathError, RecursionError):
            raise ValueError(f"the document is nested too deeply for {self.text}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """The names along the query: ("checks", "database", "status") of $.checks.database.status."""
        first = (selector for segment in self.compiled.segments for selector in segment.selectors[:1])
        return tuple(selector.name for selector in first if isinstance(selector, NameSelector))

    @property
    def starts_with_name(self) -> bool:
        """Whether the query asks the document's root for a member, so that the root must be an object."""
        first = self.compiled.segments[:1]
        return bool(first) and self.text[1:3] != ".." and isinstance(first[0].selectors[0], NameSelector)
