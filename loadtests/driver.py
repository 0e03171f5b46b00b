"""Lets users arrive when they are due, whatever the target does: an open loop. What can't be done in time is counted, not hidden."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent

from loadtests.arrivals import Arrival
from loadtests.sending import Rider

_LOOK = 0.5  # seconds
_GLANCE = 0.01
_CUT = 5.0  # for those that are cut to count themselves
_MOMENT = 0.5  # seconds, below which a share of a core says nothing
_PATIENCE = 64  # arrivals that may begin without a breath for those under way


class Driver:
    """Begins each arrival at its time, on a greenlet of its own; at most so many are under way at once, the rest is dropped."""

    def __init__(self, rider: Rider, arrivals: Iterator[Arrival], *, most: int, drain: float) -> None:
        self._rider, self._arrivals, self._most, self._drain = rider, arrivals, most, drain
        self._stopped = False

    def stop(self) -> None:
        """No arrival begins any more; those under way have their time."""
        self._stopped = True

    def run(self) -> None:
        """Returns when all have ended, or have had `drain` seconds: those that haven't count as timed out."""
        breathless = 0
        for arrival in self._arrivals:
            wait = arrival.due - self._rider.now()
            if wait > 0:
                self._sleep(arrival.due)
                breathless = 0
            elif (breathless := breathless + 1) >= _PATIENCE:
                breathless = 0
                gevent.sleep(0)
            if self._stopped:
                break
            self._begin(arrival)
        self._finish()

    def _sleep(self, due: float) -> None:
        """Until then, or until it is stopped: looked at twice a second, since a plain sleep costs least."""
        while not self._stopped and (wait := due - self._rider.now()) > 0:
            gevent.sleep(min(wait, _LOOK))

    def _begin(self, arrival: Arrival) -> None:
        self._rider.record.offer(arrival.task, arrival.due)
        if self._rider.in_flight >= self._most:
            self._rider.give_up(arrival.task, arrival.due)
        else:
            self._rider.in_flight += 1
            gevent.spawn_raw(self._rider.ride, arrival.task, arrival.variant, arrival.due)

    def _finish(self) -> None:
        """What is still under way when its time is over has timed out."""
        until = self._rider.now() + self._drain
        while self._rider.in_flight and self._rider.now() < until:
            gevent.sleep(_GLANCE)
        self._rider.record.unfinished += self._rider.in_flight
        self._rider.cut()
        until += _CUT
        while self._rider.in_flight and self._rider.now() < until:
            gevent.sleep(_GLANCE)


class Meter:
    """How much of a core this process uses: since the last look, and over all."""

    def __init__(self) -> None:
        self._begun = self._last = (time.perf_counter(), time.process_time())

    def since_last(self) -> float | None:
        """A share of one core since it last said one; None within half a second: in the moment of an answer everybody is busy."""
        now = time.perf_counter(), time.process_time()
        wall, cpu = now[0] - self._last[0], now[1] - self._last[1]
        if wall < _MOMENT:
            return None
        self._last = now
        return cpu / wall

    def overall(self) -> float:
        """A share of one core since the beginning."""
        wall = time.perf_counter() - self._begun[0]
        return (time.process_time() - self._begun[1]) / wall if wall > 0 else 0.0
