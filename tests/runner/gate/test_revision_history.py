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


@pytest.mark.parametrize("every", [1.0, 10.0, 30.0, 60.0, 300.0])
@pytest.mark.parametrize("lasted", [3.0, 60.0, 300.0, 599.0, 3600.0])
def test_a_rollback_within_minutes_is_seen(every: float, lasted: float) -> None:
    """G3: whatever the interval, and however short the bad release lived, the change back is told once, from its first response on."""
    told = Told()
    back = 3600.0 + max(lasted, every)
    for number in range(int(24 * 3600 / every)):
        at = number * every
        told.history.saw("api", "bad1234" if 3600.0 <= at < back else "good123", NOON + at)
    assert [(one.before, one.after) for one in told.changes] == [("", "good123"), ("good123", "bad1234"), ("bad1234", "good123")]
    assert 0 <= told.changes[2].at - NOON - back < every
    assert told.history.current() == {"api": ("good123", told.changes[2].at)}


@pytest.mark.parametrize("share", [2, 3, 5])
def test_a_rollout_in_which_both_answer_is_one_change(share: int) -> None:
    """G3: for hours every second, third or fifth response comes from the new release; the old one is no rollback meanwhile."""
    told = Told()
    for number in range(2000):
        told.history.saw("api", "old1234" if number % share else "new1234", NOON + number * 10)
    assert len(told.changes) == 2


def test_a_revision_written_in_two_ways_is_one() -> None:
    """G1: two paths of a target may shorten its commit differently; a version that merely begins alike is another one."""
    told = Told()
    for number, revision in enumerate(("3f2c91a", "3F2C91A8D0E4", "3f2c91a", "build-12", "build-123")):
        told.history.saw("api", revision, NOON + number)
    assert [one.after for one in told.changes] == ["3f2c91a", "build-12", "build-123"]


def test_a_target_that_always_reports_another_revision_is_remembered_in_bounds() -> None:
    """The number of a request in place of a revision fills no memory."""
    told = Told()
    for number in range(1000):
        told.history.saw("api", f"request {number}", NOON + number)
    assert len(told.history._targets["api"].known) <= 50
    assert told.history.current()["api"][0] == "request 999"


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


def test_each_target_has_its_current_revision() -> None:
    """G3b: by target, while it is asked; and the moment is that of a change: what a target told first is none."""
    told = Told()
    told.history.plan(asking(api={}, model={}))
    assert told.history.current() == {}
    told.history.saw("model", "m-1", NOON)
    for at, revision in ((1, "old"), (2, "new")):
        told.history.saw("api", revision, NOON + at)
    assert told.history.current() == {"model": ("m-1", None), "api": ("new", NOON + 2)}
    told.history.plan(asking(model={}))
    assert told.history.current() == {"model": ("m-1", None)}
    told.history.plan(asking())
    assert told.history.current() == {}
