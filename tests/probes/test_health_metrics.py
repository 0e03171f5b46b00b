from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from probes.core import Failed, Reason, Result, Verdict
from probes.kinds.health_metrics import HealthMetrics
from probes.wire.wire import Wire
from tests.support.context import make_context
from tests.support.web import serving

FLAT = {"$.db_healthy": {"equals": True, "compare_with": "database"}, "$.redis_healthy": True}
READY = {
    "$.checks.database.status": {"equals": "healthy", "name": "database"},
    "$.checks.redis.status": {"in": ["healthy", "unavailable"], "name": "redis"},
}


@pytest.fixture(name="wire")
async def _wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    await wire.aclose()


async def report(wire: Wire, body: Any, parts: dict[str, Any], code: int = 200, **settings: Any) -> Result:
    """Reads a report that a real server gives."""
    response = body if isinstance(body, Response) else JSONResponse(body, code)
    async with serving({"GET /health": response}) as web:
        probe = HealthMetrics.model_validate({"url": f"{web.url}/health", "parts": parts, **settings})
        return await probe.run(make_context(wire))


def failed_parts(result: Result) -> dict[str, tuple[Reason | None, str]]:
    """Reason and message of the parts that failed."""
    return {name: (part.reason, part.message) for name, part in result.parts.items() if part.verdict is Verdict.FAIL}


async def test_the_guides_flat_form(wire: Wire) -> None:
    """The report passes with all its parts, each by the last name of its path."""
    result = await report(wire, {"db_healthy": True, "redis_healthy": True}, FLAT)

    assert result.verdict is Verdict.PASS
    assert {name: part.verdict for name, part in result.parts.items()} == {"db_healthy": Verdict.PASS, "redis_healthy": Verdict.PASS}


async def test_an_unwell_part_fails_alone(wire: Wire) -> None:
    """A part that is reported as unwell is a failure of the part: the report itself is there and honest."""
    result = await report(wire, {"db_healthy": False, "redis_healthy": True}, FLAT)

    assert result.verdict is Verdict.PASS
    assert failed_parts(result) == {"db_healthy": (Reason.BODY, "$.db_healthy is false, expected true")}


async def test_an_absent_part_is_a_breach_of_schema(wire: Wire) -> None:
    """A declared part that isn't reported is schema; a report with none of them is none."""
    result = await report(wire, {"db_healthy": True}, FLAT)

    assert failed_parts(result) == {"redis_healthy": (Reason.SCHEMA, "$.redis_healthy is absent, expected true")}
    with pytest.raises(Failed, match="the report has none of the declared parts") as failed:
        await report(wire, {"hello": 1}, FLAT)
    assert failed.value.reason is Reason.SCHEMA


async def test_ready_with_checks(wire: Wire) -> None:
    """The application's own readiness form is read by paths, with names of the user's own."""
    checks = {"database": {"status": "healthy"}, "redis": {"status": "unavailable"}}
    result = await report(wire, {"status": "ready", "checks": checks}, READY)

    assert result.verdict is Verdict.PASS
    assert list(result.parts) == ["database", "redis"]


async def test_a_pair_contradicts_its_status(wire: Wire) -> None:
    """[{...}, 503] with status 200 fails the check: body; the parts are read inside it all the same."""
    checks = {"database": {"status": "unhealthy"}, "redis": {"status": "healthy"}}
    result = await report(wire, [{"status": "not_ready", "checks": checks}, 503], READY)

    assert (result.reason, result.message) == (
        Reason.BODY,
        "Status 200, but the body reports 503.",
    )
    assert failed_parts(result) == {"database": (Reason.BODY, '$.checks.database.status is "unhealthy", expected "healthy"')}


async def test_the_broken_text_route(wire: Wire) -> None:
    """The application's text route, sent as an array with its status in it, can be read by position."""
    body = ["# HELP app_info ...\napp_info 1\n", 200, {"Content-Type": "text/plain"}]
    result = await report(wire, body, {"$[0]": {"contains": "app_info", "name": "metrics"}})

    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"status": "unhealthy", "database": {"status": "unhealthy"}}, 200, '$.status is "unhealthy", but the HTTP status is 200'),
        ({"status": "healthy", "database": {"status": "healthy"}}, 503, '$.status is "healthy", but the HTTP status is 503'),
    ],
)
async def test_a_word_against_its_status(wire: Wire, body: Any, status: int, message: str) -> None:
    """200 with "unhealthy" and 503 with "healthy" are failures of the report."""
    result = await report(wire, body, {"$.database.status": "healthy"}, status)

    assert (result.verdict, result.reason, result.message) == (Verdict.FAIL, Reason.BODY, message)


@pytest.mark.parametrize(
    "word", ["OUT_OF_SERVICE", "Out of service", "not-ready", "UNAVAILABLE", "failing", "shutting down", "NOT_SERVING"]
)
async def test_a_word_for_unwell_in_any_form(wire: Wire, word: str) -> None:
    """S15i: a status that says unwell in whatever form contradicts a 200."""
    result = await report(wire, {"status": word, "db_healthy": True}, {"$.db_healthy": True})

    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.BODY)
    assert word in result.message


@pytest.mark.parametrize("word", ["degraded", "warn", "UNKNOWN", "healthy", "Passing", "out", "downtown"])
async def test_other_words_contradict_nothing(wire: Wire, word: str) -> None:
    """S15i: a word that only warns, or that isn't known, fails nothing; one part is a part."""
    result = await report(wire, {"status": word, "db_healthy": True}, {"$.db_healthy": True})

    assert (result.verdict, result.message) == (Verdict.PASS, "1 part reported")


async def test_an_empty_report(wire: Wire) -> None:
    """S15i: an empty body is called empty."""
    with pytest.raises(Failed, match=r"the report is not JSON: .*; it is empty"):
        await report(wire, Response(""), {"$.db_healthy": True})


async def test_a_declared_status_is_no_contradiction(wire: Wire) -> None:
    """Where the check declares $.status as a part, the part says what is wrong, not the report."""
    result = await report(wire, {"status": "unhealthy"}, {"$.status": "healthy"})

    assert result.verdict is Verdict.PASS
    assert failed_parts(result) == {"status": (Reason.BODY, '$.status is "unhealthy", expected "healthy"')}


async def test_an_honest_503(wire: Wire) -> None:
    """A report that says unhealthy with 503 fails by its status, keeps its parts, and may be declared to come so."""
    body = {"status": "unhealthy", "components": {"database": {"status": "unhealthy"}}}
    parts = {"$.components.database.status": {"equals": "healthy", "name": "database"}}

    refused = await report(wire, body, parts, 503)
    declared = await report(wire, body, parts, 503, status=[200, 503])

    assert (refused.reason, refused.message) == (Reason.STATUS, "503, expected 2xx: unhealthy")
    assert declared.verdict is Verdict.PASS
    assert set(failed_parts(refused)) == set(failed_parts(declared)) == {"database"}


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (JSONResponse({"error": {"message": "boom"}}, 500), Reason.STATUS),
        (PlainTextResponse("gone", 502), Reason.STATUS),
        (PlainTextResponse("all well"), Reason.BODY),
        (RedirectResponse("https://x.test/", 301), Reason.REDIRECT),
        (JSONResponse({}, 429, {"Retry-After": "30"}), Reason.THROTTLED),
        (JSONResponse({"detail": "no"}, 401), Reason.AUTH),
        (JSONResponse(None), Reason.SCHEMA),
    ],
)
async def test_no_report_at_all(wire: Wire, response: Response, reason: Reason) -> None:
    """What is no report fails the check with the answer's own reason, and says nothing of its parts."""
    with pytest.raises(Failed) as failed:
        await report(wire, response, FLAT)
    assert failed.value.reason is reason


def test_names_and_comparisons() -> None:
    """Parts are known by their names, and to the checks that measure the same."""
    probe = HealthMetrics.model_validate({"url": "http://127.0.0.1:9/h", "parts": FLAT})

    assert probe.part_names() == ("db_healthy", "redis_healthy")
    assert probe.part_compares() == {"db_healthy": "database"}
    assert [(ask.method, ask.url) for ask in probe.asks()] == [("GET", "http://127.0.0.1:9/h")]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"$.a.status": "x", "$.b.status": "x"}, "two parts are named status; give one of them a name:"),
        ({"$[0]": "x"}, r"\$\[0\] ends in no name; give this part a name:"),
        ({"$.a": {"compare_with": "database"}}, "write a value or an operator"),
        ({}, "at least 1 item"),
    ],
)
def test_wrong_parts(parts: dict[str, Any], message: str) -> None:
    """Parts that can't be told apart, or say nothing, are errors of the configuration."""
    with pytest.raises(ValidationError, match=message):
        HealthMetrics.model_validate({"url": "http://127.0.0.1:9/h", "parts": parts})
