from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from judge.report import Report
from judge.verdict import Outcome
from runner.config.plan import Server
from runner.web.gates import LONGEST, BusyError, Gates, Routes, RunGate
from tests.support.clock import FakeClock
from tests.support.outrider import report

TOKEN = {"Authorization": "Bearer operate-me"}
ASYNC = TOKEN | {"Prefer": "respond-async"}


@dataclass
class Runner:
    """A runner whose gates end when a test says so."""

    clock: FakeClock = field(default_factory=FakeClock)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    says: list[Callable[[str], None]] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def prepare(self, told: Mapping[str, Any]) -> RunGate:
        """Refuses one word, and else carries out."""
        if "tag" in told:
            raise ValueError("tag: no such word")
        self.asked.append(told)

        async def run_gate(add_line: Callable[[str], None], stop: asyncio.Event) -> Report:
            self.says.append(add_line)
            self.began.set()
            waits = [asyncio.ensure_future(self.over.wait()), asyncio.ensure_future(stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            return report(Outcome.INCONCLUSIVE if stop.is_set() else Outcome.PASS)

        return run_gate


@asynccontextmanager
async def asking(runner: Runner, server: Server | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its routes."""
    gates = Gates(runner.prepare, runner.clock, lambda request: float(request.get("wait", 0)))
    routes = Routes(gates, lambda: server or Server(operate_token="operate-me"))
    table = [
        Route("/api/gate", routes.start, methods=["POST"]),
        Route("/api/gate/{id}", routes.progress),
        Route("/api/gate/{id}", routes.end, methods=["DELETE"]),
    ]
    transport = httpx.ASGITransport(Starlette(routes=table))
    async with httpx.AsyncClient(transport=transport, base_url="http://runner") as client:
        yield client
    await gates.stop(1.0)


async def test_it_answers_with_the_report_when_it_is_over() -> None:
    """As Argo's web metric asks: one POST, one JSON object."""
    runner = Runner()
    runner.over.set()
    async with asking(runner) as client:
        answer = await client.post("/api/gate", json={"tags": ["smoke"]}, headers=TOKEN)
    assert (answer.status_code, answer.json()["verdict"]) == (200, "pass")
    assert answer.json().keys() >= {"id", "verdict", "reasons", "revision", "started", "finished", "checks"}


async def test_it_is_followed_by_its_id() -> None:
    """The id at once, then what is said since a line, then the report; asking again tells the same."""
    runner = Runner()
    async with asking(runner) as client:
        begun = await client.post("/api/gate", json={}, headers=ASYNC)
        assert (begun.status_code, begun.headers["location"]) == (202, f"/api/gate/{begun.json()['id']}")
        look = begun.headers["location"]
        first = asyncio.create_task(client.get(look, params={"wait": 20}, headers=TOKEN))
        await runner.began.wait()
        runner.says[0]("warming up")
        runner.says[0]("judging")
        assert (await first).json()["said"][:1] == ["warming up"]
        assert (await client.get(look, params={"after": 1}, headers=TOKEN)).json()["said"] == ["judging"]
        runner.over.set()
        last = await client.get(look, params={"after": 2, "wait": 20}, headers=TOKEN)
        while last.json()["state"] == "running":
            last = await client.get(look, params={"after": 2, "wait": 20}, headers=TOKEN)
        assert last.json()["report"]["verdict"] == "pass"
        assert (await client.get(look, headers=TOKEN)).json()["report"] == last.json()["report"]


async def test_one_at_a_time() -> None:
    """Another request meanwhile is refused, and told which one runs; the same request is the same gate."""
    runner = Runner()
    async with asking(runner) as client:
        begun = (await client.post("/api/gate", json={"rounds": 3}, headers=ASYNC)).json()
        again = (await client.post("/api/gate", json={"rounds": 3}, headers=ASYNC)).json()
        other = await client.post("/api/gate", json={"rounds": 4}, headers=ASYNC)
        assert again["id"] == begun["id"]
        assert (other.status_code, other.json()["id"]) == (409, begun["id"])
        assert len(runner.asked) == 1


async def test_who_waits_for_a_report_waits_for_its_turn() -> None:
    """GM2: a second POST begins when the first gate has ended; one that may not wait so long is refused, and names the gate."""
    runner = Runner()
    async with asking(runner) as client:
        begun = (await client.post("/api/gate", json={"rounds": 3}, headers=ASYNC)).json()
        refused = await client.post("/api/gate", json={"rounds": 4}, headers=TOKEN)
        assert (refused.status_code, refused.json()["id"]) == (409, begun["id"])
        second, again, third = (
            asyncio.create_task(client.post("/api/gate", json={"rounds": rounds, "wait": 60}, headers=TOKEN)) for rounds in (5, 5, 6)
        )
        for _ in range(50):  # turns of the loop: each of them waits by now
            await asyncio.sleep(0)
        assert len(runner.asked) == 1
        runner.over.set()
        reports = [(await one).json() for one in (second, again, third)]
    assert [one["verdict"] for one in reports] == ["pass"] * 3
    assert reports[0]["id"] == reports[1]["id"]
    assert [one.get("rounds") for one in runner.asked] == [3, 5, 6]


async def test_a_runner_that_ends_begins_no_gate_that_waits() -> None:
    """GM2: the one that runs ends with its verdict so far, and who waits for a turn is refused."""
    runner = Runner()
    gates = Gates(runner.prepare, runner.clock, lambda _: 60.0)
    running = asyncio.create_task(gates.run({"rounds": 1}))
    waiting = asyncio.create_task(gates.run({"rounds": 2}))
    await runner.began.wait()
    await gates.stop(1.0)
    with pytest.raises(BusyError):
        await waiting
    assert (await running).verdict is Outcome.INCONCLUSIVE
    assert len(runner.asked) == 1


async def test_a_lost_answer_is_found_again_and_a_new_deployment_is_a_new_gate() -> None:
    """The same request within a minute of its end is the same gate; later, or with another key, it is a new one."""
    runner = Runner()
    runner.over.set()
    async with asking(runner) as client:
        first = (await client.post("/api/gate", json={}, headers=TOKEN)).json()["id"]
        assert (await client.post("/api/gate", json={}, headers=TOKEN)).json()["id"] == first
        runner.clock.advance(61)
        second = (await client.post("/api/gate", json={}, headers=TOKEN)).json()["id"]
        assert second != first
        keyed = TOKEN | {"Idempotency-Key": "job-7"}
        third = (await client.post("/api/gate", json={}, headers=keyed)).json()["id"]
        runner.clock.advance(3600)
        assert (await client.post("/api/gate", json={}, headers=keyed)).json()["id"] == third
    assert len({first, second, third}) == 3


async def test_it_is_ended_early_with_a_verdict_so_far() -> None:
    """DELETE is the Ctrl-C of a caller who is elsewhere."""
    runner = Runner()
    async with asking(runner) as client:
        look = (await client.post("/api/gate", json={}, headers=ASYNC)).headers["location"]
        assert (await client.delete(look, headers=TOKEN)).status_code == 202
        waiting = await client.post("/api/gate", json={}, headers=TOKEN)
    assert waiting.json()["verdict"] == "inconclusive"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}, {"Authorization": "Basic b3BlcmF0ZS1tZQ=="}])
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/gate"), ("GET", "/api/gate/x"), ("DELETE", "/api/gate/x")])
async def test_every_route_needs_the_operate_token(headers: dict[str, str], method: str, path: str) -> None:
    """Whatever is asked; without a token in the configuration nobody may."""
    runner = Runner()
    async with asking(runner) as client:
        assert (await client.request(method, path, headers=headers)).status_code == 401
    async with asking(runner, Server()) as client:
        assert (await client.request(method, path, headers=headers)).status_code == 403
    assert runner.asked == []


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"tag": "smoke"}', b'{"x": "' + b"x" * LONGEST + b'"}', b"\xff"])
async def test_what_is_no_request_is_refused(body: bytes) -> None:
    """With the reason, and nothing runs."""
    runner = Runner()
    async with asking(runner) as client:
        answer = await client.post("/api/gate", content=body, headers=TOKEN)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert runner.asked == []


@pytest.mark.parametrize(("length", "status"), [(LONGEST, 200), (LONGEST + 1, 400)])
async def test_a_request_as_long_as_may_be(length: int, status: int) -> None:
    """A baseline of many checks fits; a byte more than may be is refused."""
    runner = Runner()
    runner.over.set()
    begin = b'{"checks": ["'
    body = begin + b"x" * (length - len(begin) - 3) + b'"]}'
    async with asking(runner) as client:
        assert (await client.post("/api/gate", content=body, headers=TOKEN)).status_code == status


async def test_a_gate_that_nobody_knows() -> None:
    """404: the runner was restarted."""
    async with asking(Runner()) as client:
        assert (await client.get("/api/gate/unknown", headers=TOKEN)).status_code == 404
