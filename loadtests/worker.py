"""A worker: Locust's own, which gets its order from the master, and sends what it counts once a second."""

from __future__ import annotations

import signal
from typing import Any

import gevent
from locust.env import Environment

from loadtests.order import order_from
from loadtests.record import as_message
from loadtests.users import ClosedUser, OpenUser, WorkerState


def work(host: str, port: int) -> None:
    """Serves one run of the master at this address, and returns when it is over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches all processes of the terminal: the master ends the run, in order
    environment: Any = Environment(user_classes=[OpenUser, ClosedUser], catch_exceptions=False)
    environment.outrider = None
    runner = environment.create_worker_runner(host, port)
    runner.register_message("outrider-order", lambda environment, msg, **_: _take_order(environment, msg.data))
    runner.register_message("outrider-begin", lambda environment, msg, **_: environment.outrider.start_at(msg.data["at"]))
    runner.register_message("outrider-stop", lambda environment, **_: environment.outrider.stop())
    gevent.spawn(_send_records, environment)
    runner.greenlet.join()


def _take_order(environment: Any, data: dict[str, Any]) -> None:
    order = order_from(data["order"])
    environment.outrider = WorkerState(order, index=data["index"], workers=data["workers"], token=data["token"])


def _send_records(environment: Any) -> None:
    """Once a second, and once more when all is over."""
    while environment.outrider is None:
        gevent.sleep(0.05)
    state: WorkerState = environment.outrider
    over = False
    while not over:
        over = state.over.wait(1.0)
        delta = {
            "record": as_message(state.take_record()),
            "cpu": state.meter.since_last(),
            "overall": state.meter.overall(),
            "in_flight": state.users.in_flight,
            "last": bool(over),
        }
        environment.runner.send_message("outrider-delta", delta)
