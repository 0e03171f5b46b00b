from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import JSONResponse, PlainTextResponse

from probes.core import Failed, Reason, Verdict
from probes.expect.contract import breaches, find_mock
from probes.kinds.booking import Booking
from probes.kinds.booking.partners import PARTNERS, Read
from probes.probe import Context
from probes.wire.wire import Wire
from tests.support.clock import FakeClock
from tests.support.context import Permit, make_context
from tests.support.web import serving

OPENTABLE: dict[str, Any] = {
    "GET /v2/restaurants/search": {"restaurants": [{"id": "ot/1", "name": "Mockingbird Grill", "rating": 4.6}, {"id": "b", "name": "B"}]},
    "GET /v2/restaurants/{id:path}/availability": {"time_slots": [{"time": "19:00", "pricing": {"reservation_fee": 0}}]},
}
RECREATION: dict[str, Any] = {
    "GET /v2/facilities": {
        "RECDATA": [{"FacilityID": "232447", "FacilityName": "Upper Pines", "FacilityLatitude": 37.7, "FacilityLongitude": -119}]
    },
    "GET /v2/232447/availability": {"campsites": {"A1": {}, "A2": {}}},
}
SHELL: dict[str, Any] = {
    "GET /v2/locations/nearby": {
        "data": [
            {
                "id": "s1",
                "name": "Shell",
                "address": {"street": "1 Main", "city": "Reno"},
                "coordinates": {"latitude": 1, "longitude": 2.5},
                "distance": 3,
            }
        ]
    },
    "GET /v2/locations/s1/availability": {"connectors": [{"id": "c9", "status": "available"}]},
    "GET /v2/locations/s1/connectors/c9": {"data": {"status": "available", "max_power_kw": 50, "pricing": {"per_kwh": 0.4}}},
}
VIATOR: dict[str, Any] = {
    "POST /v2/search/products": {"products": [{"productCode": "P1", "title": "Alcatraz by night"}]},
    "POST /v2/availability/check": {"bookableItems": [{"available": True, "totalPrice": {"price": {}}}]},
}
ALL = {"opentable": OPENTABLE, "recreation": RECREATION, "shell": SHELL, "viator": VIATOR}


@pytest.fixture(name="wire")
async def _wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    await wire.aclose()


def booking(host: str, partner: str = "opentable", **more: Any) -> Booking:
    """A check of a partner at a target that allows Viator's two reads."""
    target = {"name": partner, "url": f"{host}/v2", "allow": ["POST /v2/search/products", "POST /v2/availability/check"]}
    search = {"near": "37.8,-122.4", "party": 3, "days_ahead": 7, "radius": "16km"}
    given = {"target": target, "partner": partner, "key": "key-123456", "search": search, **more}
    return Booking.model_validate({name: value for name, value in given.items() if value is not None})


async def failure(wire: Wire, responses: dict[str, Any]) -> tuple[Reason, str]:
    """Reason and message with which OpenTable fails when it answers so."""
    async with serving({**OPENTABLE, **responses}) as web:
        with pytest.raises(Failed) as caught:
            await booking(web.url).run(make_context(wire))
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize("partner", ALL)
async def test_a_partner_that_is_well(wire: Wire, partner: str) -> None:
    """Each partner is asked in its own order, every step a fact, the key in its own header and never in an address."""
    permit, ctx = Permit(), None
    async with serving(ALL[partner]) as web:
        ctx = make_context(wire, permit=permit)
        result = await booking(web.url, partner).run(ctx)

    steps = [read.name for read in PARTNERS[partner].reads]
    assert result.verdict is Verdict.PASS
    assert [name for name in ctx.facts if name.startswith("step.")] == [f"step.{step}" for step in steps]
    assert len(web.asked) == len(steps)
    assert ctx.facts["results"] >= 1
    for headers, _ in web.requests:
        assert "key-123456" in " ".join(headers.values())
    assert not [url for _, url in permit.asked if "key-123456" in url]


async def test_what_is_searched_for(wire: Wire) -> None:
    """The search is for the place, the party and the day that the check says, by its own clock."""
    clock = FakeClock(now=1795532400.0)  # 2026-11-24 15:00 UTC
    async with serving(OPENTABLE) as web:
        await booking(web.url).run(make_context(wire, clock=clock))

    search, availability = (urlsplit(path) for _, path in web.asked)
    assert parse_qs(search.query) == {
        "latitude": ["37.8"],
        "longitude": ["-122.4"],
        "radius": ["10"],
        "party_size": ["3"],
        "per_page": ["5"],
        "sort_by": ["distance"],
        "date": ["2026-12-01"],
        "time": ["19:00"],
    }
    assert availability.path == "/v2/restaurants/ot/1/availability"  # sent as ot%2F1: one segment
    assert parse_qs(availability.query)["date"] == ["2026-12-01"]


async def test_viator_is_asked_with_bodies(wire: Wire) -> None:
    """Viator's reads are POSTs with JSON, numbers as numbers."""
    async with serving(VIATOR) as web:
        await booking(web.url, "viator").run(make_context(wire, clock=FakeClock(now=1795532400.0)))

    first, second = (json.loads(body) for _, body in web.requests)
    assert first["filters"][0] == {"type": "location", "value": {"latitude": 37.8, "longitude": -122.4, "radius": 16}}
    assert second["paxMix"] == [{"ageBand": "ADULT", "numberOfTravelers": 3}]
    assert (second["productCode"], second["travelDate"]) == ("P1", "2026-12-01")


async def test_availability_elsewhere(wire: Wire) -> None:
    """A partner that answers for availability at another host is asked there."""
    async with (
        serving({"GET /v2/facilities": RECREATION["GET /v2/facilities"]}) as web,
        serving({"GET /camps/232447/availability": {"campsites": {}}}) as other,
    ):
        ctx = make_context(wire)
        addresses = {"target": None, "url": f"{web.url}/v2", "availability_url": f"{other.url}/camps"}
        await booking(web.url, "recreation", **addresses).run(ctx)

    assert (len(web.asked), len(other.asked), ctx.facts["free"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("responses", "reason", "message"),
    [
        ({"GET /v2/restaurants/search": JSONResponse({}, 500)}, Reason.STATUS, "search: 500, expected 2xx"),
        ({"GET /v2/restaurants/search": JSONResponse({"message": "who?"}, 401)}, Reason.AUTH, "search: 401, expected 2xx: who?"),
        ({"GET /v2/restaurants/search": JSONResponse({}, 429)}, Reason.THROTTLED, "search: 429, throttled"),
        (
            {"GET /v2/restaurants/search": {"restaurants": [], "mock": True}},
            Reason.MOCK,
            "search: the response is generated, not real: $.mock is true",
        ),
        (
            {"GET /v2/restaurants/search": {"restaurants": [{"id": "a", "name": "A", "rating": "4.6 stars"}]}},
            Reason.SCHEMA,
            'search: $.restaurants[0].rating is "4.6 stars" (string), expected number',
        ),
        (
            {"GET /v2/restaurants/search": {"restaurants": [{"id": "a", "name": "A"}, {"id": "b"}]}},
            Reason.SCHEMA,
            "search: $.restaurants[1].name is absent, expected string",
        ),
        ({"GET /v2/restaurants/search": {"restaurants": {}}}, Reason.SCHEMA, "search: $.restaurants is {} (object), expected array"),
        ({"GET /v2/restaurants/search": []}, Reason.SCHEMA, "search: $ is [] (array), expected object"),
        ({"GET /v2/restaurants/search": PlainTextResponse("hi")}, Reason.SCHEMA, "search: the response is not JSON"),
        ({"GET /v2/restaurants/search": {"restaurants": []}}, Reason.BODY, "search: $.restaurants is empty: nothing near 37.8,-122.4"),
        (
            {"GET /v2/restaurants/{id:path}/availability": {"time_slots": [{"time": "MOCK-19"}]}},
            Reason.MOCK,
            'availability: the response is generated, not real: $.time_slots[0].time is "MOCK-19"',
        ),
        (
            {"GET /v2/restaurants/{id:path}/availability": JSONResponse({"time_slots": []}, headers={"X-Mock": "1"})},
            Reason.MOCK,
            'availability: the response is generated, not real: header x-mock is "1"',
        ),
        ({"GET /v2/restaurants/{id:path}/availability": {}}, Reason.SCHEMA, "availability: $.time_slots is absent, expected array"),
    ],
)
async def test_a_partner_that_is_unwell(wire: Wire, responses: dict[str, Any], reason: Reason, message: str) -> None:
    """Each way in which a partner can be unwell has its reason, at its step, with the path that changed."""
    failed = await failure(wire, responses)

    assert failed[0] is reason
    assert failed[1].startswith(message)


async def test_nothing_free_is_well(wire: Wire) -> None:
    """A full house is no failure: the partner has answered."""
    ctx = make_context(wire)
    async with serving({**OPENTABLE, "GET /v2/restaurants/{id:path}/availability": {"time_slots": []}}) as web:
        result = await booking(web.url).run(ctx)

    assert result.verdict is Verdict.PASS
    assert ctx.facts["free"] == 0


# -- it can never book


def test_steps_are_known_by_name() -> None:
    """An SLO may measure a step of a booking: they are known before a run."""
    assert [step.name for step in booking("http://x.test", "shell").steps] == ["search", "availability", "quote"]


def test_nothing_but_reads_is_asked() -> None:
    """All that any partner can be sent is a GET, or one of the two questions that Viator takes as a POST."""
    asked = {(ask.method, urlsplit(ask.url).path) for partner in ALL for ask in booking("http://x.test", partner).asks()}

    assert {path for method, path in asked if method != "GET"} == {"/v2/search/products", "/v2/availability/check"}
    assert {method for method, _ in asked} == {"GET", "POST"}
    assert not [path for _, path in asked if "reserv" in path or "book" in path or "session" in path]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/reservations"),
        ("DELETE", "/reservations/1"),
        ("PUT", "/restaurants/search"),
        ("POST", "/bookings/create"),
        ("POST", "/restaurants/search"),
        ("GET", "/reservations/1/cancel"),
    ],
)
def test_a_write_can_not_be_written_down(method: str, path: str) -> None:
    """Partner data that would change something refuses to be made."""
    with pytest.raises(ValueError, match=r"not known to be a read|where reservations are made"):
        Read(name="search", method=method, path=path, shape={})


@pytest.mark.parametrize("number", ["../reservations", "a?b=1#c", "..", "x/../../reservations"])
async def test_a_partners_id_leads_nowhere_else(wire: Wire, number: str) -> None:
    """An id from a partner's answer stays inside its segment of the path: it can't change what is asked."""
    permit = Permit()
    ctx: Context = make_context(wire, permit=permit)
    search = {"restaurants": [{"id": number, "name": "A"}]}
    async with serving({"GET /v2/restaurants/search": search}) as web:
        with pytest.raises(Failed):
            await booking(web.url).run(ctx)

    assert {method for method, _ in permit.asked} == {"GET"}
    assert all(urlsplit(path).path.startswith("/v2/restaurants/") for _, path in web.asked)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"path": "/x"}, "a partner has its own paths"),
        ({"search": {"near": "Oakland"}}, "write latitude and longitude"),
        ({"search": {"near": "97.8,-122.4"}}, "nowhere on Earth"),
        ({"search": {"near": "37.8,-122.4", "radius": 25}}, "write a distance with its unit"),
        ({"availability_url": "https://x.test"}, "leave availability_url out"),
        ({"availability_url": "https://x.test", "partner": "recreation"}, "availability_url goes with url"),
        ({"partner": "resy"}, "Input should be"),
    ],
)
def test_wrong_settings(more: dict[str, Any], message: str) -> None:
    """What can't work is an error when the configuration is read."""
    with pytest.raises(ValidationError, match=message):
        booking("http://x.test", **more)


# -- contracts


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["restaurants", "id", "name", "data"]), inner, max_size=3),
    max_leaves=8,
)


@given(values)
@settings(max_examples=150)
def test_no_answer_breaks_a_contract_check(value: Any) -> None:
    """Whatever JSON a partner sends is either within the contract or a breach in words."""
    for partner in PARTNERS.values():
        for read in partner.reads:
            assert all(isinstance(breach, str) for breach in breaches(read.shape, value))
    assert isinstance(find_mock(value), str)


def test_marks_of_a_mock() -> None:
    """A made-up answer is known by its marks, and a restaurant called Mockingbird isn't one."""
    assert find_mock({"a": [{"is_mock": True}]}) == "$.a[0].is_mock is true"
    assert find_mock({"confirmation_code": "MOCK123"}) == '$.confirmation_code is "MOCK123"'
    assert find_mock({"mock": False, "name": "Mockingbird", "text": "mock 1 of 2"}) == ""
