"""What is remembered by the name of a check."""

from __future__ import annotations

from dataclasses import replace

from runner.config.plan import ByCheck
from tests.support.observations import made_check, made_plan

API, CACHE, PART = made_check("api"), made_check("cache"), made_check("api/db", part_of="api")


def test_a_reload_forgets_removed_and_changed_checks_with_their_parts() -> None:
    """A check that stays as it was is remembered; a part goes the way of its check."""
    remembered: ByCheck[int] = ByCheck()
    remembered.plan(made_plan(API, CACHE, parts={"api": (PART,)}))
    remembered.update({"api": 1, "api/db": 2, "cache": 3})
    remembered.plan(made_plan(CACHE, API, parts={"api": (PART,)}))
    assert remembered == {"api": 1, "api/db": 2, "cache": 3}
    remembered.plan(made_plan(replace(API, address="elsewhere"), CACHE, parts={"api": (PART,)}))
    assert remembered == {"cache": 3}
    remembered.plan(made_plan(API))
    assert remembered == {}


def test_what_comes_late_of_a_removed_check_is_forgotten_with_the_next_plan() -> None:
    """A check that comes back later is a new one."""
    remembered: ByCheck[int] = ByCheck()
    remembered.plan(made_plan(CACHE))
    remembered["api"] = 1
    remembered.plan(made_plan(API, CACHE))
    assert remembered == {}
