"""A partner as data: its requests, its key, its form, and what it holds, all written in checks.yaml."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.kinds.booking import Booking
from probes.wire.wire import Wire
from runner.state import open_ledger
from tests.support.clock import FakeClock
from tests.support.context import LedgerInMemory, Permit, make_context
from tests.support.web import Web, serving

SEARCH = {
    "name": "search",
    "get": "/places",
    "query": {"lat": "{{latitude}}", "day": "{{date}}", "people": "{{party}}"},
    "shape": {"data": {"places": [{"id": "string", "rating?": "number"}]}},
    "results": "$.data.places",
    "some": True,
    "takes": {"place": "$.id"},
}
FREE = {"name": "availability", "post": "/free", "json": {"place": "{{place}}", "party": "{{party}}"}, "results": "$.slots"}
HOLD = {
    "name": "hold",
    "post": "/holds",
    "json": {"place": "{{place}}", "request": "{{uuid}}"},
    "takes": {"hold": "$.hold.id"},
    "expect": {"json": {"$.hold.state": "held"}},
    "release": {"delete": "/holds/{{hold}}"},
}
HEADERS = {"Authorization": 'Fifth key="{{key}}"', "X-Version": "{3}"}


class Fifth:
    """A fifth partner: what it holds, and how it answers to a hold and a release."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.state, self.release_status = "held", 204
        self.numbers = 0

    async def hold(self, _: Request) -> Response:
        """Holds a table."""
        self.numbers += 1
        self.held.add(f"h-{self.numbers}")
        return JSONResponse({"hold": {"id": f"h-{self.numbers}", "state": self.state}})

    async def release(self, request: Request) -> Response:
        """Gives it back."""
        if self.release_status < 300:
            self.held.discard(request.path_params["id"])
        return Response(status_code=self.release_status)

    def routes(self, **other: Any) -> dict[str, Any]:
        """For `serving`."""
        places = {"data": {"places": [{"id": "p/1", "rating": 4.5}]}}
        found = {"GET /places": places, "POST /free": {"slots": ["19:00"]}, "POST /holds": self.hold, "DELETE /holds/{id}": self.release}
        return found | other


def booking(web: Web, *requests: dict[str, Any], **more: Any) -> Booking:
    """A check of the fifth partner."""
    target = {"name": "fifth", "url": web.url, "allow": ["POST /free", "POST /holds", "DELETE /holds/*"]}
    given = {"target": target, "form": {"headers": HEADERS, "requests": list(requests)}, "key": "key-123456"}
    return Booking.model_validate(given | {"search": {"near": "37.8,-122.4", "party": 3}} | more)


async def test_a_fifth_partner_needs_no_code(wire: Wire) -> None:
    """Its routes, its key, its variables and its results are data; steps and facts are as those of the partners that are built in."""
    ctx = make_context(wire, clock=FakeClock(1_790_000_000.0))
    async with serving(Fifth().routes()) as web:
        probe = booking(web, SEARCH, FREE)
        result = await probe.run(ctx)

    assert result.message.startswith("search, availability in ")
    assert web.asked == [("GET", "/places?lat=37.8&day=2026-09-28&people=3"), ("POST", "/free")]
    assert json.loads(web.requests[1][1]) == {"place": "p/1", "party": 3}
    assert {(headers["authorization"], headers["x-version"]) for headers, _ in web.requests} == {('Fifth key="key-123456"', "{3}")}
    assert (ctx.facts["results"], ctx.facts["free"]) == (1, 1)
    assert probe.step_names() == ("search", "availability")


@pytest.mark.parametrize(
    ("places", "reason", "message"),
    [
        ({"data": {"places": [{"id": 5}]}}, Reason.SCHEMA, "search: $.data.places[0].id is 5 (integer), expected string"),
        (
            {"data": {"places": [{"ID": "x", "rating": "4"}]}},
            Reason.SCHEMA,
            'search: $.data.places[0].id is absent, expected string; $.data.places[0].rating is "4" (string), expected number',
        ),
        ({"places": []}, Reason.SCHEMA, "search: $.data is absent, expected object"),
        ({"data": {"places": []}}, Reason.BODY, "search: $.data.places is empty: nothing near 37.8,-122.4"),
        ({"data": {"places": [{"id": "MOCK-1"}]}}, Reason.MOCK, "the response is generated, not real"),
        (JSONResponse({"error": "quota"}, 402), Reason.STATUS, "search: 402, expected 2xx: quota"),
        (Response("<html>"), Reason.SCHEMA, "search: the response is not JSON"),
    ],
)
async def test_what_a_good_response_is(wire: Wire, places: Any, reason: Reason, message: str) -> None:
    """A response of another form is `schema`, with every path that changed, up to three."""
    async with serving(Fifth().routes(**{"GET /places": places})) as web:
        with pytest.raises(Failed) as failed:
            await booking(web, SEARCH).run(make_context(wire))
    assert failed.value.reason is reason
    assert message in failed.value.message


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"slots": "none"}, 'availability: $.slots is "none", expected array or object'),
        ({}, "availability: $.slots is absent, expected array or object"),
        ({"slots": [{}]}, "availability: $.slots[0].at is absent, expected a value for {{at}}"),
    ],
)
async def test_drift_without_a_shape(wire: Wire, response: Any, message: str) -> None:
    """Where no shape is written, results and values that are gone are `schema` with their path all the same."""
    async with serving(Fifth().routes(**{"POST /free": response})) as web:
        with pytest.raises(Failed) as failed:
            await booking(web, SEARCH, {**FREE, "takes": {"at": "$.at"}}).run(make_context(wire))
    assert (failed.value.reason, failed.value.message) == (Reason.SCHEMA, message)


# -- what is held


async def test_what_is_held_is_released(wire: Wire) -> None:
    """A hold is released after the verdict, and its record is gone then; the time of releasing is not the target's."""
    fifth, ledger = Fifth(), LedgerInMemory(FakeClock())
    ctx = make_context(wire, ledger=ledger)
    async with serving(fifth.routes()) as web:
        result = await booking(web, SEARCH, HOLD).run(ctx)

    assert result.verdict is Verdict.PASS
    assert web.asked[-1] == ("DELETE", "/holds/h-1")
    assert (fifth.held, ledger.records) == (set(), {"under-test": {}})
    assert {span.step for span in ctx.spans} == {"search", "hold"}
    assert ctx.decided is not None


@pytest.mark.parametrize("state", ["held", "refused"])
async def test_a_hold_that_is_wrong_is_released(wire: Wire, state: str) -> None:
    """Also where a later request, or the response to the hold itself, is not as expected."""
    fifth = Fifth()
    fifth.state = state
    async with serving(fifth.routes(**{"POST /free": JSONResponse({}, 500)})) as web:
        with pytest.raises(Failed):
            await booking(web, SEARCH, HOLD, FREE).run(make_context(wire))

    assert fifth.numbers == 1
    assert fifth.held == set()


async def test_what_a_crash_left_is_released_by_the_next_run(wire: Wire, tmp_path: Path) -> None:
    """A process that ends between hold and release leaves a record; the first run after it releases, once that run must be over."""
    fifth, clock = Fifth(), FakeClock()
    before = await asyncio.to_thread(open_ledger, tmp_path, clock)
    async with serving(fifth.routes()) as web:
        probe = booking(web, SEARCH, HOLD)
        held = {"hold": "h-0", "place": "p/1"}
        record = {"address": probe.address(), "request": "hold", "values": held, "until": clock.time() + 10}
        await before.remember("under-test", "hold x", record, 86400.0)  # what a run writes before it is killed
        await before.aclose()
        fifth.held.add("h-0")

        after = await asyncio.to_thread(open_ledger, tmp_path, clock)
        assert "under-test" not in await after.last_seen()
        for released in (False, True):
            ctx = make_context(wire, clock=clock)
            ctx.ledger = after
            await probe.run(ctx)
            assert ("h-0" not in fifth.held) is released
            clock.advance(11)
        assert await after.remembered("under-test") == {}
        await after.aclose()


async def test_it_is_written_down_before_it_is_held(wire: Wire) -> None:
    """The record is there when the hold is sent: a crash at any moment after it can be undone."""
    ledger, seen = LedgerInMemory(FakeClock()), []
    fifth = Fifth()

    async def hold(request: Request) -> Response:
        seen.append(json.loads(json.dumps(ledger.records["under-test"])))
        return await fifth.hold(request)

    async with serving(fifth.routes(**{"POST /holds": hold})) as web:
        await booking(web, SEARCH, HOLD).run(make_context(wire, ledger=ledger))

    [[record]] = [list(records.values()) for records in seen]
    assert record["request"] == "hold"
    assert record["values"]["uuid"] == json.loads(web.requests[1][1])["request"]
    assert "key-123456" not in json.dumps(seen)


async def test_a_release_that_fails_is_told_and_tried_again(wire: Wire) -> None:
    """The verdict stands, the message says it, a counter counts it, and the next run tries again."""
    fifth, clock = Fifth(), FakeClock()
    ledger = LedgerInMemory(clock)
    fifth.release_status = 500
    async with serving(fifth.routes()) as web:
        ctx = make_context(wire, clock=clock, ledger=ledger)
        result = await booking(web, SEARCH, HOLD).run(ctx)
        assert result.verdict is Verdict.PASS
        assert result.message.endswith("; its clean-up failed: hold: 500 to DELETE /holds/{{hold}}")
        assert ctx.facts["cleanup_failures"] == 1
        fifth.release_status = 204
        clock.advance(60)
        await booking(web, SEARCH, HOLD).run(make_context(wire, clock=clock, ledger=ledger))

    assert fifth.held == set()
    assert ledger.records == {"under-test": {}}


async def test_a_run_that_is_cut_short_releases(wire: Wire) -> None:
    """A deadline after the hold releases it, within the time that the kind has for its clean-up."""
    fifth, reached = Fifth(), asyncio.Event()

    async def stall(_: Request) -> Response:
        reached.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async with serving(fifth.routes(**{"POST /free": stall})) as web:
        probe = booking(web, SEARCH, HOLD, FREE)
        run = asyncio.create_task(probe.run(make_context(wire)))
        await reached.wait()
        assert fifth.held == {"h-1"}
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    assert fifth.held == set()
    assert probe.cleanup_seconds() == 5


# -- what can't be written, or sent


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([{"name": "a", "post": "/reservations"}], "POST /reservations may reserve something (reserv): write release:"),
        ([{"name": "a", "get": "/{{place}}"}], "request 1 (a): nothing before it fills in {{place}}"),
        ([SEARCH, {"name": "b", "get": "/{{plce}}"}], "nothing before it fills in {{plce}}; did you mean place?"),
        ([SEARCH, SEARCH], "two requests are named search"),
        ([{"name": "a", "get": "/", "post": "/"}], "write one of get, post, put, delete with the path"),
        ([{"name": "a", "get": "x"}], "get takes a path; it begins with /"),
        ([{"name": "a", "get": "/", "shape": {"a": "text"}}], "text is no type"),
        ([{"name": "a", "get": "/", "shape": ["string", "number"]}], "an array has the form of its elements, once"),
        ([{"name": "a", "get": "/", "results": "$..a"}], "may select several values"),
        ([{"name": "a", "get": "/", "some": True}], "some goes with results"),
        ([{"name": "a", "get": "/", "expect": {"text": "{{x}}"}}], "nothing fills it in here"),
        ([], "at least 1 item"),
    ],
)
def test_a_form_that_can_not_work(requests: list[dict[str, Any]], message: str) -> None:
    """What can't work is an error when checks.yaml is read, with what to write."""
    with pytest.raises(ValidationError) as error:
        booking(Web(url="http://127.0.0.1:9"), *requests)
    assert message in str(error.value)


def test_either_partner_or_form() -> None:
    """One of them; and a form's POST goes to a target that allows it."""
    web = Web(url="http://127.0.0.1:9")
    with pytest.raises(ValidationError, match="give either partner or form"):
        booking(web, SEARCH, partner="viator")
    with pytest.raises(ValidationError, match="request availability: POST goes to a target that allows it"):
        booking(web, SEARCH, FREE, target=None, url="http://127.0.0.1:9")
    with pytest.raises(ValidationError, match=r"only \{\{key\}\} can stand there"):
        Booking.model_validate({"url": web.url, "search": {"near": "1,1"}, "form": {"headers": {"A": "{{token}}"}, "requests": [SEARCH]}})


async def test_a_form_sends_nothing_that_is_not_permitted(wire: Wire) -> None:
    """Every request of it passes the permit, its releases too."""
    fifth = Fifth()
    async with serving(fifth.routes()) as web:
        probe = booking(web, SEARCH, HOLD)
        permit = Permit(f"{web.url}/holds")
        with pytest.raises(PolicyRefused):
            await probe.run(make_context(wire, permit=permit))

    assert fifth.numbers == 0
    assert [ask.method for ask in probe.asks()] == ["GET", "POST", "DELETE"]
