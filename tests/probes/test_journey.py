from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from probes.core import QuotaRefused, Reason, Result, Verdict
from probes.kinds.journey import Journey
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.clock import FakeClock
from tests.support.context import LedgerInMemory, Permit, make_context
from tests.support.journeys import failure, journey
from tests.support.web import serving

LOGIN = {
    "name": "login",
    "post": "/api/auth/token",
    "form": {"username": "probe@x.test", "password": "open sesame"},
    "capture": {"token": "$.access_token"},
}
STORY = {
    "name": "story",
    "post": "/api/stories/generate",
    "headers": {"Authorization": "Bearer {{token}}"},
    "json": {"interests": ["history"], "force_refresh": True},
    "expect": {"json": {"$.metadata.is_fallback": False, "$.from_cache": False}, "within": "10s"},
}
LEAVE = {"name": "leave", "post": "/api/auth/revoke", "headers": {"Authorization": "Bearer {{token}}"}, "always": True}
TOKEN = {"access_token": "tok-1234567"}
TALE = {"text": "once", "metadata": {"is_fallback": False}, "from_cache": False}


def wrong(*steps: dict[str, Any], **settings: Any) -> str:
    """The message with which the settings are refused."""
    with pytest.raises(ValidationError) as error:
        journey("http://127.0.0.1:9", *steps, **settings)
    return error.value.errors()[0]["msg"]


# -- what is wrong when it is read


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([LOGIN, {**STORY, "headers": {"A": "{{tokn}}"}}], "step 2 (story): no step before it captures {{tokn}}; did you mean token?"),
        ([{"name": "a", "get": "/{{x}}", "capture": {"x": "$.x"}}], "step 1 (a): no step before it captures {{x}}"),
        ([{"name": "a", "get": "/{{x y}}"}], "{{x y}} is no variable; write a name, such as {{token}}"),
        ([{"name": "a", "get": "/"}, {"name": "a", "get": "/"}], "two steps are named a"),
        ([{"name": "a"}], "write one of get, post, put, patch, delete, head, options with the path"),
        ([{"name": "a", "get": "/", "post": "/"}], "write one of get, post, put, patch, delete, head, options with the path"),
        ([{"name": "a", "get": "x"}], "get takes a path; it begins with /, or it is one captured address"),
        ([{"name": "a", "post": "/", "json": {}, "form": {}}], "give one of form, json, body and multipart"),
        ([{**LEAVE, "headers": {}}], "write at least one step that is not always"),
        ([], "write at least one step that is not always"),
        ([{"name": "a", "get": "/", "capture": {"x": {"secret": True}}}], "write a JSONPath, or header: or regex:"),
        ([{"name": "a", "get": "/", "capture": {"x-y": "$.x"}}], "x-y is no name for a captured value"),
        ([{"name": "a", "get": "/", "expect": {"json": {"$.a": "{{x}}"}}}], "step 1 (a): no step before it captures {{x}}"),
        ([{"name": "a", "get": "/", "capture": {"x": "$.x"}, "expect": {"text": "{{x}}"}}], "no step before it captures {{x}}"),
        ([LOGIN, {"name": "a", "get": "/", "expect": {"not_text": ["{{tokn}}"]}}], "captures {{tokn}}; did you mean token?"),
        ([LOGIN, {"name": "a", "get": "/", "expect": {"headers": {"etag": {"in": ["{{x}}"]}}}}], "no step before it captures {{x}}"),
        ([LOGIN, {"name": "a", "get": "/", "expect": {"json": {"$.a": {"length": {"equals": "{{x}}"}}}}}], "captures {{x}}"),
        ([LOGIN, {"name": "a", "get": "/", "expect": {"regex": "^{{token}}"}}], "{{token}} can't be filled in within ^{{token}}"),
        ([LOGIN, {"name": "a", "get": "/", "expect": {"json": {"$[?@.id=='{{token}}']": {"count": 1}}}}], "can't be filled in within $"),
        ([LOGIN, {"name": "a", "get": "/", "expect": {"json": {"$.a": {"matches": "{{token}}"}}}}], "can't be filled in within {{token}}"),
        ([LOGIN, {"name": "a", "get": "/"}, {**LEAVE, "expect": {"text": "{{x}}"}}], "no step before it captures {{x}}"),
        ([LOGIN, {"name": "a", "get": "/", "capture": {"y": {"header": "{{token}}"}}}], "nothing fills it in here"),
        ([LOGIN, {"name": "a", "get": "/", "capture": {"y": {"regex": "{{token}}(.*)"}}}], "can't be filled in within {{token}}(.*)"),
    ],
)
def test_wrong_steps(steps: list[dict[str, Any]], message: str) -> None:
    """What can't work is an error when the configuration is read, with the step and what to do."""
    assert message in wrong(*steps)


def test_always_may_use_whatever_was_captured() -> None:
    """A step with always runs last, so that it may use values of steps that are written after it."""
    journey("http://127.0.0.1:9", LEAVE, LOGIN)


def test_a_path_and_a_url_of_its_own() -> None:
    """A journey has no path of its own, and sends nothing but reads to a url of its own."""
    assert "each step has one" in wrong(LOGIN, path="/x")
    with pytest.raises(ValidationError, match="step login: POST goes to a target that allows it"):
        Journey.model_validate({"url": "http://127.0.0.1:9", "steps": [LOGIN]})


def test_asks_for_each_step() -> None:
    """Every step is asked for with its place, those with always included."""
    asks = journey("http://x.test/base", LOGIN, LEAVE).asks()

    assert [(ask.method, ask.url, ask.where) for ask in asks] == [
        ("POST", "http://x.test/base/api/auth/token", ("steps", 0)),
        ("POST", "http://x.test/base/api/auth/revoke", ("steps", 1)),
    ]


# -- over the wire


async def test_a_journey_passes(wire: Wire) -> None:
    """All steps in order, the captured token in use, each step's seconds a fact, and the session left in order."""
    permit = Permit()
    ctx = make_context(wire, permit=permit)
    responses = {"POST /api/auth/token": TOKEN, "POST /api/stories/generate": TALE, "POST /api/auth/revoke": {}}
    async with serving(responses) as web:
        result = await journey(web.url, LOGIN, STORY, LEAVE).run(ctx)

    assert result == Result.passed(result.message)
    assert result.message.startswith("2 steps in ")
    assert [path for _, path in web.asked] == ["/api/auth/token", "/api/stories/generate", "/api/auth/revoke"]
    assert [url.removeprefix(web.url) for _, url in permit.asked] == [path for _, path in web.asked]
    assert web.requests[0][1] == b"username=probe%40x.test&password=open+sesame"
    assert web.requests[1][0]["authorization"] == web.requests[2][0]["authorization"] == "Bearer tok-1234567"
    assert web.requests[1][0]["x-forwarded-proto"] == "https"
    assert {"step.login", "step.story"} <= ctx.facts.keys()
    assert "step.leave" not in ctx.facts
    assert ctx.evidence["cleanup"] == "cleaned up"
    assert "tok-1234567" in ctx.secrets
    assert ctx.decided is not None
    assert {span.step for span in ctx.spans} == {"login", "story"}


@pytest.mark.parametrize(
    ("tale", "message"),
    [
        ({**TALE, "metadata": {"is_fallback": True}}, "story: $.metadata.is_fallback is true, expected false"),
        ({**TALE, "from_cache": True}, "story: $.from_cache is true, expected false"),
    ],
)
async def test_a_canned_story_is_a_fallback(wire: Wire, tale: Any, message: str) -> None:
    """A story that the application made up or kept is no story, although its status is 200; the session is left in order."""
    responses = {"POST /api/auth/token": TOKEN, "POST /api/stories/generate": tale, "POST /api/auth/revoke": {}}
    async with serving(responses) as web:
        failed = await failure(journey(web.url, LOGIN, STORY, LEAVE), make_context(wire))

    assert (failed.reason, failed.message) == (Reason.FALLBACK, message)
    assert web.asked[-1] == ("POST", "/api/auth/revoke")


async def test_evidence_is_that_of_the_failing_step(wire: Wire) -> None:
    """What a failure keeps is the failing step's exchange, not that of leaving in order."""
    ctx = make_context(wire)
    responses = {"POST /api/auth/token": TOKEN, "POST /api/stories/generate": {"odd": 1}, "POST /api/auth/revoke": {"bye": 1}}
    async with serving(responses) as web:
        await failure(journey(web.url, LOGIN, STORY, LEAVE), ctx)

    assert ctx.evidence["body"] == '{"odd":1}'
    assert ctx.step == "story"


async def test_a_refused_login_is_not_tried_again(wire: Wire) -> None:
    """After a refused login no further one is sent within the lock-out time, and one is after it."""
    clock = FakeClock()
    ledger = LedgerInMemory(clock)

    async def refuse(_: Request) -> Response:
        return JSONResponse({"error": {"message": "Incorrect email or password. 4 attempts left"}}, 401)

    async with serving({"POST /api/auth/token": refuse}) as web:
        probe = journey(web.url, LOGIN, STORY, LEAVE)
        ctx = make_context(wire, ledger=ledger)
        failed = await failure(probe, ctx)
        with pytest.raises(QuotaRefused, match="login was refused"):
            await probe.run(make_context(wire, ledger=ledger))
        clock.advance(1799)
        with pytest.raises(QuotaRefused):
            await probe.run(make_context(wire, ledger=ledger))
        clock.advance(2)
        await failure(probe, make_context(wire, ledger=ledger))

    assert failed.reason is Reason.AUTH
    assert failed.message.startswith("login: 401, expected 2xx: Incorrect email or password. 4 attempts left; no login is tried until 20")
    assert len(web.asked) == 2  # nothing was left, since nobody had logged in
    assert ctx.evidence["cleanup"] == "nothing to clean up"


CSRF = {"name": "form", "get": "/form", "capture": {"csrf": {"header": "x-csrf"}}}
SECRETS = {"username": "probe@x.test", "password": "open sesame"}
REFUSED_LOGINS: dict[str, tuple[dict[str, Any], Response]] = {
    "401 with a capture": ({}, JSONResponse({}, 401)),
    "cookie session": ({"capture": {}}, JSONResponse({}, 401)),
    "CSRF form": ({"form": {**SECRETS, "csrf": "{{csrf}}"}}, JSONResponse({}, 401)),
    "OAuth's 400": ({"form": {**SECRETS, "grant_type": "password"}}, JSONResponse({"error": "invalid_grant"}, 400)),
    "422": ({}, JSONResponse({"detail": "Incorrect email or password"}, 422)),
    "200 that says no": ({"capture": {}, "expect": {"json": {"$.success": True}}}, JSONResponse({"success": False})),
    "200 without a token": ({}, JSONResponse({"success": False})),
    "the form again": ({"capture": {}, "expect": {"not_text": "Wrong password"}}, Response("<p>Wrong password</p>")),
    "a redirect to the form": (
        {"capture": {}, "expect": {"status": 302, "headers": {"location": "/home"}}},
        RedirectResponse("/login?error=1", 302),
    ),
    "JSON body": ({"form": None, "json": {"user": {"email": "a", "password": "b"}}, "capture": {}}, JSONResponse({}, 403)),
    "raw body": ({"form": None, "body": "user=a&password=b", "capture": {}}, JSONResponse({}, 403)),
    "locked": ({}, JSONResponse({}, 423)),
    "too many attempts": ({}, JSONResponse({}, 429)),
    "by its path": ({"form": None, "json": {"code": "1"}, "post": "/api/login", "capture": {}}, JSONResponse({}, 400)),
    "as it is written": ({"form": {"user": "a", "word": "b"}, "post": "/enter", "capture": {}, "login": True}, JSONResponse({}, 400)),
}


@pytest.mark.parametrize(("written", "refusal"), REFUSED_LOGINS.values(), ids=REFUSED_LOGINS.keys())
async def test_a_login_refused_in_any_form_is_not_tried_again(wire: Wire, written: dict[str, Any], refusal: Response) -> None:
    """S2: three runs with one shared state send a refused login once, whatever its form and the form of its refusal."""
    ledger = LedgerInMemory(FakeClock())
    login = {key: value for key, value in {**LOGIN, **written}.items() if value is not None}
    routes: dict[str, Any] = {f"POST {login['post']}": refusal, "GET /form": Response("", headers={"x-csrf": "c-123456"})}
    async with serving(routes) as web:
        probe = journey(web.url, CSRF, login)
        await failure(probe, make_context(wire, ledger=ledger))
        for _ in range(2):
            with pytest.raises(QuotaRefused, match=r"its login was refused \("):
                await probe.run(make_context(wire, ledger=ledger))

    assert [path for method, path in web.asked if method == "POST"] == [login["post"]]


@pytest.mark.parametrize(
    ("written", "response"),
    [
        ({}, JSONResponse({}, 500)),
        ({}, JSONResponse({}, 503)),
        ({}, JSONResponse({}, 404)),
        ({"expect": {"within": "1ms"}}, "slow"),
        ({"login": False}, JSONResponse({}, 401)),
        ({"post": "/things", "form": {"name": "x"}, "capture": {}}, JSONResponse({}, 401)),
    ],
    ids=["500", "503", "404", "slow", "login: false", "no login"],
)
async def test_what_refuses_no_login_holds_none(wire: Wire, written: dict[str, Any], response: Any) -> None:
    """S2: a server that is unwell or slow has refused nobody: the next run logs in again, and an outage stays a failure."""
    ledger = LedgerInMemory(FakeClock())

    async def slow(_: Request) -> Response:
        waited = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, waited.set_result, None)
        await waited
        return JSONResponse(TOKEN)

    login = {**LOGIN, **written}
    async with serving({f"POST {login['post']}": slow if response == "slow" else response}) as web:
        await failure(journey(web.url, login), make_context(wire, ledger=ledger))

    assert not ledger.holds


async def test_a_token_that_is_refused_locks_nothing(wire: Wire) -> None:
    """A 401 at a later step is auth at that step, and holds no login."""
    ledger = LedgerInMemory(FakeClock())
    responses = {"POST /api/auth/token": TOKEN, "POST /api/stories/generate": JSONResponse({}, 401)}
    async with serving(responses) as web:
        failed = await failure(journey(web.url, LOGIN, STORY), make_context(wire, ledger=ledger))

    assert (failed.reason, failed.message) == (Reason.AUTH, "story: 401, expected 2xx")
    assert not ledger.holds


async def test_leaving_in_order_after_the_deadline(wire: Wire) -> None:
    """A run that was cut short at its deadline still leaves in order, and its timeout names the step."""
    requested, over = asyncio.Event(), asyncio.Event()

    async def stall(_: Request) -> Response:
        requested.set()
        await over.wait()
        return JSONResponse(TALE)

    responses = {"POST /api/auth/token": TOKEN, "POST /api/stories/generate": stall, "POST /api/auth/revoke": {}}
    ctx = make_context(wire)
    async with serving(responses) as web:
        run = asyncio.create_task(journey(web.url, LOGIN, STORY, LEAVE).run(ctx))
        await requested.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        over.set()

    assert web.asked[-1] == ("POST", "/api/auth/revoke")
    assert (ctx.halted_step, ctx.halted_in) == ("story", "processing")


async def test_a_failed_clean_up_is_told(wire: Wire) -> None:
    """R5: a session that can't be left in order changes no verdict; the message, the evidence and a counter say that it lives on."""
    family = next(each for each in Journey.families if each.name == "probe_cleanup_failures_total")
    for response, failures, text in ((JSONResponse({}, 422), 1, "leave: 422, expected 2xx"), (JSONResponse({}), 0, "cleaned up")):
        ctx = make_context(wire)
        async with serving({"POST /api/auth/token": TOKEN, "POST /api/auth/revoke": response}) as web:
            result = await journey(web.url, LOGIN, LEAVE).run(ctx)
        assert result.verdict is Verdict.PASS
        assert ctx.evidence["cleanup"] == text
        assert result.message.endswith(f"; its clean-up failed: {text}") is bool(failures)
        assert list(family.read({}, ctx.facts)) == [((), failures)]


async def test_a_failed_clean_up_beside_a_failure(wire: Wire) -> None:
    """R5: a run that failed says that its clean-up failed, too."""
    responses = {
        "POST /api/auth/token": TOKEN,
        "POST /api/stories/generate": JSONResponse({}, 500),
        "POST /api/auth/revoke": JSONResponse({}, 500),
    }
    async with serving(responses) as web:
        failed = await failure(journey(web.url, LOGIN, STORY, LEAVE), make_context(wire))

    assert failed.message == "story: 500, expected 2xx; its clean-up failed: leave: 500, expected 2xx"


async def test_each_clean_up_is_tried(wire: Wire) -> None:
    """R5: a clean-up step that fails holds up none of the others."""
    ctx = make_context(wire)
    delete = {"name": "delete", "delete": "/thing", "always": True}
    responses = {"POST /api/auth/token": TOKEN, "DELETE /thing": JSONResponse({}, 500), "POST /api/auth/revoke": {}}
    async with serving(responses) as web:
        await journey(web.url, LOGIN, delete, LEAVE).run(ctx)

    assert [path for _, path in web.asked] == ["/api/auth/token", "/thing", "/api/auth/revoke"]
    assert ctx.evidence["cleanup"] == "delete: 500, expected 2xx"


async def test_a_slow_login_is_left_in_order(wire: Wire) -> None:
    """A login that failed for its slowness has opened a session all the same: it is left."""
    slow = {**LOGIN, "expect": {"within": "1ms"}}

    async def later(_: Request) -> Response:
        waited = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, waited.set_result, None)
        await waited
        return JSONResponse(TOKEN)

    async with serving({"POST /api/auth/token": later, "POST /api/auth/revoke": {}}) as web:
        failed = await failure(journey(web.url, slow, LEAVE), make_context(wire))

    assert failed.reason is Reason.LATENCY
    assert failed.message.startswith("login: took ")
    assert web.asked[-1] == ("POST", "/api/auth/revoke")


async def test_half_an_answer_names_its_step(wire: Wire) -> None:
    """What the wire sees go wrong carries the step's name too."""
    async with servers.canned(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", then_close=True) as server:
        failed = await failure(journey(server.url.rstrip("/"), LOGIN), make_context(wire))

    assert failed.reason is Reason.TRUNCATED
    assert failed.message.startswith("login: ")
