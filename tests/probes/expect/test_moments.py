"""Ages of moments: how responses write them, what is too old, and each kind that judges one."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import JSONResponse, PlainTextResponse

from probes.core import Failed, Reason, Verdict
from probes.expect.conditions import Condition
from probes.expect.generated import Values
from probes.expect.moments import moment_of
from probes.http.message import Response
from probes.journeys.play import Play
from probes.journeys.steps import Step
from probes.kinds.health_metrics import HealthMetrics
from probes.kinds.http import Http
from probes.kinds.metrics import Metrics
from probes.kinds.promql import Promql
from probes.probe import Probe
from probes.wire.wire import Wire
from tests.support.context import make_context
from tests.support.observations import NOON, Hands
from tests.support.web import serving

OLD, YOUNG = "2026-11-22T12:00:00Z", "2026-11-24T11:00:00Z"
WANTED = {"younger_than": "1d"}


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-24T12:00:00Z",
        "2026-11-24T12:00:00.000000000Z",
        "2026-11-24 12:00:00+00",
        "2026-11-24T13:00:00+01:00",
        "2026-11-24T12:00:00",
        "Tue, 24 Nov 2026 12:00:00 GMT",
        "Tuesday, 24-Nov-26 12:00:00 GMT",
        " 1795521600 ",
        "1795521600000",
        "1795521600.0",
        1795521600,
        1795521600.0,
        1795521600000,
        1795521600000000,
        1795521600000000000,
    ],
)
def test_the_forms_of_a_moment(written: Any) -> None:
    """R-d: whatever servers write; a time without a zone is UTC."""
    assert moment_of(written) == NOON


@pytest.mark.parametrize("written", ["", "soon", "12:00", True, None, 0, -5, float("nan"), float("inf"), 10**400, [], {}, "5", "never"])
def test_what_names_no_moment(written: Any) -> None:
    """A word, a small number and null are no moments, and neither is 0: it means never."""
    assert moment_of(written) is None


@given(st.text(max_size=40) | st.floats() | st.integers() | st.none() | st.lists(st.integers(), max_size=2))
def test_any_value_is_a_moment_or_none(written: Any) -> None:
    """Whatever a target sends."""
    assert moment_of(written) is None or isinstance(moment_of(written), float)


@given(st.datetimes(datetime(1975, 1, 1), datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - the zone comes beside
def test_every_form_names_the_same_moment(when: datetime, offset: int) -> None:
    """Whatever the zone, and to the form's own precision."""
    there = when.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))
    assert moment_of(there.isoformat()) == there.timestamp()
    assert moment_of(format_datetime(there)) == int(there.timestamp() // 1)
    assert moment_of(int(there.timestamp() * 1000)) == pytest.approx(there.timestamp(), abs=0.002)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (YOUNG, ""),
        (OLD, f'"{OLD}", 2 d ago, expected at most 1d ago'),
        ("2026-11-24T12:04:00Z", ""),  # a clock that is a little ahead
        ("2026-11-24T13:00:00Z", '"2026-11-24T13:00:00Z", 1 h ahead, expected at most 1d ago'),
        ("never", '"never", which names no moment, expected at most 1d ago'),
        (None, "null, which names no moment, expected at most 1d ago"),
        (1795348800, "1795348800, 2 d ago, expected at most 1d ago"),
    ],
)
def test_an_age_has_a_bound(written: Any, fault: str) -> None:
    """Too old, in the future, and no moment at all are told apart; the age stands beside the moment."""
    assert [found for _, found in Condition.model_validate(WANTED).at(NOON).faults(written)] == ([fault] if fault else [])


def test_an_age_is_of_a_moment() -> None:
    """A length and a count have none; a duration without a unit is refused."""
    for wrong in ({"length": WANTED}, {"count": WANTED}, {"younger_than": 5}):
        with pytest.raises(ValidationError):
            Condition.model_validate(wrong)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Http, {"expect": {"json": {"$.at": WANTED}}}),
        (Http, {"expect": {"headers": {"Last-Modified": WANTED}}}),
        (HealthMetrics, {"parts": {"$.at": WANTED}}),
    ],
)
async def test_each_kind_judges_by_the_clock_of_the_run(wire: Wire, kind: type[Probe], settings: dict[str, Any]) -> None:
    """R-d: `lastConfigTime younger than 1d`, in JSON, in a header, and in a part of a report."""
    verdicts = []
    for written in (YOUNG, OLD):
        async with serving({"GET /x": JSONResponse({"at": written}, headers={"Last-Modified": written})}) as web:
            probe = kind.model_validate({"url": f"{web.url}/x", **settings})
            try:
                result = await probe.run(make_context(wire, clock=Hands()))
                verdicts.append(result.parts["at"].verdict if result.parts else result.verdict)
            except Failed as failed:
                verdicts.append(Verdict.FAIL if "2 d ago" in failed.message else Verdict.UNKNOWN)
    assert verdicts == [Verdict.PASS, Verdict.FAIL]


async def test_metrics_and_queries_name_moments_too(wire: Wire) -> None:
    """A backup's gauge of seconds since the epoch, on a page of metrics and in a Prometheus."""
    wanted = {"families": {"backup_last_success_timestamp_seconds": {"values": [WANTED]}}}
    vector = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [NOON, "1795348800"]}]}}
    page = PlainTextResponse("backup_last_success_timestamp_seconds 1.7953488e9\n")
    async with serving({"GET /metrics": page, "GET /api/v1/query": vector}) as web:
        scraped = await Metrics.model_validate({"url": f"{web.url}/metrics", **wanted}).run(make_context(wire, clock=Hands()))
        asked = Promql.model_validate({"url": web.url, "query": "backup", "expect": {"value": WANTED}})
        with pytest.raises(Failed, match="the result is 1795348800, 2 d ago, expected at most 1d ago"):
            await asked.run(make_context(wire, clock=Hands()))
    assert (scraped.reason, scraped.message) == (
        Reason.BODY,
        "backup_last_success_timestamp_seconds is 1795348800, 2 d ago, expected at most 1d ago",
    )


def test_a_step_of_a_journey() -> None:
    """A step's moments count back from the start of the run."""
    step = Step.model_validate({"name": "open", "get": "/", "expect": {"json": {"$.at": WANTED}}})
    moves = Play([step], locate=str, values=Values(NOON, random.Random(1))).steps()  # noqa: S311 - nothing is drawn
    next(moves)
    with pytest.raises(Failed, match="2 d ago"):
        moves.send(Response(200, (), f'{{"at": "{OLD}"}}'.encode(), 0.1, "http://h/"))
