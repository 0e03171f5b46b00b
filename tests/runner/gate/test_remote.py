"""A gate that a runner carries out, as its caller sees it: against a stand-in for the runner, on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from demo._site import Site
from judge.report import Report, to_json
from judge.verdict import Outcome
from runner.gate.remote import gate_via
from runner.usage import Unusable

TOKEN = "operate-token-0123456789-abcdefghij"


@dataclass
class Runner:
    """Refuses a gate so often, and then reports a pass."""

    refusals: list[int] = field(default_factory=list)
    asked: int = 0

    async def start(self, _: Request) -> Response:
        """POST /api/gate."""
        self.asked += 1
        if self.refusals:
            return JSONResponse({"error": "another gate is running: abc", "id": "abc"}, self.refusals.pop(0))
        return JSONResponse({"id": "mine", "state": "running"}, 202)

    async def progress(self, _: Request) -> Response:
        """GET /api/gate/{id}."""
        report = to_json(Report(Outcome.PASS, (), (), (), 0.0, 1.0))
        return JSONResponse({"id": "mine", "state": "over", "said": [], "next": 0, "report": report})


@asynccontextmanager
async def running(*refusals: int) -> AsyncIterator[tuple[Runner, str]]:
    """One that is up."""
    runner = Runner(list(refusals))
    routes = [Route("/api/gate", runner.start, methods=["POST"]), Route("/api/gate/{id}", runner.progress)]
    site = Site(Starlette(routes=routes))
    await site.start()
    yield runner, site.url
    await site.stop()


async def test_a_gate_waits_for_its_turn() -> None:
    """GM2: while the runner is busy with another one, that is said once; then the gate runs."""
    said: list[str] = []
    async with running(409) as (runner, url):
        report = await gate_via(url, "token", {}, wait=300.0, say=said.append)
    assert (report.verdict, runner.asked) == (Outcome.PASS, 2)
    assert said == [f"{url} runs another gate (abc); waiting for its end, for 5 min at most (--wait)", f"gate mine runs at {url}"]


async def test_a_turn_that_does_not_come_is_inconclusive() -> None:
    """GM2: exit 3, wait and run again; never 2, which would stop the pipeline for good."""
    async with running(409) as (_, url):
        report = await gate_via(url, "token", {"expect_revision": "3f2c91a"}, wait=0.0, say=lambda _: None)
    assert report.verdict.exit_code == 3
    assert report.revision == "3f2c91a"
    assert "runs another gate (abc); run again" in report.reasons[0].text


async def test_a_runner_that_has_no_time_is_asked_again() -> None:
    """GM2: too many requests at once are no wrong usage either."""
    async with running(429) as (runner, url):
        report = await gate_via(url, "token", {}, wait=1.0, say=lambda _: None)
    assert (report.verdict, runner.asked) == (Outcome.PASS, 2)


@pytest.mark.parametrize("as_json", [True, False])
async def test_what_responds_instead_of_a_runner_cannot_show_the_token(*, as_json: bool) -> None:
    """W16: an address that is no runner may show what it was sent: the operate token is in no message, and no piece of it at a cut."""

    async def echo(request: Request) -> Response:
        sent = "x" * 180 + request.headers["authorization"]
        return JSONResponse({"error": sent}, 400) if as_json else PlainTextResponse(sent, 400)

    site = Site(Starlette(routes=[Route("/api/gate", echo, methods=["POST"])]))
    await site.start()
    try:
        with pytest.raises(Unusable) as refused:
            await gate_via(site.url, TOKEN, {}, wait=0.0, say=lambda _: None)
    finally:
        await site.stop()
    assert "operate" not in str(refused.value)
    assert "xBearer ***" in str(refused.value)
