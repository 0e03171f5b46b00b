from __future__ import annotations

from dataclasses import replace

import pytest

from judge.verdict import Outcome
from loadtests.capacity import SearchPlan, Trial, ended, growth, search, shown
from loadtests.histogram import LatencyHistogram
from loadtests.order import Order, SloOrder
from loadtests.record import Record
from loadtests.result import Capacity, LoadReport, Period, Second
from loadtests.verdict import Facts, judge
from probes.target import Target

ORDER = Order("t", {"browse": 1.0}, "requests", (SloOrder("p95", 0.95, 0.5),), Target(name="api", url="http://127.0.0.1:1"), duration=9.0)
EMPTY = judge(ORDER, Record(), Facts(0.0, 9.0))


def at(seconds: list[float], outcome: Outcome = Outcome.PASS) -> LoadReport:
    """A report with one response time in each second."""
    rows = []
    for second, took in enumerate(seconds):
        histogram = LatencyHistogram()
        histogram.add(took)
        rows.append(Second(second, 1, 1, 0, 1, response=histogram))
    return replace(EMPTY, verdict=outcome, seconds=tuple(rows), periods=(Period("steady", 0.0, float(len(seconds))),))


def found(plan: SearchPlan, limit: float, *, flaky: frozenset[float] = frozenset()) -> tuple[Capacity, list[Trial]]:
    """Searches a system that holds up to a rate; at a flaky rate it holds the first time alone."""
    moves = search(plan)
    trials = [next(moves)]
    while True:
        rate = trials[-1].rate
        holds = rate <= limit and not (rate in flaky and trials[-1].confirming)
        try:
            trials.append(moves.send(at([0.01] * 9, Outcome.PASS if holds else Outcome.FAIL)))
        except StopIteration as over:
            return over.value, trials


@pytest.mark.parametrize("limit", [12.0, 47.0, 100.0, 199.0])
def test_the_search_ends_near_the_truth_and_confirms_it(limit: float) -> None:
    """Within a tenth below the rate at which it breaks, in few runs, and the answer held twice."""
    capacity, trials = found(SearchPlan(rate=10.0, ceiling=1000.0), limit)
    assert capacity.holds is not None
    assert capacity.breaks is not None
    assert capacity.holds <= limit < capacity.breaks
    assert capacity.breaks - capacity.holds <= 0.1 * capacity.breaks
    assert [t.confirming for t in trials if t.rate == capacity.holds] == [False, True]
    assert len(trials) <= 12


def test_the_ceiling_is_never_exceeded() -> None:
    """A system that holds everything is asked at the ceiling, twice, and never above."""
    capacity, trials = found(SearchPlan(rate=10.0, ceiling=50.0), 1e9)
    assert (capacity.holds, capacity.breaks) == (50.0, None)
    assert max(t.rate for t in trials) == 50.0


def test_a_system_that_holds_nothing_is_said_to() -> None:
    """It goes down, gives up, and reports the lowest rate that broke."""
    capacity, _ = found(SearchPlan(rate=10.0, ceiling=100.0), 0.0)
    assert capacity.holds is None
    assert capacity.breaks is not None
    assert capacity.breaks < 10.0


def test_a_rate_that_holds_once_is_no_capacity() -> None:
    """Confirmation fails: the answer lies below it."""
    capacity, _ = found(SearchPlan(rate=40.0, ceiling=80.0), 80.0, flaky=frozenset({80.0}))
    assert capacity.holds is not None
    assert capacity.holds < 80.0
    assert capacity.breaks == 80.0


def test_the_search_goes_on_below_a_rate_that_held_only_once() -> None:
    """What held below it counts: it is not begun anew at half of it."""
    capacity, trials = found(SearchPlan(rate=40.0, ceiling=80.0), 80.0, flaky=frozenset({80.0}))
    assert capacity.holds is not None
    assert capacity.holds > 70.0
    assert len(trials) <= 8


def test_a_search_that_is_ended_tells_what_it_has_found() -> None:
    """A limit is used up in mid-search: the curve stays, and a rate that has held only once is no answer, so that nothing passes."""
    moves = search(SearchPlan(rate=10.0, ceiling=1000.0))
    next(moves)
    reports = {10.0: at([0.01] * 9), 20.0: at([0.01] * 9)}
    for report in reports.values():
        moves.send(report)
    capacity = ended(moves, "limit of api: 900 of 900 in 1h are taken")
    report = shown(capacity, reports)
    assert [point.rate for point in capacity.curve] == [10.0, 20.0]
    assert (capacity.holds, report.verdict) == (None, Outcome.INCONCLUSIVE)
    assert "900 of 900" in report.reasons[0].text
    assert report.capacity == capacity


def test_a_search_that_finds_its_rate_shows_that_rates_report() -> None:
    """The verdict is that of the highest rate that held twice."""
    capacity, _ = found(SearchPlan(rate=10.0, ceiling=50.0), 1e9)
    held = at([0.01] * 9)
    assert shown(capacity, {10.0: EMPTY, 50.0: held}).seconds == held.seconds


def test_a_growing_queue_holds_only_as_long_as_the_run_is_short() -> None:
    """Waits that double within a run are no steady state, though every SLO held."""
    assert growth(at([0.1, 0.1, 0.1, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4])).startswith("the wait grew")
    assert growth(at([0.1] * 9)) == ""
    assert growth(at([0.001] * 6 + [0.004] * 3)) == ""
    assert growth(replace(EMPTY, periods=())) == ""
