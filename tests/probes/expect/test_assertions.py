from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from probes.core import Failed, Reason
from probes.expect.assertions import Expect, PatternFailed
from probes.expect.patterns import Pattern
from probes.expect.status import throttled_until
from probes.http.message import Response

SENT = ("date", "Tue, 24 Nov 2026 14:02:11 GMT")


def response(body: Any = b"", status: int = 200, *headers: tuple[str, str], seconds: float = 0.1) -> Response:
    """An answer with this body (as JSON, unless it is bytes)."""
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers, encoded, seconds, "http://api.test/")


def failure(expect: dict[str, Any], complete_response: Response) -> tuple[Reason, str]:
    """The reason and message with which the expectation refuses the answer."""
    with pytest.raises(Failed) as failed:
        Expect.model_validate(expect).judge(complete_response)
    return failed.value.reason, failed.value.message


@pytest.mark.parametrize(
    ("wanted", "status"),
    [(200, 200), ("2xx", 204), ("200-299", 250), ([200, 404], 404), (["2xx", "400-404"], 403), ("301", 301)],
)
def test_status_as_wanted(wanted: Any, status: int) -> None:
    """A status may be written as a number, a class, a range or a list of these."""
    Expect.model_validate({"status": wanted}).judge(response(status=status))


@pytest.mark.parametrize("wanted", [True, "2x", 99, "299-200", [], 600, "abc", None, 200.5])
def test_status_that_is_none(wanted: Any) -> None:
    """What is no status is an error of the configuration."""
    with pytest.raises(ValidationError):
        Expect.model_validate({"status": wanted})


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason", "message"),
    [
        (503, (), b"", Reason.STATUS, "503, expected 2xx"),
        (500, (), {"error": {"code": "X", "message": "it broke"}}, Reason.STATUS, "500, expected 2xx: it broke"),
        (401, (), {"detail": "Wrong password. 4 attempts left"}, Reason.AUTH, "401, expected 2xx: Wrong password. 4 attempts left"),
        (403, (), b"", Reason.AUTH, "403, expected 2xx"),
        (423, (), {"detail": {"message": "locked"}}, Reason.AUTH, "423, expected 2xx: locked"),
        (429, (SENT, ("retry-after", "30")), b"", Reason.THROTTLED, "429, throttled until 14:02:41 UTC"),
        (301, (("location", "https://a.test/x?key=1"),), b"", Reason.REDIRECT, "301 to https://a.test/x, expected 2xx"),
        (304, (), b"", Reason.STATUS, "304, expected 2xx"),
    ],
)
def test_status_not_as_wanted(status: int, headers: tuple[tuple[str, str], ...], body: Any, reason: Reason, message: str) -> None:
    """An unexpected status has the exact reason, and repeats what the application says of it."""
    assert failure({}, response(body, status, *headers)) == (reason, message)


@pytest.mark.parametrize(
    ("headers", "until"),
    [
        ((SENT, ("retry-after", "30")), "throttled until 14:02:41 UTC"),
        ((SENT, ("retry-after", "86400")), "throttled until 2026-11-25 14:02:11 UTC"),
        ((("retry-after", "30"),), "throttled for 30 s"),
        ((SENT, ("retry-after", "Tue, 24 Nov 2026 15:00:00 GMT")), "throttled until 15:00:00 UTC"),
        ((SENT, ("x-ratelimit-reset", "1795532400")), "throttled until 15:00:00 UTC"),
        ((("retry-after", "soon"),), "throttled; the response doesn't say until when"),
        ((), "throttled; the response doesn't say until when"),
    ],
)
def test_throttled_until(headers: tuple[tuple[str, str], ...], until: str) -> None:
    """A throttled answer's own headers tell until when, whatever form they have."""
    assert throttled_until(response(b"", 429, *headers)) == until


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=100)
def test_throttled_until_never_raises(after: str, sent: str) -> None:
    """No header of a foreign server can break the telling."""
    assert throttled_until(response(b"", 429, ("retry-after", after), ("date", sent), ("x-ratelimit-reset", after)))


def test_value_not_as_wanted_is_repeated() -> None:
    """A message says the path, what is there and what was expected."""
    assert failure({"json": {"$.status": "ready"}}, response({"status": "not_ready"})) == (
        Reason.BODY,
        '$.status is "not_ready", expected "ready"',
    )


def test_pair_instead_of_an_answer() -> None:
    """The body [{...}, 503] with status 200 is told as what it is, with the value inside."""
    reason, message = failure({"json": {"$.status": "ready"}}, response([{"status": "not_ready"}, 503]))

    assert reason is Reason.BODY
    assert message == 'Status 200, but the body reports 503: $.status is "not_ready" (expected "ready").'


def test_array_instead_of_an_object() -> None:
    """An array where an object was expected is said so."""
    assert failure({"json": {"$.status": "ready"}}, response([1, 2])) == (
        Reason.BODY,
        'the body is [1, 2], not an object: $.status is absent, expected "ready"',
    )


def test_form_is_schema_and_content_is_body() -> None:
    """What is about the form of the answer is a breach of schema, what is about its content one of the body."""
    assert failure({"json": {"$.id": {"type": "string"}}}, response({"id": 4}))[0] is Reason.SCHEMA
    assert failure({"json": {"$.id": {"exists": True}}}, response({}))[0] is Reason.SCHEMA
    assert failure({"json": {"$.id": "x"}}, response({}))[0] is Reason.BODY


@pytest.mark.parametrize(
    ("path", "reason"),
    [("is_fallback", Reason.FALLBACK), ("from_cache", Reason.FALLBACK), ("mock", Reason.MOCK), ("other", Reason.BODY)],
)
def test_telling_names(path: str, reason: Reason) -> None:
    """An answer that marks itself as a stand-in for the real one is told as that."""
    assert failure({"json": {f"$.metadata.{path}": False}}, response({"metadata": {path: True}})) == (
        reason,
        f"$.metadata.{path} is true, expected false",
    )


def test_reason_can_be_given() -> None:
    """A check can say which reason a failed expectation has."""
    assert failure({"json": {"$.age": {"below": 5, "reason": "stale"}}}, response({"age": 9}))[0] is Reason.STALE


def test_every_selected_value_must_hold() -> None:
    """A path that selects several values holds for all of them, and count is about how many there are."""
    document = response({"checks": [{"ok": True}, {"ok": False}]})

    assert failure({"json": {"$.checks[*].ok": True}}, document)[1] == "$.checks[1].ok is false, expected true"
    assert failure({"json": {"$.checks[*]": {"count": 3}}}, document)[1] == "$.checks[*] selects 2, expected 3: $.checks[0], $.checks[1]"
    Expect.model_validate({"json": {"$.checks[?@.ok==true]": {"count": 1}, "$.error": {"exists": False}}}).judge(document)


def test_no_json() -> None:
    """A body that is no JSON is said to be none, with its kind and beginning."""
    reason, message = failure({"json": {"$.a": 1}}, response(b"<html>", 200, ("content-type", "text/html; charset=utf-8")))

    assert reason is Reason.BODY
    assert message.startswith("the body (text/html) is not JSON: Expecting value")
    assert message.endswith('it begins "<html>"')


@pytest.mark.parametrize("body", [b"[" * 50_000, b"NaN", b"\xff\xfe", b'"' + b"9" * 10_000, b"9" * 10_000])
def test_hostile_json(body: bytes) -> None:
    """A hostile body is a failure of the body, never an accident of ours."""
    assert failure({"json": {"$.a": 1}}, response(body))[0] is Reason.BODY


def test_halves_of_pairs_are_replaced() -> None:
    """A lone surrogate in a body can neither break a pattern nor reach an output."""
    _, message = failure({"json": {"$.a": {"matches": "x"}}}, response(b'{"a": "\\ud800"}'))

    assert message.encode()


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"text": "ok"}, 'the body doesn\'t contain "ok"; it begins "all is well"'),
        ({"text": ["all", "bad"]}, 'the body doesn\'t contain "bad"; it begins "all is well"'),
        ({"not_text": "well"}, 'the body contains "well"'),
        ({"regex": "^w"}, 'nothing in the body matches ^w; it begins "all is well"'),
        ({"not_regex": "i."}, '"is" in the body matches i.'),
    ],
)
def test_text(expect: dict[str, Any], message: str) -> None:
    """A body's text can be required or forbidden, by words and by patterns."""
    assert failure(expect, response(b"all is well")) == (Reason.BODY, message)


def test_headers() -> None:
    """Headers are compared without regard to the case of their names, and as numbers where numbers are wanted."""
    complete_response = response(b"", 200, ("x-count", "7"), ("etag", "abc"))

    Expect.model_validate({"headers": {"X-Count": {"below": 10}, "ETag": "abc", "X-None": {"exists": False}}}).judge(complete_response)
    Expect.model_validate({"headers": {"X-Count": 7}}).judge(complete_response)
    assert failure({"headers": {"X-None": "a"}}, complete_response) == (Reason.BODY, 'header X-None is absent, expected "a"')
    assert failure({"headers": {"ETag": "b"}}, complete_response) == (Reason.BODY, 'header ETag is "abc", expected "b"')


@pytest.mark.parametrize(
    ("condition", "values", "fault"),
    [
        ({"not_matches": "^text/"}, ["application/json"], ""),
        ({"not_matches": "^text/"}, ["text/html"], 'header X-A is "text/html", expected a text that doesn\'t match ^text/'),
        ({"not_matches": "^text/"}, [], "header X-A is absent, expected a text that doesn't match ^text/"),
        ({"not_matches": "^text/", "allow_missing": True}, [], ""),
        ({"not_matches": ".*", "allow_missing": True}, [""], 'header X-A is "", expected a text that doesn\'t match .*'),
        ({"matches": "^b;.*$"}, ["a; x", "b; y"], ""),
        ({"matches": "^c"}, ["a", "b"], 'header X-A is "a, b", expected a text that matches ^c'),
        ({"not_matches": "^b"}, ["a", "b"], 'header X-A is "a, b", expected a text that doesn\'t match ^b'),
        ({"not_matches": "^a, b$"}, ["a", "b"], 'header X-A is "a, b", expected a text that doesn\'t match ^a, b$'),
        ({"matches": "^a", "allow_missing": True}, [], ""),
        ({"equals": "a", "allow_missing": True}, ["b"], 'header X-A is "b", expected "a"'),
    ],
)
def test_patterns_of_headers(condition: dict[str, Any], values: list[str], fault: str) -> None:
    """A pattern is looked for in each value of a header that was sent several times; `allow_missing` lets it be absent."""
    complete_response = response(b"", 200, *(("x-a", value) for value in values))
    if fault:
        assert failure({"headers": {"X-A": condition}}, complete_response) == (Reason.BODY, fault)
    else:
        Expect.model_validate({"headers": {"X-A": condition}}).judge(complete_response)


def test_an_absent_json_value_that_may_be_absent() -> None:
    """`allow_missing` lets a path select nothing, and nothing else."""
    wanted = {"json": {"$.error": {"not_matches": "down", "allow_missing": True}}}
    Expect.model_validate(wanted).judge(response({"a": 1}))
    Expect.model_validate(wanted).judge(response({"error": "none"}))
    assert failure(wanted, response({"error": "db down"}))[1] == '$.error is "db down", expected a text that doesn\'t match down'
    assert failure(wanted, response({"error": None}))[1] == "$.error is null, expected a text that doesn't match down"


@pytest.mark.parametrize(
    ("expect", "body", "by_pattern"),
    [
        ({"regex": "x"}, b"a", True),
        ({"not_regex": "a"}, b"a", True),
        ({"text": "x"}, b"a", False),
        ({"headers": {"x-a": {"matches": "x"}}}, b"a", True),
        ({"headers": {"x-b": {"not_matches": "x"}}}, b"a", True),
        ({"headers": {"x-a": "x"}}, b"a", False),
        ({"status": 404, "regex": "x"}, b"a", False),
    ],
)
def test_whether_a_pattern_decided(expect: dict[str, Any], body: bytes, by_pattern: bool) -> None:  # noqa: FBT001
    """A failure that a regular expression decided is told apart from others: the exporter has a metric for it."""
    with pytest.raises(Failed) as failed:
        Expect.model_validate(expect).judge(response(body, 200, ("x-a", "a")))
    assert isinstance(failed.value, PatternFailed) is by_pattern


def test_https_only() -> None:
    """`https_only` is about the last response, and tells where it came from without secrets."""
    complete_response = response()
    complete_response.url = "http://user:word@api.test/a?token=secret-1"
    reason, message = failure({"https_only": True}, complete_response)
    assert (reason, message) == (Reason.TLS, "the response came from http://api.test/a?token=(secret), expected https")
    complete_response.url = "https://api.test/"
    Expect.model_validate({"https_only": True}).judge(complete_response)


def test_latency_comes_last() -> None:
    """A slow answer is a failure of latency, and only if all else is as expected."""
    slow = response({"a": 1}, seconds=3.0)

    assert failure({"within": "2s"}, slow) == (Reason.LATENCY, "took 3.00 s, expected at most 2.00 s")
    assert failure({"within": "2s", "json": {"$.a": 2}}, slow)[0] is Reason.BODY


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"json": {"status": "ready"}}, "status is no JSONPath; it starts with $, as in $.status"),
        ({"json": {"$.a[": 1}}, "$.a[ is no JSONPath: unexpected end of query"),
        ({"json": {"$.a": {}}}, "write a value or an operator, such as {equals: ready} or {exists: true}"),
        ({"json": {"$.a": {"allow_missing": True}}}, "write a value or an operator, such as {equals: ready} or {exists: true}"),
        ({"json": {"$.a": {"exists": True, "allow_missing": True}}}, "give either exists: true or allow_missing: true"),
        ({"headers": {"a": {"not_matches": "(a"}}}, "RE2 can't read this regular expression: missing ): (a"),
        ({"json": {"$.a": {"matches": "(a"}}}, "RE2 can't read this regular expression: missing ): (a"),
        ({"regex": "a(?=b)"}, "RE2 can't read this regular expression: invalid perl operator: (?="),
        ({"json": {"$.a": {"abov": 1}}}, "Extra inputs are not permitted"),
        ({"within": 2}, "2 has no unit; write 2s"),
    ],
)
def test_wrong_expectations(expect: dict[str, Any], message: str) -> None:
    """A wrong expectation is an error when the configuration is read, with a clear word."""
    with pytest.raises(ValidationError) as error:
        Expect.model_validate(expect)

    assert message in error.value.errors()[0]["msg"]


def test_patterns_take_linear_time() -> None:
    """A pattern that makes backtracking engines run for years is answered at once, in JSONPath's functions too."""
    body = response({"a": ["a" * 50_000 + "!"]})

    assert failure({"regex": "^(a+)+$"}, body)[0] is Reason.BODY
    assert failure({"json": {"$.a[?match(@, '(a+)+')]": {"exists": True}}}, body)[0] is Reason.SCHEMA


def test_schema_and_dump() -> None:
    """Expectations have a JSON Schema and can be dumped: the plan draws on both."""
    assert "$defs" in Expect.model_json_schema()
    assert Expect.model_validate({"status": "2xx", "regex": "a", "json": {"$.a": 1}}).model_dump(mode="json")["regex"] == ["a"]
    assert Pattern.parse("a") == Pattern.parse("a")


@pytest.mark.parametrize(
    "expect", [{"text": ""}, {"not_text": ["a", ""]}, {"regex": ""}, {"not_regex": [""]}, {"json": {"$.a": {"matches": ""}}}]
)
def test_an_empty_text_is_refused(expect: dict[str, Any]) -> None:
    """S1: what is in every response is no expectation; it is refused as the configuration is read."""
    with pytest.raises(ValidationError, match="write what to look for"):
        Expect.model_validate(expect)
