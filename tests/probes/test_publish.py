"""Numbers that a check sees and publishes: of JSON, headers, columns, INFO and facts, named by the conventions, or told why not."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import JSONResponse

from demo import servers as real
from judge.observation import Observation
from probes import discover
from probes.core import Reason, Verdict
from probes.expect.publish import Publication
from probes.kinds.health_metrics import HealthMetrics
from probes.kinds.http import Http
from probes.kinds.postgres import Postgres
from probes.kinds.redis import Redis
from probes.probe import Probe
from runner.config.plan import Every, Planned
from runner.sinks.registry import TEXT
from tests.support.engine import Observer
from tests.support.metrics import Counted
from tests.support.observations import made_plan
from tests.support.web import serving

KINDS = discover()
REPORT = {"db_healthy": True, "lag": "00:01:30.5", "queue": {"length": 7}, "parts": [1, 2], "name": "x"}


def published(seen: Observation) -> dict[str, float]:
    """The numbers of a run, by the name in checks.yaml."""
    return {name.removeprefix("published."): value for name, value in seen.facts.items() if name.startswith("published.")}


async def test_of_a_response(runs: Observer) -> None:
    """JSON, a duration and a header become numbers; what is missing or no number is told, and its metric is absent."""
    wanted = {
        "replication_lag_seconds": {"value": "$.lag", "unit": "seconds"},
        "queue_length": {"value": "$.queue.length"},
        "database_up": {"value": "$.db_healthy"},
        "rate_limit_remaining": {"header": "X-RateLimit-Remaining"},
        "took_seconds": {"header": "X-Took", "unit": "seconds", "scale": 0.001},
        "gone": {"value": "$.nothing"},
        "several": {"value": "$.parts[*]"},
        "word": {"value": "$.name"},
    }
    headers = {"X-RateLimit-Remaining": "12", "X-Took": "250"}
    async with serving({"GET /health": JSONResponse(REPORT, headers=headers)}) as web:
        probe = Http.model_validate({"url": f"{web.url}/health", "publish": wanted})
        seen = await runs.observe(probe)
    assert seen.verdict is Verdict.PASS
    assert published(seen) == {
        "replication_lag_seconds": 90.5,
        "queue_length": 7,
        "database_up": 1,
        "rate_limit_remaining": 12,
        "took_seconds": 0.25,
    }
    assert seen.facts["unpublished"] == 'gone: $.nothing is absent; several: $.parts[*] selects 2 values, not one; word: "x" is no number'


async def test_a_failed_run_publishes_too(runs: Observer) -> None:
    """A lag above its bound fails the run, and its number is there when it is needed most."""
    async with serving({"GET /health": {"lag": 90}}) as web:
        settings = {"publish": {"lag_seconds": {"value": "$.lag", "unit": "seconds"}}, "expect": {"json": {"$.lag": {"below": 30}}}}
        seen = await runs.observe(Http.model_validate({"url": f"{web.url}/health", **settings}))
    assert (seen.reason, published(seen)) == (Reason.BODY, {"lag_seconds": 90})


async def test_missing_can_fail(runs: Observer) -> None:
    """`missing: fail` makes a number that isn't there a failure of the run, after all other conditions."""
    wanted = {"lag_seconds": {"value": "$.lag", "unit": "seconds", "missing": "fail"}}
    async with serving({"GET /health": {"db_healthy": True}, "GET /down": JSONResponse({}, 503)}) as web:
        parts = {"parts": {"$.db_healthy": True}, "publish": wanted}
        seen = await runs.observe(HealthMetrics.model_validate({"url": f"{web.url}/health", **parts}))
        down = await runs.observe(Http.model_validate({"url": f"{web.url}/down", "publish": wanted}))
    assert (seen.reason, seen.message) == (Reason.SCHEMA, "can't publish lag_seconds: $.lag is absent")
    assert down.reason is Reason.STATUS


async def test_of_a_query(runs: Observer, postgres: real.PostgresServer) -> None:
    """Columns of the first row, an interval as seconds; a column that isn't there is told with the nearest name."""
    wanted = {
        "replication_lag_seconds": {"column": "lag", "unit": "seconds"},
        "jobs_waiting": {"column": "waiting"},
        "jobs_lost": {"column": "waitin"},
    }
    query = "select interval '1 minute 30 seconds' as lag, 4::bigint as waiting"
    seen = await runs.observe(Postgres.model_validate({"dsn": f"{postgres.dsn}?sslmode=disable", "query": query, "publish": wanted}))
    assert seen.verdict is Verdict.PASS, seen.message
    assert published(seen) == {"replication_lag_seconds": 90, "jobs_waiting": 4}
    assert seen.facts["unpublished"] == "jobs_lost: the query has no column waitin; did you mean waiting?"


async def test_of_info(runs: Observer, redis_server: real.RedisServer) -> None:
    """Fields of Redis' INFO. A user who may not ask for it publishes nothing, and fails where that is asked."""
    wanted = {"memory_used_bytes": {"field": "used_memory", "unit": "bytes"}, "clients": {"field": "connected_clients"}}
    seen = await runs.observe(Redis.model_validate({"url": redis_server.app_url, "publish": wanted}))
    assert seen.verdict is Verdict.PASS, seen.message
    assert published(seen).keys() == {"memory_used_bytes", "clients"}
    wrong = {"clients": {"field": "connected_client", "missing": "fail"}}
    failed = await runs.observe(Redis.model_validate({"url": redis_server.app_url, "publish": wrong}))
    told = "can't publish clients: INFO has no field connected_client; did you mean connected_clients?"
    assert (failed.reason, failed.message) == (Reason.SCHEMA, told)
    poor = await runs.observe(Redis.model_validate({"url": redis_server.url, "publish": wanted}))
    assert (poor.verdict, published(poor)) == (Verdict.PASS, {})
    assert poor.facts["unpublished"].startswith("memory_used_bytes: the user may not ask for INFO")


@pytest.mark.parametrize(
    ("found", "unit", "number"),
    [
        (True, "", 1.0),
        ("-3.5", "", -3.5),
        ("1e3", "", 1000.0),
        ("1m30s", "seconds", 90.0),
        ("250ms", "seconds", 0.25),
        ("1.02:03:04.5", "seconds", 93784.5),
        ("PT1H0.5S", "seconds", 3600.5),
        ("P1DT1S", "seconds", 86401.0),
        ("PT", "seconds", None),
        ("P", "seconds", None),
        ("00:01", "seconds", None),
        ("1s", "", None),
        ("1_000", "", None),
        ("NaN", "", None),
        ("inf", "", None),
        (None, "", None),
        ([1], "", None),
        ({}, "seconds", None),
    ],
)
def test_what_is_a_number(found: Any, unit: Any, number: float | None) -> None:
    """Numbers that come as texts are numbers, durations are seconds, and nothing else is taken for a number."""
    publication = Publication(fact="f", unit=unit)
    if number is None:
        with pytest.raises(ValueError, match=r"no (finite )?number"):
            publication.number(found)
    else:
        assert publication.number(found) == number


@given(st.text(max_size=20) | st.floats() | st.integers() | st.just(10**400), st.sampled_from(["", "seconds"]))
def test_any_value_is_a_finite_number_or_none(found: Any, unit: Any) -> None:
    """Whatever a target sends."""
    with contextlib.suppress(ValueError):
        assert math.isfinite(Publication(fact="f", unit=unit).number(found))


@pytest.mark.parametrize(
    ("publish", "message"),
    [
        ({"lag-seconds": {"fact": "f"}}, "lag-seconds is no name of a metric"),
        ({"lag_ms": {"fact": "f"}}, "counts in ms; use seconds"),
        ({"jobs_total": {"fact": "f"}}, "ends in _total and is a gauge, not a counter"),
        ({"lag": {"fact": "f", "unit": "seconds"}}, "must end in _seconds, its unit"),
        ({"lag_seconds": {"fact": "f"}}, "write unit: seconds beside it"),
        ({"lag": {}}, "write one of value, header, column, field and fact"),
        ({"lag": {"fact": "f", "value": "$.a"}}, "write one of value, header, column, field and fact"),
        ({"lag": {"column": "a"}}, "has no column to publish; it has fact, header and value"),
        ({"lag": {"fact": "f", "missing": "fail"}}, "missing: fail is for value, header, column and field"),
        ({"lag": {"fact": "f", "scale": 0}}, "scale must be a number other than 0"),
        ({f"n{n}": {"fact": "f"} for n in range(21)}, "at most 20 items"),
    ],
)
def test_what_cannot_be_published_is_an_error(publish: dict[str, Any], message: str) -> None:
    """A name against the conventions and a place that the kind doesn't have are refused when checks.yaml is read."""
    with pytest.raises(ValidationError, match=message):
        Http.model_validate({"url": "http://127.0.0.1:9/", "publish": publish})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_publishes_facts(kind: str) -> None:
    """Any check may publish a fact or a phase of its run, whatever its kind."""
    wanted = {"connect_seconds": {"fact": "connect", "unit": "seconds"}}
    probe: Probe = KINDS[kind].model_validate({**KINDS[kind].examples[0], "publish": wanted})
    (family,) = probe.published_families()
    assert (family.name, list(family.read({"connect": 0.25}, {}))) == ("probe_published_connect_seconds", [((), 0.25)])
    assert list(family.read({}, {"connect": "soon"})) == list(family.read({}, {})) == []


async def test_the_metric(runs: Observer) -> None:
    """A gauge with the labels check and kind; absent where a run didn't see it, and gone when it leaves the file."""
    metrics = Counted()
    async with serving({"GET /n": {"n": 7}, "GET /none": {}}) as web:
        settings = {"publish": {"queue_length": {"value": "$.n"}}}
        probe, other = (Http.model_validate({"url": f"{web.url}/{path}", **settings}) for path in ("n", "none"))
        there, gone = await runs.observe(probe, kind="http"), await runs.observe(other, kind="http")
    metrics.plan(replace(made_plan(), checks=(Planned(there.check, probe, Every(30.0), 5.0, "a"),)))
    metrics(there)
    assert b'probe_published_queue_length{check="under-test",kind="http"} 7.0\n' in metrics.page(TEXT)
    metrics(gone)
    assert b"probe_published" not in metrics.page(TEXT)
    metrics(there)
    metrics.plan(made_plan())
    assert b"probe_published" not in metrics.page(TEXT)
