"""How long the runner's event loop was busy: a heartbeat that runs only while somebody watches. And which part of it was a run's own."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from probes.core import Clock

PERIOD = 0.002  # seconds between two ticks: a stall of 5 ms is measured as at least 3 ms, wherever it begins
_JITTER = 0.0015  # seconds that a timer may come late without anything being wrong; uvloop's are exact to 1 ms
_HEAVY = 0.0005  # seconds of CPU time: below what the heartbeat notices, since light steps that follow one another keep the loop busy too
_BUSY = 0.1  # share of a step in which it had a processor
BURST = 0.05  # seconds of CPU time that a run may use as fast as it can
SHARE = 0.2  # of the loop that it may use beyond them

T = TypeVar("T")


class OwnSteps:
    """Adds up the heavy steps of one coroutine: for so long the loop was busy with this very run, such as with its bytes.

    A step is heavy by its CPU time. One that only waited for a processor which other processes had is the machine's.
    Where the steps together take more than BURST and then more than SHARE of the loop, the next one waits: no server that sends
    without end, whatever it sends, takes the loop from other runs.
    """

    def __init__(self, cpu: Callable[[], float] = time.thread_time, wall: Callable[[], float] = time.perf_counter) -> None:
        self._cpu, self._wall = cpu, wall
        self.seconds = 0.0
        self._ahead = 0.0  # seconds of CPU time beyond its share of the time since its first step
        self._since = wall()

    @types.coroutine
    def run(self, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, None, T]:
        """Awaits the coroutine, and measures each of its steps."""
        error: BaseException | None = None
        while True:
            began, cpu = self._wall(), self._cpu()
            try:
                waits_for = coroutine.send(None) if error is None else coroutine.throw(error)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a coroutine's result
            finally:
                ended = self._wall()
                took = ended - began
                if took > _HEAVY:  # else no processor was waited for, and the system call is saved
                    used = self._cpu() - cpu
                    self.seconds += took if used > max(_HEAVY, _BUSY * took) else 0.0
                else:
                    used = took
                self._ahead, self._since = max(0.0, self._ahead - SHARE * (ended - self._since)) + used, ended
            error = None
            try:
                yield waits_for
                if self._ahead > BURST:
                    yield from asyncio.sleep((self._ahead - BURST) / SHARE).__await__()
            except (Exception, asyncio.CancelledError, GeneratorExit) as raised:  # noqa: BLE001 - whatever it is, it is the coroutine's
                error = raised


class Heartbeat:
    """Adds up how late its ticks come. All runs share one, so that its cost doesn't grow with their number."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watching = 0
        self._total = 0.0
        self._expected = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watch(self) -> Iterator[Callable[[], float]]:
        """Yields a function that returns the seconds for which the loop was busy since `watch` began."""
        if not self._watching:
            self._next()
        self._watching += 1
        before = self._stalled()
        try:
            yield lambda: self._stalled() - before
        finally:
            self._watching -= 1
            if not self._watching and self._timer:
                self._timer.cancel()

    def _stalled(self) -> float:
        return self._total + self._late()

    def _late(self) -> float:
        late = self._clock.monotonic() - self._expected
        return late if late > _JITTER else 0.0

    def _next(self) -> None:
        self._expected = self._clock.monotonic() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._tick)

    def _tick(self) -> None:
        self._total += self._late()
        self._next()
