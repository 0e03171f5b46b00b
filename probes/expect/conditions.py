"""What one value must be: a bare value, or operators such as `{at_least: 1, below: 5}`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, PrivateAttr, model_validator
from pydantic_core import CoreSchema

from probes.core import Reason
from probes.expect.moments import AHEAD, moment_of
from probes.expect.patterns import Pattern, shown
from probes.expect.template import fill_json
from probes.fields import Duration
from probes.text import age, setting

JsonType = Literal["string", "number", "integer", "boolean", "array", "object", "null"]


def json_type(value: Any) -> str:
    """The JSON type of a value that was read from JSON."""
    names = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def same(one: Any, other: Any) -> bool:
    """Equality by the rules of JSON: true is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


class Condition(BaseModel):
    """What a value must be. A bare value means equals; several operators must all hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    non_operators: ClassVar[frozenset[str]] = frozenset({"reason", "allow_missing"})  # fields that are no operators

    exists: bool | None = Field(default=None, description="Whether the value must be present.")
    equals: Any = Field(default=None, description="The value itself; 1 equals 1.0 and true equals only true.")
    not_: Any = Field(default=None, alias="not", description="A value that it must not be.")
    in_: list[Any] | None = Field(default=None, alias="in", description="The values that it may be.")
    matches: Pattern | None = Field(default=None, description="A regular expression (RE2) found anywhere in a text.")
    not_matches: Pattern | None = Field(default=None, description="A regular expression (RE2) found nowhere in a text.")
    contains: Any = Field(default=None, description="A piece of a text, an element of an array or a name in an object.")
    above: float | None = Field(default=None, description="A number that it must be above.")
    below: float | None = Field(default=None, description="A number that it must be below.")
    at_least: float | None = Field(default=None, description="The least number that it may be.")
    at_most: float | None = Field(default=None, description="The greatest number that it may be.")
    younger_than: Duration | None = Field(
        default=None, description="The longest time since the moment that it names: RFC 3339, an HTTP date, or since the epoch."
    )
    type: JsonType | list[JsonType] | None = Field(default=None, description="The JSON type that it must have, or several.")
    length: Condition | None = Field(default=None, description="What its length must be: characters, elements or members.")
    count: Condition | None = Field(default=None, description="How many values a path must select.")
    allow_missing: bool = Field(default=False, description="true: an absent value passes; one that is present must meet the condition.")
    reason: Reason | None = Field(default=None, description="The reason of a failure, instead of the usual one.")
    _now: float | None = PrivateAttr(default=None)  # seconds since the epoch: see `at`

    @model_validator(mode="before")
    @classmethod
    def _bare_means_equals(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return {"equals": value}
        if not set(value) - cls.non_operators:
            raise ValueError("write a value or an operator, such as {equals: ready} or {exists: true}")
        if value.get("matches") == "":
            raise ValueError("an empty regular expression matches every text; write what to look for")
        return value

    @model_validator(mode="after")
    def _present_or_not(self) -> Self:
        if self.exists and self.allow_missing:
            raise ValueError("give either exists: true or allow_missing: true")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": ["string", "number", "boolean", "null", "array"]}, handler(schema)]}

    @model_validator(mode="after")
    def _ages_are_of_moments(self) -> Self:
        if any(each is not None and each.younger_than is not None for each in (self.length, self.count)):
            raise ValueError("younger_than is for a moment, not for a length or a count")
        return self

    def at(self, now: float) -> Self:
        """The same at a moment (seconds since the epoch), from which `younger_than` counts back."""
        if self.younger_than is None:
            return self
        copy = self.model_copy()
        copy._now = now  # noqa: SLF001 - of its own class
        return copy

    def filled(self, values: Mapping[str, Any]) -> Self:
        """The same with the variables in its values filled in; a text that is one variable becomes the value with its type."""
        own = {name: fill_json(getattr(self, name), values) for name in _FILLED if name in self.model_fields_set}
        inner = {name: each.filled(values) for name in ("length", "count") if (each := getattr(self, name)) is not None}
        return self.model_copy(update=own | inner)

    @property
    def may_be_absent(self) -> bool:
        """Whether an absent value passes."""
        return self.exists is False or self.allow_missing

    @property
    def is_form(self) -> bool:
        """Whether it is only about the form of a response (whether a value is present, its type), not about its content."""
        return self.model_fields_set <= _FORM | self.non_operators

    def read_text(self, text: str) -> Any:
        """A header's value as this condition compares it: a number where the condition needs one, else the text."""
        wanted = [self.equals, self.not_, *(self.in_ or ())]
        numeric = any(isinstance(each, int | float) and not isinstance(each, bool) for each in wanted)
        if not (numeric or self.model_fields_set & {"above", "below", "at_least", "at_most"}):
            return text
        try:
            return float(text)
        except ValueError:
            return text

    def faults(self, actual: Any) -> Iterator[tuple[Reason, str]]:
        """What is wrong with a present value: (reason, `5, expected at most 3`) for each operator that doesn't hold."""
        for reason, seen, expected in self.mismatches(actual):
            yield reason, f"{seen}, expected {expected}"

    def mismatches(self, actual: Any, lines: Sequence[str] = ()) -> Iterator[tuple[Reason, str, str]]:
        """The same faults with the actual and the expected value as two texts: (reason, `5`, `at most 3`).

        A pattern is looked for in each of the `lines`, too: the values of a header that was sent several times, one by one.
        """
        for name in _ORDER:
            if name not in self.model_fields_set:
                continue
            if name == "younger_than":
                if fault := _too_old(actual, self.younger_than or 0.0, self._now):
                    yield self.reason or Reason.BODY, fault, _expected(name, self.younger_than)
                continue
            holds = [_HOLDS[name](getattr(self, name), each) for each in (actual, *(lines if name in PATTERNS else ()))]
            if not (any(holds) if name == "matches" else all(holds)):
                usual = Reason.SCHEMA if name in _FORM else Reason.BODY
                yield self.reason or usual, _seen(name, actual), _expected(name, getattr(self, name))

    def expected(self) -> str:
        """What was expected, as text, for a value that is absent."""
        for name in _ORDER:
            if name in self.model_fields_set and name != "exists":
                return _expected(name, getattr(self, name))
        return "a value"


def _number(actual: Any, test: Callable[[float], bool]) -> bool:
    return isinstance(actual, int | float) and not isinstance(actual, bool) and test(actual)


def _has_nan(actual: Any) -> bool:
    """Whether a NaN is in it, which differs from every value, itself included."""
    left = [actual]  # no recursion: a response may be nested as deeply as JSON can be read
    while left:
        each = left.pop()
        if isinstance(each, list | dict):
            left += each.values() if isinstance(each, dict) else each
        elif isinstance(each, float) and math.isnan(each):
            return True
    return False


def _too_old(actual: Any, most: float, now: float | None) -> str:
    """What is wrong with a moment: `"2026-11-24T12:00:00Z", 3 d ago`; "" where it is young enough."""
    moment = moment_of(actual)
    if moment is None or now is None:  # nothing that is counted, such as rows, gets a moment to count back from
        return f"{shown(actual)}, which names no moment"
    passed = now - moment
    if passed < -AHEAD:
        return f"{shown(actual)}, {age(-passed)} ahead"
    return f"{shown(actual)}, {age(passed)} ago" if passed > most else ""


def _contains(piece: Any, actual: Any) -> bool:
    if isinstance(actual, str):
        return isinstance(piece, str) and piece in actual
    if isinstance(actual, list):
        return any(same(piece, element) for element in actual)
    return isinstance(actual, dict) and isinstance(piece, str) and piece in actual


def _of_type(wanted: Any, actual: Any) -> bool:
    have, names = json_type(actual), wanted if isinstance(wanted, list) else [wanted]
    if have == "number" and actual.is_integer():
        return bool({"number", "integer"} & set(names))  # 1.0 is an integer to JSON Schema, too
    return have in names or (have == "integer" and "number" in names)


def _length(wanted: Condition, actual: Any) -> bool:
    return isinstance(actual, str | list | dict) and not any(wanted.faults(len(actual)))


def _seen(name: str, actual: Any) -> str:
    if name == "length" and isinstance(actual, str | list | dict):
        return f"{shown(actual)} of length {len(actual)}"
    return f"{shown(actual)} ({json_type(actual)})" if name == "type" else shown(actual)


def _expected(name: str, wanted: Any) -> str:
    if name == "exists":
        return "none"
    if isinstance(wanted, Condition):
        return f"{_WORDS[name]}{wanted.expected()}"
    if isinstance(wanted, Pattern):
        return f"{_WORDS[name]}{wanted.text}"
    if name == "younger_than":
        return f"at most {setting(wanted)} ago"
    return f"{_WORDS[name]}{wanted:g}" if isinstance(wanted, float) else f"{_WORDS[name]}{shown(wanted)}"


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "exists": lambda wanted, _: bool(wanted),
    "type": _of_type,
    "equals": same,
    "not_": lambda wanted, actual: not same(wanted, actual) and not _has_nan(actual),
    "in_": lambda wanted, actual: any(same(each, actual) for each in wanted),
    "matches": lambda wanted, actual: isinstance(actual, str) and wanted.search(actual) is not None,
    "not_matches": lambda wanted, actual: isinstance(actual, str) and wanted.search(actual) is None,
    "contains": _contains,
    "above": lambda wanted, actual: _number(actual, lambda number: number > wanted),
    "below": lambda wanted, actual: _number(actual, lambda number: number < wanted),
    "at_least": lambda wanted, actual: _number(actual, lambda number: number >= wanted),
    "at_most": lambda wanted, actual: _number(actual, lambda number: number <= wanted),
    "younger_than": lambda wanted, _: bool(wanted),
    "length": _length,
}
_ORDER = tuple(_HOLDS)
_FILLED = ("equals", "not_", "in_", "contains")  # may hold variables
PATTERNS = frozenset({"matches", "not_matches"})
_FORM = frozenset({"exists", "type"})  # about the response's form, not its content: reason schema
_WORDS = {
    "type": "",
    "equals": "",
    "not_": "anything but ",
    "in_": "one of ",
    "matches": "a text that matches ",
    "not_matches": "a text that doesn't match ",
    "contains": "it to contain ",
    "above": "above ",
    "below": "below ",
    "at_least": "at least ",
    "at_most": "at most ",
    "length": "a length of ",
}
