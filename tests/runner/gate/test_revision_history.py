from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from judge.observation import Observation
from probes.target import Target
from runner.config.plan import Plan
from runner.gate.revision_history import Change, RevisionHistory
from tests.support.observations import NOON, made_check, made_plan, passed

API = made_check("api", target="api")


class Told:
    """A history, and the changes that it told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.history = RevisionHistory(self.changes.append)

    def saw(self, *seen: Observation) -> None:
        """Hands observations over, a second apart, from noon on."""
        for number, one in enumerate(seen):
            self.history(replace(one, at=NOON + number))


def of(revision: str) -> Observation:
    """A pass that tells its revision."""
    return passed(API, facts={"revision": revision})


def asking(**targets: dict[str, Any]) -> Plan:
    """A plan with these targets."""
    made = {name: Target.model_validate({"name": name, "url": f"https://{name}", **settings}) for name, settings in targets.items()}
    return replace(made_plan(API), targets=made)


def test_a_change_of_revision_is_told_once() -> None:
    """During a rollout both answer in turns: that is one change, and the first sight of a target is told as one from nothing."""
    told = Told()
    told.saw(of("old"), of("old"), of("new"), of("old"), of("new"), of("new"), of("none"))
    assert told.changes == [Change("api", "", "old", NOON), Change("api", "old", "new", NOON + 2)]


def test_a_rollback_is_a_change_of_its_own() -> None:
    """The earlier revision comes back, long after it was last seen."""
    told = Told()
    for at, revision in ((0, "old"), (10, "new"), (1000, "new"), (1001, "old")):
        told.history.saw("api", revision, at)
    assert [(one.before, one.after) for one in told.changes] == [("", "old"), ("old", "new"), ("new", "old")]


def test_what_was_before_the_deployment() -> None:
    """Runs up to the last answer of the release before; by the caller's word where it gives one; of a check without a target, likewise."""
    told = Told()
    seen = [replace(of("old" if n < 5 else "new"), at=NOON + n, seconds=0.1 + n) for n in range(10)]
    for one in seen:
        told.history(one)
    recent = {"api": seen, "database": [replace(one, facts={}) for one in seen]}
    targets = {"api": "api", "database": ""}
    before = told.history.before(recent, target_of=targets, expect="new", now=NOON + 20, since=None)
    assert {name: len(values) for name, values in before.durations.items()} == {"api": 5, "database": 5}
    assert before.revisions == {"api": "new"}
    given = told.history.before(recent, target_of=targets, expect="new", now=NOON + 20, since=NOON + 1)
    assert {name: len(values) for name, values in given.durations.items()} == {"api": 2, "database": 2}


BY_HEADER = asking(api={"revision": {"header": "X-Revision"}})


@pytest.mark.parametrize(
    ("reloads", "before"),
    [
        ([BY_HEADER], "old"),
        ([asking(api={"revision": {"header": "X-Revision"}, "limit": "9/1h"})], "old"),
        ([asking(model={}), BY_HEADER], ""),
        ([asking(api={"revision": {"header": "X-Revision"}, "url": "https://staging"})], ""),
        ([asking(api={"revision": {"json": "$.version"}})], ""),
    ],
    ids=["the same", "another limit", "gone and back", "another address", "another place in the response"],
)
def test_a_target_that_is_another_one_now_has_no_revision_before(reloads: list[Plan], before: str) -> None:
    """What answers there next is no change of release."""
    told = Told()
    for plan in (BY_HEADER, *reloads):
        told.history.plan(plan)
        if plan is BY_HEADER and not told.changes:
            told.history.saw("api", "old", NOON)
    told.history.saw("api", "new", NOON + 1)
    assert told.changes[1:] == [Change("api", before, "new", NOON + 1)]


def test_the_latest_revision_is_that_of_a_target_that_is_still_asked() -> None:
    """And the moment is that of a change: what a target told first is none."""
    told = Told()
    told.history.plan(asking(api={}, model={}))
    assert told.history.latest() == ("", None)
    told.history.saw("model", "m-1", NOON)
    assert told.history.latest() == ("m-1", None)
    for at, revision in ((1, "old"), (2, "new")):
        told.history.saw("api", revision, NOON + at)
    assert told.history.latest() == ("new", NOON + 2)
    told.history.plan(asking(model={}))
    assert told.history.latest() == ("m-1", None)
    told.history.plan(asking())
    assert told.history.latest() == ("", None)
