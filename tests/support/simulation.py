"""Simulated time: a clock, timers and cadences in one, for a day within a minute.

Time jumps from one moment at which something is due to the next; while a run is in flight it passes as it really does, so that
phases and latencies stay real. Give it to a Schedule as its clock, timer and cadences, and to whatever else takes a clock.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from itertools import count

from apscheduler.triggers.base import BaseTrigger

from runner.engine.cadences import FromNow
from tests.support.clock import NOON

_TURNS = 8  # of the loop, for what a callback has set going


class _Handle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class _Tick:
    """What is called when a trigger fires, and when that is next."""

    def __init__(self, trigger: BaseTrigger, call: Callable[[], None], now: float) -> None:
        self.trigger, self.call = FromNow(trigger), call
        self.next = self._after(None, now)

    def _after(self, previous: datetime | None, now: float) -> float:
        found = self.trigger.get_next_fire_time(previous, datetime.fromtimestamp(now, UTC))
        return found.timestamp() if found else float("inf")

    def fire(self, now: float) -> None:
        self.next = self._after(datetime.fromtimestamp(self.next, UTC), now)
        self.call()


class Simulation:
    """Implements Clock, Timer and Cadences. With `real=False` no time at all passes but by jumps."""

    def __init__(self, now: float = NOON, *, real: bool = True) -> None:
        self._base = now
        self._skipped = 0.0
        self._stepped = 0.0
        self._real = real
        self._began = time.perf_counter()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._ticks: dict[str, _Tick] = {}
        self._started = False
        self._numbers = count()

    # Clock

    def monotonic(self) -> float:
        """Seconds since the simulation's begin."""
        return self._skipped + (time.perf_counter() - self._began if self._real else 0.0)

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._base + self._stepped + self.monotonic()

    def jump(self, seconds: float) -> None:
        """Lets time pass while nothing is called: a loop that stalls."""
        self._skipped += seconds

    def step(self, seconds: float) -> None:
        """Sets the wall's clock alone: somebody corrects it, or the machine slept."""
        self._stepped += seconds

    # Timer

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Handle:
        """As a loop's."""
        handle = _Handle(callback)
        heapq.heappush(self._timers, (self.monotonic() + max(0.0, delay), next(self._numbers), handle))
        return handle

    async def sleep(self, seconds: float) -> None:
        """Waits for simulated seconds."""
        woken = asyncio.Event()
        self.call_later(seconds, woken.set)
        await woken.wait()

    # Cadences

    def start(self) -> None:
        """As APScheduler's."""
        self._started = True

    def stop(self) -> None:
        """As APScheduler's."""
        self._started = False

    def add(self, name: str, trigger: BaseTrigger, tick: Callable[[], None]) -> None:
        """As APScheduler's."""
        self._ticks[name] = _Tick(trigger, tick, self.time())

    def remove(self, name: str) -> None:
        """As APScheduler's."""
        del self._ticks[name]

    # The day

    async def run_for(self, seconds: float, in_flight: Callable[[], Collection[asyncio.Task[None]]] = tuple) -> None:
        """Lets so many seconds pass, calling whatever is due; time doesn't jump while a run is in flight."""
        end = self.monotonic() + seconds
        while True:
            wait = min(self._next(), end) - self.monotonic()
            if flying := in_flight():
                await asyncio.wait(flying, timeout=max(0.0, wait), return_when=asyncio.FIRST_COMPLETED)
                wait = min(self._next(), end) - self.monotonic()
                if wait > 0:
                    continue
            self._skipped += max(0.0, wait)
            if not self._call_due() and self.monotonic() >= end:
                return
            for _ in range(1 if self._real else _TURNS):
                await asyncio.sleep(0)

    def _next(self) -> float:
        """When something is due next, by the monotonic clock."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        timer = self._timers[0][0] if self._timers else float("inf")
        tick = min((tick.next for tick in self._ticks.values()), default=float("inf")) if self._started else float("inf")
        return min(timer, tick - self._base - self._stepped)

    def _call_due(self) -> bool:
        """Calls what is due now, the ticks first. Whether there was anything."""
        ticks = [tick for tick in self._ticks.values() if self._started and tick.next <= self.time()]
        for tick in ticks:
            tick.fire(self.time())
        due = False
        while self._timers and self._timers[0][0] <= self.monotonic():
            callback = heapq.heappop(self._timers)[2].callback
            due = True
            if callback:
                callback()
        return due or bool(ticks)
