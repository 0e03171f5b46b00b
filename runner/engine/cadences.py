"""Cadences and timers. APScheduler is here for what it is good at: cadences and cron triggers, one job for each.

A check's own slot within a tick is a timer of the loop (runner.engine.schedule): a job for each check would cost more than its probe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from probes.core import Clock

_LOOK = 1.0  # seconds between two looks at the wall clock
_SET_BACK = 1.0  # seconds by which the wall clock may drift between two looks
_AN_INSTANT = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Handle(Protocol):
    """A timer that is set."""

    def cancel(self) -> None:
        """Stops the timer before it calls back."""


class Timer(Protocol):
    """Sets timers: the loop's own, or a simulation's in a test."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        """Calls `callback` once, `delay` seconds from now."""
        ...


class LoopTimer:
    """The running loop's timers."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        """Calls `callback` once; a negative delay counts as 0."""
        return asyncio.get_running_loop().call_later(max(0.0, delay), callback)


class Cadences(Protocol):
    """Calls ticks: APScheduler, or a simulation in a test that asks the same triggers."""

    def start(self) -> None:
        """Starts to call ticks. Call it within a running loop."""

    def stop(self) -> None:
        """Stops calling ticks."""

    def add(self, name: str, trigger: BaseTrigger, tick: Callable[[], None]) -> None:
        """Calls `tick`, which must be quick, whenever the trigger fires. It replaces the tick of the same name."""

    def remove(self, name: str) -> None:
        """Stops calling the tick of this name."""


def regular(seconds: float, offset: float = 0.0) -> BaseTrigger:
    """Fires every `seconds` seconds, counted from the epoch and shifted by `offset` seconds."""
    return IntervalTrigger(seconds=seconds, start_date=_EPOCH + timedelta(seconds=offset), timezone=UTC)


class FromNow(BaseTrigger):  # type: ignore[misc]  # APScheduler comes without types
    """Fires when another trigger does, but skips every time that is past.

    APScheduler itself goes through all missed times one by one: on a machine that boots in 1970 and then learns the time, that would
    stall the loop for minutes.
    """

    __slots__ = ("_trigger",)

    def __init__(self, trigger: BaseTrigger) -> None:
        self._trigger = trigger

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The next time from now on, by the contract of APScheduler's triggers."""
        later = now if previous_fire_time is None else max(now, previous_fire_time + _AN_INSTANT)
        found: datetime | None = self._trigger.get_next_fire_time(None, later)
        return found


class APSchedulerCadences:
    """Implements Cadences with APScheduler. A late tick is called once, however many were missed: the schedule counts those."""

    def __init__(self, clock: Clock) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it logs a line for each job
        defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._clock = clock
        self._clock_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._scheduler.start()
        self._watch_clock(self._ahead())

    def stop(self) -> None:
        if self._clock_timer:
            self._clock_timer.cancel()
        if self._scheduler.running:
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=False)

    def add(self, name: str, trigger: BaseTrigger, tick: Callable[[], None]) -> None:
        async def on_the_loop() -> None:  # a plain function would be called in a thread
            tick()

        self._scheduler.add_job(on_the_loop, FromNow(trigger), id=name, name=name, replace_existing=True)

    def remove(self, name: str) -> None:
        self._scheduler.remove_job(name)

    def _ahead(self) -> float:
        """Seconds by which the wall clock is ahead of the monotonic one. They change when somebody sets the clock."""
        return self._clock.time() - self._clock.monotonic()

    def _watch_clock(self, before: float) -> None:
        """Reschedules every job after the clock was set back: APScheduler would wait until its old next time comes again."""
        ahead = self._ahead()
        if ahead < before - _SET_BACK:
            for job in self._scheduler.get_jobs():
                job.reschedule(job.trigger)
        self._clock_timer = asyncio.get_running_loop().call_later(_LOOK, self._watch_clock, ahead)
