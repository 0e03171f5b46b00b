"""`session:`: a login is made once, used for its life by all checks of a target, made anew where it is over, and given back."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from probes.core import Failed, QuotaRefused, Reason, Verdict
from probes.journeys.login import Login
from probes.kinds.health_metrics import HealthMetrics
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.probe import Context
from probes.wire.wire import Wire
from tests.support.clock import FakeClock
from tests.support.context import LedgerInMemory, Permit, make_context
from tests.support.engine import Observer
from tests.support.web import Web, serving

STEPS: list[dict[str, Any]] = [
    {"name": "login", "post": "/token", "form": {"username": "probe", "password": "open sesame"}, "capture": {"token": "$.token"}},
    {"name": "leave", "post": "/revoke", "json": {"token": "{{token}}"}, "always": True},
]
HEADERS = {"Authorization": "Bearer {{token}}"}


class Application:
    """An application with a login: its tokens, those that it still knows, and how often it was asked for one."""

    def __init__(self, *, refuses: int = 0, lasting: float | None = None) -> None:
        self.refuses, self.lasting = refuses, lasting
        self.valid: set[str] = set()
        self.logins = 0
        self._numbers = count(1)

    async def token(self, _: Request) -> Response:
        """Lets in, or refuses with a status."""
        self.logins += 1
        if self.refuses:
            return JSONResponse({"detail": "wrong password"}, self.refuses)
        token = f"token-number-{next(self._numbers)}"
        self.valid.add(token)
        more = {} if self.lasting is None else {"expires_in": self.lasting}
        return JSONResponse({"token": token} | more, headers={"set-cookie": f"sid=cookie-of-{token}; Path=/; HttpOnly"})

    async def revoke(self, request: Request) -> Response:
        """Forgets a token."""
        self.valid.discard((await request.json())["token"])
        return JSONResponse({})

    async def page(self, request: Request) -> Response:
        """What stands behind the login."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.valid or request.cookies.get("sid") != f"cookie-of-{token}":
            return JSONResponse({"detail": "log in"}, 401)
        return JSONResponse({"status": "healthy", "you": token})

    async def closed(self, _: Request) -> Response:
        """A page that lets nobody in."""
        return JSONResponse({}, 401)

    def routes(self) -> dict[str, Any]:
        """For `serving`."""
        pages: dict[str, Any] = {"GET /page": self.page, "GET /report": self.page, "POST /page": self.page, "GET /closed": self.closed}
        return {"POST /token": self.token, "POST /revoke": self.revoke, **pages}


def target(web: Web, **settings: Any) -> dict[str, Any]:
    """The application as a target."""
    return {"name": "api", "url": web.url, "allow": ["POST /token", "POST /revoke", "POST /page"], **settings}


def login(web: Web, **settings: Any) -> dict[str, Any]:
    """A login at the application."""
    return {"name": "admin", "target": target(web), "steps": STEPS, "headers": HEADERS, **settings}


def page(web: Web, path: str = "/page", **settings: Any) -> Http:
    """A check of a page behind the login."""
    return Http.model_validate({"target": target(web), "path": path, "session": login(web), **settings})


async def failing(probe: Http, ctx: Context) -> Reason | None:
    """The reason of a run's failure; None where it passes."""
    try:
        await probe.run(ctx)
    except Failed as failed:
        return failed.reason
    return None


async def test_the_checks_of_a_target_share_a_login(wire: Wire) -> None:
    """A health report, an admin page and a journey are asked behind one login: one request for a token, however many runs there are."""
    app, permit = Application(), Permit()
    async with serving(app.routes()) as web:
        report = {"target": target(web), "path": "/report", "session": login(web), "parts": {"$.status": "healthy"}}
        steps = [{"name": "page", "get": "/page"}, {"name": "write", "post": "/page", "json": {}}]
        journey = {"target": target(web), "session": login(web), "steps": steps}
        for probe in (page(web), HealthMetrics.model_validate(report), Journey.model_validate(journey), page(web)):
            result = await probe.run(make_context(wire, permit=permit))
            assert result.verdict is Verdict.PASS
        await wire.leave()

    assert app.logins == 1
    assert permit.asked[0] == ("POST", f"{web.url}/token")  # permitted like any other request
    assert permit.asked[-1] == ("POST", f"{web.url}/revoke")


async def test_runs_at_once_make_one_login(wire: Wire) -> None:
    """Checks that start together wait for one login."""
    app = Application()
    async with serving(app.routes()) as web:
        results = await asyncio.gather(*(page(web).run(make_context(wire)) for _ in range(8)))

    assert {result.verdict for result in results} == {Verdict.PASS}
    assert app.logins == 1


async def test_a_login_is_no_latency(wire: Wire) -> None:
    """What a login takes is phase `login` of the run that made it, and not the target's time."""
    ctx, again = make_context(wire), make_context(wire)
    async with serving(Application().routes()) as web:
        await page(web).run(ctx)
        await page(web).run(again)

    assert ctx.phases["login"] > 0
    assert ctx.waited < sum(ctx.phases.values()) - ctx.phases["login"] + 1e-6
    assert "login" not in again.phases


@pytest.mark.parametrize(("lasting", "settings", "life"), [(None, {"lasts": "10m"}, 570), (400.0, {}, 370), (None, {}, 3570)])
async def test_a_session_is_used_for_its_life(wire: Wire, lasting: float | None, settings: dict[str, Any], life: int) -> None:
    """It is used until shortly before its end, which `lasts` or a captured `expires_in` says; then the old one is given back."""
    app, clock = Application(lasting=lasting), FakeClock()
    steps = [{**STEPS[0], "capture": {**STEPS[0]["capture"], "expires_in": "$.expires_in"}}, STEPS[1]] if lasting else STEPS
    async with serving(app.routes()) as web:
        probe = page(web, session=login(web, steps=steps, **settings))
        await probe.run(make_context(wire, clock=clock))
        clock.advance(life - 1)
        await probe.run(make_context(wire, clock=clock))
        assert app.logins == 1
        clock.advance(2)
        await probe.run(make_context(wire, clock=clock))
        assert app.logins == 2
        await wire.leave()

    assert app.valid == set()


async def test_a_session_that_is_over_is_made_anew_once(wire: Wire) -> None:
    """A 401 behind the session logs in once anew and sends the request again; the run passes."""
    app = Application()
    async with serving(app.routes()) as web:
        probe = page(web)
        await probe.run(make_context(wire))
        app.valid.clear()  # as after the application's restart
        result = await probe.run(make_context(wire))

    assert result.verdict is Verdict.PASS
    assert app.logins == 2


async def test_a_page_that_lets_nobody_in_makes_no_logins(wire: Wire) -> None:
    """A 401 that a new login doesn't mend is the verdict, and the next run logs in no more, until `lockout` is over."""
    app, clock = Application(), FakeClock()
    async with serving(app.routes()) as web:
        closed = page(web, "/closed")
        for _ in range(5):
            await page(web).run(make_context(wire, clock=clock))
            assert (await failing(closed, make_context(wire, clock=clock, check="closed"))) is Reason.AUTH
        assert app.logins == 2
        clock.advance(1801)
        await failing(closed, make_context(wire, clock=clock, check="closed"))

    assert app.logins == 3


async def test_sessions_that_never_last_are_bounded(wire: Wire) -> None:
    """An application that forgets each session at once gets at most three further logins within `lockout`."""
    app, clock = Application(), FakeClock()
    async with serving(app.routes()) as web:
        for number in range(12):
            ctx = make_context(wire, clock=clock, check=f"check-{number}")
            assert (await failing(page(web), ctx)) in (None, Reason.AUTH)
            app.valid.clear()

    assert app.logins == 4


@pytest.mark.parametrize("status", [401, 400, 422, 423])
async def test_a_refused_login_is_held_for_all_checks(wire: Wire, status: int) -> None:
    """A refused login is tried once: every check of the session is held until `lockout` is over."""
    app, clock = Application(refuses=status), FakeClock()
    ledger = LedgerInMemory(clock)
    async with serving(app.routes()) as web:
        with pytest.raises(Failed) as failed:
            await page(web).run(make_context(wire, clock=clock, ledger=ledger))
        for path in ("/page", "/report"):
            with pytest.raises(QuotaRefused, match=r"its login was refused \("):
                await page(web, path).run(make_context(wire, clock=clock, ledger=ledger))
        assert app.logins == 1
        clock.advance(1801)
        with pytest.raises(Failed):
            await page(web).run(make_context(wire, clock=clock, ledger=ledger))

    assert failed.value.message.startswith(f"login admin: login: {status}, expected 2xx")
    assert app.logins == 2


async def test_it_is_given_back_when_the_wire_closes(wire: Wire) -> None:
    """At drain and reload the application lets go of the session; one that can't be given back holds nothing up."""
    app = Application()
    async with serving(app.routes()) as web:
        await page(web).run(make_context(wire))
        assert app.valid
        await wire.aclose()
        assert not app.valid

    gone = Wire()
    async with serving(app.routes()) as web:
        await page(web).run(make_context(gone))
    await gone.aclose()  # the application is gone


async def test_nothing_of_it_is_in_any_output(runs: Observer) -> None:
    """Token, cookie and password are in no message, no fact and no evidence, though the application repeats the token."""
    app = Application()
    async with serving(app.routes()) as web:
        for _ in range(2):  # also of a run that logged in before
            seen = await runs.observe(page(web, expect={"json": {"$.you": "nobody"}}))
            text = repr(seen) + "".join(runs.log)
            assert seen.reason is Reason.BODY
            assert not [secret for secret in ("token-number", "open sesame", "cookie-of") if secret in text]


async def test_another_origin_gets_nothing_of_it(wire: Wire) -> None:
    """A redirect to another host and a step at another target carry neither token nor cookie."""
    app = Application()
    async with serving({"GET /there": {}}) as other:
        there = other.url.replace("127.0.0.1", "localhost")  # a cookie goes to all ports of a host (RFC 6265, 8.5)
        routes = app.routes() | {"GET /away": RedirectResponse(f"{there}/there")}
        async with serving(routes) as web:
            await page(web, "/away", redirects=1).run(make_context(wire))
            steps = [{"name": "in", "get": "/page"}, {"name": "out", "target": {"name": "other", "url": there}, "get": "/there"}]
            await Journey.model_validate({"target": target(web), "session": login(web), "steps": steps}).run(make_context(wire))

    assert len(other.requests) == 2
    for headers, _body in other.requests:
        assert "authorization" not in headers
        assert "cookie" not in headers


async def test_whose_header_counts(wire: Wire) -> None:
    """The session's header replaces the target's; one that the check itself writes replaces the session's."""
    app = Application()
    async with serving(app.routes() | {"GET /echo": {}}) as web:
        anonymous = target(web, headers={"Authorization": "Bearer anonymous"})
        for more in ({}, {"bearer": "my-own-token"}):
            made = {"target": anonymous, "path": "/echo", "session": login(web, target=anonymous), **more}
            await Http.model_validate(made).run(make_context(wire))

    assert [headers["authorization"] for headers, _ in web.requests[1:]] == ["Bearer token-number-1", "Bearer my-own-token"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": [{"name": "a", "get": "/"}]}, "none of its steps is a login"),
        ({"headers": {"Authorization": "Bearer {{tokn}}"}}, "headers: no step captures {{tokn}}; did you mean token?"),
        ({"headers": {"Authorization": "Bearer {{to kn}}"}}, "{{to kn}} is no variable"),
    ],
)
def test_a_login_that_can_not_work(settings: dict[str, Any], message: str) -> None:
    """What can't work is an error when the configuration is read."""
    with pytest.raises(ValidationError) as error:
        Login.model_validate({**login(Web(url="http://127.0.0.1:9")), **settings})
    assert message in error.value.errors()[0]["msg"]


def test_a_session_belongs_to_its_target() -> None:
    """A check of another target, or with a url of its own, can't use it: the token is that target's."""
    web = Web(url="http://127.0.0.1:9")
    for elsewhere in ({"url": "http://127.0.0.1:9"}, {"target": {"name": "other", "url": "http://127.0.0.1:9"}}):
        with pytest.raises(ValidationError, match="session admin is one of target api: the check needs that target"):
            Http.model_validate({"session": login(web), **elsewhere})
