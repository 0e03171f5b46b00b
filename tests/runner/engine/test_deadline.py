"""Runs end in time, whatever a probe does with its cancelling, and our own stalls are nobody's failure.

What is marked `alone` is measured by this machine's own clock; test_seconds.py makes the same promises in virtual time.
"""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from probes.core import Reason, Result, Verdict
from probes.probe import Context
from tests.support import servers
from tests.support.lab import Run, lab, later, never, raising


@pytest.mark.alone
async def test_a_timeout_says_where_it_stood_and_keeps_the_phases() -> None:
    """A server that accepts and says nothing: fail / timeout at the deadline, in its phase and step, the connect time kept."""

    async def run(ctx: Context) -> Result:
        ctx.step = "story"
        sock = await ctx.wire.dial(ctx, server.host, server.port)
        with sock, ctx.phase("processing"):
            await asyncio.get_running_loop().sock_recv(sock, 1)
        return Result.passed()

    async with servers.silent() as server, lab() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.message == "no answer within 100ms in processing of step story"
    assert list(seen.phases) == ["resolve", "connect", "processing"]
    assert 0.1 <= seen.seconds < 1.0
    assert sum(seen.phases.values()) == pytest.approx(seen.seconds, abs=0.05)
    assert seen.facts["ip"] == "127.0.0.1"


async def test_real_sockets_give_the_same_reasons() -> None:
    """Refusing, resetting and unreachable addresses, by the wire itself."""

    def dialling(host: str, port: int) -> Run:
        async def run(ctx: Context) -> Result:
            stream = await ctx.wire.stream(ctx, host, port)
            with ctx.phase("processing"):
                await stream.write(b"hello")
                await stream.read()
            return Result.passed()

        return run

    async with servers.refusing() as refusing, servers.resetting(once_asked=True) as resetting, lab() as bench:
        refused = await bench.observe(dialling(refusing.host, refusing.port))
        reset = await bench.observe(dialling(resetting.host, resetting.port))
        unreachable = await bench.observe(dialling(servers.NO_ROUTE, 80))
    assert (refused.reason, reset.reason, unreachable.reason) == (Reason.REFUSED, Reason.RESET, Reason.UNREACHABLE)
    assert refused.message.startswith("Connection refused by 127.0.0.1:")
    assert reset.message.endswith("in processing")


@pytest.mark.alone
async def test_a_run_that_swallows_its_cancelling_is_left_behind() -> None:
    """The observation comes soon after the deadline, whatever the probe does; that it wouldn't end is logged."""
    done = asyncio.Event()

    async def run(_: Context) -> Result:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:  # what no probe should do
                continue
        raise ValueError("nobody listens any more")

    async with lab() as bench:
        started = time.monotonic()
        seen = await bench.observe(run, timeout=0.05)
        assert time.monotonic() - started < 1.0
        done.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert seen.reason is Reason.TIMEOUT
    assert 0.05 <= seen.seconds < 0.3
    assert bench.logged == ["under-test: kind scripted doesn't end when it is cancelled"]


async def test_a_result_after_the_deadline_comes_too_late() -> None:
    """A probe that turns its cancelling into a pass has not passed."""

    async def run(_: Context) -> Result:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Result.passed()
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.02)
    assert seen.reason is Reason.TIMEOUT


@pytest.mark.alone
async def test_leaving_in_order_costs_the_verdict_nothing() -> None:
    """What a run does after its verdict has time of its own, beyond the deadline, and isn't the target's time."""
    left: list[str] = []

    async def run(ctx: Context) -> Result:
        try:
            return Result.passed("arrived")
        finally:
            ctx.decided = ctx.clock.monotonic()
            await asyncio.wait_for(later(0.4), 5)
            left.append("in order")

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.05, leaving=5.0)
    assert (seen.verdict, seen.message, left) == (Verdict.PASS, "arrived", ["in order"])
    assert seen.seconds < 0.4


@pytest.mark.alone
async def test_a_run_that_is_cut_at_its_deadline_leaves_in_order_too() -> None:
    """A journey that times out still logs out."""
    left: list[str] = []

    async def run(ctx: Context) -> Result:
        try:
            with ctx.phase("processing"):
                await asyncio.Event().wait()
        finally:
            await later(0.4)
            left.append("in order")
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.03, leaving=5.0)
    assert (seen.reason, left) == (Reason.TIMEOUT, ["in order"])
    assert seen.seconds < 0.4


async def test_a_drain_cuts_runs_short_as_unknown() -> None:
    """Runs in flight end as unknown / cancelled, their phases kept; one that begins later ends at once."""
    begun = asyncio.Event()

    async def run(ctx: Context) -> Result:
        with ctx.phase("connect"):
            begun.set()
            await asyncio.Event().wait()
        return Result.passed()

    async with lab() as bench:
        running = asyncio.ensure_future(bench.observe(run))
        await begun.wait()
        bench.execute.cut_short()
        seen = await running
        later = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.CANCELLED)
    assert "connect" in seen.phases
    assert later.reason is Reason.CANCELLED


async def test_a_drain_keeps_a_verdict_that_is_known() -> None:
    """A run that has passed and is just leaving isn't made unknown."""
    leaving, leave = asyncio.Event(), asyncio.Event()

    async def run(ctx: Context) -> Result:
        ctx.decided = ctx.clock.monotonic()
        leaving.set()
        await leave.wait()
        return Result.passed()

    async with lab() as bench:
        running = asyncio.ensure_future(bench.observe(run, leaving=5.0))
        await leaving.wait()
        bench.execute.cut_short()
        leave.set()
        assert (await running).verdict is Verdict.PASS


async def test_whoever_asked_and_went_away_leaves_nothing_running() -> None:
    """Cancelling `observe` itself ends the probe and passes on."""
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def run(_: Context) -> Result:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Result.passed()

    async with lab() as bench:
        asking = asyncio.ensure_future(bench.observe(run))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert ended.is_set()


@pytest.mark.alone
async def test_one_crash_stops_no_other() -> None:
    """A probe that breaks, one that swallows, one that is slow: another one beside them passes in its own time."""

    async def well(_: Context) -> Result:
        return Result.passed()

    async with lab() as bench:
        outcomes = await asyncio.gather(
            bench.observe(raising(ZeroDivisionError())),
            bench.observe(raising(SystemExit(3))),
            bench.observe(lambda _: never(), timeout=0.05),
            bench.observe(well),
        )
    assert [o.verdict for o in outcomes] == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.FAIL, Verdict.PASS]
    assert outcomes[3].seconds < 0.5


@pytest.mark.alone
async def test_a_stall_of_our_own_loop_is_no_failure_of_the_target() -> None:
    """A response that came in time and waited for our loop is a pass; the stall is noted."""

    async def run(_: Context) -> Result:
        asyncio.get_running_loop().call_later(0.05, _spin, 0.3)  # by another task: the run's own work would be the target's
        await later(0.1)
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.2)
    assert seen.verdict is Verdict.PASS
    assert 0.2 < seen.facts["loop_lag"] < 5


@pytest.mark.alone
async def test_a_timeout_after_a_stall_is_the_targets_where_it_had_its_time() -> None:
    """The loop stood still, the run got that time again, and still nothing came: the target is silent."""

    async def run(_: Context) -> Result:
        asyncio.get_running_loop().call_soon(_spin, 0.2)
        return await never()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert 0.25 < seen.seconds < 2


@pytest.mark.alone
async def test_a_timeout_that_our_stalls_explain_is_starved() -> None:
    """The loop stands still again and again, so that the target never had its whole time: we can't tell."""

    async def stalls() -> None:
        while True:
            _spin(0.15)
            await later(0.001)

    async with lab() as bench, asyncio.TaskGroup() as tasks:
        stalling = tasks.create_task(stalls())
        seen = await bench.observe(lambda _: never(), timeout=0.3)
        stalling.cancel()
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.STARVED)
    assert "no answer within 300ms, but the runner itself was busy for" in seen.message


@pytest.mark.alone
async def test_what_the_run_itself_keeps_busy_is_the_targets_failure() -> None:
    """A target that floods the runner: the work of its own run is no stall of ours."""

    async def run(_: Context) -> Result:
        while True:
            _spin(0.15)
            await later(0.001)

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.3)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)


def _spin(seconds: float) -> None:
    """Keeps the loop busy; no blocking call of the standard library, so it can't be caught."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.getpid()
