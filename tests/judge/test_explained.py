from __future__ import annotations

import pytest

from judge.explained import Explained
from judge.observation import Check
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


@pytest.mark.parametrize(
    ("own", "below", "quiet"),
    [
        ("page", "page", True),
        ("page", "ticket", False),
        ("page", "none", False),
        ("ticket", "page", True),
        ("ticket", "ticket", True),
        ("ticket", "none", False),
        ("none", "page", True),
        ("none", "ticket", True),
        ("none", "none", False),
    ],
)
def test_only_an_alert_that_calls_as_loudly_explains(own: str, below: str, *, quiet: bool) -> None:
    """A page is never swallowed by a ticket, whichever of the two is seen first."""
    database, ready = made_check("database", alert=below), made_check("ready", alert=own, depends_on=("database",))
    explained = following(database, ready)
    explained.observed(failed(database))
    assert explained.observed(failed(ready)).get("ready", False) is quiet

    explained = following(database, ready)
    explained.observed(failed(ready))
    assert explained.observed(failed(database)).get("ready", False) is quiet


def test_a_page_further_down_explains_past_a_ticket() -> None:
    """Each check below speaks for itself: the ticket between hides nothing of the page under it."""
    database, ready = made_check("database", alert="page"), made_check("ready", alert="ticket", depends_on=("database",))
    trip = made_check("trip", alert="page", depends_on=("ready",))
    explained = following(database, ready, trip)
    explained.observed(failed(ready))
    assert explained.observed(failed(trip)) == {"trip": False}
    assert explained.observed(failed(database)) == {"ready": True, "trip": True}


def test_a_reload_that_makes_a_check_louder_ends_what_was_explained_by_less() -> None:
    """Its next failure speaks."""
    ticket = made_check("database", alert="ticket")
    explained = following(ticket, READY)
    explained.observed(failed(ticket))
    assert explained.observed(failed(READY)) == {"ready": True}
    explained.plan([ticket, made_check("ready", alert="page", depends_on=("database",))])
    assert explained.observed(failed(READY)) == {}


def test_a_reload_keeps_what_is_known_of_checks_that_stay() -> None:
    """A check that is gone explains nothing; one that stays is still failing."""
    explained = following(DATABASE, READY)
    explained.observed(failed(DATABASE))
    explained.plan([DATABASE, READY, TRIP])
    assert explained.observed(failed(READY)) == {"ready": True}
    explained.plan([READY, TRIP])
    assert explained.observed(failed(TRIP)) == {"trip": True}
    assert explained.observed(failed(READY)) == {}


def test_a_reload_forgets_what_is_known_of_a_changed_check() -> None:
    """It is another check by the same name: it explains nothing until it has failed itself, and awaits nothing."""
    explained = following(DATABASE, READY, TRIP)
    explained.observed(failed(DATABASE))
    explained.plan([DATABASE, READY, TRIP], {"database"})
    assert explained.observed(failed(READY)) == {"ready": False}
    explained.plan([DATABASE, READY, TRIP], {"ready"})
    assert explained.observed(failed(DATABASE)) == {}
