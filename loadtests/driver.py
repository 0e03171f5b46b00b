"""Lets users arrive when they are due, whatever the target does: an open loop. What can't begin in time is counted, not hidden."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent

from loadtests.arrivals import Arrival
from loadtests.sending import UserSimulator

_LONGEST_SLEEP = 0.5  # seconds until it is looked at whether the run was stopped
_DRAIN_CHECK = 0.01
_CUT = 5.0  # seconds for tasks that are cut to be counted
_SHORTEST_METERED = 0.5  # seconds, below which a share of a core says nothing
_MOST_IN_A_ROW = 64  # arrivals that may begin before those under way have their turn


class Driver:
    """Begins each arrival at its time, on a greenlet of its own; at most `most` are under way at once, the rest is dropped."""

    def __init__(self, users: UserSimulator, arrivals: Iterator[Arrival], *, most: int, drain: float) -> None:
        self._users, self._arrivals, self._most, self._drain = users, arrivals, most, drain
        self._stopped = False

    def stop(self) -> None:
        """No arrival begins any more; those under way have their time."""
        self._stopped = True

    def run(self) -> None:
        """Returns when all have ended, or have had `drain` seconds: those that haven't count as timed out."""
        in_a_row = 0
        for arrival in self._arrivals:
            wait = arrival.due - self._users.now()
            if wait > 0:
                in_a_row = 0
                while not self._stopped and (wait := arrival.due - self._users.now()) > 0:  # a plain sleep costs least
                    gevent.sleep(min(wait, _LONGEST_SLEEP))
            elif (in_a_row := in_a_row + 1) >= _MOST_IN_A_ROW:
                in_a_row = 0
                gevent.sleep(0)
            if self._stopped:
                break
            self._users.record.offer(arrival.task, arrival.due)
            if self._users.in_flight >= self._most:
                self._users.drop(arrival.task, arrival.due)
            else:
                self._users.in_flight += 1
                gevent.spawn_raw(self._users.play, arrival.task, arrival.variant, arrival.due)
        until = self._users.now() + self._drain
        while self._users.in_flight and self._users.now() < until:
            gevent.sleep(_DRAIN_CHECK)
        self._users.record.unfinished += self._users.in_flight
        self._users.cut()
        until += _CUT
        while self._users.in_flight and self._users.now() < until:
            gevent.sleep(_DRAIN_CHECK)


class CpuMeter:
    """How much of a core this process uses: since the last look, and over all."""

    def __init__(self) -> None:
        self._begun = self._last = (time.perf_counter(), time.process_time())

    def since_last(self) -> float | None:
        """A share of one core since the last call; None within half a second of it, which says nothing."""
        now = time.perf_counter(), time.process_time()
        wall, cpu = now[0] - self._last[0], now[1] - self._last[1]
        if wall < _SHORTEST_METERED:
            return None
        self._last = now
        return cpu / wall

    def overall(self) -> float:
        """A share of one core since the beginning."""
        wall = time.perf_counter() - self._begun[0]
        return (time.process_time() - self._begun[1]) / wall if wall > 0 else 0.0
