from __future__ import annotations

import asyncio

from judge.observation import Observation
from probes.core import Verdict
from runner.clock import SystemClock
from runner.config.plan import Planned
from runner.config.slots import fraction
from runner.engine.cadences import APSchedulerCadences, LoopTimer
from runner.engine.schedule import Schedule
from tests.support.scheduling import plan, planned


async def test_it_runs_by_apscheduler_and_the_loop() -> None:
    """The same schedule in real time: APScheduler's ticks, the loop's timers, and a stop that leaves nothing behind."""
    emitted: asyncio.Queue[Observation] = asyncio.Queue()
    lags: list[float] = []

    class Quick:
        async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
            return (Observation(planned.check, Verdict.PASS, None, "", SystemClock().time(), 0.0, lag=lag),)

        def cut_short(self) -> None:
            raise AssertionError

    clock = SystemClock()
    schedule = Schedule(
        emit=emitted.put_nowait,
        missed=lambda *_: None,
        lagged=lags.append,
        clock=clock,
        timer=LoopTimer(),
        cadences=APSchedulerCadences(clock),
    )
    schedule.start(plan(planned("a", 0.1), planned("b", 0.1)), Quick())
    seen = [await emitted.get() for _ in range(14)]
    await schedule.drain(1)
    assert {o.check.name for o in seen} == {"a", "b"}
    off = sorted(abs((o.at - fraction(o.check.name) * 0.1 + 0.05) % 0.1 - 0.05) for o in seen)
    assert off[len(off) // 2] < 0.02  # from the check's own slot: the middle one of them, since other processes take their share
    await asyncio.sleep(0)
