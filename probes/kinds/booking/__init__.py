"""Kind `booking`: searches at a booking partner as a traveller does (search, availability, quote), and never books.

A partner that isn't built in is described by a `form` in checks.yaml. What a request of a form holds is released after the verdict;
it is written down before it is sent, so that the first run after a crash releases it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, field_validator, model_validator

from probes import Ask, Context, Failed, Family, Reason, Result, fact_family, keyed_family
from probes.expect.assertions import document
from probes.expect.beside import beside_the_loop
from probes.expect.contract import breaches, find_mock
from probes.expect.generated import Values
from probes.expect.json_path import JsonPath
from probes.expect.patterns import shown
from probes.expect.template import fill, fill_json, fill_path
from probes.facts import step as step_fact
from probes.families import cleanup_family
from probes.fields import UNITS, Key, split_url
from probes.http.message import Request, Response
from probes.http.probe import HttpProbe, HttpSession, http_families
from probes.kinds.booking.form import Form
from probes.kinds.booking.holds import RELEASED, RELEASING, Holds
from probes.kinds.booking.partners import ANY_SHAPE, PARTNERS, Partner, Read
from probes.text import latency

_POSITION = re.compile(r"(-?[0-9]{1,2}(?:\.[0-9]+)?) ?, ?(-?[0-9]{1,3}(?:\.[0-9]+)?)\Z")
_DISTANCE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(km|mi)\Z")
_KM_PER_MILE = 1.609344
MOST_BREACHES = 3  # of a contract that a message names


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
        cleanup_family(),
        fact_family("probe_booking_free", "Free times or sites in the availability", "free"),
        *http_families(),
    )

    partner: Literal["opentable", "recreation", "shell", "viator"] | None = Field(
        default=None, description="A partner that is built in: it decides routes, key header and contract."
    )
    form: Form | None = Field(default=None, description="Another partner: its requests, its headers, and what its responses must be.")
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
        if (self.partner is None) == (self.form is None):
            raise ValueError("give either partner or form")
        if self.form is not None:
            self.form.check(set(self.search.values(0.0)))
            if self.url is not None and (request := next((read for read in self.steps if read.method != "GET"), None)):
                raise ValueError(
                    f"request {request.name}: {request.method} goes to a target that allows it, not to a url of the check's own"
                )
        if self.path:
            raise ValueError("a partner has its own paths; the address ends where they begin")
        if self.availability_url is not None:
            if not any(read.elsewhere for read in self.steps):
                raise ValueError(f"{self.partner or 'a form'} has search and availability at one address; leave availability_url out")
            if self.url is None:
                raise ValueError("availability_url goes with url: a target is one host")
        return self

    @cached_property
    def _partner(self) -> Partner:
        return self.form.partner() if self.form else PARTNERS[self.partner or ""]

    @property
    def steps(self) -> tuple[Read, ...]:
        """The partner's requests, in order: `step.<name>` can be an SLO's measure."""
        return self._partner.reads

    def step_names(self) -> tuple[str, ...]:
        return tuple(read.name for read in self.steps)

    def _url(self, read: Read, path: str) -> str:
        if read.elsewhere and self.availability_url is not None:
            return self.availability_url.get_secret_value().rstrip("/") + path
        return self.location(path)

    def asks(self) -> tuple[Ask, ...]:
        where = ("form", "requests") if self.form else ("partner",)
        asks = [Ask(read.method, self._url(read, read.path), where) for read in self.steps]
        releases = [Ask(read.release.method, self.location(read.release.path), where) for read in self.steps if read.release]
        return (*asks, *releases)

    def cleanup_seconds(self) -> float:
        return RELEASING if any(read.release for read in self.steps) else 0.0

    def repeatable(self) -> bool:
        """False: every request counts against the partner's limit."""
        return False

    async def run(self, ctx: Context) -> Result:
        values, seconds = Values(ctx.clock.time(), ctx.rng), 0.0
        for name, value in self.search.values(ctx.clock.time()).items():
            values[name] = value
        failure = None
        async with self.session() as session:
            holds = Holds(ctx, self.address(), partial(self._release, session))
            if self.cleanup_seconds():
                await holds.release_left()
            try:
                for read in self.steps:
                    seconds += await self._ask(ctx, session, read, values, holds)
            except Failed as failed:
                failure = failed
            finally:
                if holds.held:
                    ctx.decided = ctx.clock.monotonic()
                    await holds.release()
        left = f"; its clean-up failed: {holds.trouble}" if holds.trouble else ""
        if failure:
            raise Failed(failure.reason, failure.message + left) from failure
        return Result.passed(f"{', '.join(read.name for read in self.steps)} in {latency(seconds)}{left}")

    async def _ask(self, ctx: Context, session: HttpSession, read: Read, values: Values, holds: Holds) -> float:
        """Sends a request and judges its response, whose seconds are returned. What it may hold is written down before it is sent."""
        ctx.step = read.name
        try:
            request = self._request(read.method, self._url(read, fill_path(read.path, values)), read.query, read.body, values)
            if read.release:
                await holds.note(read.name, values)
            response = await session.send(ctx, request)
            ctx.facts[step_fact(read.name)] = response.seconds
            if read.release:  # a response that is wrong otherwise may have held something all the same
                with suppress(Failed):
                    for name, value in self._taken(read, document(response)).items():
                        values[name] = value
                    await holds.note(read.name, values)
            for name, value in (await beside_the_loop(response.body, self._judge, ctx, read, response)).items():
                values[name] = value
        except Failed as failed:
            raise Failed(failed.reason, f"{read.name}: {failed.message}") from failed
        return response.seconds

    async def _release(self, session: HttpSession, ctx: Context, name: str, known: Mapping[str, Any]) -> str:
        """Gives back what the request of this name held. Returns why it could not; "" where it is released, or gone."""
        read = next((read for read in self.steps if read.name == name and read.release), None)
        if read is None or read.release is None:
            return ""  # the form has changed since
        how, ctx.step, values = read.release, name, Values(ctx.clock.time(), ctx.rng)
        for variable, value in known.items():
            values[variable] = value
        try:
            url = self.location(fill_path(how.path, values))
            request = self._request(how.method, url, how.query, how.body, values)
        except KeyError:
            return ""  # nothing was held as far as anybody knows: the response never came
        response = await session.send(ctx, request)
        return "" if response.status in RELEASED else f"{name}: {response.status} to {how.method} {how.path}"

    def _request(self, method: str, url: str, query: Mapping[str, str], content: Any, values: Mapping[str, Any]) -> Request:
        key = self.key.get_secret_value() if self.key else ""
        headers = {"Accept": "application/json", **self._partner.headers, **self.base_headers()}
        if key:
            headers |= {name: form.format(key=key) for name, form in self._partner.key_headers.items()}
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(fill_json(content, values)).encode()
        written = urlencode({name: fill(value, values) for name, value in query.items()})
        return Request(method, f"{url}?{written}" if written else url, headers, body)

    def _judge(self, ctx: Context, read: Read, response: Response) -> dict[str, Any]:
        """Raises Failed where the response breaks the partner's contract, else returns the values for later steps."""
        read.expect.judge(response)
        if read.shape == ANY_SHAPE and not (read.results or read.takes):
            return {}
        value = document(response, "the response", Reason.SCHEMA)
        if sign := _mock_header(response) or find_mock(value):
            raise Failed(Reason.MOCK, f"the response is generated, not real: {sign}")
        if found := list(islice(breaches(read.shape, value), MOST_BREACHES + 1)):
            more = "; and more" if len(found) > MOST_BREACHES else ""
            raise Failed(Reason.SCHEMA, "; ".join(found[:MOST_BREACHES]) + more)
        if read.results:
            results = self._results(read, value)
            if read.name in _COUNTED:
                ctx.facts[_COUNTED[read.name]] = len(results)
            if read.some and not results:
                raise Failed(Reason.BODY, f"{_place(read)} is empty: nothing near {self.search.near}")
            if not results:
                return {}
        return self._taken(read, value)

    def _results(self, read: Read, value: Any) -> list[Any]:
        """The elements of a list, or the keys of a mapping. Raises Failed(schema) where neither is there."""
        for name in read.results:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, dict | list):
            raise Failed(Reason.SCHEMA, f"{_place(read)} is {shown(value) if value is not None else 'absent'}, expected array or object")
        return list(value)

    def _taken(self, read: Read, value: Any) -> dict[str, Any]:
        """The values for later requests. Raises Failed(schema) with the place of one that isn't there."""
        results = self._results(read, value) if read.results else [value]
        taken = {}
        for name, inside in read.takes.items():
            found = inside.find(results[0]) if isinstance(inside, JsonPath) and results else []
            if not isinstance(inside, JsonPath):
                found = [results[0][inside]]
            if not found or not isinstance(found[0], str | int | float):
                place = f"{_place(read)}[0]" if read.results else "$"
                raise Failed(Reason.SCHEMA, f"{place}{str(inside).removeprefix('$')} is absent, expected a value for {{{{{name}}}}}")
            taken[name] = found[0]
        return taken


def _place(read: Read) -> str:
    return f"$.{'.'.join(read.results)}"


_COUNTED = {"search": "results", "availability": "free"}


def _mock_header(response: Response) -> str:
    """The header that says that the response is generated: `header x-mock is "true"`, or ""."""
    for name in ("x-mock", "x-mock-response", "x-mocked"):
        if (value := response.header(name)) and value.lower() not in ("0", "false", "no"):
            return f"header {name} is {shown(value)}"
    return ""
