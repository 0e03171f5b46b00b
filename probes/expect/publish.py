"""Numbers that a check sees and publishes as metrics of its own: where each stands, what it is called, and how it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from probes.core import Failed, Reason
from probes.expect.json_path import JsonPath
from probes.expect.metric_names import BASE_UNITS, LONGEST, NAME, breaches_of_convention
from probes.expect.patterns import shown
from probes.families import Family, fact_family
from probes.fields import seconds
from probes.http.message import Response

MOST = 20  # numbers that one check publishes
PREFIX = "probe_published_"
_CLOCK = re.compile(r"(?:([0-9]{1,6})[. ])?([0-9]{1,6}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,9})?)\Z", re.ASCII)
_ISO = re.compile(r"P(?:([0-9.]{1,12})D)?(?:T(?:([0-9.]{1,12})H)?(?:([0-9.]{1,12})M)?(?:([0-9.]{1,12})S)?)?\Z", re.ASCII)
_UNITS = (86400, 3600, 60, 1)


class Publication(BaseModel):
    """Where a number stands that a check publishes: one of value, header, column, field and fact."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    value: JsonPath | None = Field(default=None, description="Its JSONPath in the response.")
    header: str | None = Field(default=None, min_length=1, description="The name of a header.")
    column: str | None = Field(default=None, min_length=1, description="A column of the query; its value in the first row.")
    field: str | None = Field(default=None, min_length=1, description="A field of Redis' INFO, such as used_memory.")
    fact: str | None = Field(default=None, min_length=1, description="A fact or a phase of the run, as outrider probe --json shows them.")
    unit: Literal["", "seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams"] = Field(
        default="", description="The base unit; the name must end in it."
    )
    scale: float = Field(default=1.0, description="What the number is multiplied by, such as 0.001 for milliseconds.")
    missing: Literal["absent", "fail"] = Field(
        default="absent", description="What a number that is missing does: leave the metric absent, or fail the run."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if len(self.model_fields_set & {"value", "header", "column", "field", "fact"}) != 1:
            raise ValueError("write one of value, header, column, field and fact")
        if self.fact and self.missing == "fail":
            raise ValueError("missing: fail is for value, header, column and field")
        if not math.isfinite(self.scale) or self.scale == 0:
            raise ValueError("scale must be a number other than 0")
        return self

    @property
    def source(self) -> str:
        """Which of the five it is."""
        return next(name for name in ("value", "header", "column", "field", "fact") if getattr(self, name) is not None)

    def number(self, found: Any) -> float:
        """What was found as a number. Raises ValueError with what it is instead."""
        number = _number(found, self.unit) * self.scale
        if not math.isfinite(number):
            raise ValueError(f"{shown(found)} is no finite number")
        return number


def _metric_name(name: str) -> str:
    if not NAME.match(name) or len(name) > LONGEST:
        raise ValueError(f"{name} is no name of a metric: letters, digits and _ are, at most {LONGEST} characters")
    for breach in breaches_of_convention(name, "gauge"):
        raise ValueError(f"the name {name} {breach}")
    return name


def _units_are_named(publications: dict[str, Publication]) -> dict[str, Publication]:
    for name, each in publications.items():
        if each.unit and not name.endswith(f"_{each.unit}"):
            raise ValueError(f"the name {name} must end in _{each.unit}, its unit")
        ending = name.rpartition("_")[2]
        if not each.unit and ending in BASE_UNITS:
            raise ValueError(f"the name {name} ends in a unit: write unit: {ending} beside it")
    return publications


Publications = Annotated[
    dict[Annotated[str, AfterValidator(_metric_name)], Publication], Field(max_length=MOST), AfterValidator(_units_are_named)
]


def family_of(name: str, each: Publication) -> Family:
    """The metric of one number: a gauge with the labels check and kind."""
    text = f"{name}, as checks of this runner saw it in their latest run"
    if (fact := each.fact) is None:
        return fact_family(PREFIX + name, text, f"published.{name}")

    def read(phases: Mapping[str, float], facts: Mapping[str, Any]) -> list[tuple[tuple[str, ...], float]]:
        try:
            return [((), each.number(phases[fact] if fact in phases else facts[fact]))]
        except (KeyError, ValueError):
            return []

    return Family(PREFIX + name, text, read)


def publish(publications: Mapping[str, Publication], facts: dict[str, Any], source: str, find: Callable[[Any], Any]) -> None:
    """Notes as facts the numbers that stand in `source`; `find` returns what stands at a place, or raises ValueError.

    What is missing is noted in the fact `unpublished`. `require_published` fails the run for it, once its verdict is known.
    """
    for name, each in publications.items():
        if each.source != source:
            continue
        try:
            facts[f"published.{name}"] = each.number(find(getattr(each, source)))
        except (ValueError, Failed) as error:
            facts["unpublished"] = "; ".join(filter(None, (facts.get("unpublished", ""), f"{name}: {error}")))


def require_published(publications: Mapping[str, Publication], facts: Mapping[str, Any]) -> None:
    """Raises Failed(schema) where a number with `missing: fail` was not found."""
    if any(each.missing == "fail" and not each.fact and f"published.{name}" not in facts for name, each in publications.items()):
        raise Failed(Reason.SCHEMA, f"can't publish {facts.get('unpublished', 'what was not found')}")


def publish_response(publications: Mapping[str, Publication], response: Response) -> dict[str, Any]:
    """The facts of the numbers that stand in a response: by JSONPath, and in headers."""

    def in_json(path: JsonPath) -> Any:
        values = path.find(response.json())
        if len(values) != 1:
            raise ValueError(f"{path} selects {len(values):,} values, not one" if values else f"{path} is absent")
        return values[0]

    def in_headers(name: str) -> Any:
        if (text := response.header(name)) is None:
            raise ValueError(f"header {name} is absent")
        return text

    facts: dict[str, Any] = {}
    publish(publications, facts, "value", in_json)
    publish(publications, facts, "header", in_headers)
    return facts


def _number(found: Any, unit: str) -> float:
    """A JSON number, true as 1, a number that comes as a text; with unit seconds also durations, such as 1.5s, 00:01:30 and PT5M."""
    if isinstance(found, bool | int | float):
        return float(found) if abs(found) < 10**300 else math.inf  # an integer may be too large for float()
    if isinstance(found, str):
        return _number_in(found.strip(), unit)
    raise ValueError(f"{shown(found)} is no number")


def _number_in(text: str, unit: str) -> float:
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    if unit == "seconds":
        try:
            if (found := _CLOCK.match(text)) or (len(text) > 2 and (found := _ISO.match(text))):  # noqa: PLR2004 - P and T alone
                return sum(float(part) * length for part, length in zip(found.groups(), _UNITS, strict=True) if part)
            return seconds(text)
        except ValueError:
            pass
    raise ValueError(f"{shown(text)} is no number{' and no duration' if unit == 'seconds' else ''}")
