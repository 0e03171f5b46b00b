"""Kind `promql`: an expression that a Prometheus evaluates now, and what its result must be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from probes import Ask, Context, Duration, Failed, Family, Reason, Result, fact_family
from probes.expect.assertions import document, judge_latency
from probes.expect.beside import beside_the_loop
from probes.expect.conditions import Condition
from probes.expect.patterns import shown
from probes.expect.status import any_success, judge_status
from probes.http.message import Request, Response
from probes.http.probe import CredentialsProbe, http_families
from probes.text import clipped, count, one_line

LONGEST = 4000  # characters of a query: it is sent in the address
_API = "/api/v1/query"
_NAMED = 3  # elements that a message names
_WORDS = 300  # characters of Prometheus' own words in a message
_LABELS = 160  # characters of an element's labels in a message


class Element(NamedTuple):
    """One series of the result, with its value now."""

    labels: Mapping[str, str]
    value: float

    def __str__(self) -> str:
        name = str(self.labels.get("__name__", ""))
        labels = ",".join(f"{key}={shown(value)}" for key, value in self.labels.items() if key != "__name__")
        return clipped(f"{name}{{{labels}}}" if labels else name or "the result", _LABELS)


class ExpectResult(BaseModel):
    """What the result must be: its values, or how many series it has, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    value: Condition | None = Field(default=None, description="What the value of each series must be.")
    count: Condition | None = Field(default=None, description="How many series the result must have.")
    elements: Literal["every", "any", "only"] = Field(
        default="every", description="Whether every series must meet value, any one of them, or the only one that there may be."
    )
    empty: Literal["fail", "pass"] = Field(
        default="fail", description="pass: a result without a series passes, and one that is NaN; else that is a failure."
    )
    warnings: Literal["pass", "fail"] = Field(default="pass", description="fail: a warning of Prometheus fails the run.")
    within: Duration | None = Field(default=None, description="The longest time that the query may take; a slower one fails: latency.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.value is None and self.count is None:
            raise ValueError("write value or count, such as {value: {below: 0.01}}")
        if self.value and self.value.may_be_absent:
            raise ValueError("write empty: pass beside value, instead of exists: false or allow_missing")
        if self.count and self.empty == "fail" and not any(self.count.faults(0)):
            raise ValueError("this count passes where the query finds nothing, also by a mistake in it: write empty: pass if that is meant")
        return self

    def judge(self, elements: Sequence[Element], now: float) -> str:
        """The message of a result that is as expected. Raises Failed for one that isn't."""
        numbers = [each for each in elements if not math.isnan(each.value)]
        if self.empty == "fail":
            if not elements:
                raise Failed(Reason.BODY, "the query returns no series, expected a value; empty: pass would allow it")
            if len(numbers) < len(elements):
                first = next(each for each in elements if math.isnan(each.value))
                raise Failed(Reason.BODY, f"{first} is NaN, expected a number; empty: pass would allow it")
        if self.count is not None:
            for reason, fault in self.count.faults(len(numbers)):
                raise Failed(self.count.reason or reason, f"the number of series is {fault}{_examples(numbers)}")
        if not numbers:
            return "no series, as allowed"
        if self.elements == "only" and len(numbers) > 1:
            raise Failed(Reason.BODY, f"the query returns {count(len(numbers), 'series', 'series')}, expected one{_examples(numbers)}")
        if self.value is not None:
            self._judge_values(self.value.at(now), numbers)
        low, high = min(each.value for each in numbers), max(each.value for each in numbers)
        return f"{numbers[0]} is {_plain(low)}" if len(numbers) == 1 else f"{len(numbers):,} series, from {_plain(low)} to {_plain(high)}"

    def _judge_values(self, wanted: Condition, elements: Sequence[Element]) -> None:
        faults = [(each, fault) for each in elements if (fault := next(wanted.faults(_plain(each.value)), None))]
        if not faults or (self.elements == "any" and len(faults) < len(elements)):
            return
        named = "; ".join(f"{each} is {fault}" for each, (_, fault) in faults[:_NAMED])
        more = f"; and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
        none = f"none of {len(elements):,} series is as expected: " if self.elements == "any" and len(elements) > 1 else ""
        raise Failed(wanted.reason or faults[0][1][0], f"{none}{named}{more}")


class Promql(CredentialsProbe):
    """Asks a Prometheus, or what speaks its API, for the value of an expression now."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9", "query": "sum(rate(booking_failed_total[1h]))", "expect": {"value": {"below": 0.1}}},
        {
            "url": "http://127.0.0.1:9",
            "basic": {"user": "prober", "password": "example-secret-1"},
            "query": "up == 0",
            "expect": {"count": 0, "empty": "pass"},
        },
    )
    families: ClassVar[tuple[Family, ...]] = (
        *http_families(),
        fact_family("probe_promql_value", "The value, where the query returned one series", "value"),
        fact_family("probe_promql_series", "Series that the query returned", "series"),
    )

    query: str = Field(min_length=1, max_length=LONGEST, description="The expression, as an instant query.")
    expect: ExpectResult = Field(description="What the result must be.")

    @model_validator(mode="after")
    def _is_for_prometheus(self) -> Self:
        if "$__" in self.query:
            raise ValueError("query: $__... is filled in by Grafana alone; write a duration, such as 5m")
        if not self.query.strip():
            raise ValueError("query is empty")
        return self

    def location(self, path: str | None = None) -> str:
        """The address of the API below that of the Prometheus."""
        split = urlsplit(super().location(path))
        below = split.path.rstrip("/")
        return split._replace(path=below if below.endswith(_API) else below + _API).geturl()

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("GET", self.location(), ("path",) if self.path else ()),)

    async def run(self, ctx: Context) -> Result:
        bound = {"query": self.query, "timeout": f"{max(1, round(ctx.remaining() * 1000))}ms"}
        split = urlsplit(self.location())
        url = split._replace(query="&".join(filter(None, (split.query, urlencode(bound))))).geturl()
        headers = {"Accept": "application/json"} | self.base_headers() | self.own_headers()
        async with self.session() as session:
            response = await session.send(ctx, Request("GET", url, headers))
        ctx.evidence["query"] = self.query
        elements, warnings = await beside_the_loop(response.body, read_result, response)
        ctx.facts["series"] = len(elements)
        if len(elements) == 1:
            ctx.facts["value"] = elements[0].value
        if warnings:
            ctx.evidence["warnings"] = warnings
            if self.expect.warnings == "fail":
                raise Failed(Reason.BODY, f"Prometheus warns: {_quoted(warnings)}")
        try:
            message = await beside_the_loop(response.body, self.expect.judge, elements, ctx.clock.time())
        except Failed as failed:
            raise Failed(failed.reason, failed.message + (f"; Prometheus warns: {_quoted(warnings)}" if warnings else "")) from None
        if self.expect.within is not None:
            judge_latency("the query took", response.seconds, self.expect.within)
        return Result.passed(message + (f"; Prometheus warns: {_quoted(warnings)}" if warnings else ""))


def read_result(response: Response) -> tuple[list[Element], list[str]]:
    """The series of a response and its warnings. Raises Failed where it is an error of Prometheus, in its words, or no result."""
    try:
        body = response.json()
    except ValueError:
        judge_status(response, any_success())
        body = document(response, "the response")
    if isinstance(body, dict) and body.get("status") == "error":
        kind, text = str(body.get("errorType") or "error"), str(body.get("error") or "it doesn't say why")
        reason = Reason.TIMEOUT if kind == "timeout" else Reason.STATUS
        raise Failed(reason, f"Prometheus says {clipped(one_line(kind), _WORDS)}: {clipped(one_line(text), _WORDS)}", answered=True)
    judge_status(response, any_success())
    if not isinstance(body, dict) or body.get("status") != "success" or not isinstance(data := body.get("data"), dict):
        raise Failed(Reason.SCHEMA, f"the response is no result of a query: {shown(body)}")
    notes = [str(note) for key in ("warnings", "infos") if isinstance(found := body.get(key), list) for note in found]
    type_, result = data.get("resultType"), data.get("result")
    if type_ == "scalar":
        return [Element({}, _value(result))], notes
    if type_ == "vector" and isinstance(result, list):
        return [_element(each) for each in result], notes
    hint = "; the expression is a range vector: put a function such as rate() around it" if type_ == "matrix" else ""
    raise Failed(Reason.SCHEMA, f"the result is a {shown(type_)}, expected a vector or a scalar{hint}")


def _element(each: Any) -> Element:
    labels = each.get("metric") if isinstance(each, dict) else None
    if not isinstance(labels, dict):
        raise Failed(Reason.SCHEMA, f"an element of the result has no labels: {shown(each)}")
    if "value" not in each and "histogram" in each:
        raise Failed(Reason.SCHEMA, f"{Element(labels, 0)} is a native histogram; take a number of it, by histogram_quantile()")
    return Element(labels, _value(each.get("value")))


def _value(pair: Any) -> float:
    """The value of `[time, "value"]`: Prometheus writes numbers as strings, since JSON has no NaN and no infinity."""
    try:
        _, text = pair
        if isinstance(text, str) and "_" not in text:
            return float(text)
    except (TypeError, ValueError):
        pass
    raise Failed(Reason.SCHEMA, f"{shown(pair)} is no time with a value")


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _quoted(notes: Sequence[str]) -> str:
    return clipped(one_line("; ".join(notes)), _WORDS)


def _examples(elements: Sequence[Element]) -> str:
    if not elements:
        return ""
    more = f" and {len(elements) - _NAMED:,} more" if len(elements) > _NAMED else ""
    return f": {', '.join(map(str, elements[:_NAMED]))}{more}"
