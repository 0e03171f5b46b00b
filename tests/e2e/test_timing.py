"""Every millisecond is the target's own: the processing phase against a server that knows how long it waited."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from judge.observation import Check, Observation
from probes.kinds.http import Http
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Every, Plan, Planned
from runner.engine.execute import Execute
from runner.service.garbage import freeze_garbage_collector
from runner.state import open_ledger

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(60)]
SERVER = Path(__file__).parents[1] / "support" / "waiting_server.py"
WAIT = 0.02  # seconds
HALF = 0.5  # of a core: above it runs queue for it, and what is measured is this machine


@asynccontextmanager
async def waiting_server() -> AsyncIterator[str]:
    """The server, on a core of its own where there are two."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(SERVER), str(WAIT), stdin=pipe, stdout=pipe)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{(await process.stdout.readline()).decode().strip()}/"
    finally:
        process.terminate()
        await process.wait()


def planned(url: str) -> Planned:
    """The check: it keeps the server's own word for the wait in its evidence."""
    check = Check("timing", "http", 1, interval=1.0, timeout=5.0)
    return Planned(check, Http.model_validate({"url": url}), Every(1.0), 5.0, "")


async def observed(url: str, rate: float, seconds: float) -> list[Observation]:
    """So many runs a second, evenly, for so many seconds, on one core."""
    loop, one, clock = asyncio.get_running_loop(), planned(url), SystemClock()
    ledger = await asyncio.to_thread(open_ledger, None, clock)
    plan = Plan("test", "test", "test", (one,))
    execute = Execute(plan=plan, wire=Wire(), ledger=ledger, clock=clock, rng=random.Random(1), version="test")  # noqa: S311 - not secret
    runs: list[asyncio.Task[tuple[Observation, ...]]] = []
    done = asyncio.Event()

    def begin(number: int) -> None:
        runs.append(loop.create_task(execute.observe(one, by_hand=True)))
        if number + 1 < rate * seconds:
            loop.call_at(started + (number + 1) / rate, begin, number + 1)
        else:
            done.set()

    started = loop.time()
    begin(0)
    await done.wait()
    seen = [observations[0] for observations in await asyncio.gather(*runs)]
    await ledger.aclose()
    return seen


def error(seen: Observation) -> float:
    """By how many seconds the phase differs from what the server says that it waited."""
    return abs(seen.phases["processing"] - float(seen.evidence["response"]["headers"]["x-waited"]))


async def _timed(rate: float, seconds: float) -> tuple[list[Observation], float]:
    async with waiting_server() as url:
        await observed(url, 20, 0.5)  # warm
        freeze_garbage_collector()  # as the service does
        began = time.perf_counter(), time.process_time()
        seen = await observed(url, rate, seconds)
        return seen, (time.process_time() - began[1]) / (time.perf_counter() - began[0])


def _on_one_core(rate: float, seconds: float) -> tuple[list[Observation], float]:
    """The runs, and the share of the core that they took."""
    kept = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(kept)})
    try:
        return uvloop.run(_timed(rate, seconds))
    finally:
        os.sched_setaffinity(0, kept)


RATES = {1: 8.0, 100: 5.0, 500: 5.0}  # a second, for so many seconds


@pytest.mark.parametrize(("rate", "seconds"), RATES.items())
def test_the_processing_phase_is_the_servers_own(rate: float, seconds: float) -> None:
    """Within 1 ms at the median and 5 ms at the 99th percentile; a run beyond that which our own loop delayed is marked.

    Where the runs take more than half of the core, as 500 a second do on one that is slow or shared, they wait for each other, and
    the bounds can't be measured: there it is held that no run beyond them goes unmarked.
    """
    seen: list[Observation] = []
    errors: list[float] = []
    unmarked: list[Observation] = []
    taken = 0.0
    for _ in range(3):  # a neighbour on the machine may spoil one measurement, not three
        seen, taken = _on_one_core(rate, seconds)
        errors = sorted(error(one) for one in seen)
        unmarked = [one for one in seen if error(one) > 0.005 and one.facts["loop_lag"] < 0.002]
        if errors[int(0.99 * (len(errors) - 1))] <= 0.005 and not unmarked:
            break

    assert {(one.verdict, one.message.split()[0]) for one in seen} == {("pass", "200")}
    assert unmarked == []
    if taken <= HALF:
        assert statistics.median(errors) <= 0.001
        assert errors[int(0.99 * (len(errors) - 1))] <= 0.005
    else:
        assert rate == max(RATES)  # no core is so slow that the others couldn't be measured
