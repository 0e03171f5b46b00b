"""How long the runner's event loop was busy: a heartbeat that runs only while somebody watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from probes.core import Clock

PERIOD = 0.002  # seconds between two ticks: a stall of 5 ms is measured as at least 3 ms, wherever it begins
_JITTER = 0.0015  # seconds that a timer may come late without anything being wrong; uvloop's are exact to 1 ms


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
