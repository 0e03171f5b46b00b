"""What a reload leaves of the schedule, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import Observation
from probes.core import QuotaRefused
from runner.config.plan import Planned
from runner.config.slots import grace
from tests.support.clock import NOON
from tests.support.properties import AS_FOUND
from tests.support.scheduling import Runs, World, plan, planned, slots_of


async def test_unchanged_checks_keep_their_rhythm_over_a_reload() -> None:
    """A reload neither repeats nor skips a slot of a check that stays; changed and new ones run soon; removed ones stop."""
    world = World(seen=dict.fromkeys(("stays", "goes", "changes"), NOON))
    world.start(planned("stays", 30), planned("goes", 30), planned("changes", 300))
    await world.simulation.run_for(40)
    ran_before = len(world.runs.of("goes"))
    world.schedule.swap(plan(planned("stays", 30), planned("changes", 300, mark="b"), planned("new", 300)), world.runs)
    reloaded = world.simulation.time()
    await world.simulation.run_for(80)
    assert world.runs.of("stays") == pytest.approx(slots_of("stays", 30, NOON, NOON + 120), abs=1e-3)
    assert len(world.runs.of("goes")) == ran_before
    assert reloaded <= world.runs.of("new")[0] <= reloaded + 10
    assert any(reloaded <= at <= reloaded + 10 for at in world.runs.of("changes"))
    assert set(world.schedule._checks) == {"stays", "changes", "new"}


async def test_a_run_of_a_removed_check_ends_unseen() -> None:
    """What is in flight when its check is removed or changed ends, and is not emitted; an unchanged check's run is."""
    world = World(takes=20.0, seen=dict.fromkeys(("stays", "goes", "changes"), NOON))
    world.start(planned("stays", 30), planned("goes", 30), planned("changes", 30))
    while len(world.runs.began) < 3:
        await world.simulation.run_for(1)
    in_flight = {task.get_name() for task in world.schedule.in_flight}
    ended = {o.check.name for o in world.emitted}
    old = world.schedule.swap(plan(planned("stays", 30), planned("changes", 30, mark="b")), Runs(world.simulation))
    assert {task.get_name() for task in old} == in_flight
    await world.simulation.run_for(20)
    assert all(task.done() for task in old)
    late = {o.check.name for o in world.emitted if o.seconds == 20.0} - ended
    assert late == {"stays"} - ended


class RefusedMidway(Runs):
    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        await super().observe(planned, lag=lag)
        raise QuotaRefused("limit")


async def test_a_removed_check_that_is_refused_is_not_missed() -> None:
    """Its run was in flight at the reload, and a limit ended it: a series that is gone isn't counted again, and nothing is logged."""
    world = World(seen={"goes": NOON})
    world.runs = RefusedMidway(world.simulation, takes=20.0)
    world.start(planned("goes", 30))
    while not world.runs.began:
        await world.simulation.run_for(1)
    [run] = world.schedule.swap(plan(planned("stays", 30)), Runs(world.simulation))
    await world.simulation.run_for(20)
    assert run.done()
    assert (world.missed, world.logged) == ([], [])


steps = st.lists(st.tuples(st.sampled_from(["run", "stall", "swap"]), st.floats(0.1, 50)), min_size=1, max_size=8)


@given(steps=steps, interval=st.sampled_from([1.0, 7.0, 15.0, 60.0, 90.0]), takes=st.sampled_from([0.0, 0.5, 20.0]))
@settings(max_examples=30, deadline=None, phases=AS_FOUND)
def test_no_slot_is_lost_or_used_twice(steps: Sequence[tuple[str, float]], interval: float, takes: float) -> None:
    """Whatever stalls and reloads come: each slot is one run or one missed run, in order, and no run overlaps another."""

    async def story() -> None:
        world = World(takes=takes, seen={"a": NOON})
        world.start(planned("a", interval))
        for what, seconds in steps:
            if what == "stall":
                world.simulation.jump(seconds)
                await world.simulation.run_for(0)
            elif what == "swap":
                world.schedule.swap(plan(planned("a", interval), planned("b", seconds)), world.runs)
            await world.simulation.run_for(seconds)
        await world.simulation.run_for(interval + grace(interval) + takes)
        began = world.runs.of("a")
        missed = sum(1 for name, _ in world.missed if name == "a")
        slots = len(slots_of("a", interval, NOON, world.simulation.time()))
        assert slots - 1 <= len(began) + missed <= slots
        assert all(later - earlier >= takes for earlier, later in pairwise(began))

    asyncio.run(story())


async def test_a_changed_check_that_is_refused_says_so_again() -> None:
    """What was said of the check before its change was said of another one; an unchanged check's is not said twice."""
    world = World(seen={"a": NOON, "b": NOON})
    world.runs.raises = {"a": QuotaRefused("limit"), "b": QuotaRefused("limit")}
    world.start(planned("a", 30), planned("b", 30))
    await world.simulation.run_for(30)
    world.schedule.swap(plan(planned("a", 30, mark="b"), planned("b", 30)), world.runs)
    await world.simulation.run_for(60)
    assert sorted(world.logged) == ["a doesn't run for now: limit"] * 2 + ["b doesn't run for now: limit"]
