"""What an always-on runner writes into Grafana of outages, and what it keeps until that is done: against a stand-in, in made-up time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from judge.observation import Observation, Outage
from runner.config.plan import Marking, Plan
from runner.engine.execute import Execute
from runner.service.deployments import FLUSH, Deployments
from runner.sinks.health import Health
from runner.state import STATE_FILE, StateLedger, open_ledger
from tests.support.clock import FakeClock
from tests.support.grafana import TOKEN, StandInGrafana, standing_in
from tests.support.metrics import Counted
from tests.support.observations import failed, made_check, made_plan, passed

API, CACHE = made_check("api"), made_check("cache")
FILE = "/etc/outrider/checks.yaml"
OPEN = "state:open"


@pytest.fixture
async def grafana() -> AsyncIterator[StandInGrafana]:
    """A stand-in that is up."""
    async with standing_in() as up:
        yield up


@dataclass
class Desk:
    """The part of a runner that speaks to Grafana, its plan, and what it logged."""

    plan: Plan
    ledger: StateLedger
    clock: FakeClock
    file: str = FILE
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.deployments = Deployments(
            lambda: self.plan,
            _nobody,
            health=lambda: Health(self.plan, self.clock),
            metrics=Counted(self.clock),
            ledger=self.ledger,
            file=self.file,
            clock=self.clock,
            log=lambda _, text: self.logged.append(text),
        )

    async def start(self) -> None:
        """As a runner does."""
        await self.deployments.restore(self.plan)
        self.deployments.outages.plan(self.plan)

    def saw(self, *seen: Observation) -> None:
        """Hands observations over, a second apart."""
        for one in seen:
            self.deployments.outages(replace(one, at=self.clock.time()))
            self.clock.advance(1)

    async def reload(self, plan: Plan) -> None:
        """As a runner does."""
        self.deployments.outages.plan(plan)
        self.plan = plan

    async def flush(self) -> None:
        """A minute later."""
        self.clock.advance(FLUSH)
        await self.deployments.send()

    async def left_open(self) -> list[str]:
        """The checks whose outages a next process would go on with."""
        found: tuple[Outage, ...] = await self.ledger.open_outages(self.file, self.plan.service, self.plan.environment)
        return [one.check for one in found]


def _nobody(_: Plan) -> Execute:
    raise AssertionError("nothing is asked here")


def marking(grafana: StandInGrafana, folder: Path | None, *checks: Any) -> Plan:
    """A plan of these checks that marks in this Grafana."""
    return replace(made_plan(*(checks or (API, CACHE))), grafana=Marking(grafana.url, TOKEN), state=folder)


@asynccontextmanager
async def desk(plan: Plan, clock: FakeClock | None = None, *, file: str = FILE) -> AsyncIterator[Desk]:
    """A process, from its start to its end."""
    clock = clock or FakeClock()
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock)
    try:
        made = Desk(plan, ledger, clock, file)
        await made.start()
        yield made
        await made.deployments.send()
    finally:
        await ledger.aclose()


def tags(grafana: StandInGrafana) -> list[tuple[str, bool]]:
    """Of each annotation the check that it is about, and whether it is open."""
    found = [(tag.removeprefix("check:"), OPEN in one["tags"]) for one in grafana.regions() for tag in one["tags"] if "check:" in tag]
    return sorted(found)


async def test_what_is_open_in_grafana_is_in_the_state(tmp_path: Path, grafana: StandInGrafana) -> None:
    """From its begin to its end, and no longer."""
    async with desk(marking(grafana, tmp_path)) as at:
        at.saw(failed(API), failed(API))
        await at.deployments.send()
        assert (tags(grafana), await at.left_open()) == ([("api", True)], ["api"])
        at.saw(passed(API))
        await at.deployments.send()
        assert (tags(grafana), await at.left_open()) == ([("api", False)], [])


async def test_the_next_process_ends_what_this_one_left(tmp_path: Path, grafana: StandInGrafana) -> None:
    """H1: Killed before the end was sent: the state has it still, and the annotation keeps its begin."""
    clock = FakeClock()
    async with desk(marking(grafana, tmp_path), clock) as at:
        at.saw(failed(API), failed(API))
        await at.deployments.send()
        begun = grafana.regions()[0]["time"]
        at.saw(passed(API))
        at.deployments._waiting.clear()  # what a kill takes away
    clock.advance(3600)
    async with desk(marking(grafana, tmp_path), clock) as at:
        at.saw(failed(API), failed(API), passed(API))
    [region] = grafana.regions()
    assert (tags(grafana), region["time"]) == ([("api", False)], begun)
    assert region["text"].startswith("api failed for 1 h")


async def test_an_end_that_grafana_does_not_take_is_in_the_spool(tmp_path: Path, grafana: StandInGrafana) -> None:
    """H1: The state lets go of it there: a flush by any process closes the annotation."""
    async with desk(marking(grafana, tmp_path)) as at:
        at.saw(failed(API), failed(API))
        await at.deployments.send()
        grafana.always = 500
        await at.reload(marking(grafana, tmp_path, CACHE))
        await at.deployments.send()
        assert (tags(grafana), await at.left_open()) == ([("api", True)], [])
        grafana.always = None
        await at.flush()
    assert tags(grafana) == [("api", False)]
    assert ", until it was removed from checks.yaml" in grafana.regions()[0]["text"]


async def test_without_a_folder_an_end_waits_in_memory_until_grafana_takes_it(grafana: StandInGrafana) -> None:
    """Nothing outlives this process, but within it no annotation stays open; that it waits is said once."""
    async with desk(marking(grafana, None)) as at:
        at.saw(failed(API), failed(API))
        await at.deployments.send()
        grafana.always = 500
        at.saw(passed(API))
        for _ in range(3):
            await at.flush()
        assert [text for text in at.logged if "neither written nor kept" in text] == [at.logged[-1]]
        grafana.always = None
        await at.flush()
        await at.flush()
    assert tags(grafana) == [("api", False)]
    assert len([text for text in at.logged if "region 'outage of api'" in text]) == 1


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_end_waits_for_a_grafana_that_left_the_file(tmp_path: Path, grafana: StandInGrafana, *, restarted: bool) -> None:
    """Its section was taken out while the outage lasted, and is back later; an outage in between is not annotated."""
    plan = marking(grafana, tmp_path)
    async with desk(plan) as before, desk(plan) as after:
        before.saw(failed(API), failed(API))
        await before.deployments.send()
        at = after if restarted else before
        if restarted:
            await after.start()
        await at.reload(replace(plan, grafana=None))
        at.saw(passed(API), failed(CACHE), failed(CACHE), passed(CACHE))
        await at.flush()
        assert tags(grafana) == [("api", True)]
        await at.reload(plan)
        await at.deployments.send()
    assert tags(grafana) == [("api", False)]


async def test_a_renamed_service_ends_its_outages_under_the_old_name(tmp_path: Path, grafana: StandInGrafana) -> None:
    """The annotation that was opened is the one that is closed; the check that still fails begins another one."""
    plan = marking(grafana, tmp_path)
    async with desk(plan) as at:
        at.saw(failed(API), failed(API))
        await at.deployments.send()
        await at.reload(replace(plan, service="trips"))
        at.saw(failed(API), failed(API))
    found = [({tag for tag in one["tags"] if tag.startswith("service:")}, OPEN in one["tags"]) for one in grafana.regions()]
    assert found == [({"service:roadtrip"}, False), ({"service:trips"}, True)]


async def test_a_state_that_can_not_be_written_stops_no_annotation(tmp_path: Path, grafana: StandInGrafana) -> None:
    """It is said that a restart won't know."""
    async with desk(marking(grafana, tmp_path)) as at:
        await at.ledger._transaction(lambda: at.ledger._connection.execute("DROP TABLE outages"))
        at.saw(failed(API), failed(API), passed(API))
        await at.deployments.send()
    assert tags(grafana) == [("api", False)]
    assert any(text.startswith("a restart won't know how the outage of api stands: the state can't be read") for text in at.logged)


async def test_a_runner_starts_without_the_outages_of_a_damaged_state(tmp_path: Path, grafana: StandInGrafana) -> None:
    """Nothing to go on with is no reason not to watch."""
    async with desk(marking(grafana, tmp_path)) as at:
        await at.ledger._transaction(lambda: at.ledger._connection.execute("DROP TABLE outages"))
        await at.deployments.restore(at.plan)
        assert at.logged[-1].startswith("the outages of the process before aren't known: ")
    assert await asyncio.to_thread((tmp_path / STATE_FILE).exists)


async def test_two_runners_of_different_files_end_only_their_own(tmp_path: Path, grafana: StandInGrafana) -> None:
    """They share the state, and the one that starts later has no such check."""
    async with desk(marking(grafana, tmp_path)) as at:
        at.saw(failed(API), failed(API))
        await at.deployments.send()
        async with desk(marking(grafana, tmp_path, CACHE), file="/etc/outrider/partners.yaml") as other:
            assert await other.left_open() == []
        assert (tags(grafana), await at.left_open()) == ([("api", True)], ["api"])


def telling(target: str, revision: str) -> Observation:
    """A pass of a target's check that tells its revision."""
    return passed(made_check(target, target=target), facts={"revision": revision})


async def test_outages_and_releases_stay_true_over_a_restart(tmp_path: Path, grafana: StandInGrafana) -> None:
    """G3b: each target has marks of its own; a restart goes on with the outage and opens no second one.

    The first revision after a restart is no change; the next one of either target is marked as its own, a rollback with it.
    """
    clock = FakeClock()
    plan = marking(grafana, tmp_path)
    async with desk(plan, clock) as at:
        for revision in ("aaaaaaa1", "bbbbbbb2"):
            at.deployments(replace(telling("api", revision), at=clock.time()))
            at.deployments(replace(telling("web", "ccccccc1"), at=clock.time()))
            clock.advance(10)
        at.saw(failed(API), failed(API))
    clock.advance(60)
    async with desk(plan, clock) as at:
        at.deployments(replace(telling("api", "bbbbbbb2"), at=clock.time()))
        at.deployments(replace(telling("web", "ccccccc1"), at=clock.time()))
        at.deployments(replace(telling("api", "aaaaaaa1"), at=clock.time() + 5))
        at.deployments(replace(telling("web", "ddddddd2"), at=clock.time() + 5))
        for number in range(30):
            at.deployments(replace(telling("web", "ccccccc1"), at=clock.time() + 10 + number * 10))
        at.saw(failed(API), passed(API))
    assert tags(grafana) == [("api", False)]
    marks = [sorted(tag for tag in one["tags"] if tag.startswith(("target:", "revision:"))) for one in grafana.regions()]
    assert [one for one in marks if one] == [
        ["revision:bbbbbbb2", "target:api"],
        ["revision:aaaaaaa1", "target:api"],
        ["revision:ddddddd2", "target:web"],
        ["revision:ccccccc1", "target:web"],
    ]
