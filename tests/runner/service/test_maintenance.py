"""Maintenance on a runner: opened over the API, kept over a kill -9, told on the page, in metrics and in no SLO."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from runner.config.plan import Plan, Server
from runner.config.windows import Covered, Once, Window
from runner.engine.maintenance import Maintenance
from runner.service.running import running
from runner.service.service import Service
from runner.state import StateLedger, open_ledger
from tests.support.clock import NOON, FakeClock, ShiftedClock
from tests.support.observations import AVAILABILITY, failed, made_check, made_plan, passed

API = made_check("api", interval=3600.0, tags=("smoke",), slos=(AVAILABILITY,))
DATABASE = made_check("database", interval=3600.0)
PLAN = made_plan(API, DATABASE)
TOKEN = "let-me-operate"
OPERATE = {"Authorization": f"Bearer {TOKEN}"}
WINDOW = {"for": "30m", "tags": ["smoke"], "why": "new disks", "by": "ada"}


@asynccontextmanager
async def serving(folder: Path, clock: ShiftedClock, plan: Plan = PLAN) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A runner with its state in a folder, and a client of its API."""
    plan = replace(plan, server=Server(port=0, operate_token=TOKEN), state=folder)
    started = running(lambda: plan, path=folder / "checks.yaml", clock=clock, version="0", journal=io.StringIO())
    async with started as (service, listening, _), httpx.AsyncClient(base_url=listening.url, trust_env=False) as client:
        yield service, client


async def shown(client: httpx.AsyncClient, family: str) -> list[str]:
    """The lines of a family for the check api."""
    lines = (await client.get("/metrics")).text.splitlines()
    return [line.rpartition(" ")[2] for line in lines if line.startswith(f"{family}{{") and 'check="api"' in line]


async def test_a_window_by_hand_is_told_everywhere_and_moves_no_slo(tmp_path: Path) -> None:
    """U16: what fails in a window moves no SLO counter, is probe_maintenance 1 at once, and the page says who opened it and why."""
    clock = ShiftedClock()
    async with serving(tmp_path, clock) as (service, client):
        opened = await client.post("/api/maintenance", json=WINDOW, headers=OPERATE)
        assert opened.status_code == 201
        assert opened.json()["covers"] == ["api"]
        assert await shown(client, "probe_maintenance") == ["1.0"]  # before any run
        before = await shown(client, "probe_slo_events_total")
        service.take(failed(API, at=clock.time()))
        service.take(passed(API, at=clock.time()))
        service.take(failed(DATABASE, at=clock.time()))
        assert await shown(client, "probe_slo_events_total") == before
        assert service.emit.latest["api"].maintenance
        assert not service.emit.latest["database"].maintenance
        page = (await client.get("/")).text
        assert "opened by" in page
        assert "ada" in page
        assert "new disks" in page
        assert "In maintenance: api." in page
        assert "new disks" in (await client.get("/checks/api")).text
        summary = (await client.get("/api/checks/api")).json()
        assert (summary["maintenance"]["by"], summary["maintenance"]["why"]) == ("ada", "new disks")
        assert (await client.get("/api/checks/database")).json()["maintenance"] is None


async def test_a_window_outlives_the_runner_and_ends_by_itself(tmp_path: Path) -> None:
    """It is on the disk before the caller is answered, and a runner that starts later goes on with it until its end."""
    clock = ShiftedClock()
    async with serving(tmp_path, clock) as (service, client):
        await client.post("/api/maintenance", json=WINDOW, headers=OPERATE)
        ledger = await asyncio.to_thread(open_ledger, tmp_path, clock)  # as a process would find it after a kill -9 of this one
        found = Maintenance(ledger, str(tmp_path / "checks.yaml"), clock, service.log)
        found.plan(service.plan)
        await found.restore()
        assert [one.window.why for one in found.windows()] == ["new disks"]
        await ledger.aclose()
    async with serving(tmp_path, clock) as (service, client):
        assert service.maintenance.covering(API)
        service.show_windows()
        assert await shown(client, "probe_maintenance") == ["1.0"]
        clock.advance(1800.0)
        service.show_windows()
        assert await shown(client, "probe_maintenance") == []
        assert (await client.get("/api/maintenance")).json() == []


async def test_a_window_is_ended_by_hand_for_good(tmp_path: Path) -> None:
    """What was ended is over, after a restart too."""
    clock = ShiftedClock()
    async with serving(tmp_path, clock) as (service, client):
        opened = (await client.post("/api/maintenance", json=WINDOW, headers=OPERATE)).json()
        ended = await client.delete(f"/api/maintenance/{opened['id']}", headers=OPERATE)
        assert (ended.status_code, ended.json()["open"]) == (200, False)
        assert (await client.delete(f"/api/maintenance/{opened['id']}", headers=OPERATE)).status_code == 404
        assert await shown(client, "probe_maintenance") == []
    async with serving(tmp_path, clock) as (service, client):
        assert service.maintenance.covering(API) is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"for": "30m", "why": "x"}, "name checks, tags or targets, or say all: true"),
        ({"for": "30m", "tags": ["smok"], "why": "x"}, "no check has the tag smok; did you mean smoke?"),
        ({"for": "30", "tags": ["smoke"], "why": "x"}, "for: "),
        ({"for": "31d", "tags": ["smoke"], "why": "x"}, "for: "),
        ({"for": "30m", "tags": ["smoke"]}, "why: "),
        ({"for": "30m", "tags": ["smoke"], "why": "x", "tag": "y"}, "tag: "),
        ({"for": "30m", "all": True, "checks": ["api"], "why": "x"}, "or say all: true"),
    ],
)
async def test_a_window_that_says_too_little_is_refused(tmp_path: Path, body: dict[str, object], error: str) -> None:
    """A slip doesn't silence everything: a window says what it covers, for how long, and why."""
    async with serving(tmp_path, ShiftedClock()) as (_, client):
        refused = await client.post("/api/maintenance", json=body, headers=OPERATE)
        assert refused.status_code == 400
        assert error in refused.json()["error"]
        assert (await client.get("/api/maintenance")).json() == []


async def test_only_the_operate_token_opens_a_window(tmp_path: Path) -> None:
    """Anybody may look where reading is open; nobody silences alerts without the token."""
    async with serving(tmp_path, ShiftedClock()) as (_, client):
        assert (await client.post("/api/maintenance", json=WINDOW)).status_code == 401
        assert (await client.delete("/api/maintenance/x")).status_code == 401
        assert (await client.post("/api/maintenance", content=b"x" * 70_000, headers=OPERATE)).status_code == 400
        assert (await client.get("/api/maintenance")).status_code == 200


async def kept(folder: Path, clock: FakeClock) -> tuple[StateLedger, Maintenance]:
    """Windows over a ledger."""
    ledger = await asyncio.to_thread(open_ledger, folder, clock)
    windows = Maintenance(ledger, "checks.yaml", clock, lambda *_: None)
    return ledger, windows


async def test_a_run_belongs_to_a_window_that_it_touches(tmp_path: Path) -> None:
    """A run that begins before a window and ends in it may have failed by what the window is for."""
    clock = FakeClock()
    ledger, windows = await kept(tmp_path, clock)
    windows.plan(replace(PLAN, maintenance=(Window("disks", Once(NOON + 10, NOON + 20), Covered(checks=("api",))),)))
    touching = [windows.during(API, NOON + start, NOON + end) for start, end in ((0, 9), (0, 10), (12, 13), (19, 30), (20, 21), (0, 90))]
    assert touching == [False, True, True, True, False, True]
    assert not windows.during(DATABASE, NOON + 12, NOON + 13)
    assert windows.covering(API) is None
    clock.advance(10)
    assert windows.covering(API)
    await ledger.aclose()


async def test_of_several_windows_the_last_to_end_counts(tmp_path: Path) -> None:
    """Who reads the page wants to know when it is over."""
    clock = FakeClock()
    ledger, windows = await kept(tmp_path, clock)
    windows.plan(PLAN)
    await windows.open("short", 60.0, Covered(), why="a", by="b")
    await windows.open("long", 600.0, Covered(tags=("smoke",)), why="a", by="b")
    assert [one.window.name if (one := windows.covering(check)) else None for check in (API, DATABASE)] == ["long", "short"]
    clock.advance(60)
    assert [one.window.name if (one := windows.covering(check)) else None for check in (API, DATABASE)] == ["long", None]
    clock.step(-30)  # a clock that is set back finds the window again
    assert windows.covering(DATABASE)
    await ledger.aclose()
