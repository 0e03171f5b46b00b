"""A load report to write: judged from counts, as a run of twenty seconds would have left them."""

from __future__ import annotations

from dataclasses import replace

from judge.verdict import Outcome
from loadtests.order import Order, SloOrder
from loadtests.record import Ended, Record
from loadtests.result import Capacity, LoadReport, Point, Spend, Stage, Worker
from loadtests.verdict import Facts, judge
from probes.target import Target

SLOS = (SloOrder("p95", 0.95, 0.5), SloOrder("availability", 0.999))
BEGAN = 1764000000.0


def order(**more: object) -> Order:
    """Twenty seconds at 10/s against the API."""
    plain = Order(
        "roadtrip",
        {"browse": 3.0, "story": 1.0},
        "requests",
        SLOS,
        Target(name="api", url="https://api.example"),
        stages=(Stage(20.0, 10.0, 10.0),),
        duration=20.0,
        warm_up=2.0,
        config="checks.yaml",
        line=120,
        spends=(Spend("target api", 240.0, "requests", 900.0, 3600.0),),
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # its own fields


def record(slow_from: float = 99.0, message: str = "503, expected 200", name: str = "browse") -> Record:
    """Ten arrivals a second of 40 ms; from a moment on every other takes 900 ms, and every tenth fails."""
    made = Record()
    for number in range(200):
        due = number / 10
        slow = due >= slow_from and number % 2 == 0
        failed = due >= slow_from and number % 10 == 0
        took = 0.9 if slow else 0.04
        ended = Ended(due, took, took / 2, "status" if failed else "", message if failed else "", {"first_token": took / 4})
        made.offer(name, due)
        made.start(name, due, 0.002)
        made.end_request(f"{name}/me", ended, SLOS)
        made.end_task(name, ended, ())
    return made


def facts(state: str = "done") -> Facts:
    """Two workers, the second of which may be lost; one revision."""
    workers = (Worker("1", "done", 100, 0.2, 0.3, 0.002), Worker("2", state, 100, 0.2, 0.3, 0.002))
    return Facts(BEGAN, BEGAN + 21.5, workers, "3f2c91a", "3f2c91a")


def report(slow_from: float = 99.0, *, state: str = "done", message: str = "503, expected 200", name: str = "browse") -> LoadReport:
    """The report of such a run."""
    return judge(order(mix={name: 1.0}), record(slow_from, message, name), facts(state))


def searched() -> LoadReport:
    """A search that found 40/s."""
    curve = (
        Point(20.0, Outcome.PASS, 1.0, 0.03, 0.05, 0.09, 0.0),
        Point(40.0, Outcome.PASS, 1.0, 0.04, 0.2, 0.4, 0.0, confirming=True),
        Point(80.0, Outcome.FAIL, 1.0, 0.3, 2.0, 4.0, 0.02, broke=("browse/me p95",)),
    )
    return replace(report(), capacity=Capacity(40.0, 80.0, curve, "browse/me p95"))
