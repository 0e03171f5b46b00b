"""A day of the committed checks against the stand-in, its caches and limits on: no false red, nothing exceeded by one."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from demo.standin import StandIn
from judge.observation import Observation
from probes.core import Verdict
from probes.wire.wire import Wire
from runner.config.plan import Every, Plan
from runner.config.read import read_plan
from runner.engine.execute import Execute
from runner.engine.schedule import Schedule
from runner.sinks.dispatch import Emit
from runner.state import STATE_FILE, LastSeen, open_ledger
from tests.support.simulation import Simulation
from tests.support.sinks import Calling

CHECKS = Path(__file__).parents[2] / "checks.yaml"
DAY = 86400.0
TOKENS = 20_000  # a day, by checks.yaml
STORIES = 10  # a user and day, by the application


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_day_of_the_committed_checks_is_green_and_within_its_limits(tmp_path: Path) -> None:
    """Twenty-four simulated hours, on both sides: every slot one run, every run green, every limit and budget kept.

    Time jumps only while no run is in flight, so that latencies are real.
    """
    simulation = Simulation()
    missed: Counter[str] = Counter()
    red: list[Observation] = []
    ran: Counter[str] = Counter()

    def look(seen: Observation) -> None:
        ran[seen.check.name] += 1
        if seen.verdict is not Verdict.PASS:
            red.append(seen)

    async with StandIn(clock=simulation) as standin:
        plan = await asyncio.to_thread(read_plan, CHECKS, environ={**standin.environment(), "STATE_DIR": str(tmp_path / "state")})
        ledger, wire = await asyncio.to_thread(open_ledger, tmp_path / "state", simulation), Wire()
        execute = Execute(
            plan=plan,
            wire=wire,
            ledger=ledger,
            clock=simulation,
            rng=random.Random(7),  # noqa: S311 - the same day each time
            version="test",
        )
        schedule = Schedule(
            emit=Emit({"look": Calling(look), "state": LastSeen(ledger)}, failed=lambda name: missed.update([f"sink {name}"])),
            missed=lambda check, reason: missed.update([f"{check.name} {reason}"]),
            lagged=lambda _: None,
            clock=simulation,
            timer=simulation,
            cadences=simulation,
        )
        schedule.start(plan, execute)
        for _ in range(24):
            await simulation.run_for(DAY / 24, lambda: schedule.in_flight)
            await ledger.prune()
        await schedule.drain(10)
        await wire.aclose()
        await ledger.aclose()

    assert [(o.check.name, o.reason, o.message) for o in red[:5]] == []
    assert dict(missed) == {}
    for name, expected in _expected(plan).items():
        assert expected - 1 <= ran[name] <= expected + 2, name
    assert ran["plan-a-trip"] <= STORIES
    await asyncio.to_thread(_within, tmp_path / "state" / STATE_FILE, plan)


def _within(state: Path, plan: Plan) -> None:
    """Holds the ledger's own book against the plan's limits and the budget: by no window exceeded."""
    with closing(sqlite3.connect(state)) as book:
        spent = book.execute("SELECT sum(amount) FROM spending GROUP BY budget, starts").fetchall()
        assert spent
        assert max(amount for (amount,) in spent) <= TOKENS
        for target in plan.targets.values():
            if target.limit:
                slots = [at for (at,) in book.execute("SELECT at FROM slots WHERE name = ? ORDER BY at", (target.name,))]
                assert slots, target.name
                assert _most_within(slots, target.limit.window) <= target.limit.amount, target.name


def _most_within(moments: list[float], window: float) -> int:
    """How many of these sorted moments lie in the fullest stretch of so many seconds."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def _expected(plan: Plan) -> dict[str, float]:
    """Runs a day by check."""
    return {p.check.name: DAY / p.schedule.seconds for p in plan.checks if isinstance(p.schedule, Every)}
