"""A clock that moves only when a test moves it."""

from __future__ import annotations

import time

NOON = 1764072000.0  # 2025-11-25 12:00:00 UTC


class FakeClock:
    """Implements probes.core.Clock. Both hands move together, by `advance` alone."""

    def __init__(self, now: float = NOON, monotonic: float = 1000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both hands forward."""
        if seconds < 0:
            raise ValueError("a clock goes forward only; use step for a corrected wall clock")
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Corrects the wall clock alone, forward or back, as NTP does."""
        self._now += seconds


class RealClock:
    """The machine's own clock, for tests that speak to real servers."""

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


class ShiftedClock(RealClock):
    """The machine's own clock, put forward by a test: for what only looks at it, and waits by the loop."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return super().time() + self._ahead

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return super().monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Moves both hands forward."""
        self._ahead += seconds
