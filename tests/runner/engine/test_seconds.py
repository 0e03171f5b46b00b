"""What a run's seconds are, to the millisecond: in virtual time, where no other load of the machine counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from probes.core import Reason, Result, Verdict
from probes.fields import Rate
from probes.probe import Context
from probes.target import Target
from runner.engine.execute import STUBBORN
from runner.engine.lag import PERIOD
from runner.state import StateLedger
from tests.support.clock import ShiftedClock
from tests.support.lab import Lab, lab, later, never, raising
from tests.support.virtual import LoopClock, running, virtually


@asynccontextmanager
async def bench_of(*targets: Target, **more: Any) -> AsyncIterator[Lab]:
    """A laboratory by the loop's own clock."""
    async with lab(*targets, clock=LoopClock(running()), **more) as bench:
        yield bench


def about(seconds: float, within: float = 1e-6) -> Any:
    """So many seconds; `within` is how coarsely a stall is measured where one is."""
    return pytest.approx(seconds, abs=within)


@virtually
async def test_a_timeout_comes_at_the_deadline_and_keeps_the_phases() -> None:
    """H5: Fail / timeout, in its phase and step; all seconds are the phases'."""

    async def run(ctx: Context) -> Result:
        ctx.step = "story"
        with ctx.phase("connect"):
            await later(0.03)
        with ctx.phase("processing"):
            return await never()

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.message == "no answer within 100ms in processing of step story"
    assert seen.phases == {"connect": about(0.03), "processing": about(0.07)}
    assert seen.seconds == about(0.1)


@virtually
async def test_a_timeout_takes_all_its_time_wherever_it_stood() -> None:
    """Also where the run waited outside its phases: 100 ms are told, not the 30 that the connection took."""

    async def run(ctx: Context) -> Result:
        with ctx.phase("connect"):
            await later(0.03)
        return await never()

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.reason, seen.seconds) == (Reason.TIMEOUT, about(0.1))


@virtually
async def test_an_answer_takes_the_time_of_its_phases() -> None:
    """What the run does between them is our own time; without any phase all of it is told."""

    async def phased(ctx: Context) -> Result:
        await later(0.1)
        with ctx.phase("processing"):
            await later(0.03)
        return Result.passed()

    async def bare(_: Context) -> Result:
        await later(0.1)
        return Result.passed()

    async with bench_of() as bench:
        assert (await bench.observe(phased)).seconds == about(0.03)
        assert (await bench.observe(bare)).seconds == about(0.1)


@virtually
async def test_a_run_that_swallows_its_cancelling_is_left_behind() -> None:
    """It is waited for no longer than it may take to leave; that it wouldn't end is logged, and the verdict is the deadline's."""
    done = asyncio.Event()

    async def run(_: Context) -> Result:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:  # what no probe should do
                continue
        return Result.passed()

    async with bench_of() as bench:
        began = running().time()
        seen = await bench.observe(run, timeout=0.05)
        assert running().time() - began == about(0.05 + STUBBORN)
        done.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (seen.reason, seen.seconds) == (Reason.TIMEOUT, about(0.05))
    assert bench.logged == ["under-test: kind scripted doesn't end when it is cancelled"]


@virtually
async def test_leaving_in_order_costs_the_verdict_nothing() -> None:
    """What a run does after its verdict has time of its own, beyond the deadline, and isn't the target's time."""
    left: list[str] = []

    async def run(ctx: Context) -> Result:
        try:
            await later(0.03)
            return Result.passed("arrived")
        finally:
            ctx.decided = ctx.clock.monotonic()
            await later(4.9)
            left.append("in order")

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.05, leaving=5.0)
    assert (seen.verdict, seen.message, left) == (Verdict.PASS, "arrived", ["in order"])
    assert seen.seconds == about(0.03)


@virtually
async def test_the_phases_of_leaving_are_none_of_its_seconds() -> None:
    """A journey's last steps have phases too; what is told ends with the verdict."""

    async def run(ctx: Context) -> Result:
        with ctx.phase("processing"):
            await later(0.03)
        ctx.decided = ctx.clock.monotonic()
        with ctx.phase("processing"):
            await later(1.0)
        return Result.passed()

    async with bench_of() as bench:
        seen = await bench.observe(run, leaving=5.0)
    assert (seen.verdict, seen.seconds) == (Verdict.PASS, about(0.03))


@virtually
async def test_leaving_has_an_end_too() -> None:
    """Who takes longer than the kind may take to leave is cut off; what it had decided was never told, so nothing is known."""

    async def run(ctx: Context) -> Result:
        ctx.decided = ctx.clock.monotonic()
        await later(60)
        return Result.passed()

    async with bench_of() as bench:
        began = running().time()
        seen = await bench.observe(run, timeout=0.05, leaving=5.0)
        assert running().time() - began == about(0.05 + 5.0)
    assert (seen.verdict, seen.seconds) == (Verdict.UNKNOWN, about(0.0))


@virtually
async def test_a_run_that_is_cut_at_its_deadline_leaves_in_order_too() -> None:
    """A journey that times out still logs out."""
    left: list[str] = []

    async def run(ctx: Context) -> Result:
        try:
            with ctx.phase("processing"):
                await asyncio.Event().wait()
        finally:
            await later(4.9)
            left.append("in order")
        return Result.passed()

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.03, leaving=5.0)
    assert (seen.reason, left) == (Reason.TIMEOUT, ["in order"])
    assert seen.seconds == about(0.03)


@virtually
async def test_one_crash_stops_no_other() -> None:
    """A probe that breaks, one that ends the process, one that is silent: another one beside them passes in its own time."""

    async def well(_: Context) -> Result:
        await later(0.01)
        return Result.passed()

    async with bench_of() as bench:
        outcomes = await asyncio.gather(
            bench.observe(raising(ZeroDivisionError())),
            bench.observe(raising(SystemExit(3))),
            bench.observe(lambda _: never(), timeout=0.05),
            bench.observe(well),
        )
    assert [o.verdict for o in outcomes] == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.FAIL, Verdict.PASS]
    assert outcomes[3].seconds == about(0.01)


@virtually
async def test_a_stall_of_our_own_loop_is_no_failure_of_the_target() -> None:
    """An answer that came in time and waited for our loop is a pass; the stall is noted."""

    async def run(_: Context) -> Result:
        await later(0.05)
        running().stall(0.3)
        await later(0.05)
        return Result.passed()

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.2)
    assert seen.verdict is Verdict.PASS
    assert seen.facts["loop_lag"] == about(0.3, 2 * PERIOD)


@virtually
async def test_a_timeout_after_a_stall_is_the_targets_where_it_had_its_time() -> None:
    """The loop stood still, the run got that time again, and still nothing came: the target is silent."""

    async def run(_: Context) -> Result:
        running().stall(0.06)
        return await never()

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.seconds == about(0.16, 2 * PERIOD)


@virtually
async def test_time_is_given_back_once() -> None:
    """However long the loop stands still, a run has no more than its timeout again."""

    async def run(_: Context) -> Result:
        running().stall(5.0)
        return await never()

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert seen.seconds == about(5.1, 2 * PERIOD)


@virtually
async def test_a_timeout_that_our_stalls_explain_is_starved() -> None:
    """The loop stands still again and again, so that the target never had its whole time: we can't tell."""

    async def run(_: Context) -> Result:
        while True:
            running().stall(0.15)
            await later(0.001)

    async with bench_of() as bench:
        seen = await bench.observe(run, timeout=0.3)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.STARVED)
    assert "no answer within 300ms, but the runner itself was busy for" in seen.message


class Slow:
    """A ledger that takes three seconds for a payment: another process holds the file."""

    def __init__(self, ledger: StateLedger, clock: ShiftedClock) -> None:
        self._ledger, self._clock = ledger, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def limit(self, name: str, count: int, most: int, window: float, *, until: float | None = None) -> tuple[int, ...]:
        self._clock.advance(3.0)
        return await self._ledger.limit(name, count, most, window, until=until)


@virtually
async def test_what_paying_takes_is_none_of_the_runs_time() -> None:
    """Where the ledger was slow the target has its whole timeout all the same, and the run's time begins with the send."""
    left: list[float] = []

    async def run(ctx: Context) -> Result:
        left.append(ctx.remaining())
        await later(0.02)
        return Result.passed()

    target = Target(name="api", url="http://api.test", limit=Rate.parse("5/1h"))
    async with bench_of(target, limits=Slow) as bench:
        began = bench.clock.time()
        seen = await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),), timeout=5.0)
    assert left == [about(5.0)]
    assert seen.seconds == about(0.02)
    assert seen.at - began == about(3.0)


class Dated:
    """A ledger that notes by how many seconds a run's slots are dated ahead."""

    def __init__(self, ledger: StateLedger, clock: ShiftedClock) -> None:
        self._ledger, self._clock = ledger, clock
        self.ahead: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def limit(self, name: str, count: int, most: int, window: float, *, until: float | None = None) -> tuple[int, ...]:
        assert until is not None
        self.ahead.append(until - self._clock.time())
        return await self._ledger.limit(name, count, most, window, until=until)


@virtually
async def test_the_slots_of_a_run_cover_its_leaving() -> None:
    """A journey that logs out after its deadline still sends: its slots count up to that moment, should the runner die meanwhile."""
    ledgers: list[Dated] = []

    def dated(ledger: StateLedger, clock: ShiftedClock) -> Dated:
        ledgers.append(Dated(ledger, clock))
        return ledgers[0]

    async def run(_: Context) -> Result:
        return Result.passed()

    target = Target(name="api", url="http://api.test", limit=Rate.parse("5/1h"))
    async with bench_of(target, limits=dated) as bench:
        await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),), timeout=5.0, leaving=30.0)
    assert ledgers[0].ahead == [about(5.0 + 30.0 + STUBBORN)]


def never_done(left: list[str]) -> Callable[[Context], Awaitable[Result]]:
    """A run without a verdict, whose clean-up takes a second. It notes in `left` that its clean-up came to its end."""

    async def run(_: Context) -> Result:
        try:
            return await never()
        finally:
            await later(1.0)
            left.append("in order")

    return run


@virtually
async def test_a_run_that_is_cut_short_finishes_its_clean_up() -> None:
    """A logout isn't lost at a drain, whatever is left of the timeout; the seconds are those until the cut."""
    left: list[str] = []
    for timeout in (0.05, 60.0):
        async with bench_of() as bench:
            running().call_later(0.03, bench.execute.cut_short)
            began = running().time()
            seen = await bench.observe(never_done(left), timeout=timeout, leaving=5.0)
            took = running().time() - began
        assert (seen.reason, left.pop()) == (Reason.CANCELLED, "in order")
        assert seen.seconds == pytest.approx(0.03, abs=0.002)
        assert took == pytest.approx(1.03, abs=0.01)


@virtually
async def test_a_run_that_ignores_being_cut_short_holds_nothing_up() -> None:
    """A drain waits for its clean-up, not for its timeout."""

    async def run(_: Context) -> Result:
        with suppress(asyncio.CancelledError):
            return await never()
        return await never()

    async with bench_of() as bench:
        running().call_later(0.03, bench.execute.cut_short)
        began = running().time()
        seen = await bench.observe(run, timeout=60.0, leaving=1.0)
        took = running().time() - began
    assert seen.reason is Reason.CANCELLED
    assert took == pytest.approx(1.28, abs=0.01)


@virtually
async def test_a_late_run_that_is_cut_short_too_finishes_its_clean_up() -> None:
    """Its verdict was known at the deadline: the cut changes neither that nor its clean-up."""
    left: list[str] = []
    async with bench_of() as bench:
        running().call_later(0.5, bench.execute.cut_short)
        seen = await bench.observe(never_done(left), timeout=0.05, leaving=5.0)
    assert (seen.reason, left) == (Reason.TIMEOUT, ["in order"])


@virtually
async def test_a_run_that_is_cut_short_is_no_timeout() -> None:
    """Where it is still leaving at its deadline, what it would have been told by then nobody knows."""

    async def run(_: Context) -> Result:
        try:
            return await never()
        finally:
            await later(1.0)

    async with bench_of() as bench:
        running().call_later(0.03, bench.execute.cut_short)
        seen = await bench.observe(run, timeout=0.05, leaving=5.0)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.CANCELLED)
