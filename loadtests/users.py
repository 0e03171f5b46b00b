"""Locust's side: two kinds of user, both with FastHttpUser's client.

One stands for all open arrivals of a worker, the other is a closed-loop user.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent
from gevent.event import AsyncResult, Event
from locust import FastHttpUser, task
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from loadtests.arrivals import arrivals, share_of
from loadtests.client import client_of
from loadtests.driver import CpuMeter, Driver
from loadtests.order import Order
from loadtests.record import Record
from loadtests.sending import RequestEvent, UserSimulator
from loadtests.tasks import requests_of, subjects


class WorkerState:
    """What one sending process holds: its order, its users, and the moment of the start. An attribute of Locust's environment."""

    def __init__(self, order: Order, *, index: int = 0, workers: int = 1, token: str = "", on_request: RequestEvent = None) -> None:
        self.order, self.index, self.workers = order, index, workers
        self.users = UserSimulator(order, subjects(order), client_of(order), on_request)
        self.users.token = token
        self.meter = CpuMeter()
        self.begin: AsyncResult[float] = AsyncResult()  # seconds since the epoch
        self.over = Event()  # every arrival of this process has ended
        self.driver: Driver | None = None
        self.ending = Event()
        self._active_users = 0
        self._requests = requests_of(order.tasks)
        self._next_turn = 0.0  # when the next closed-loop task may begin
        self._requests_left = order.most_requests // workers
        gevent.spawn(self.users.watch_deadlines)

    def start_at(self, epoch: float) -> None:
        """Every worker begins at the same moment by the wall clock, and counts from it by a clock that never jumps."""
        self.users.begin = time.perf_counter() + (epoch - time.time())
        self.meter = CpuMeter()
        self.begin.set(epoch)

    def stop(self) -> None:
        """No user begins anything more."""
        self.ending.set()
        if self.driver is not None:
            self.driver.stop()

    def take_record(self) -> Record:
        """What was counted since it was last taken."""
        taken, self.users.record = self.users.record, Record()
        return taken

    def run_open(self) -> None:
        """The worker's share of the arrivals, from the first to the last."""
        if self.driver is not None:
            return  # Locust gives a lost worker's users to those that are left: what it was to send is lost, and the report says it
        order = self.order
        stream = arrivals(order.stages, order.mix, kind=order.arrivals, seed=order.seed)
        mine = share_of(stream, self.index, self.workers)
        self.driver = Driver(self.users, mine, most=order.most_in_flight, drain=order.drain)
        self.begin.get()
        if not self.ending.is_set():
            self.driver.run()
        self.over.set()

    def run_closed(self, rng: random.Random, leaves: Callable[[], bool]) -> None:
        """One closed-loop user: a task, a pause, a task, until the time is over or the user `leaves`."""
        self.begin.get()
        gevent.sleep(max(0.0, -self.users.now()))
        names, weights = list(self.order.mix), list(self.order.mix.values())
        self._active_users += 1
        while self.users.now() < self.order.duration and not self.ending.is_set() and not leaves():
            name = rng.choices(names, weights)[0]
            if self.order.most_requests:
                self._requests_left -= self._requests[name]
                if self._requests_left < 0:
                    break
            if self.order.most_rate:  # the ceiling, of which each worker has its part, holds a user who would begin too early
                turn = max(self._next_turn, self.users.now())
                self._next_turn = turn + self.workers / self.order.most_rate
                gevent.sleep(max(0.0, turn - self.users.now()))
            if (due := self.users.now()) >= self.order.duration:
                break
            self.users.record.offer(name, due)
            self.users.in_flight += 1
            self.users.play(name, rng.getrandbits(16), due)
            self.ending.wait(self.order.pause) if self.order.pause else gevent.sleep(0)
        self._active_users -= 1
        if not self._active_users:
            self.over.set()


class OpenUser(FastHttpUser):
    """Plays all of one worker's open arrivals: Locust counts it as one user."""

    host = "http://target"  # the worker's own client knows the address

    @task
    def arrivals(self) -> None:
        """All of them; then this user stops."""
        self.environment.outrider.run_open()
        raise StopUser


class ClosedUser(FastHttpUser):
    """A user who waits for each response before the next request."""

    host = "http://target"

    @task
    def loop(self) -> None:
        """Until the time is over, or Locust wants this user to stop: a task that was begun is finished within --stop-timeout."""
        state: WorkerState = self.environment.outrider
        state.run_closed(random.Random(f"{state.order.seed} {state.index} {id(self)}"), lambda: self._state == LOCUST_STATE_STOPPING)
        raise StopUser
