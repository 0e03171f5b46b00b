"""How one run counts for one SLO: HOUSE's verdict table, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from judge.observation import Slo
from judge.slo import count_events, event
from tests.support.observations import AVAILABILITY, P95, STORY, failed, made_check, passed, unknown

CHECK = made_check()


@pytest.mark.parametrize("slo", [AVAILABILITY, P95, STORY])
def test_unknown_and_maintenance_are_no_events(slo: Slo) -> None:
    """H4: A run that can't tell, or one in a maintenance window, moves no counter."""
    assert event(unknown(CHECK), slo) is None
    assert event(passed(CHECK, maintenance=True), slo) is None
    assert event(failed(CHECK, maintenance=True), slo) is None


def test_a_quick_failure_is_no_quick_run() -> None:
    """A run that failed in 1 ms is a bad event of every SLO."""
    quick = replace(failed(CHECK), seconds=0.001)
    assert [event(quick, slo) for slo in (AVAILABILITY, P95)] == [False, False]


def test_availability_counts_passes_however_slow() -> None:
    """Without a threshold a pass is good."""
    assert event(passed(CHECK, 60.0), AVAILABILITY) is True


@pytest.mark.parametrize(("seconds", "good"), [(0.5, True), (0.5000000000000001, False), (0.4999999999999999, True)])
def test_the_threshold_is_exact(seconds: float, good: bool) -> None:  # noqa: FBT001 - what is expected
    """At most the threshold is good; the next number above it is not."""
    assert event(passed(CHECK, seconds), P95) is good


@pytest.mark.parametrize(
    ("facts", "good"), [({"step.story": 3.0}, True), ({"step.story": 3.1}, False), ({}, False), ({"step.story": "x"}, False)]
)
def test_a_measure_that_was_not_reached_is_not_good(facts: dict[str, object], good: bool) -> None:  # noqa: FBT001 - as above
    """The named step decides, not the whole run; what wasn't measured wasn't quick enough."""
    assert event(passed(CHECK, 0.1, facts=facts), STORY) is good


def test_a_measure_may_be_a_phase() -> None:
    """A phase counts like a step."""
    slo = replace(P95, measure="processing")
    assert event(passed(CHECK, 9.0, phases={"processing": 0.5}), slo) is True


def test_not_a_number_is_not_good() -> None:
    """NaN is at most nothing."""
    assert event(passed(CHECK, float("nan")), P95) is False


@pytest.mark.parametrize(
    ("seconds", "stalled", "said"),
    [(0.5, 0.3, True), (0.6, 0.1, None), (0.6, 0.2, None), (0.6, 0.05, False), (0.6, 0.0, False), (0.4, 9.0, True)],
)
def test_what_our_own_loop_falsified_neither_spends_a_budget_nor_fills_it(seconds: float, stalled: float, said: bool | None) -> None:  # noqa: FBT001 - as above
    """A pass that missed its threshold by no more than our loop stood still is no event; one that missed it by more is a bad one."""
    seen = passed(CHECK, seconds, facts={"loop_lag": stalled})
    assert event(seen, P95) is said
    assert event(seen, AVAILABILITY) is True


def test_an_unconfirmed_failure_is_no_event() -> None:
    """The re-check that passed is the event: a blip spends no budget."""
    assert event(replace(failed(CHECK), confirmed=False), AVAILABILITY) is None


def test_each_reader_counts_one_run_more() -> None:
    """What was counted before goes on; a run that is no event leaves it as it was; an SLO that is new begins at nothing."""
    before = {P95.name: (7, 6), "gone": (3, 3)}
    assert count_events(passed(CHECK, 0.4), [P95], before) == {P95.name: (8, 7)}
    assert count_events(passed(CHECK, 0.6), [P95], before) == {P95.name: (8, 6)}
    assert count_events(unknown(CHECK), [P95], before) == {P95.name: (7, 6)}
    assert count_events(unknown(CHECK), [P95], {}) == {P95.name: (0, 0)}
