"""A day of the committed checks against the stand-in, its caches and limits on: no false red, nothing exceeded by one."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
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
from tests.support import quota_day
from tests.support.clock import NOON
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


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_day_keeps_every_budget_and_limit_to_the_unit_across_a_kill(tmp_path: Path) -> None:
    """Checks that ask for too much, killed by SIGKILL while a model is asked: nothing is spent twice, and nothing that was free is refused.

    The server's own list says what was sent. The one reservation that the kill left open counts as spent.
    """
    command = [sys.executable, "-m", "tests.support.quota_day", str(tmp_path), "6"]
    first = await asyncio.create_subprocess_exec(*command, cwd=CHECKS.parent)
    assert await first.wait() == -signal.SIGKILL
    before = await asyncio.to_thread(_requests, tmp_path)
    died = max(max(moments) for moments in before.values())
    assert died - NOON == pytest.approx(6 * 3600, abs=600)
    missed = await quota_day.go_on(tmp_path, Simulation(died + 1), (NOON + DAY - died) / 3600)
    assert {name.partition(" ")[2] for name in missed} == {"quota"}

    sent = await asyncio.to_thread(_requests, tmp_path)
    midnight = NOON + DAY / 2
    first_day = {path: sum(moment < midnight for moment in moments) for path, moments in sent.items()}
    spent = await asyncio.to_thread(_spent_by_day, tmp_path / "state" / STATE_FILE)
    tokens, cost = (spent[name] for name in sorted(spent, key=lambda name: "cost" in name))
    worst = tokens[0] - first_day["/tokens"] * quota_day.USED + quota_day.USED  # what the killed run had reserved
    assert worst > quota_day.USED
    assert quota_day.TOKENS - worst < tokens[0] <= quota_day.TOKENS  # one more run would not have fitted
    assert tokens[1] == (len(sent["/tokens"]) - first_day["/tokens"]) * quota_day.USED <= quota_day.TOKENS
    of_one = quota_day.USED / 1000
    assert cost == [pytest.approx(first_day["/cost"] * of_one), pytest.approx((len(sent["/cost"]) - first_day["/cost"]) * of_one)]
    assert all(quota_day.COST - worst / 1000 < amount <= quota_day.COST for amount in cost)
    assert len([moment for moment in sent["/cost"] if died < moment < midnight]) == 0  # it was spent before

    moments = sent["/api"]
    assert _most_within(moments, 3599.0) == quota_day.LIMIT  # a request arrives a little later than it was allowed
    assert len(moments) == pytest.approx(24 * quota_day.LIMIT, abs=2)


def _requests(folder: Path) -> dict[str, list[float]]:
    """By path, when the server was asked."""
    found: dict[str, list[float]] = {}
    for line in (folder / "requests").read_text().splitlines():
        path, moment = line.split()
        found.setdefault(path, []).append(float(moment))
    return found


def _spent_by_day(state: Path) -> dict[str, list[float]]:
    """By budget, what the ledger counts in each of its windows, the first one first."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(state)) as book:
        for budget, amount in book.execute("SELECT budget, sum(amount) FROM spending GROUP BY budget, starts ORDER BY starts"):
            found.setdefault(budget, []).append(amount)
    return found
