"""The always-on runner put together: what it remembers over a reload, and what a process before it left."""

from __future__ import annotations

import asyncio
import io
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from judge.observation import Outage
from runner.clock import SystemClock
from runner.config.plan import Marking, Plan, Server
from runner.service.running import running
from runner.service.service import Service
from runner.state import open_ledger
from runner.web.serve import CannotListenError, bind
from tests.support.clock import NOON
from tests.support.grafana import TOKEN, standing_in
from tests.support.observations import made_check, made_plan

API = made_check("api", interval=3600.0)


@asynccontextmanager
async def serving(plan: Plan, folder: Path) -> AsyncIterator[Service]:
    """A runner with its state in a folder."""
    plan = replace(plan, server=Server(port=0), state=folder)
    async with running(lambda: plan, path=folder / "checks.yaml", clock=SystemClock(), version="0", journal=io.StringIO()) as (
        service,
        _,
        _,
    ):
        yield service


async def test_a_check_that_comes_back_is_confirmed_as_a_new_one(tmp_path: Path) -> None:
    """It was down when a reload took it out, and is up until its next failure is confirmed; an unchanged one stays down."""
    plan = made_plan(API)
    async with serving(plan, tmp_path) as service:
        service._down.add(plan.checks[0])
        await service.apply(replace(plan, service="trips"))
        assert plan.checks[0] in service._down
        for later in (made_plan(), plan):
            await service.apply(later)
        assert plan.checks[0] not in service._down


async def test_what_a_process_before_left_open_is_closed_where_its_check_is_gone(tmp_path: Path) -> None:
    """At the latest when the runner stops."""
    plan = made_plan(API)
    ledger = await asyncio.to_thread(open_ledger, tmp_path, SystemClock())
    file = str(tmp_path / "checks.yaml")
    await ledger.open_outage(file, Outage("gone", NOON, "refused", plan.service, plan.environment))
    await ledger.aclose()
    async with standing_in() as grafana:
        async with serving(replace(plan, grafana=Marking(grafana.url, TOKEN)), tmp_path):
            pass
        [region] = grafana.regions()
    assert ("check:gone" in region["tags"], "state:open" in region["tags"], region["time"]) == (True, False, NOON * 1000)
    ledger = await asyncio.to_thread(open_ledger, tmp_path, SystemClock())
    assert await ledger.open_outages(file, plan.service, plan.environment) == ()
    await ledger.aclose()


async def test_a_busy_port_leaves_nothing_open(tmp_path: Path) -> None:
    """The journal's thread and the state's are ended, although the runner never started."""
    before = set(threading.enumerate())
    busy = bind("127.0.0.1", 0, 1)
    plan = replace(made_plan(API), server=Server(port=busy.getsockname()[1]), state=tmp_path)
    with busy, pytest.raises(CannotListenError):
        async with running(lambda: plan, path=tmp_path / "checks.yaml", clock=SystemClock(), version="0", journal=io.StringIO()):
            raise AssertionError("it runs")
    opened = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith(("journal", "state"))]
    for thread in opened:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in opened)


async def test_a_service_that_never_started_can_be_drained(tmp_path: Path) -> None:
    """It is whole when it is made."""
    ledger = await asyncio.to_thread(open_ledger, tmp_path, SystemClock())
    service = Service(made_plan(API), ledger, SystemClock(), "0", io.StringIO(), file="checks.yaml")
    await service.drain()
    await service.aclose()
    await ledger.aclose()
    assert service.schedule.in_flight == ()


async def shown(service: Service, name: str) -> list[float]:
    """The values of a metric of the runner's own."""
    families = await asyncio.to_thread(lambda: list(service.registry.collect()))  # one of them reads /proc
    return [sample.value for family in families for sample in family.samples if sample.name == name]


async def test_a_reload_says_what_only_a_restart_can_change(tmp_path: Path) -> None:
    """GM1: another port or state folder is told by a metric and by what pages and POST /-/reload show, and nothing moves half."""
    plan = replace(made_plan(API), server=Server(port=0), state=tmp_path)
    async with serving(plan, tmp_path) as service:
        assert (service.warnings(), await shown(service, "outrider_restart_needed")) == ((), [0])
        await service.apply(replace(plan, server=Server(port=9), state=tmp_path / "elsewhere"))
        listen, state = service.warnings()
        assert listen == "server.listen is 127.0.0.1:9 in checks.yaml now, and the runner goes on with 127.0.0.1:0: restart it"
        assert state.startswith(f"state is {tmp_path / 'elsewhere'} in checks.yaml now")
        assert await shown(service, "outrider_restart_needed") == [1]
        assert (service.plan.state, service.plan.server.port) == (tmp_path, 0)
        await service.apply(plan)
        assert (service.warnings(), await shown(service, "outrider_restart_needed")) == ((), [0])


async def test_a_state_folder_that_is_removed_is_told(tmp_path: Path) -> None:
    """G6, m10: the metric, the page and the journal say that limits are counted in memory only."""
    folder, journal = tmp_path / "state", io.StringIO()
    plan = replace(made_plan(API), server=Server(port=0), state=folder)
    async with running(lambda: plan, path=tmp_path / "checks.yaml", clock=SystemClock(), version="0", journal=journal) as (service, _, _):
        assert await shown(service, "outrider_state_durable") == [1]
        await asyncio.to_thread(shutil.rmtree, folder)
        await service.ledger.limit("api", 1, 3, 60)
        assert await shown(service, "outrider_state_durable") == [0]
        [warning] = service.warnings()
        assert warning.startswith(f"Limits are counted in memory only, and what costs money or logs in is refused: {folder} can't be used")
    assert "limits are counted in memory only, and what costs money or logs in is refused" in journal.getvalue()
