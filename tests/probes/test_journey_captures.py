"""What a journey captures: in what it expects of later responses, and in what it sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.responses import Response

from probes.core import Reason, Verdict
from probes.kinds.health_metrics import HealthMetrics
from probes.kinds.http import Http
from probes.kinds.tcp import Tcp
from probes.kinds.websocket import WebSocket
from probes.probe import Probe
from probes.wire.wire import Wire
from tests.support import http2
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.journeys import failure, journey
from tests.support.web import serving

# -- what was captured, in what is expected


PUT = {"name": "put", "get": "/put", "capture": {"x": {"json": "$.x", "secret": False}}}


@pytest.mark.parametrize(
    ("value", "expect", "body", "message"),
    [
        ("2", {"json": {"$.rev": "{{x}}"}}, {"rev": "2"}, ""),
        ("2", {"json": {"$.rev": "{{x}}"}}, {"rev": 2}, 'get: $.rev is 2, expected "2"'),
        (2, {"json": {"$.rev": "{{x}}"}}, {"rev": 2}, ""),
        (2, {"json": {"$.rev": "{{x}}"}}, {"rev": 3}, "get: $.rev is 3, expected 2"),
        (True, {"json": {"$.ok": {"equals": "{{x}}"}}}, {"ok": True}, ""),
        (7, {"json": {"$.path": "/things/{{x}}"}}, {"path": "/things/7"}, ""),
        (7, {"json": {"$.ids": {"contains": "{{x}}"}}}, {"ids": [6, 7]}, ""),
        (7, {"json": {"$.id": {"in": [1, "{{ x }}"]}}}, {"id": 7}, ""),
        (7, {"json": {"$.id": {"not": "{{x}}"}}}, {"id": 7}, "get: $.id is 7, expected anything but 7"),
        (2, {"json": {"$.ids": {"length": {"equals": "{{x}}"}}}}, {"ids": [1, 2]}, ""),
        (2, {"json": {"$.ids[*]": {"count": "{{x}}"}}}, {"ids": [1, 2]}, ""),
        (1, {"json": {"$.a": {"equals": {"b": ["{{x}}"]}}}}, {"a": {"b": [1]}}, ""),
        ("bridge", {"text": "a {{x}}"}, {"text": "a bridge"}, ""),
        ("bridge", {"text": ["a {{x}}", "road"]}, {"text": "a bridge"}, 'get: the body doesn\'t contain "road"'),
        ("bridge", {"not_text": "{{x}}"}, {"text": "a bridge"}, 'get: the body contains "bridge"'),
        ("", {"text": "{{x}}"}, {}, "get: the text to look for is empty once the captured value is filled in"),
        ("application/json", {"headers": {"content-type": "{{x}}"}}, {}, ""),
        (2, {"headers": {"content-length": "{{x}}"}}, {}, ""),
        ("x", {"not_text": "{{"}, {"template": "{{ user }}"}, 'get: the body contains "{{"'),
    ],
)
async def test_what_was_captured_is_expected(wire: Wire, value: Any, expect: dict[str, Any], body: Any, message: str) -> None:
    """R6: a captured value is filled in in what a later step expects, with its type: what I wrote is what I read."""
    probe_steps = (PUT, {"name": "get", "get": "/get", "expect": expect})
    async with serving({"GET /put": {"x": value}, "GET /get": body}) as web:
        if message:
            assert (await failure(journey(web.url, *probe_steps), make_context(wire))).message.startswith(message)
        else:
            await journey(web.url, *probe_steps).run(make_context(wire))


@pytest.mark.parametrize(
    "settings",
    [
        {"expect": {"json": {"$.a": "{{nothing}}"}}},
        {"expect": {"text": "a {{nothing}} b"}},
        {"expect": {"regex": "{{nothing}}"}},
        {"expect": {"headers": {"etag": {"not": "{{ nothing }}"}}}},
        {"headers": {"Authorization": "Bearer {{nothing}}"}},
    ],
)
def test_nothing_is_filled_in_outside_of_journeys(settings: dict[str, Any]) -> None:
    """R6: a variable where nothing fills it in is an error as the configuration is read; a {{ alone is a text."""
    with pytest.raises(ValidationError, match=r"\{\{nothing\}\}"):
        Http.model_validate({"url": "http://127.0.0.1:9/", **settings})
    Http.model_validate({"url": "http://127.0.0.1:9/", "expect": {"not_text": ["{{", "{{ }}", "{% if %}"]}})


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (HealthMetrics, {"url": "http://127.0.0.1:9/", "parts": {"$.a": "{{nothing}}"}}),
        (WebSocket, {"url": "ws://127.0.0.1:9/", "dialogue": [{"expect": {"text": "{{nothing}}"}}]}),
        (WebSocket, {"url": "ws://127.0.0.1:9/", "dialogue": [{"expect": {"json": {"$.a": {"in": ["{{nothing}}"]}}}}]}),
        (Tcp, {"host": "127.0.0.1", "port": 9, "dialogue": [{"expect": "^{{nothing}}"}]}),
        (Tcp, {"host": "127.0.0.1", "port": 9, "dialogue": [{"expect": "x", "reject": "{{nothing}}"}]}),
        (Tcp, {"host": "127.0.0.1", "port": 9, "dialogue": [{"send": "{{nothing}}"}]}),
    ],
)
def test_nothing_is_filled_in_in_other_kinds(kind: type[Probe], settings: dict[str, Any]) -> None:
    """R6: nor in the expectations of other kinds."""
    with pytest.raises(ValidationError, match=r"\{\{nothing\}\}"):
        kind.model_validate(settings)


# -- captured values in requests


@pytest.mark.parametrize("value", ["日本", "José", "\ufeffkey", "a—b", "\x80", "\xa0", "\ud800", "😀", " blanks ", "Ω" * 100, 5, True])
@pytest.mark.parametrize("version", [1.1, 2])
async def test_any_captured_value_can_be_sent(runs: Observer, value: Any, version: float) -> None:
    """XM8, S9: a captured value beyond ASCII is sent in UTF-8 in a header, and escaped in path, query and form: never `internal`."""
    capture = {"name": "take", "get": "/take", "capture": {"x": "$.x"}}
    send = {"name": "send", "post": "/p/a{{x}}", "query": {"q": "{{x}}"}, "headers": {"X-It": "{{x}}"}, "form": {"f": "{{x}}"}}

    def respond(*_: Any) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"x": value}).encode()

    if version == 2:
        async with http2.site(respond) as (server, _):
            seen = await runs.observe(journey(server.url.rstrip("/"), capture, send, http=2), kind="journey")
    else:
        taken = Response(json.dumps({"x": value}))  # half of a pair is escaped
        async with serving({"GET /take": taken, "POST /p/{rest:path}": {}}) as web:
            seen = await runs.observe(journey(web.url, capture, send), kind="journey")
        if value == "日本":
            assert web.requests[1][0]["x-it"].encode("latin-1").decode() == value
            assert web.asked[1][1].endswith("?q=%E6%97%A5%E6%9C%AC")
            assert web.requests[1][1] == b"f=%E6%97%A5%E6%9C%AC"
    assert seen.verdict is Verdict.PASS, seen.message


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\x00b", "\x1b[31m", "\t", "\x7f"])
async def test_a_control_character_is_never_sent(runs: Observer, value: str) -> None:
    """XM8: a captured value with a line break or a control character fails the step, with its word."""
    capture = {"name": "take", "get": "/take", "capture": {"x": "$.x"}}
    async with serving({"GET /take": {"x": value}}) as web:
        seen = await runs.observe(journey(web.url, capture, {"name": "send", "get": "/", "headers": {"X-It": "{{x}}"}}), kind="journey")

    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.BODY)
    assert "send: header X-It can't be sent" in seen.message
    assert len(web.asked) == 1


@pytest.mark.parametrize(("secret", "facts"), [(False, {"user_id": "7"}), (True, {})])
async def test_a_captured_user_id_is_whom_the_journal_names(wire: Wire, secret: bool, facts: dict[str, Any]) -> None:  # noqa: FBT001
    """R11: user_id is a fact of the run where it is captured and no secret."""
    step = {"name": "me", "get": "/me", "capture": {"user_id": {"json": "$.id", "secret": secret}}}
    async with serving({"GET /me": {"id": 7}}) as web:
        ctx = make_context(wire)
        await journey(web.url, step).run(ctx)
    assert {name: value for name, value in ctx.facts.items() if name == "user_id"} == facts
