from __future__ import annotations

import pytest

from runner.judge.explained import Explained
from runner.observation import Check
from tests.support.observations import failed, made_check, passed, unknown

DATABASE = made_check("database")
READY = made_check("ready", depends_on=("database",))
TRIP = made_check("trip", depends_on=("ready",))


def following(*checks: Check) -> Explained:
    """Of a plan of these checks."""
    explained = Explained()
    explained.plan(checks)
    return explained


def test_a_failure_beside_one_below_it_is_explained() -> None:
    """However far below; until its own next run, which says it anew."""
    explained = following(DATABASE, READY, TRIP)
    assert explained.observed(failed(DATABASE)) == {}
    assert explained.observed(failed(TRIP)) == {"trip": True}
    assert explained.observed(passed(DATABASE)) == {}
    assert explained.observed(failed(TRIP)) == {"trip": False}


def test_what_is_below_may_be_seen_later() -> None:
    """Its first run since then counts: it may have been down before it was asked. Its later runs explain nothing any more."""
    explained = following(DATABASE, READY)
    assert explained.observed(failed(READY)) == {"ready": False}
    assert explained.observed(failed(DATABASE)) == {"ready": True}

    explained = following(DATABASE, READY)
    explained.observed(failed(READY))
    explained.observed(passed(DATABASE))
    assert explained.observed(failed(DATABASE)) == {}


def test_a_pass_has_nothing_to_explain() -> None:
    """And it ends what was awaited."""
    explained = following(DATABASE, READY)
    explained.observed(failed(READY))
    assert explained.observed(passed(READY)) == {"ready": False}
    assert explained.observed(failed(DATABASE)) == {}


def test_what_can_not_be_told_changes_nothing() -> None:
    """Neither of the one below nor of the one above."""
    explained = following(DATABASE, READY)
    explained.observed(failed(READY))
    assert explained.observed(unknown(DATABASE)) == {}
    assert explained.observed(failed(DATABASE)) == {"ready": True}
    assert explained.observed(unknown(READY)) == {}


@pytest.mark.parametrize("below", [made_check("database", alert="none"), made_check("other")])
def test_one_that_calls_nobody_or_is_no_part_of_the_plan_explains_nothing(below: Check) -> None:
    """For then nobody would speak."""
    explained = following(below, READY)
    explained.observed(failed(below))
    assert not explained.observed(failed(READY)).get("ready", False)


def test_a_reload_keeps_what_is_known_of_checks_that_stay() -> None:
    """A check that is gone explains nothing; one that stays is still failing."""
    explained = following(DATABASE, READY)
    explained.observed(failed(DATABASE))
    explained.plan([DATABASE, READY, TRIP])
    assert explained.observed(failed(READY)) == {"ready": True}
    explained.plan([READY, TRIP])
    assert explained.observed(failed(TRIP)) == {"trip": True}
    assert explained.observed(failed(READY)) == {}
