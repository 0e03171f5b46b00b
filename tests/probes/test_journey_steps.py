"""What a step can do beside one request: redirects, other targets, waiting, generated values, other bodies."""

from __future__ import annotations

import asyncio
import re
import uuid
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from probes.core import Failed, Reason
from probes.kinds.journey import Journey
from probes.wire.wire import Wire
from runner.engine.reasons import timed_out
from tests.support.clock import FakeClock
from tests.support.context import LedgerInMemory, Permit, make_context
from tests.support.journeys import failure, journey
from tests.support.web import serving

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


async def echo(request: Request) -> Response:
    """What was sent, as JSON."""
    text = (await request.body()).decode()
    return JSONResponse({"path": request.url.path, "query": request.url.query, "body": text, "type": request.headers.get("content-type")})


def redirecting(to: str, status: int = 302) -> Response:
    """A redirect."""
    return RedirectResponse(to, status)


# -- redirects and captured addresses


@pytest.mark.parametrize("status", [302, 303])
async def test_post_redirect_get(wire: Wire, status: int) -> None:
    """S14: a step with `redirects` follows POST-redirect-GET, each hop permitted, and its `expect` judges the last response."""
    permit = Permit()
    responses = {"POST /form": redirecting("/done", status), "GET /done": {"ok": True}}
    step = {"name": "send", "post": "/form", "redirects": 1, "expect": {"json": {"$.ok": True}}}
    async with serving(responses) as web:
        await journey(web.url, step).run(make_context(wire, permit=permit))

    assert web.asked == [("POST", "/form"), ("GET", "/done")]
    assert permit.asked == [("POST", f"{web.url}/form"), ("GET", f"{web.url}/done")]


async def test_a_redirect_is_judged_without_redirects(wire: Wire) -> None:
    """S14: without `redirects` the redirect itself is the response, and one too many is a failure."""
    async with serving({"GET /a": redirecting("/b"), "GET /b": redirecting("/c"), "GET /c": {}}) as web:
        await journey(web.url, {"name": "go", "get": "/a", "expect": {"status": 302}}).run(make_context(wire))
        failed = await failure(journey(web.url, {"name": "go", "get": "/a", "redirects": 1}), make_context(wire))

    assert failed.reason is Reason.REDIRECT
    assert failed.message.startswith("go: more than 1 redirects")


@pytest.mark.parametrize("following", ["/p/q?page=2", "q?page=2"])
async def test_a_captured_address_is_where_the_next_step_goes(wire: Wire, following: str) -> None:
    """S14: `get: "{{next}}"` follows a captured link as it is, relative to the response that it stood in."""
    async with serving({"GET /p/1": {"next": following}, "GET /p/q": {"page": 2}}) as web:
        steps: list[dict[str, Any]] = [
            {"name": "first", "get": "/p/1", "capture": {"next": "$.next"}},
            {"name": "second", "get": "{{next}}"},
        ]
        await journey(web.url, *steps).run(make_context(wire))

    assert web.asked == [("GET", "/p/1"), ("GET", "/p/q?page=2")]


async def test_a_whole_address_of_the_same_host_is_followed(wire: Wire) -> None:
    """S14: Keycloak's form action: an absolute address in HTML, with its entities, to which a form is posted."""
    page = ""

    async def form(_: Request) -> Response:
        return HTMLResponse(page)

    async with serving({"GET /auth": form, "POST /act": {"ok": True}}) as web:
        page = f'<form action="{web.url}/act?a=1&amp;b=2">'
        steps: list[dict[str, Any]] = [
            {"name": "page", "get": "/auth", "capture": {"action": {"regex": 'action="([^"]+)"'}}},
            {"name": "send", "post": "{{action}}", "form": {"password": "p"}},
        ]
        await journey(web.url, *steps).run(make_context(wire))

    assert web.asked[1] == ("POST", "/act?a=1&b=2")


@pytest.mark.parametrize("found", ["http://[::1", "http://evil.test/x", "//evil.test/x", "javascript:alert(1)", "/a b", "", "/x\n"])
async def test_a_captured_address_never_leads_elsewhere(wire: Wire, found: str) -> None:
    """S14: a response can't choose another host, another scheme or a broken address; nothing is sent there."""
    permit = Permit()
    async with serving({"GET /list": {"next": found}}) as web:
        steps: list[dict[str, Any]] = [{"name": "list", "get": "/list", "capture": {"next": "$.next"}}, {"name": "go", "get": "{{next}}"}]
        failed = await failure(journey(web.url, *steps), make_context(wire, permit=permit))

    assert failed.reason is Reason.REDIRECT
    assert permit.asked == [("GET", f"{web.url}/list")]


# -- targets


def target(name: str, url: str, *allow: str) -> dict[str, Any]:
    """A target with a header of its own."""
    return {"name": name, "url": url, "allow": list(allow), "headers": {"X-Of": name}}


async def test_single_sign_on(wire: Wire) -> None:
    """S14: a step asks its own target: the login at one host, the call at another, each with its target's headers alone."""
    async with serving({"POST /token": {"access_token": "tok-1234567"}}) as sso, serving({"GET /me": {"ok": True}}) as api:
        probe = Journey.model_validate(
            {
                "target": target("api", api.url),
                "headers": {"X-Key": "key-of-api-1"},
                "steps": [
                    {
                        "name": "login",
                        "target": target("sso", sso.url, "POST /token"),
                        "post": "/token",
                        "form": {"password": "p"},
                        "capture": {"token": "$.access_token"},
                    },
                    {"name": "me", "get": "/me", "headers": {"Authorization": "Bearer {{token}}"}},
                ],
            }
        )
        await probe.run(make_context(wire))

    assert sso.requests[0][0]["x-of"] == "sso"
    assert "x-key" not in sso.requests[0][0]
    assert (api.requests[0][0]["x-of"], api.requests[0][0]["x-key"]) == ("api", "key-of-api-1")
    assert [(ask.url, ask.target) for ask in probe.asks()] == [(f"{sso.url}/token", "sso"), (f"{api.url}/me", "")]
    assert [each.name for each in probe.further_targets()] == ["sso"]


# -- waiting


async def test_a_job_is_polled_until_it_is_done(wire: Wire) -> None:
    """S14: 202 and poll: the step is sent again until its response is as `until` says; what is captured is from the last."""
    number = count()

    async def job(_: Request) -> Response:
        done = next(number) == 2
        return JSONResponse({"status": "done", "result": "r-1"} if done else {"status": "running"}, 200 if done else 202)

    steps: list[dict[str, Any]] = [
        {"name": "job", "get": "/job", "until": {"json": {"$.status": "done"}}, "wait": "10ms", "capture": {"result": "$.result"}},
        {"name": "result", "get": "/{{result}}"},
    ]
    ctx = make_context(wire)
    async with serving({"GET /job": job, "GET /r-1": {}}) as web:
        await journey(web.url, *steps).run(ctx)

    assert web.asked == [("GET", "/job")] * 3 + [("GET", "/r-1")]
    assert ctx.facts["step.job"] >= 0.02
    assert "wait" not in ctx.phases


async def test_polling_is_bounded(wire: Wire) -> None:
    """S14: after `times` requests the step fails with what is still not so, and as many slots were asked for."""
    probe_steps = {"name": "job", "get": "/job", "until": {"json": {"$.status": "done"}}, "wait": "10ms", "times": 3}
    async with serving({"GET /job": {"status": "running"}}) as web:
        probe = journey(web.url, probe_steps)
        failed = await failure(probe, make_context(wire))

    assert (failed.reason, failed.message) == (Reason.BODY, 'job: $.status is "running", expected "done", also after 3 requests')
    assert len(web.asked) == len(probe.asks()) == 3


async def test_what_is_not_expected_ends_the_polling(wire: Wire) -> None:
    """S14: `expect` holds for every response of the step: a job that is gone is not asked for again."""
    step = {"name": "job", "get": "/job", "until": {"json": {"$.status": "done"}}, "wait": "10ms"}
    async with serving({"GET /job": JSONResponse({}, 500)}) as web:
        failed = await failure(journey(web.url, step), make_context(wire))

    assert failed.reason is Reason.STATUS
    assert len(web.asked) == 1


async def test_a_deadline_while_a_step_waits_tells_what_it_waits_for(wire: Wire) -> None:
    """S14: polling is bounded in time by the check's timeout, and the message has what was still not so."""
    step = {"name": "job", "get": "/job", "until": {"json": {"$.status": "done"}}, "wait": "5m"}
    ctx = make_context(wire)
    async with serving({"GET /job": {"status": "running"}}) as web:
        run = asyncio.create_task(journey(web.url, step).run(ctx))
        while not ctx.unfinished:  # noqa: ASYNC110 - it waits for the run's own state; nothing is slept
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    told = timed_out(5.0, ctx).message
    assert told == 'no answer within 5s in step job; $.status is "running", expected "done"; it is asked again after 300 s'


# -- values


async def test_what_was_made_is_what_is_read(wire: Wire) -> None:
    """S14, R6: a generated value is one in all of a run, in requests and expectations, and another in the next run."""
    steps: list[dict[str, Any]] = [
        {
            "name": "make",
            "post": "/things",
            "json": {"id": "{{uuid}}", "other": "{{uuid other}}", "on": "{{in 7d date}}", "at": "{{now unix}}"},
            "capture": {"body": "$.body"},
        },
        {"name": "read", "get": "/things/{{uuid}}", "expect": {"json": {"$.path": "/things/{{uuid}}"}, "text": "{{uuid}}"}},
    ]
    bodies = []
    async with serving({"POST /things": echo, "GET /things/{id}": echo}) as web:
        for seed in (1, 2):
            ctx = make_context(wire, clock=FakeClock(NOW))
            ctx.rng.seed(seed)
            await journey(web.url, *steps).run(ctx)
            bodies.append(web.requests[-2][1].decode())

    made = [re.findall(r'"(?:id|other)": "([^"]+)"', body) for body in bodies]
    assert len({*made[0], *made[1]}) == 4
    assert all(str(uuid.UUID(each)) == each for each in made[0])
    assert '"on": "2026-09-28", "at": 1790000000' in bodies[0]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("{{now}}", "2026-09-21T14:13:20Z"),
        ("{{now date}}", "2026-09-21"),
        ("{{in 7d}}", "2026-09-28T14:13:20Z"),
        ("{{ago 1h30m time}}", "12:43:20"),
        ("{{in 500ms unix_ms}}", "1790000000500"),
        ("{{in 99999999d}}", "9999-12-31T23:59:59Z"),
        ("{{'{{'}}token}}", "{{token}}"),
    ],
)
async def test_generated_moments_and_braces(wire: Wire, written: str, sent: str) -> None:
    """S14, R6: a date ahead, the time now, and a literal `{{` can be written."""
    async with serving({"POST /echo": echo}) as web:
        await journey(web.url, {"name": "a", "post": "/echo", "body": written}).run(make_context(wire, clock=FakeClock(NOW)))

    assert web.requests[0][1].decode() == sent


async def test_a_captured_name_wins(wire: Wire) -> None:
    """S14: what a step captures as `uuid` or `now` stays what it was before such names were generated."""
    steps: list[dict[str, Any]] = [{"name": "a", "get": "/a", "capture": {"uuid": "$.id"}}, {"name": "b", "get": "/b/{{uuid}}"}]
    async with serving({"GET /a": {"id": "theirs"}, "GET /b/theirs": {}}) as web:
        await journey(web.url, *steps).run(make_context(wire))

    assert web.asked[1] == ("GET", "/b/theirs")


async def test_arrays_and_objects(wire: Wire) -> None:
    """S14: an array and an object are captured whole: sent as JSON with their types, compared, and all their texts are secret."""
    items = [{"id": 1, "key": "hidden-inside"}, {"id": 2}]
    steps: list[dict[str, Any]] = [
        {"name": "a", "get": "/a", "capture": {"items": "$.items"}},
        {"name": "b", "post": "/b", "json": {"all": "{{items}}"}, "expect": {"json": {"$.items": {"equals": "{{items}}"}}}},
        {"name": "c", "post": "/b", "form": {"tag": ["x", "y&z"], "all": "{{items}}"}, "query": {"n": ["1", "2"]}},
    ]
    ctx = make_context(wire)
    async with serving({"GET /a": {"items": items}, "POST /b": {"items": items}}) as web:
        await journey(web.url, *steps).run(ctx)

    assert web.requests[1][1] == b'{"all": [{"id": 1, "key": "hidden-inside"}, {"id": 2}]}'
    assert web.requests[2][1].startswith(b"tag=x&tag=y%26z&all=%5B%7B%22id")
    assert web.asked[2] == ("POST", "/b?n=1&n=2")
    assert "hidden-inside" in ctx.secrets


async def test_a_vast_array_is_not_captured(wire: Wire) -> None:
    """S14: an array of thousands of values would make thousands of secrets."""
    async with serving({"GET /a": {"items": list(range(1001))}}) as web:
        failed = await failure(journey(web.url, {"name": "a", "get": "/a", "capture": {"v": "$.items"}}), make_context(wire))

    assert (failed.reason, failed.message) == (Reason.SIZE, "a: $.items has more than 1,000 values; too many to capture as v")


@pytest.mark.parametrize(("capture", "sent"), [({}, "a&b<c"), ({"entities": False}, "a&amp;b&lt;c")])
async def test_html_entities(wire: Wire, capture: dict[str, Any], sent: str) -> None:
    """S14: what a regular expression finds in HTML is decoded as a browser does before it sends a form."""
    found = {"csrf": {"regex": 'value="([^"]+)"', **capture}}
    steps: list[dict[str, Any]] = [
        {"name": "form", "get": "/form", "capture": found},
        {"name": "send", "post": "/form", "body": "{{csrf}}"},
    ]
    async with serving({"GET /form": HTMLResponse('<input value="a&amp;b&lt;c">'), "POST /form": {}}) as web:
        await journey(web.url, *steps).run(make_context(wire))

    assert web.requests[1][1].decode() == sent


async def test_multipart(wire: Wire) -> None:
    """S14: fields and a file go as multipart/form-data, with names escaped and values filled in."""
    received: dict[str, Any] = {}

    async def upload(request: Request) -> Response:
        received["raw"] = (await request.body()).decode()
        received["type"] = request.headers["content-type"]
        return JSONResponse({})

    parts = {"title": "{{now date}}", "file": {"content": "a,b\n", "filename": 'da"ta.csv', "type": "text/csv"}}
    async with serving({"POST /upload": upload}) as web:
        step = {"name": "up", "post": "/upload", "multipart": parts}
        await journey(web.url, step).run(make_context(wire, clock=FakeClock(NOW)))

    boundary = received["type"].removeprefix("multipart/form-data; boundary=")
    assert received["raw"] == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="title"\r\n\r\n2026-09-21\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="da%22ta.csv"\r\nContent-Type: text/csv\r\n\r\na,b\n\r\n'
        f"--{boundary}--\r\n"
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "a", "get": "/", "times": 3}, "times goes with until"),
        ({"name": "a", "post": "/login", "until": {}}, "a login isn't repeated"),
        ({"name": "a", "get": "{{uuid}}"}, "get takes a path; it begins with /"),
        ({"name": "a", "get": "/{{in 7x}}"}, "{{in 7x}} is no variable"),
        ({"name": "a", "get": "/", "wait": "1h"}, "must be between 10ms and 10m"),
        ({"name": "a", "get": "/", "times": 101, "until": {}}, "less than or equal to 100"),
        ({"name": "a", "get": "/", "until": {"json": {"$.a": "{{x}}"}}}, "no step before it captures {{x}}"),
    ],
)
def test_wrong_steps(step: dict[str, Any], message: str) -> None:
    """What can't work is an error when the configuration is read."""
    with pytest.raises(ValidationError) as error:
        journey("http://127.0.0.1:9", step)
    assert message in error.value.errors()[0]["msg"]


async def test_a_refused_login_at_another_target_is_held(wire: Wire) -> None:
    """S14: `login: true` holds the login of a step's own target by that target's address."""
    ledger = LedgerInMemory(FakeClock())
    async with serving({"POST /enter": JSONResponse({}, 400)}) as sso:
        step = {"name": "in", "target": target("sso", sso.url, "POST /enter"), "post": "/enter", "login": True}
        with pytest.raises(Failed):
            await journey("http://127.0.0.1:9", step).run(make_context(wire, ledger=ledger))

    assert list(ledger.holds) == [f"login {sso.url}/enter"]
