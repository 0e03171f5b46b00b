"""Locust's side: two kinds of user, both with FastHttpUser's client.

One is a whole worker's open arrivals, the other a closed-loop user.
"""

from __future__ import annotations

import random
import time
from datetime import date

import gevent
from gevent.event import AsyncResult, Event
from locust import FastHttpUser, task
from locust.exception import StopUser

from loadtests.arrivals import arrivals, share_of
from loadtests.client import client_of
from loadtests.driver import Driver, Meter
from loadtests.order import Order
from loadtests.record import Record
from loadtests.sending import Fire, Rider
from loadtests.tasks import playable, requests_of, subjects


class Seat:
    """What one generating process holds: its order, its rider, and the moment of the start. Hung on Locust's environment."""

    def __init__(self, order: Order, *, index: int = 0, workers: int = 1, token: str = "", fire: Fire = None) -> None:
        self.order, self.index, self.workers = order, index, workers
        self.tasks = playable(order, date.today())  # noqa: DTZ011 - a table is booked for a local day
        self.rider = Rider(order, self.tasks, subjects(order, self.tasks), client_of(order), fire)
        self.rider.token = token
        self.meter = Meter()
        self.begin: AsyncResult[float] = AsyncResult()  # seconds since the epoch
        self.over = Event()  # every arrival of this process has ended
        self.driver: Driver | None = None
        self.ending = Event()
        self._riding = 0
        self._requests = requests_of(self.tasks)
        self._turn = 0.0  # when the next one may begin
        self._left = order.most_requests // workers
        gevent.spawn(self.rider.watch)

    def start_at(self, epoch: float) -> None:
        """Every worker begins at the same moment by the wall clock, and counts from it by a clock that never jumps."""
        self.rider.begin = time.perf_counter() + (epoch - time.time())
        self.meter = Meter()
        self.begin.set(epoch)

    def stop(self) -> None:
        """No user begins anything more."""
        self.ending.set()
        if self.driver is not None:
            self.driver.stop()

    def take(self) -> Record:
        """What was counted since it was last taken."""
        taken, self.rider.record = self.rider.record, Record()
        return taken

    def arrive(self) -> None:
        """The worker's share of the arrivals, from the first to the last."""
        if self.driver is not None:
            return  # Locust gives a lost worker's users to those that are left: what it was to send is lost, and is said to be
        order = self.order
        stream = arrivals(order.stages, order.mix, kind=order.arrivals, seed=order.seed)
        mine = share_of(stream, self.index, self.workers)
        self.driver = Driver(self.rider, mine, most=order.most_in_flight, drain=order.drain)
        self.begin.get()
        if not self.ending.is_set():
            self.driver.run()
        self.over.set()

    def circle(self, rng: random.Random) -> None:
        """One closed-loop user: a task, a pause, a task, until the time is over."""
        self.begin.get()
        gevent.sleep(max(0.0, -self.rider.now()))
        names, weights = list(self.order.mix), list(self.order.mix.values())
        self._riding += 1
        while self.rider.now() < self.order.duration and not self.ending.is_set():
            name = rng.choices(names, weights)[0]
            if not self._afford(name):
                break
            self._await_turn()
            if (due := self.rider.now()) >= self.order.duration:
                break
            self.rider.record.offer(name, due)
            self.rider.in_flight += 1
            self.rider.ride(name, rng.getrandbits(16), due)
            self.ending.wait(self.order.pause) if self.order.pause else gevent.sleep(0)
        self._riding -= 1
        if not self._riding:
            self.over.set()

    def _await_turn(self) -> None:
        """Holds a user who would begin above the ceiling, of which each worker has its part."""
        if self.order.most_rate:
            turn = max(self._turn, self.rider.now())
            self._turn = turn + self.workers / self.order.most_rate
            if (wait := turn - self.rider.now()) > 0:
                gevent.sleep(wait)

    def _afford(self, name: str) -> bool:
        """Takes a task's requests from what this worker may send in a closed loop; False where they don't suffice."""
        if not self.order.most_requests:
            return True
        self._left -= self._requests[name]
        return self._left >= 0


class OpenUser(FastHttpUser):
    """Plays all of one worker's open arrivals: Locust counts it as one user."""

    host = "http://target"  # the seat's own client knows the address

    @task
    def arrivals(self) -> None:
        """All of them; then it leaves."""
        self.environment.outrider.arrive()
        raise StopUser


class ClosedUser(FastHttpUser):
    """A user who waits for each answer before asking again."""

    host = "http://target"

    @task
    def circle(self) -> None:
        """Until the time is over."""
        seat: Seat = self.environment.outrider
        seat.circle(random.Random(f"{seat.order.seed} {seat.index} {id(self)}"))
        raise StopUser
