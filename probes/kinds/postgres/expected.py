"""What a check expects of a query: a statement that returns something, and conditions in which seconds may have units."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from probes.expect.conditions import Condition
from probes.fields import seconds

_BLANK = " \t\r\n\f\v;"


def statement(query: str) -> str:
    """The query. Raises ValueError where it holds no statement that could return a row."""
    try:
        query.encode()
    except UnicodeEncodeError:
        raise ValueError("the query holds half of a character") from None
    if "\0" in query:
        raise ValueError("the query holds a NUL character")
    beginning, before = query.lstrip(_BLANK), ""
    while beginning != before and beginning.startswith(("--", "/*")):  # only those before the first word: a text may look like a comment
        before, beginning = beginning, _without_comment(beginning).lstrip(_BLANK)
    if not beginning:
        raise ValueError("holds no statement, only comments or semicolons; write a SELECT")
    if re.match(r"copy\b", beginning, re.IGNORECASE):
        raise ValueError("COPY returns no rows to judge; write a SELECT")
    return query


def _without_comment(text: str) -> str:
    """The text without the comment that it begins with; the text itself where that has no end."""
    if text.startswith("--"):
        return text.partition("\n")[2]
    depth = 0
    for found in re.finditer(r"/\*|\*/", text):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return text[found.end() :]
    return text


def _number_or_seconds(value: Any) -> Any:
    """A number, or the seconds of a duration such as 30s or -1m. Any other text is left for the error that says what to write."""
    if not isinstance(value, str):
        return value
    unsigned = value.removeprefix("-")
    return -seconds(unsigned) if unsigned != value else seconds(value)


_Amount = Annotated[
    float | None,
    BeforeValidator(_number_or_seconds),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}], "examples": [30, "30s"]}),
]


class ValueCondition(Condition):
    """A condition for a column's value. An interval is a number of seconds, with which durations such as 30s are compared."""

    above: _Amount = Field(default=None, description="A number or a duration that it must be above.")
    below: _Amount = Field(default=None, description="A number or a duration that it must be below.")
    at_least: _Amount = Field(default=None, description="The least number or duration that it may be.")
    at_most: _Amount = Field(default=None, description="The greatest number or duration that it may be.")


class ExpectedResult(BaseModel):
    """Conditions for the query's result."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    value: ValueCondition | None = Field(default=None, description="The first column of the first row: a value, or operators.")
    rows: Condition | None = Field(default=None, description="How many rows, such as 1 or {at_least: 1}.")


def in_seconds(wanted: Condition) -> Condition:
    """The condition for an interval: what it must be or must not be may be written as a duration."""

    def number(value: Any) -> Any:
        try:
            return _number_or_seconds(value)
        except ValueError:
            return value

    changed: dict[str, Any] = {name: number(getattr(wanted, name)) for name in ("equals", "not_") if name in wanted.model_fields_set}
    return wanted.model_copy(update=changed | ({"in_": [number(each) for each in wanted.in_]} if wanted.in_ is not None else {}))
