"""APScheduler, which holds the cadences: a beat for each distinct interval, each cron expression, the housekeeping."""

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

_LOOK = 10.0  # seconds between two looks at the wall's clock
_SET_BACK = 1.0  # seconds by which it may drift between two looks
_TICK = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Handle(Protocol):
    """A timer that is set."""

    def cancel(self) -> None:
        """It won't come."""


class Timer(Protocol):
    """What sets timers: the loop's own, or a test's."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        """Calls back once, in so many seconds."""
        ...


class LoopTimer:
    """The running loop's timers."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        """As Timer."""
        return asyncio.get_running_loop().call_later(max(0.0, delay), callback)


class Cadences(Protocol):
    """What calls beats: APScheduler, or a test's simulation that asks the same triggers."""

    def start(self) -> None:
        """Begins to call; within a running loop."""

    def stop(self) -> None:
        """Calls no more."""

    def add(self, name: str, trigger: BaseTrigger, beat: Callable[[], None]) -> None:
        """Calls `beat`, which must be quick, whenever the trigger fires; instead of what had this name before."""

    def remove(self, name: str) -> None:
        """Calls what has this name no more."""


def regular(seconds: float, offset: float = 0.0) -> BaseTrigger:
    """Fires at each multiple of so many seconds since the epoch, `offset` seconds after it."""
    return IntervalTrigger(seconds=seconds, start_date=_EPOCH + timedelta(seconds=offset), timezone=UTC)


class FromNow(BaseTrigger):  # type: ignore[misc]  # APScheduler comes without types
    """Fires when another trigger does, forgetting what is past.

    APScheduler goes through all the times that it missed one by one: on a machine that boots in 1970 and then learns what time
    it is, the loop would stand still for minutes.
    """

    __slots__ = ("_trigger",)

    def __init__(self, trigger: BaseTrigger) -> None:
        self._trigger = trigger

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """As APScheduler's triggers."""
        later = now if previous_fire_time is None else max(now, previous_fire_time + _TICK)
        found: datetime | None = self._trigger.get_next_fire_time(None, later)
        return found


class Beats:
    """Cadences by APScheduler. A beat that comes late comes once: who is called sees to what was missed."""

    def __init__(self, clock: Clock) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it says a line a job
        defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._clock = clock
        self._watch: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """As Cadences."""
        self._scheduler.start()
        self._look(self._ahead())

    def stop(self) -> None:
        """As Cadences."""
        if self._watch:
            self._watch.cancel()
        if self._scheduler.running:
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=False)

    def add(self, name: str, trigger: BaseTrigger, beat: Callable[[], None]) -> None:
        """As Cadences."""

        async def on_the_loop() -> None:  # a plain function would be called in a thread
            beat()

        self._scheduler.add_job(on_the_loop, FromNow(trigger), id=name, name=name, replace_existing=True)

    def remove(self, name: str) -> None:
        """As Cadences."""
        self._scheduler.remove_job(name)

    def _ahead(self) -> float:
        """By how much the wall's clock is ahead of the monotonic one: it changes when somebody sets the clock."""
        return self._clock.time() - self._clock.monotonic()

    def _look(self, before: float) -> None:
        """After the clock was set back, APScheduler would wait until its next moment comes a second time."""
        ahead = self._ahead()
        if ahead < before - _SET_BACK:
            for job in self._scheduler.get_jobs():
                job.reschedule(job.trigger)
        self._watch = asyncio.get_running_loop().call_later(_LOOK, self._look, ahead)
