"""Kind `booking`: searches at a booking partner as a traveller does (search, availability, quote), and never books."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, field_validator, model_validator

from probes import Ask, Context, Failed, Family, Reason, Result, fact_family, keyed_family
from probes.expect.assertions import document
from probes.expect.beside import beside_the_loop
from probes.expect.contract import breaches, find_mock
from probes.expect.patterns import shown
from probes.expect.status import any_success, judge_status
from probes.expect.template import fill, fill_json, fill_path
from probes.facts import step as step_fact
from probes.fields import UNITS, Key, split_url
from probes.http.message import Request, Response
from probes.http.probe import HttpProbe, http_families
from probes.kinds.booking.partners import PARTNERS, Partner, Read
from probes.text import latency

_POSITION = re.compile(r"(-?[0-9]{1,2}(?:\.[0-9]+)?) ?, ?(-?[0-9]{1,3}(?:\.[0-9]+)?)\Z")
_DISTANCE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(km|mi)\Z")
_KM_PER_MILE = 1.609344


def _kilometres(text: Any) -> float:
    if isinstance(text, float):
        return text
    if not isinstance(text, str) or not (found := _DISTANCE.match(text)):
        raise ValueError("write a distance with its unit, such as 25km or 15mi")
    return float(found[1]) * (_KM_PER_MILE if found[2] == "mi" else 1)


def _position(text: Any) -> str:
    if not isinstance(text, str) or not (found := _POSITION.match(text)):
        raise ValueError('write latitude and longitude, such as "37.8,-122.4"')
    if abs(float(found[1])) > 90 or abs(float(found[2])) > 180:  # noqa: PLR2004 - degrees
        raise ValueError(f"{text} is nowhere on Earth; write latitude and longitude in degrees")
    return f"{found[1]},{found[2]}"


class BookingSearch(BaseModel):
    """A search: position, number of people, day and radius."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    near: Annotated[str, BeforeValidator(_position), WithJsonSchema({"type": "string"})] = Field(
        description='Latitude and longitude in degrees, such as "37.8,-122.4".'
    )
    party: int = Field(default=2, ge=1, le=20, description="The number of people.")
    days_ahead: int = Field(default=7, ge=0, le=180, description="The day to search for, counted from today (UTC).")
    radius: Annotated[float, BeforeValidator(_kilometres), WithJsonSchema({"type": "string", UNITS: {"km": 1}})] = Field(
        default=40.0, description="The radius of the search, such as 25km or 15mi."
    )

    def values(self, now: float) -> dict[str, Any]:
        """The variables of a partner's requests; `now` in seconds since the epoch."""
        latitude, longitude = map(float, self.near.split(","))
        day = datetime.fromtimestamp(now, UTC).date() + timedelta(days=self.days_ahead)
        return {
            "latitude": latitude,
            "longitude": longitude,
            "party": self.party,
            "radius_km": round(self.radius),
            "radius_miles": round(self.radius / _KM_PER_MILE),
            "date": day.isoformat(),
            "next_date": (day + timedelta(days=1)).isoformat(),
        }


class Booking(HttpProbe):
    """Searches at a booking partner near a position, and asks for availability and, if the partner has them, prices.

    Every response must keep the partner's contract; a response that says it is generated fails with reason mock. Only
    requests that read can be sent, so that a check can't make a reservation.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9/v2", "partner": "opentable", "key": "example-key-1", "search": {"near": "37.8,-122.4"}},
        {"url": "http://127.0.0.1:9", "partner": "viator", "key": "example-key-1", "search": {"near": "37.8,-122.4", "radius": "25km"}},
    )
    families: ClassVar[tuple[Family, ...]] = (
        keyed_family("probe_booking_step_duration_seconds", "Seconds that a step (search, availability, quote) took", "step", "step"),
        fact_family("probe_booking_results", "Places that the search found, at most five", "results"),
        fact_family("probe_booking_free", "Free times or sites in the availability", "free"),
        *http_families(),
    )

    partner: Literal["opentable", "recreation", "shell", "viator"] = Field(
        description="The partner: it decides routes, key header and contract."
    )
    key: Key | None = Field(default=None, description="The API key; it is sent in the partner's own header.")
    search: BookingSearch = Field(description="What to search for.")
    availability_url: SecretStr | None = Field(
        default=None,
        description="The address for availability, in addition to url, for a partner with a host of its own for it (recreation).",
        examples=["https://www.recreation.gov/api/camps/availability/campground"],
    )

    @field_validator("availability_url")
    @classmethod
    def _check_availability_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            split_url(url.get_secret_value(), example="https://www.recreation.gov/api/camps/availability/campground")
        return url

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        if self.path:
            raise ValueError("a partner has its own paths; the address ends where they begin")
        if self.availability_url is not None:
            if not any(read.elsewhere for read in self.steps):
                raise ValueError(f"{self.partner} has search and availability at one address; leave availability_url out")
            if self.url is None:
                raise ValueError("availability_url goes with url: a target is one host")
        return self

    def _partner(self) -> Partner:
        return PARTNERS[self.partner]

    @property
    def steps(self) -> tuple[Read, ...]:
        """The partner's requests, in order: `step.<name>` can be an SLO's measure."""
        return self._partner().reads

    def step_names(self) -> tuple[str, ...]:
        return tuple(read.name for read in self.steps)

    def _url(self, read: Read, path: str) -> str:
        if read.elsewhere and self.availability_url is not None:
            return self.availability_url.get_secret_value().rstrip("/") + path
        return self.location(path)

    def asks(self) -> tuple[Ask, ...]:
        return tuple(Ask(read.method, self._url(read, read.path), ("partner",)) for read in self.steps)

    def repeatable(self) -> bool:
        """False: every request counts against the partner's limit."""
        return False

    async def run(self, ctx: Context) -> Result:
        values, seconds = self.search.values(ctx.clock.time()), 0.0
        async with self.session() as session:
            for read in self.steps:
                ctx.step = read.name
                try:
                    response = await session.send(ctx, self._request(read, values))
                    ctx.facts[step_fact(read.name)] = response.seconds
                    values |= await beside_the_loop(response.body, self._judge, ctx, read, response)
                except Failed as failed:
                    raise Failed(failed.reason, f"{read.name}: {failed.message}") from failed
                seconds += response.seconds
        return Result.passed(f"{', '.join(read.name for read in self.steps)} in {latency(seconds)}")

    def _request(self, read: Read, values: Mapping[str, Any]) -> Request:
        key = self.key.get_secret_value() if self.key else ""
        headers = {"Accept": "application/json", **self._partner().headers, **self.base_headers()}
        if key:
            headers |= {name: form.format(key=key) for name, form in self._partner().key_headers.items()}
        body = None
        if read.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(fill_json(read.body, values)).encode()
        query = urlencode({name: fill(value, values) for name, value in read.query.items()})
        url = self._url(read, fill_path(read.path, values))
        return Request(read.method, f"{url}?{query}" if query else url, headers, body)

    def _judge(self, ctx: Context, read: Read, response: Response) -> dict[str, Any]:
        """Raises Failed where the response breaks the partner's contract, else returns the values for later steps."""
        judge_status(response, any_success())
        value = document(response, "the response", Reason.SCHEMA)
        if sign := _mock_header(response) or find_mock(value):
            raise Failed(Reason.MOCK, f"the response is generated, not real: {sign}")
        for breach in breaches(read.shape, value):
            raise Failed(Reason.SCHEMA, breach)
        for name in read.results:
            value = value[name]
        found = list(value)  # the elements of a list, or the keys of a mapping
        if read.name in _COUNTED:
            ctx.facts[_COUNTED[read.name]] = len(found)
        if read.some and not found:
            raise Failed(Reason.BODY, f"$.{'.'.join(read.results)} is empty: nothing near {self.search.near}")
        return {name: found[0][inside] for name, inside in read.takes.items()}


_COUNTED = {"search": "results", "availability": "free"}


def _mock_header(response: Response) -> str:
    """The header that says that the response is generated: `header x-mock is "true"`, or ""."""
    for name in ("x-mock", "x-mock-response", "x-mocked"):
        if (value := response.header(name)) and value.lower() not in ("0", "false", "no"):
            return f"header {name} is {shown(value)}"
    return ""
