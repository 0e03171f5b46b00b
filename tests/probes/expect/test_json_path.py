from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from jsonpath import JSONPathEnvironment, JSONPathError

from probes.core import Failed, Reason, Verdict
from probes.expect.assertions import Expect
from probes.expect.beside import LARGE, beside_the_loop
from probes.expect.json_path import MOST_VISITED, JsonPath
from probes.http.message import MOST_CONTAINERS, Response
from probes.journeys.capture import Capture
from probes.kinds.health_metrics import HealthMetrics
from probes.kinds.http import Http
from probes.target import Revision
from tests.support import servers
from tests.support.asking import answer
from tests.support.engine import Observer

LIBRARY = JSONPathEnvironment(strict=True)  # the oracle: it passes the RFC's own compliance suite
NAMES = st.sampled_from(["a", "b", "c d", ""])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.just(""),  # the library cuts slices out of texts
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
SELECTORS = st.one_of(
    NAMES.map(lambda name: f"'{name}'"),
    st.integers(-5, 5).map(str),
    st.just("*"),
    st.tuples(*[st.none() | st.integers(-4, 4)] * 3).map(lambda cut: ":".join("" if each is None else str(each) for each in cut)),
    st.sampled_from(
        ["?@.a", "?@.a==1", "?@", "?count(@.*)>1", "?@..a", "?$.a", "?length(@)==2", "?@.a==$.a", "?@[?@.a]", "?!@.b && @.a<2"]
    ),
)
QUERIES = st.lists(
    st.tuples(st.sampled_from(["", ".."]), st.lists(SELECTORS, min_size=1, max_size=2)).map(lambda part: f"{part[0]}[{','.join(part[1])}]"),
    max_size=3,
).map(lambda parts: "$" + "".join(parts))
WORDS = ["a{b}", "text with {brace}", "[", "{}", "[1]", '{"status": "ready"}', "null", "1", '"', "all is well [ok]", ""]


def response(body: Any) -> Response:
    """A response with this body: bytes as they are, else as JSON."""
    return Response(200, (), body if isinstance(body, bytes) else json.dumps(body).encode(), 0.1, "http://api.test/")


def fault(expect: dict[str, Any], body: Any) -> tuple[Reason, str]:
    """The reason and message with which conditions on the JSON refuse a body."""
    with pytest.raises(Failed) as failed:
        Expect.model_validate({"json": expect}).judge(response(body))
    return failed.value.reason, failed.value.message


@given(QUERIES, st.lists(DOCUMENTS, max_size=4) | st.dictionaries(NAMES, DOCUMENTS, max_size=3))
@settings(max_examples=100)
def test_it_selects_what_the_library_selects(query: str, document: Any) -> None:
    """The same values at the same places in the same order as the library's own evaluation; each place selects its value alone."""
    try:
        expected = [(match.obj, match.parts) for match in LIBRARY.finditer(query, document)]
    except JSONPathError:
        reject()  # it can't read every slice
    found = JsonPath.parse(query).locate(document)

    assert [(each.value, _parts(each.where)) for each in found] == expected
    for each in found[:3]:
        assert JsonPath.parse(str(each)).find(document) == [each.value]


def _parts(where: Any) -> tuple[str | int, ...]:
    return (*_parts(where[0]), where[1]) if where else ()


# R2 and R3: a text is a value, and never JSON to be parsed


@pytest.mark.parametrize("word", WORDS)
def test_a_text_is_a_value(word: str) -> None:
    """R2, R3: a JSON string is no object and no array, whatever it contains; `$` selects the string itself."""
    assert JsonPath.parse("$").find(word) == [word]
    for query in ("$.status", "$[0]", "$[*]", "$..*", "$[?@]", "$[0:1]", "$..status", "$['status']"):
        assert JsonPath.parse(query).find(word) == []
    Expect.model_validate({"json": {"$": {"equals": word}}}).judge(response(word))


@given(st.sampled_from(WORDS) | DOCUMENTS.map(json.dumps), QUERIES)
def test_no_query_looks_into_a_text(word: str, query: str) -> None:
    """R2, R3: no query selects a piece of a text, neither as the document nor inside of one, filters included."""
    assert JsonPath.parse(query).find(word) == ([word] if query == "$" else [])
    assert all(value in (word, [word]) for value in JsonPath.parse(query).find([word]))


def test_a_number_beyond_every_float_is_an_error_at_load() -> None:
    """S9: found by the fuzzer: the library stumbles over 1e999, and so did `validate`."""
    with pytest.raises(ValueError, match="a number in it is too large"):
        JsonPath.parse("$[?@.a > 1e999]")


@pytest.mark.parametrize("body", ['"{\\"status\\": \\"ready\\"}"', '"a{b}"', '"[1]"', '"ready"'])
async def test_a_text_in_place_of_an_object(runs: Observer, body: str) -> None:
    """R3: a JSON string that contains JSON fails every kind that reads a report; a client would get a string, and break."""
    async with servers.canned(answer(body.encode()), answer(body.encode())) as server:
        seen = await runs.observe(Http.model_validate({"url": server.url, "expect": {"json": {"$.status": "ready"}}}))
        report = await runs.observe(HealthMetrics.model_validate({"url": server.url, "parts": {"$.status": "ready"}}))

    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.BODY)
    assert "not an object: $.status is absent" in seen.message
    assert (report.verdict, report.reason) == (Verdict.FAIL, Reason.SCHEMA)


@pytest.mark.parametrize(
    "body", [["a{b}", 200, {}], ["# HELP app_info ...{version=1} 1 ...", 200, {"Content-Type": "text/plain"}], "text {x}"]
)
async def test_a_report_that_is_a_text(runs: Observer, body: Any) -> None:
    """R2: the real application's own /health/metrics, a list of text, status and headers, is a failure with its word, not `internal`."""
    raw = answer(json.dumps(body).encode())
    async with servers.canned(raw, raw) as server:
        report = await runs.observe(HealthMetrics.model_validate({"url": server.url, "parts": {"$.db_healthy": True}}))
        seen = await runs.observe(Http.model_validate({"url": server.url, "expect": {"json": {"$.db_healthy": True}}}))

    assert (report.verdict, report.reason, seen.verdict) == (Verdict.FAIL, Reason.SCHEMA, Verdict.FAIL)
    assert "the report has none of the declared parts" in report.message


@pytest.mark.parametrize("word", WORDS)
def test_a_text_holds_no_value_to_take(word: str) -> None:
    """R2: a capture and a revision find nothing in a text, and don't break on it."""
    with pytest.raises(Failed, match="absent; nothing to capture"):
        Capture.model_validate({"json": "$.status"}).take("x", response(word))
    assert Revision.model_validate({"json": "$.version"}).read(response(word)) == ""


# XM4: bounded work


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("$[*].id", [{}] * MOST_VISITED),
        ("$..x", [[]] * MOST_VISITED),
        ("$[?@.x]", [{"x": 1}] * (MOST_VISITED // 2)),
        ("$..[?@..x]", [[[{"x": 1}] * 100] * 100] * 10),
        ("$['a','a','a']['a','a','a']['a','a','a'][*]", {"a": {"a": {"a": [1] * 10_000}}}),
        ("$[0:]", [1] * (MOST_VISITED + 1)),
        ("$..*", [1] * MOST_VISITED),
    ],
)
def test_a_query_passes_so_many_values(query: str, document: Any) -> None:
    """XM4: a query that would pass more values is a failure of size, those inside of filters and those selected twice included."""
    with pytest.raises(Failed) as failed:
        JsonPath.parse(query).find(document)

    assert failed.value.reason is Reason.SIZE
    assert failed.value.message == f"{query} would pass more than 200,000 values of the document"


def test_a_wide_document_within_the_bound() -> None:
    """XM4: a list of fifty thousand is judged element by element, and a place of a huge one is found at once."""
    wide = [{"id": number} for number in range(50_000)]

    assert len(JsonPath.parse("$[*].id").find(wide)) == 50_000
    assert fault({"$[*].id": {"below": 49_998}}, wide[:-1]) == (Reason.BODY, "$[49998].id is 49998, expected below 49998")
    assert JsonPath.parse("$[-1]").find([0] * 1_000_000) == [0]


@pytest.mark.parametrize("beyond", [0, 1], ids=["the cap", "one more"])
@pytest.mark.parametrize("pair", [b"[]", b"{}"])
def test_so_many_objects_and_arrays(beyond: int, pair: bytes) -> None:
    """XM4: a body of more objects and arrays is not read at all: it would take a tenth of a second."""
    body = b"[" + b",".join([pair] * (MOST_CONTAINERS - 1 + beyond)) + b"]"
    if beyond:
        assert fault({"$[0]": {"exists": True}}, body)[0] is Reason.SIZE
        assert Revision.model_validate({"json": "$.version"}).read(response(body)) == ""
    else:
        Expect.model_validate({"json": {"$[0]": {"exists": True}}}).judge(response(body))


def test_a_deep_document() -> None:
    """XM4: a query goes down as far as JSON can be read, and the place of what it finds is shortened."""
    deep = b'{"a":' * 800 + b"[1]" + b"}" * 800

    assert fault({"$..b": 1}, deep) == (Reason.BODY, "$..b is absent, expected 1")
    _, message = fault({"$..[0]": 2}, deep)
    assert message.startswith("$.a.a.a.a")
    assert message.endswith(".a.a.a[0] is 1, expected 2")
    assert len(message) < 250


async def test_a_large_body_is_judged_beside_the_loop() -> None:
    """XM4: a body above 16 KiB is judged in a thread, so that the loop goes on; a smaller one at once."""
    here = threading.get_ident()

    assert await beside_the_loop(b"x" * LARGE, threading.get_ident) == here
    assert await beside_the_loop(b"x" * (LARGE + 1), threading.get_ident) != here
    with suppress(Failed):
        await beside_the_loop(b"x" * (LARGE + 1), Expect.model_validate({"text": "y"}).judge, response(b"x"))
        raise AssertionError


@pytest.mark.alone
@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"{}"] * 345_000) + b"]",
        b"[" + b",".join([b"[]"] * (MOST_CONTAINERS - 1)) + b"]",
        b"[" + b",".join([b"1"] * 520_000) + b"]",
        b"{" + b",".join(b'"%d":0' % number for number in range(110_000)) + b"}",
        (b"[" * 900 + b"]" * 900 + b",") * 50,
        b"a" * 1_000_000,
    ],
    ids=["wide objects", "wide arrays", "numbers", "members", "deep", "text"],
)
async def test_the_loop_goes_on(runs: Observer, body: bytes) -> None:
    """XM4: whatever a body of a mebibyte contains, three queries and three patterns over it hold the loop for less than 50 ms."""
    wanted = {
        "json": {"$..x": {"count": 0}, "$[*].id": {"count": 0}, "$[?@.x]": {"count": 0}},
        "not_regex": ["(a*)*b", "(?:(?:b{1,10}){1,10}){1,9}c", "(?s)b.{200}$"],
    }
    lags = []
    gc.collect()
    gc.freeze()  # as the service does: what the tests hold isn't the runner's
    for _ in range(5):  # what a body costs, it costs each time
        async with servers.canned(answer(body)) as server:
            probe = Http.model_validate({"url": server.url, "body_cap": "2MiB", "expect": wanted})
            run = asyncio.create_task(runs.observe(probe))
            lag = 0.0
            while not run.done():
                began = time.process_time()  # other processes take none of it
                await asyncio.sleep(0)
                lag = max(lag, time.process_time() - began)
        lags.append(lag)
        assert (await run).reason in (None, Reason.SIZE, Reason.BODY)

    gc.unfreeze()
    assert min(lags) < 0.05


# S15a: which element


@pytest.mark.parametrize(
    ("expect", "body", "message"),
    [
        ({"$[*].Status": "passing"}, [{"Status": "passing"}, {"Status": "critical"}], '$[1].Status is "critical", expected "passing"'),
        ({"$..status": "UP"}, {"status": "UP", "db": {"status": "DOWN"}}, '$.db.status is "DOWN", expected "UP"'),
        ({"$.a['b c'][0:2]": {"below": 2}}, {"a": {"b c": [1, 2]}}, '$.a["b c"][1] is 2, expected below 2'),
        ({"$[?@.s!='ok']": {"count": 0}}, [{"s": "ok"}, {"s": "no"}], "$[?@.s!='ok'] selects 1, expected 0: $[1]"),
        ({"$[?@>1]": {"count": 0}}, [1, 2, 3, 4, 5], "$[?@>1] selects 4, expected 0: $[1], $[2], $[3] and 1 more"),
        ({"$.a[0]": 1}, {"a": [2]}, "$.a[0] is 2, expected 1"),
        ({"$[?@.s]": {"exists": False}}, [{"s": 1}], '$[0] is {"s": 1}, expected none'),
    ],
)
def test_which_element_differs(expect: dict[str, Any], body: Any, message: str) -> None:
    """S15a: where a path can select several values, the message names the place of the one that differs."""
    assert fault(expect, body)[1] == message


def test_a_nonsense_filter_is_an_error_of_the_configuration() -> None:
    """What the library can't read is told as the configuration is read."""
    with pytest.raises(ValueError, match="is no JSONPath"):
        JsonPath.parse("$[?@.a ==]")
    with pytest.raises(JSONPathError):
        LIBRARY.compile("$[?@.a ==]")
