"""Kind `promql` against a server that answers as Prometheus does: values, emptiness, errors and warnings in its words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import JSONResponse, PlainTextResponse

from probes.core import Failed, Reason
from probes.http.message import Response as Received
from probes.kinds.promql import Promql, read_result
from probes.wire.wire import Wire
from tests.support.context import make_context
from tests.support.web import Web, serving

NOW = 1795521600.123


def vector(*elements: tuple[dict[str, str], str], **more: Any) -> dict[str, Any]:
    """What Prometheus answers to a query with these series."""
    result = [{"metric": labels, "value": [NOW, value]} for labels, value in elements]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


async def ask(wire: Wire, response: Any, expect: dict[str, Any], **settings: Any) -> tuple[Reason | None, str]:
    """Reason and message of one run."""
    async with serving({"GET /api/v1/query": response}) as web:
        return await asked(wire, web, expect, **settings)


async def asked(wire: Wire, web: Web, expect: dict[str, Any], **settings: Any) -> tuple[Reason | None, str]:
    """The same of a server that is there already."""
    probe = Promql.model_validate({"url": web.url, "query": "sum(up)", "expect": expect, **settings})
    try:
        result = await probe.run(make_context(wire))
    except Failed as failed:
        return failed.reason, failed.message
    return result.reason, result.message


THREE = vector(({"job": "api"}, "0.5"), ({"job": "db"}, "1"), ({"__name__": "up", "job": "cache"}, "2"))
BELOW_1 = {"value": {"below": 1}}


@pytest.mark.parametrize(
    ("response", "expect", "reason", "message"),
    [
        (vector(({}, "7")), {"value": {"above": 3}}, None, "the result is 7"),
        (vector(({}, "7")), {"value": 7}, None, "the result is 7"),
        (vector(({"job": "api"}, "0.93")), {"value": {"at_least": 0.99}}, Reason.BODY, '{job="api"} is 0.93, expected at least 0.99'),
        (vector(({}, "+Inf")), BELOW_1, Reason.BODY, "the result is Infinity, expected below 1"),
        (THREE, {"value": {"at_most": 2}}, None, "3 series, from 0.5 to 2"),
        (THREE, BELOW_1, Reason.BODY, '{job="db"} is 1, expected below 1; up{job="cache"} is 2, expected below 1'),
        (THREE, {**BELOW_1, "elements": "any"}, None, "3 series, from 0.5 to 2"),
        (
            THREE,
            {"value": {"above": 2}, "elements": "any"},
            Reason.BODY,
            (
                'none of 3 series is as expected: {job="api"} is 0.5, expected above 2; {job="db"} is 1, expected above 2; '
                'up{job="cache"} is 2, expected above 2'
            ),
        ),
        (
            THREE,
            {**BELOW_1, "elements": "only"},
            Reason.BODY,
            'the query returns 3 series, expected one: {job="api"}, {job="db"}, up{job="cache"}',
        ),
        (vector(({}, "0.5")), {**BELOW_1, "elements": "only"}, None, "the result is 0.5"),
        (
            THREE,
            {"count": {"at_most": 2, "at_least": 1}},
            Reason.BODY,
            'the number of series is 3, expected at most 2: {job="api"}, {job="db"}, up{job="cache"}',
        ),
        (
            {"status": "success", "data": {"resultType": "scalar", "result": [NOW, "12.5"]}},
            {"value": {"above": 12}},
            None,
            "the result is 12.5",
        ),
    ],
)
async def test_a_value_has_a_bound(wire: Wire, response: Any, expect: dict[str, Any], reason: Reason | None, message: str) -> None:
    """R-a: numbers that come as strings are numbers; each element is judged, and the message tells its labels."""
    assert await ask(wire, response, expect) == (reason, message)


EMPTY = vector()
NAN = vector(({"job": "ai"}, "NaN"))


@pytest.mark.parametrize("expect", [BELOW_1, {**BELOW_1, "elements": "any"}, {"count": {"at_least": 1}}, {"value": {"not": 3}}])
async def test_empty_and_nan_are_no_pass(wire: Wire, expect: dict[str, Any]) -> None:
    """An alert on nothing never fires. Here a query without a result fails, and so does 0 divided by 0."""
    allowed = {**expect, "empty": "pass"}
    assert await ask(wire, EMPTY, expect) == (Reason.BODY, "the query returns no series, expected a value; empty: pass would allow it")
    assert await ask(wire, NAN, expect) == (Reason.BODY, '{job="ai"} is NaN, expected a number; empty: pass would allow it')
    if "count" not in expect:
        assert await ask(wire, EMPTY, allowed) == (None, "no series, as allowed")
        assert await ask(wire, NAN, allowed) == (None, "no series, as allowed")


async def test_empty_pass_judges_what_is_there(wire: Wire) -> None:
    """NaN is left out where that is allowed, and the other series are judged."""
    both = vector(({"job": "ai"}, "NaN"), ({"job": "api"}, "3"))
    assert await ask(wire, both, {**BELOW_1, "empty": "pass"}) == (Reason.BODY, '{job="api"} is 3, expected below 1')


@pytest.mark.parametrize(
    ("response", "reason", "message"),
    [
        (
            JSONResponse({"status": "error", "errorType": "bad_data", "error": '1:5: parse error: unexpected "}"'}, 400),
            Reason.STATUS,
            'Prometheus says bad_data: 1:5: parse error: unexpected "}"',
        ),
        (
            JSONResponse({"status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"}, 503),
            Reason.TIMEOUT,
            "Prometheus says timeout: query timed out in expression evaluation",
        ),
        (
            JSONResponse({"status": "error", "errorType": "execution", "error": "found duplicate series"}, 422),
            Reason.STATUS,
            "Prometheus says execution: found duplicate series",
        ),
        (JSONResponse({"message": "no token"}, 401), Reason.AUTH, "401, expected 2xx: no token"),
        (PlainTextResponse("Service Unavailable", 503), Reason.STATUS, "503, expected 2xx: Service Unavailable"),
        (
            PlainTextResponse("<html>hello"),
            Reason.BODY,
            'the response is not JSON: Expecting value: line 1 column 1 (char 0); it begins "<html>hello"',
        ),
        ({"hello": 1}, Reason.SCHEMA, 'the response is no result of a query: {"hello": 1}'),
        (
            {"status": "success", "data": {"resultType": "matrix", "result": []}},
            Reason.SCHEMA,
            (
                'the result is a "matrix", expected a vector or a scalar; the expression is a range vector: '
                "put a function such as rate() around it"
            ),
        ),
        (
            {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"job": "a"}, "histogram": [NOW, {}]}]}},
            Reason.SCHEMA,
            '{job="a"} is a native histogram; take a number of it, by histogram_quantile()',
        ),
        (
            {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [NOW, "1_0"]}]}},
            Reason.SCHEMA,
            f'[{NOW}, "1_0"] is no time with a value',
        ),
    ],
)
async def test_errors_in_the_words_of_prometheus(wire: Wire, response: Any, reason: Reason, message: str) -> None:
    """What Prometheus refuses is told as it says it, and what is no result of a query is schema."""
    assert await ask(wire, response, BELOW_1) == (reason, message)


async def test_warnings_are_told(wire: Wire) -> None:
    """A warning stands in the message of a pass and of a failure, and fails the run where that is asked: a part may be missing."""
    warned = vector(({}, "0.5"), warnings=["a store didn't answer"], infos=["not a counter"])
    words = "Prometheus warns: a store didn't answer; not a counter"
    assert await ask(wire, warned, BELOW_1) == (None, f"the result is 0.5; {words}")
    assert await ask(wire, warned, {"value": 3}) == (Reason.BODY, f"the result is 0.5, expected 3; {words}")
    assert await ask(wire, warned, {**BELOW_1, "warnings": "fail"}) == (Reason.BODY, words)


async def test_what_is_sent(wire: Wire) -> None:
    """An instant query by GET with the bound of the check, below any path, with a token or a password."""
    async with serving({"GET /prom/api/v1/query": vector(({}, "0"))}) as web:
        token = {"url": f"{web.url}/prom/", "bearer": "a-token-of-mine"}
        password = {"url": f"{web.url}/prom/api/v1/query?tenant=a", "basic": {"user": "u", "password": "p"}}
        probes = [Promql.model_validate({"query": 'up{job="a b"} > 0', "expect": BELOW_1, **each}) for each in (token, password)]
        for probe in probes:
            await probe.run(make_context(wire, timeout=4.0))
        (_, first), (_, second) = web.asked
        assert first.startswith("/prom/api/v1/query?query=up%7Bjob%3D%22a+b%22%7D+%3E+0&timeout=")
        assert 0 < int(first.rpartition("=")[2].removesuffix("ms")) <= 4000
        assert second.startswith("/prom/api/v1/query?tenant=a&query=")
        assert [headers["authorization"] for headers, _ in web.requests] == ["Bearer a-token-of-mine", "Basic dTpw"]
        assert [probe.address() for probe in probes] == [f"{web.url}/prom/api/v1/query"] * 2


async def test_the_value_is_a_metric(wire: Wire) -> None:
    """One series is a value; several are only counted."""
    facts = []
    for response in (vector(({}, "0.25")), THREE):
        async with serving({"GET /api/v1/query": response}) as web:
            ctx = make_context(wire)
            await Promql.model_validate({"url": web.url, "query": "up", "expect": {"value": {"above": 0}}}).run(ctx)
            facts.append((ctx.facts.get("value"), ctx.facts["series"]))
    assert facts == [(0.25, 1), (None, 3)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expect": {}}, "write value or count"),
        ({"expect": {"count": 0}}, "write empty: pass if that is meant"),
        ({"expect": {"value": {"exists": False}}}, "write empty: pass beside value"),
        ({"query": "rate(a[$__rate_interval])"}, "filled in by Grafana alone"),
        ({"query": "  "}, "query is empty"),
        ({"query": "x" * 4001}, "at most 4000 characters"),
        ({"bearer": "a", "basic": {"user": "u", "password": "p"}}, "give either basic or bearer"),
    ],
)
def test_what_cannot_be_meant_is_an_error(settings: dict[str, Any], message: str) -> None:
    """A check that would pass by mistake is refused when checks.yaml is read."""
    with pytest.raises(ValidationError, match=message):
        Promql.model_validate({"url": "http://127.0.0.1:9", "query": "up", "expect": BELOW_1, **settings})


KEYS = st.sampled_from(["status", "data", "result", "resultType", "metric", "value", "histogram"])
JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(JSON)
def test_any_json_is_a_result_or_a_failure(body: Any) -> None:
    """Hostile JSON raises nothing but Failed."""
    for data in (body, {"status": "success", "data": {"resultType": "vector", "result": body}}, {"status": "success", "data": body}):
        with contextlib.suppress(Failed):
            read_result(Received(200, (), json.dumps(data).encode(), 0.1, "http://h/"))
