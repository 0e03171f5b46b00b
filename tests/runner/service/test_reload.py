"""A changed file goes on with the new plan, a bad one with the old; jobs come round and harm nothing."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.config.errors import NOWHERE, PlanError, Problem
from runner.config.plan import Plan
from runner.engine.cadences import APSchedulerCadences, regular
from runner.service.background import BackgroundJobs
from runner.service.reload import Reload
from tests.support.clock import FakeClock
from tests.support.simulation import Simulation


class Station:
    """A Reload of a file whose text is the plan's service; `bad` can't be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.applied: list[str] = []
        self.told: list[bool] = []
        self.now = 1000.0
        self.logged: list[str] = []
        self.applying: Callable[[], Any] = lambda: asyncio.sleep(0)
        self.files: tuple[Path, ...] = ()
        self.reload = Reload(
            path=path,
            load=self.load,
            apply=self.apply,
            report=self.told.append,
            time=lambda: self.now,
            files=lambda: self.files,
            log=lambda _, text: self.logged.append(text),
        )

    def load(self) -> Plan:
        text = self.path.read_text()
        if text == "bad":
            raise PlanError("checks.yaml", [Problem(NOWHERE, (), "is bad")])
        if text == "broken":
            raise ValueError("Port could not be cast to integer value as 'Tops3cret'")
        return Plan(text, "test", "here", ())

    async def apply(self, plan: Plan) -> None:
        await self.applying()
        self.applied.append(plan.service)

    async def write(self, text: str) -> None:
        await asyncio.to_thread(self.path.write_text, text)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """With a first plan in its file."""
    path = tmp_path / "checks.yaml"
    path.write_text("one")
    return Station(path)


async def test_a_good_file_is_applied_and_told(station: Station) -> None:
    """A reload by hand answers with nothing to complain of."""
    assert await station.reload() == ""
    assert (station.applied, station.told) == (["one"], [True])
    assert "is loaded: 0 checks" in station.logged[0]


async def test_a_bad_file_keeps_the_old_plan_and_says_so(station: Station) -> None:
    """Nothing is applied; the answer, the log and the metric say what is wrong; a missing file is as bad."""
    await station.write("bad")
    assert "is bad" in await station.reload()
    await asyncio.to_thread(station.path.unlink)
    assert "No such file" in await station.reload()
    assert (station.applied, station.told) == ([], [False, False])
    assert station.logged[0].endswith(
        "checks.yaml has errors, so the runner keeps its present configuration:\nchecks.yaml  is bad\n1 error"
    )


async def test_a_reading_that_breaks_repeats_nothing_of_the_file(station: Station) -> None:
    """XM11: where reading the file breaks, neither the reply nor the journal repeats the error's words, which may hold a password."""
    await station.write("broken")
    assert await station.reload() == "it can't be read: a bug of Outrider (ValueError)"
    assert station.told == [False]
    assert not [text for text in station.logged if "Tops3cret" in text]


async def test_a_changed_file_is_reloaded_once_it_is_whole(station: Station) -> None:
    """A content that is the same at two looks is loaded, once; what an editor has half written isn't."""
    await station.reload.look()
    await station.reload.look()
    assert station.applied == []
    await station.write("tw")
    await station.reload.look()
    await station.write("two")
    await station.reload.look()
    assert station.applied == []
    for _ in range(3):
        await station.reload.look()
    assert station.applied == ["two"]


async def test_a_bad_change_is_said_once(station: Station) -> None:
    """A file that stays bad isn't complained of at every look, and its mending is seen."""
    await station.reload.look()
    await station.write("bad")
    for _ in range(5):
        await station.reload.look()
    assert station.told == [False]
    await station.write("mended")
    for _ in range(3):
        await station.reload.look()
    assert (station.told, station.applied) == ([False, True], ["mended"])


async def test_a_touched_file_is_no_change(station: Station) -> None:
    """The content counts, not the time that stands beside it."""
    await station.reload.look()
    await asyncio.to_thread(os.utime, station.path, (1, 1))
    for _ in range(3):
        await station.reload.look()
    assert station.told == []


async def test_a_secret_that_is_changed_is_a_change(station: Station, tmp_path: Path) -> None:
    """A file that the plan's values came from: a password that was rotated is taken over without a signal. One more file is none."""
    key = tmp_path / "key"
    await asyncio.to_thread(key.write_text, "old")
    await station.reload.look()
    station.files = (key,)
    for _ in range(3):
        await station.reload.look()
    assert station.told == []
    await asyncio.to_thread(key.write_text, "new")
    for _ in range(4):
        await station.reload.look()
    assert station.applied == ["one"]


async def test_a_link_that_is_switched_is_a_change(tmp_path: Path) -> None:
    """Kubernetes switches a link to a new folder: the content behind the path is another."""
    await asyncio.to_thread(_two_versions, tmp_path)
    station = Station(tmp_path / "data" / "checks.yaml")
    await station.reload.look()
    await asyncio.to_thread(_switch, tmp_path)
    for _ in range(3):
        await station.reload.look()
    assert station.applied == ["b"]


def _two_versions(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "checks.yaml").write_text(name)
    (folder / "data").symlink_to("a")


def _switch(folder: Path) -> None:
    (folder / "new").symlink_to("b")
    (folder / "new").rename(folder / "data")


async def test_reloads_come_one_after_another(station: Station) -> None:
    """A second one waits for the first, and reads the file when its turn has come; a look meanwhile does nothing."""
    going, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        going.set()
        await go.wait()

    station.applying = slowly
    first = asyncio.ensure_future(station.reload())
    await going.wait()
    second = asyncio.ensure_future(station.reload())
    await station.write("two")
    await station.reload.look()
    assert station.applied == []
    go.set()
    await asyncio.gather(first, second)
    assert station.applied == ["one", "two"]


async def test_a_background_job_comes_round_and_never_beside_itself() -> None:
    """Each interval once; one that still works is left to it; one that breaks is told and comes again."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    simulation = Simulation(real=False)
    jobs = BackgroundJobs(simulation)
    done: list[str] = []

    async def quick() -> None:
        done.append("quick")

    async def long() -> None:
        done.append("long")
        await simulation.sleep(25)

    async def broken() -> None:
        raise OSError("disk")

    for name, work in (("quick", quick), ("long", long), ("broken", broken)):
        jobs.every(10, name, work)
    simulation.start()
    await simulation.run_for(59)
    simulation.stop()
    await jobs.drain(0.01)
    assert (done.count("quick"), done.count("long"), told) == (6, 2, ["the background job broken broke"] * 6)


async def test_apscheduler_wakes_after_the_clock_is_set_back() -> None:
    """A clock that is set back by an hour doesn't silence every check for an hour."""
    clock = FakeClock()
    cadences = APSchedulerCadences(clock)
    cadences.start()
    came = asyncio.Event()
    cadences.add("x", regular(0.05), came.set)
    job = cadences._scheduler.get_job("x")
    job.modify(next_run_time=job.next_run_time + timedelta(hours=1))  # as it stands after the clock went back
    cadences._watch_clock(cadences._ahead() + 3600)
    await asyncio.wait_for(came.wait(), 5)
    cadences.stop()
    await asyncio.sleep(0)


async def test_a_refused_file_is_known_until_it_is_mended(station: Station) -> None:
    """U12: since the first refusal, with the present errors, and no word of a start; a good file ends it."""
    await station.write("bad")
    assert await station.reload() == "checks.yaml  is bad\n1 error"
    station.now = 1060.0
    await asyncio.to_thread(station.path.unlink)
    await station.reload()
    assert station.reload.refused is not None
    assert station.reload.refused.since == 1000.0
    assert "No such file" in station.reload.refused.errors[0]
    await station.write("two")
    await station.reload()
    assert station.reload.refused is None


async def test_a_runner_without_descriptors_accuses_no_file(station: Station) -> None:
    """m9: files can't be read for lack of descriptors: nobody changed them, nothing is reloaded, and nothing is said of errors."""
    await station.reload.look()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        await station.reload.look()
        await station.reload.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await station.reload.look()
    assert station.logged == []
