"""Times, numbers and sentences as a person reads them."""

from __future__ import annotations

import pytest

from judge.observation import Check, Observation
from probes.text import age, latency, listed
from runner.sinks.health import Health
from runner.web.headline import headline
from runner.web.view import budget
from runner.web.words import moment
from tests.support.observations import NOON, P95, Hands, failed, made_check, made_plan, passed, unknown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "<0.1 ms"), (0.0004, "0.4 ms"), (0.48, "480 ms"), (0.9994, "999 ms"), (1.0, "1.00 s"), (1.239, "1.24 s"), (75.2, "75 s")],
)
def test_spans_carry_their_unit(seconds: float, text: str) -> None:
    """As many digits as tell something."""
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (12, "12 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (7500, "2 h 5 min"), (86400, "1 d"), (273_600, "3 d 4 h")],
)
def test_ages_take_their_largest_units(seconds: float, text: str) -> None:
    """Nobody counts seconds of last week."""
    assert age(seconds) == text


def test_moments_have_their_date_where_it_is_another() -> None:
    """Today's times are short; yesterday's say so."""
    assert moment(NOON - 3600, NOON) == "11:00:00"
    assert moment(NOON - 86400, NOON) == "23 Nov 12:00:00"
    assert moment(NOON - 365 * 86400, NOON) == "24 Nov 2025 12:00:00"


def test_lists_in_a_sentence() -> None:
    """Long lists end with how many more there are."""
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert listed(list("abcdef"), 4) == "a, b, c, d and 2 more"


DATABASE, CACHE = made_check("database"), made_check("cache")
TRIP = made_check("plan-a-trip", depends_on=("database",))
REPORT = made_check("report", depends_on=("plan-a-trip",))
PARTNER = made_check("opentable", required=False)
ALL = (DATABASE, CACHE, TRIP, REPORT, PARTNER)


def said(*seen: Observation, checks: tuple[Check, ...] = ALL, later: float = 0.0) -> tuple[str, str]:
    """The headline after a pass of every check and then these runs."""
    clock = Hands()
    health = Health(made_plan(*checks), clock)
    for one in (*(passed(check) for check in checks), *seen):
        health(one)
    told = headline(health.states(), NOON + later)
    return told.text, told.more


def test_all_up() -> None:
    """The sentence that lets everybody sleep."""
    assert said() == ("All 5 checks are up.", "")
    assert said(checks=(CACHE,)) == ("The only check is up.", "")


def test_causes_are_named_before_their_consequences() -> None:
    """VOICE: what is down, and what depends on it; also over two steps."""
    assert said(failed(DATABASE), failed(TRIP))[0] == "2 of 5 checks are down: database, and plan-a-trip which depends on it."
    assert said(failed(DATABASE), failed(REPORT))[0] == "2 of 5 checks are down: database, and report which depends on it."
    both = said(failed(DATABASE), failed(TRIP), failed(REPORT))[0]
    assert both == "3 of 5 checks are down: database, and plan-a-trip and report which depend on it."
    three = said(failed(DATABASE), failed(CACHE), failed(TRIP))[0]
    assert three == "3 of 5 checks are down: database and cache, and plan-a-trip which depends on database."
    on_both = made_check("trips", depends_on=("database", "cache"))
    all_three = said(failed(DATABASE), failed(CACHE), failed(on_both), checks=(DATABASE, CACHE, on_both))[0]
    assert all_three == "3 of 3 checks are down: database and cache, and trips which depends on them."
    assert said(failed(CACHE))[0] == "1 of 5 checks is down: cache."


def test_a_circle_of_dependencies_names_all() -> None:
    """Two that depend on each other: neither is the cause, both are named."""
    one, other = made_check("a", depends_on=("b",)), made_check("b", depends_on=("a",))
    assert said(failed(one), failed(other), checks=(one, other))[0] == "2 of 2 checks are down: a and b."


def test_optional_checks_are_no_alarm() -> None:
    """They are told in the second sentence."""
    assert said(failed(PARTNER)) == ("4 of 5 checks are up.", "Down, but optional: opentable.")


def test_doubt_is_told_and_never_called_up() -> None:
    """Unknown and stale checks have their own words; beside a check that is down they come in the second sentence."""
    assert said(unknown(CACHE))[0] == "1 of 5 checks is unknown: cache."
    assert said(failed(DATABASE), unknown(CACHE)) == ("1 of 5 checks is down: database.", "Unknown: cache.")
    assert said(later=3600)[0] == "5 of 5 checks are stale: database, cache, plan-a-trip, report and 1 more."
    fresh = unknown(CACHE, at=NOON + 3600)
    assert said(fresh, later=3600)[0] == "5 of 5 checks are unknown or stale: database, cache, plan-a-trip, report and 1 more."


def test_maintenance_is_told_apart() -> None:
    """A check that is down in its window is no alarm."""
    assert said(failed(DATABASE, maintenance=True)) == ("4 of 5 checks are up.", "In maintenance: database.")


def test_the_beginning() -> None:
    """Before the first runs nothing is claimed."""
    health = Health(made_plan(DATABASE, CACHE), Hands())
    assert headline(health.states(), NOON).text == "Starting: no check has run yet."
    health(passed(DATABASE))
    assert headline(health.states(), NOON).text == "Starting: 1 of 2 checks has not run yet."
    assert headline((), NOON).text == "checks.yaml has no check."


@pytest.mark.parametrize(
    ("events", "good", "state", "used"),
    [
        (0, 0, "no run yet", "-"),
        (100_000, 100_000, "met", "0 %"),
        (100_000, 99_999, "met", "<1 %"),
        (1000, 963, "met", "74 %"),
        (1000, 962, "at risk", "76 %"),
        (1000, 950, "at risk", "100 %"),
        (100_000, 94_999, "breached", "101 %"),
        (2, 0, "breached", "2000 %"),
    ],
)
def test_an_slo_has_a_state_and_a_budget(events: int, good: int, state: str, used: str) -> None:
    """Met, at risk from three quarters of the error budget on, breached above it; 100 % is said of nothing that is over it."""
    seen = budget(P95, events, good)
    assert (seen.state, seen.used) == (state, used)
    assert seen.holds is (None if not events else state != "breached")
