from __future__ import annotations

from dataclasses import replace

from judge.observation import Observation
from runner.sinks.outages import Change, Outage, Watch
from tests.support.observations import NOON, failed, made_check, passed, unknown

API = made_check("api", target="api")


class Told:
    """A watch, and what it told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.outages: list[Outage] = []
        self.watch = Watch(self.changes.append, self.outages.append)

    def saw(self, *seen: Observation) -> None:
        """Hands observations over, a second apart, from noon on."""
        for number, one in enumerate(seen):
            self.watch(replace(one, at=NOON + number))


def of(revision: str) -> Observation:
    """A pass that tells its revision."""
    return passed(API, facts={"revision": revision})


def test_a_change_of_revision_is_told_once() -> None:
    """During a rollout both answer in turns: that is one change, and the first sight of a target is told as one from nothing."""
    told = Told()
    told.saw(of("old"), of("old"), of("new"), of("old"), of("new"), of("new"), of("none"))
    assert told.changes == [Change("api", "", "old", NOON), Change("api", "old", "new", NOON + 2)]


def test_a_rollback_is_a_change_of_its_own() -> None:
    """The earlier revision comes back, long after it was last seen."""
    told = Told()
    for at, revision in ((0, "old"), (10, "new"), (1000, "new"), (1001, "old")):
        told.watch.told("api", revision, at)
    assert [(one.before, one.after) for one in told.changes] == [("", "old"), ("old", "new"), ("new", "old")]


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


def test_what_was_before_the_deployment() -> None:
    """Runs up to the last answer of the release before; by the caller's word where it gives one; of a check without a target, likewise."""
    told = Told()
    seen = [replace(of("old" if n < 5 else "new"), at=NOON + n, seconds=0.1 + n) for n in range(10)]
    for one in seen:
        told.watch(one)
    recent = {"api": seen, "database": [replace(one, facts={}) for one in seen]}
    targets = {"api": "api", "database": ""}
    before = told.watch.before(recent, target_of=targets, expect="new", now=NOON + 20, since=None)
    assert {name: len(values) for name, values in before.durations.items()} == {"api": 5, "database": 5}
    assert before.revisions == {"api": "new"}
    given = told.watch.before(recent, target_of=targets, expect="new", now=NOON + 20, since=NOON + 1)
    assert {name: len(values) for name, values in given.durations.items()} == {"api": 2, "database": 2}
