from __future__ import annotations

from dataclasses import replace

import pytest

from judge.observation import Observation, Outage
from runner.config.plan import Plan
from runner.sinks.outages import Outages
from tests.support.observations import NOON, Hands, failed, made_check, made_plan, passed, unknown

API, CACHE = made_check("api"), made_check("cache")
MOVED = replace(API, address="elsewhere")
LEFT = Outage("api", NOON - 60, "status: 503", "roadtrip", "test")  # what a process before left open


class Told:
    """The outages of a plan's checks, and what was told of them."""

    def __init__(self, plan: Plan | None = None, *left: Outage) -> None:
        self.outages: list[Outage] = []
        self.clock = Hands()
        self.sink = Outages(self.outages.append, self.clock)
        self.sink.restore(left)
        self.sink.plan(plan or made_plan(API, CACHE))

    def saw(self, *seen: Observation) -> None:
        """Hands observations over, a second apart, from the clock's moment on."""
        for number, one in enumerate(seen):
            self.sink(replace(one, at=self.clock.now + number))
        self.clock.now += len(seen)

    def reloaded(self, plan: Plan) -> list[Outage]:
        """What a reload ends."""
        before = len(self.outages)
        self.sink.plan(plan)
        return self.outages[before:]


def test_an_outage_goes_from_first_failure_to_recovery() -> None:
    """It is told when it is one (the second failure), and when it ends; a run that can't tell ends nothing."""
    told = Told()
    told.saw(passed(API), failed(API), failed(API), unknown(API), failed(API), passed(API), passed(API))
    assert [(one.began, one.ended) for one in told.outages] == [(NOON + 1, None), (NOON + 1, NOON + 5)]
    assert told.outages[0].why == "status: 503, expected 200"


def test_a_single_failure_is_no_outage() -> None:
    """Nor is one in a maintenance window."""
    told = Told()
    told.saw(failed(API), passed(API), failed(API, maintenance=True), failed(API, maintenance=True), passed(API))
    assert told.outages == []


def test_a_failure_that_was_not_confirmed_is_no_part_of_an_outage() -> None:
    """The re-check passed: neither does it begin one, nor is it the second failure of one."""
    told = Told()
    told.saw(failed(API, confirmed=False), failed(API), failed(API, confirmed=False))
    assert told.outages == []
    told.saw(failed(API))
    assert [one.began for one in told.outages] == [NOON + 1]


def test_a_part_has_no_outage_of_its_own() -> None:
    """Its check's run tells of it."""
    part = made_check("api/db", part_of="api")
    told = Told()
    told.saw(failed(part), failed(part), passed(part))
    assert told.outages == []


@pytest.mark.parametrize(
    ("plan", "until"),
    [
        (made_plan(CACHE), "it was removed from checks.yaml"),
        (replace(made_plan(CACHE), off=("api",)), "it was switched off in checks.yaml"),
        (replace(made_plan(API, CACHE), environment="staging"), "the service or the environment was changed in checks.yaml"),
        (replace(made_plan(API, CACHE), service="trips"), "the service or the environment was changed in checks.yaml"),
    ],
    ids=["removed", "switched off", "another environment", "another service"],
)
def test_an_outage_ends_when_its_check_is_gone(plan: Plan, until: str) -> None:
    """At the reload, under the service and environment that it began in; once, and the check is a new one where it comes back."""
    told = Told()
    told.saw(failed(API), failed(API), failed(API))
    assert told.reloaded(plan) == [Outage("api", NOON, "status: 503, expected 200", "roadtrip", "test", ended=NOON + 3, until=until)]
    assert told.reloaded(made_plan(API, CACHE)) == []
    told.saw(failed(API), passed(API), failed(API), failed(API))
    assert [(one.began, one.ended) for one in told.outages[2:]] == [(NOON + 5, None)]


def test_a_changed_check_goes_on_with_its_outage() -> None:
    """It has the same name, which is all that the annotation tells: the next pass under that name ends it."""
    told = Told()
    told.saw(failed(API), failed(API))
    assert told.reloaded(made_plan(MOVED, CACHE)) == []
    told.saw(failed(MOVED), failed(MOVED), passed(MOVED))
    assert [(one.began, one.ended) for one in told.outages] == [(NOON, None), (NOON, NOON + 4)]


def test_a_single_failure_before_a_change_counts_no_more() -> None:
    """It was the failure of another check: with it, one failure after the change would make an outage."""
    told = Told()
    told.saw(failed(API), failed(CACHE))
    told.reloaded(made_plan(MOVED, CACHE))
    told.saw(failed(MOVED), failed(CACHE))
    assert [one.check for one in told.outages] == ["cache"]


def test_a_restart_goes_on_with_an_outage() -> None:
    """Failures after it are the same outage, and the first pass ends it where it began; nothing is told of it before."""
    told = Told(None, LEFT)
    told.saw(failed(API), unknown(API), failed(API), failed(API))
    assert told.outages == []
    told.saw(passed(API), passed(API))
    assert told.outages == [replace(LEFT, ended=NOON + 4)]


def test_a_check_that_is_gone_at_a_restart_ends_its_outage() -> None:
    """At that moment: when it really ended nobody knows."""
    assert Told(made_plan(CACHE), LEFT).outages == [replace(LEFT, ended=NOON, until="it was removed from checks.yaml")]


def test_two_runners_that_left_an_outage_each_end_both() -> None:
    """Both shared the state and watched the same check, so that each had an outage of its own."""
    other = replace(LEFT, began=NOON - 59)
    told = Told(None, LEFT, other)
    told.saw(failed(API), passed(API))
    assert told.outages == [replace(LEFT, ended=NOON + 1), replace(other, ended=NOON + 1)]


def test_an_outage_begins_under_the_name_that_the_service_has_by_then() -> None:
    """Its first failure came before a reload that renamed the service, its second one after it."""
    told = Told()
    told.saw(failed(API))
    told.reloaded(replace(made_plan(API, CACHE), service="trips"))
    told.saw(failed(API))
    assert told.outages == [Outage("api", NOON, "status: 503, expected 200", "trips", "test")]
