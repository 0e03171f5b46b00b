"""The search for the capacity as the command carries it out: what ends it early."""

from __future__ import annotations

import pytest

from judge.verdict import Outcome
from loadtests.capacity import SearchStopped
from loadtests.order import Order, SloOrder
from loadtests.record import Record
from loadtests.result import LoadReport
from loadtests.verdict import Facts, judge
from probes.target import Target
from runner.load.process import most_that_holds

ORDER = Order("t", {"browse": 1.0}, "requests", (SloOrder("p95", 0.95, 0.5),), Target(name="api", url="http://127.0.0.1:1"), duration=9.0)


def test_a_ctrl_c_ends_the_search_and_not_only_the_run() -> None:
    """Who stops a load wants to spare the target: no other one begins."""
    rates = []

    def at_rate(rate: float) -> Order:
        rates.append(rate)
        return ORDER

    def run(_order: Order) -> LoadReport:
        return judge(ORDER, Record(), Facts(0.0, 4.0, interrupted=True))

    report = most_that_holds(20.0, 100.0, at_rate, run)
    assert rates == [20.0]
    assert report.verdict is Outcome.INCONCLUSIVE
    assert report.capacity is not None
    assert report.capacity.ended == "it was interrupted"


def test_a_search_ends_where_a_trial_may_not_last_as_long_as_it_must() -> None:
    """U10: what was found until then is told with the reason; the first trial that is too long is no search at all."""

    def at_rate(rate: float) -> Order:
        if rate < 20.0:
            raise SearchStopped("at 10/s a run must last 10 min")
        return ORDER

    def run(_order: Order) -> LoadReport:
        return judge(ORDER, Record(), Facts(0.0, 9.0))

    report = most_that_holds(20.0, 100.0, at_rate, run)
    assert report.capacity is not None
    assert report.capacity.ended == "at 10/s a run must last 10 min"
    with pytest.raises(SearchStopped):
        most_that_holds(10.0, 100.0, at_rate, run)
