"""Thresholds of blame: a table."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from probes.core import Failed, Reason, Result, Verdict
from probes.kinds.grpc.messages import judge_code
from probes.probe import Context
from probes.wire.proxy import Proxy
from runner.engine.blame import blame_stall
from runner.engine.lag import BURST, SHARE, OwnSteps
from tests.support import servers
from tests.support.lab import lab
from tests.support.virtual import running, virtually

ROWS = [
    ("silent target, calm loop", Reason.TIMEOUT, 5.0, 0.0, Verdict.FAIL),
    ("silent target, a stall that was given again", Reason.TIMEOUT, 6.0, 1.0, Verdict.FAIL),
    ("a stall while it was given again", Reason.TIMEOUT, 6.0, 1.5, Verdict.UNKNOWN),
    ("a flicker", Reason.TIMEOUT, 5.0, 0.04, Verdict.FAIL),
    ("a bound inside, mostly ours", Reason.TIMEOUT, 2.0, 0.5, Verdict.UNKNOWN),
    ("a bound inside, mostly the target's", Reason.TIMEOUT, 2.0, 0.3, Verdict.FAIL),
    ("slow, and a fifth of it ours", Reason.LATENCY, 2.5, 0.5, Verdict.UNKNOWN),
    ("slow by itself", Reason.LATENCY, 2.5, 0.4, Verdict.FAIL),
    ("no matter of time", Reason.STATUS, 2.5, 2.4, Verdict.FAIL),
]


@pytest.mark.parametrize(("reason", "seconds", "stalled", "verdict"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_slowness_is_ours_only_where_our_stalls_explain_it(reason: Reason, seconds: float, stalled: float, verdict: Verdict) -> None:
    """With a timeout of 5 s: ours becomes unknown / starved and says so; the target's stays as it was."""
    before = Result.failed(reason, "slow")
    after = blame_stall(before, seconds=seconds, stalled=stalled, timeout=5.0)
    assert after.verdict is verdict
    if verdict is Verdict.FAIL:
        assert after is before
    else:
        assert after.reason is Reason.STARVED
        assert f"{stalled:.2f} of {seconds:.2f} s" in after.message


def test_a_pass_stays_a_pass() -> None:
    """A stall excuses nothing that needs no excuse."""
    assert blame_stall(Result.passed("ok"), seconds=4.0, stalled=3.0, timeout=5.0) == Result.passed("ok")


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.LATENCY])
def test_what_the_target_says_itself_is_no_slowness_of_ours(reason: Reason) -> None:
    """W16: a server's own DEADLINE_EXCEEDED, or a proxy's 504, came as a response: no stall excuses it."""
    said = replace(Result.failed(reason, "DEADLINE_EXCEEDED"), answered=True)
    assert blame_stall(said, seconds=0.16, stalled=0.15, timeout=5.0) is said


async def test_a_deadline_that_the_server_reports_is_the_targets() -> None:
    """W16: the code is told within milliseconds, though the runner is busy meanwhile and no reference responds."""

    async def run(_: Context) -> Result:
        burn(0.15)
        judge_code(4, "", "")
        raise AssertionError

    async with servers.refusing() as gone, lab(references=(f"http://{gone.host}:{gone.port}/",)) as bench:
        [seen, _] = await asyncio.gather(bench.observe(run), burning(0.15))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)


@pytest.mark.parametrize("status", [504, 502])
def test_a_proxy_that_answers_is_an_answer(status: int) -> None:
    """W16: what a proxy says of the target keeps its mark when the proxy is named."""
    proxy = Proxy.read("http://proxy.test:3128")
    with pytest.raises(Failed) as raised:
        proxy.judge_tunnel(status)
    assert raised.value.answered
    assert isinstance(named := proxy.failure(raised.value), Failed)
    assert named.answered


def burn(seconds: float) -> None:
    """Keeps the processor busy, and with it the loop."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def burning(seconds: float) -> None:
    """Something else on the loop that keeps it busy for so long, once."""
    await asyncio.sleep(0)
    burn(seconds)


async def test_a_run_that_keeps_the_loop_busy_itself_is_not_excused() -> None:
    """XM8: a target floods the runner, whose loop is busy with these very bytes until the run is too slow: fail, not starved."""

    async def run(_: Context) -> Result:
        for _turn in range(3):
            burn(0.1)
            await asyncio.sleep(0)
        raise Failed(Reason.LATENCY, "too slow")

    async with lab() as bench:
        seen = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.LATENCY)


@pytest.mark.parametrize("step", [0.05, 0.003])
async def test_a_flood_does_not_lengthen_its_own_run(step: float) -> None:
    """XM8: the deadline isn't put off for a run that kept the loop busy itself, in long steps or short; its timeout is the target's."""

    async def run(_: Context) -> Result:
        while True:
            burn(step)
            await asyncio.sleep(0)

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.3)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)


async def test_somebody_elses_work_still_excuses() -> None:
    """XM8: the loop was busy with something else for most of the run: starved, as before."""

    async def run(_: Context) -> Result:
        for _turn in range(3):
            await asyncio.sleep(0)
        raise Failed(Reason.LATENCY, "too slow")

    async with lab() as bench:
        [seen, _] = await asyncio.gather(bench.observe(run), burning(0.3))
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.STARVED)


async def test_own_steps_pass_on_everything() -> None:
    """XM8: what is measured behaves as it did: results, exceptions, waits and cancellations pass through."""
    wall, cpu = iter([0.0, 0.0, 0.5, 1.0, 1.7]), iter([0.0, 0.2, 0.2, 0.204])  # the second step hardly had a processor
    own, woken = OwnSteps(lambda: next(cpu), lambda: next(wall)), asyncio.Event()

    async def waits() -> str:
        await woken.wait()
        return "done"

    asyncio.get_running_loop().call_soon(woken.set)
    assert await own.run(waits()) == "done"
    assert own.seconds == pytest.approx(0.5)

    async def raises() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await OwnSteps().run(raises())

    async def shields() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cleaned up"
        return ""

    async def measured() -> str:
        return await OwnSteps().run(shields())

    task = asyncio.create_task(measured())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"


@virtually
async def test_a_flood_has_a_fifth_of_the_loop() -> None:
    """XM3: a run that goes on working gives the loop back between its steps: the others have four fifths of its time."""
    loop, used = running(), 0.0

    async def floods() -> None:
        nonlocal used
        for _ in range(2000):
            loop.stall(0.0005)
            used += 0.0005
            await asyncio.sleep(0)

    began = loop.time()
    await OwnSteps(lambda: used, loop.time).run(floods())
    assert used == pytest.approx(1.0)
    assert loop.time() - began == pytest.approx((used - BURST) / SHARE, rel=0.02)


@virtually
async def test_some_work_is_not_slowed_down() -> None:
    """A run that reads a large response in 40 ms of work, or works for a tenth of its time, never waits for its share."""
    loop, used = running(), 0.0

    async def works(times: int, pause: float) -> None:
        nonlocal used
        for _ in range(times):
            loop.stall(0.001)
            used += 0.001
            await asyncio.sleep(pause)

    for times, pause, seconds in ((40, 0.0, 0.040), (1000, 0.009, 10.0)):
        began = loop.time()
        await OwnSteps(lambda: used, loop.time).run(works(times, pause))
        assert loop.time() - began == pytest.approx(seconds)
