"""Conducts a run: alone, or as Locust's master over workers of this machine or of others. It merges, reports and judges."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment

from judge.verdict import Outcome
from loadtests.order import Order, as_json
from loadtests.progress import breach, progress
from loadtests.record import Record, from_message
from loadtests.result import LoadReport, Progress, VerdictReason, Worker
from loadtests.tasks import wanted
from loadtests.users import ClosedUser, OpenUser, WorkerState
from loadtests.verdict import Facts, judge
from probes.core import Failed, PolicyRefused

LAST_MESSAGE = 10.0  # seconds that workers have for their last message, beyond the drain
_FEWEST = 3  # seconds over which the busiest tenth of a worker's time is taken, at least
AHEAD = 0.5  # seconds until the start, so that every worker knows of it


@dataclass(slots=True)
class _WorkerCounts:
    """What the master knows of one worker."""

    name: str
    state: str = "running"
    sent: int = 0
    cpu: list[float] = field(default_factory=list)  # of each second
    overall: float = 0.0
    in_flight: int = 0
    lag: float = 0.0

    def worker(self) -> Worker:
        busiest = sorted(self.cpu, reverse=True)
        tenth = busiest[: max(_FEWEST, len(busiest) // 10)]  # a second alone may be a neighbour's
        peak = sum(tenth) / len(tenth) if tenth else 0.0
        state = self.state if self.state in ("done", "lost") else "late"
        return Worker(self.name, state, self.sent, self.overall, peak, self.lag)


class Conductor:
    """One run. `on_progress` gets a Progress once a second."""

    def __init__(self, order: Order, on_progress: Callable[[Progress], None]) -> None:
        self.order, self._on_progress = order, on_progress
        self.whole = Record()
        self._recent = Record()
        self._seen: dict[str, _WorkerCounts] = {}
        self._stopped = Event()
        self._interrupted = False
        self._aborted = ""
        self._trouble: list[VerdictReason] = []
        self._begin = 0.0
        self._environment: Any = Environment(user_classes=[ClosedUser if order.arrivals == "closed" else OpenUser], catch_exceptions=False)
        self._stop_all: Callable[[], None] = lambda: None

    def run(self) -> LoadReport:
        """Runs and judges. Raises ValueError for an order that can't be carried out."""
        own = WorkerState(self.order)
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, self.interrupt)
        before = self._revision(own)
        token = self._token(own)
        self._begin = time.time()
        if not self._trouble:
            alone = not self.order.workers and not self.order.expect_workers
            (self._run_alone if alone else self._run_together)(own, token)
        finished = time.time()
        if self.order.most_requests and not self._stopped.is_set() and not self._trouble and finished - self._begin < self.order.duration:
            self._aborted = f"all {self.order.most_requests:,} requests that it may send (--requests) are used"
        after = self._revision(own) if not self._trouble else ""
        workers = tuple(seen.worker() for seen in self._seen.values())
        needed = wanted(self.order)
        facts = Facts(self._begin, finished, workers, before, after, self._interrupted, self._aborted, tuple(self._trouble), needed)
        return judge(self.order, self.whole, facts)

    def interrupt(self) -> None:
        """Ends the run early: what was counted is judged, and says so."""
        self._interrupted = True
        self._stopped.set()
        self._stop_all()

    # alone

    def _run_alone(self, own: WorkerState, token: str) -> None:
        own.users.token = token
        self._environment.outrider = own
        runner = self._environment.create_local_runner()
        seen = self._seen["this process"] = _WorkerCounts("this process")
        self._stop_all = own.stop
        users = self.order.users if self.order.arrivals == "closed" else 1
        runner.start(users, spawn_rate=max(users, 1))
        self._begin = time.time() + AHEAD
        own.start_at(self._begin)
        while not own.over.wait(1.0):
            self._add(seen, own.take_record(), (own.meter.since_last(), own.meter.overall()), own.users.in_flight)
            self._each_second()
        self._add(seen, own.take_record(), (own.meter.since_last(), own.meter.overall()), 0)
        seen.state = "done"
        runner.quit()

    # together

    def _run_together(self, own: WorkerState, token: str) -> None:
        count = self.order.expect_workers or self.order.workers
        port = self.order.port
        if not port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
        runner = self._environment.create_master_runner(self.order.bind, port)
        runner.register_message("outrider-delta", self._on_delta)
        command = [sys.executable, "-m", "loadtests", "--worker", "127.0.0.1", str(port)]  # its order comes from the master
        started = [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - this interpreter, a module of ours
            for _ in range(self.order.workers)
        ]
        self._environment.outrider = own
        try:
            until = time.monotonic() + self.order.ready
            while len(runner.clients.ready) < count and time.monotonic() < until and not self._stopped.is_set():
                if any(process.poll() is not None for process in started):
                    break
                gevent.sleep(0.05)
            ready = sorted(client.id for client in runner.clients.ready)
            names = ready[:count]
            for surplus in ready[count:]:  # Locust would give them users, and they have no order
                runner.send_message("quit", client_id=surplus)
            if len(names) < count:
                text = f"{len(names)} of {count} workers connected within {self.order.ready:.0f} s"
                self._trouble.append(VerdictReason(Outcome.INCONCLUSIVE, "worker", text))
            else:
                self._conduct(runner, names, token, started)
        finally:
            runner.quit()
            for process in started:
                try:
                    process.wait(timeout=3)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _conduct(self, runner: Any, names: list[str], token: str, started: list[subprocess.Popen[bytes]]) -> None:
        self._seen = {name: _WorkerCounts(f"{index + 1}") for index, name in enumerate(names)}
        self._stop_all = lambda: runner.send_message("outrider-stop", {})
        order = as_json(self.order)
        for index, name in enumerate(names):
            runner.send_message("outrider-order", {"order": order, "index": index, "workers": len(names), "token": token}, client_id=name)
        users = self.order.users if self.order.arrivals == "closed" else len(names)
        runner.start(users, spawn_rate=max(users, 1))
        self._begin = time.time() + 2 * AHEAD
        runner.send_message("outrider-begin", {"at": self._begin})
        last = self._begin + self.order.duration + self.order.drain + LAST_MESSAGE
        while any(seen.state == "running" for seen in self._seen.values()) and time.time() < last:
            gevent.sleep(1.0 if time.time() < self._begin + self.order.duration - 1 else 0.1)
            self._find_lost(runner, started)
            self._each_second()
            if self._stopped.is_set():
                last = min(last, time.time() + self.order.drain + LAST_MESSAGE)

    def _find_lost(self, runner: Any, started: list[subprocess.Popen[bytes]]) -> None:
        """A worker is lost when Locust misses its heartbeat, or when a process of ours has ended without its last message."""
        missing = {client.id for client in runner.clients.values() if client.state == "missing"}
        gone = sum(process.poll() is not None for process in started)
        running = [name for name, seen in self._seen.items() if seen.state == "running"]
        for name in running:
            if name in missing or name not in runner.clients or gone == len(started) > 0:
                self._seen[name].state = "lost"

    def _on_delta(self, *, msg: Any, **_: Any) -> None:
        seen = self._seen.get(msg.node_id)
        if seen is None:
            return
        data: Mapping[str, Any] = msg.data
        self._add(seen, from_message(data["record"]), (data["cpu"], data["overall"]), data["in_flight"])
        if data["last"]:
            seen.state = "done"

    # both

    def _add(self, seen: _WorkerCounts, delta: Record, cpu: tuple[float | None, float], in_flight: int) -> None:
        self.whole.merge(delta)
        self._recent.merge(delta)
        if cpu[0] is not None:
            seen.cpu.append(cpu[0])
        seen.overall = cpu[1]
        seen.in_flight = in_flight
        seen.sent += sum(second.started for second in delta.seconds.values())
        seen.lag = max(seen.lag, delta.lags.largest or 0.0)

    def _each_second(self) -> None:
        at = time.time() - self._begin
        recent, self._recent = self._recent, Record()
        workers = self._seen.values()
        cpu = max((one.cpu[-1] for one in workers if one.cpu), default=0.0)
        self._on_progress(progress(self.order, self.whole, recent, at, in_flight=sum(one.in_flight for one in workers), cpu=cpu))
        if self.order.abort_on_breach and not self._stopped.is_set() and (why := breach(self.order, self.whole, at)):
            self._aborted = why
            self._stopped.set()
            self._stop_all()

    def _revision(self, own: WorkerState) -> str:
        """Which build responds, where the target says how that is read; "" where it doesn't, or where it can't be read."""
        revision = self.order.target.revision
        if revision is None:
            return ""
        try:
            return revision.read(own.users.get(revision.path))
        except (Failed, PolicyRefused):
            return ""

    def _token(self, own: WorkerState) -> str:
        if self.order.login is None:
            return ""
        try:
            return own.users.log_in(self.order.login)
        except (Failed, PolicyRefused) as error:
            self._trouble.append(VerdictReason(Outcome.INCONCLUSIVE, "refused", f"the login of the users failed: {error}"))
            return ""
