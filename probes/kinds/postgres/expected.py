"""What a check expects of a query: a statement that returns something, and conditions in which seconds may have units."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from probes.core import Failed, Reason
from probes.expect.conditions import Condition
from probes.expect.connections import Connections
from probes.expect.patterns import shown
from probes.fields import Duration, seconds
from probes.kinds.postgres.session import Column
from probes.kinds.postgres.values import INTERVAL
from probes.text import clipped, did_you_mean

_BLANK = " \t\r\n\f\v;"


def console_command(query: str) -> bool:
    """Whether a query may be sent to PgBouncer's console: one SHOW and nothing else, since the console also takes SHUTDOWN."""
    return re.fullmatch(r"\s*show\s+[a-z_]+\s*;?\s*", query, re.IGNORECASE) is not None


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

    null: bool | None = Field(default=None, description="true: null passes, whatever else is written; false: it must not be null.")
    above: _Amount = Field(default=None, description="A number or a duration that it must be above.")
    below: _Amount = Field(default=None, description="A number or a duration that it must be below.")
    at_least: _Amount = Field(default=None, description="The least number or duration that it may be.")
    at_most: _Amount = Field(default=None, description="The greatest number or duration that it may be.")

    def mismatches(self, actual: Any, lines: Sequence[str] = ()) -> Iterator[tuple[Reason, str, str]]:
        """As of any condition; `null: true` alone is met by null alone, and beside operators by null, too."""
        if self.null is not None and (actual is None) != self.null:
            bare = self.model_fields_set <= {"null"} | self.non_operators
            if not self.null or bare:
                yield self.reason or Reason.BODY, shown(actual), "null" if self.null else "a value"
                return
        if actual is not None or not self.null:
            yield from super().mismatches(actual, lines)

    def expected(self) -> str:
        """What was expected, as text, for a value that is absent."""
        rest = super().expected()
        return (f"null or {rest}" if rest != "a value" else "null") if self.null else rest


class ExpectedResult(BaseModel):
    """Conditions for the query's result."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    value: ValueCondition | None = Field(default=None, description="The first column of the first row: a value, or operators.")
    rows: Condition | None = Field(default=None, description="How many rows, such as 1 or {at_least: 1}.")
    columns: dict[Annotated[str, Field(min_length=1)], ValueCondition] = Field(
        default_factory=dict, max_length=50, description="By the column's name: what its value must be in each row."
    )
    role: Literal["primary", "standby"] | None = Field(default=None, description="What the server must be: primary or standby.")
    lag: Duration | None = Field(
        default=None, description="The longest time by which a standby may be behind; of a primary, its slowest standby."
    )
    connections: Connections | None = Field(
        default=None, description="The most connections that may be in use: a number, or a share of max_connections such as 80%."
    )
    most_rows: ClassVar[int] = 1000  # that are judged by `columns`

    @property
    def about_server(self) -> bool:
        """Whether it is about the server, and not about what the query returned."""
        return self.role is not None or self.lag is not None or self.connections is not None

    def judge_columns(self, query: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], now: float) -> None:
        """Raises Failed(body) where a row has another value than `columns` wants, or where there is no row or no such column."""
        names = [column.name for column in columns]
        for name, wanted in self.columns.items():
            if name not in names:
                hint = did_you_mean(name, names) or f"; it has {clipped(', '.join(names), 120)}"
                raise Failed(Reason.BODY, f"{query} returned no column {clipped(name, 40)}{hint}")
            at = names.index(name)
            if columns[at].oid == INTERVAL:
                wanted = in_seconds(wanted)  # noqa: PLW2901 - the same condition in the column's unit
            if not rows and not wanted.may_be_absent and self.rows is None:
                raise Failed(Reason.BODY, f"{query} returned no row, expected {name} {wanted.expected()}; write rows if there may be none")
            for number, row in enumerate(rows, 1):
                for reason, fault in wanted.at(now).faults(row[at]):
                    named = next((each for each in row if isinstance(each, str)), "")
                    which = f", row {number}{f' ({clipped(named, 40)})' if named else ''}" if len(rows) > 1 else ""
                    raise Failed(reason, f"{query}{which}: {name} → {fault}")


def in_seconds(wanted: ValueCondition) -> ValueCondition:
    """The condition for an interval: what it must be or must not be may be written as a duration."""

    def number(value: Any) -> Any:
        try:
            return _number_or_seconds(value)
        except ValueError:
            return value

    changed: dict[str, Any] = {name: number(getattr(wanted, name)) for name in ("equals", "not_") if name in wanted.model_fields_set}
    return wanted.model_copy(update=changed | ({"in_": [number(each) for each in wanted.in_]} if wanted.in_ is not None else {}))
