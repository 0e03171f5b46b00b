from __future__ import annotations

import json
from typing import Any

import pytest

from judge.baseline import Before
from runner.config.plan import GateRules
from runner.gate.remote import request_of
from runner.gate.settings import GateRequest, GateSettings, selected
from tests.support.observations import made_check, made_plan


def test_the_words_are_those_of_the_command() -> None:
    """Units stand on every number that has one; what isn't given is the file's."""
    request = GateRequest.read(
        {"expect_revision": "3f2c91a", "wait": "2m", "for": "1m", "fail_on_slower": "30%", "since": "2026-11-24T12:00:00Z"}
    )
    settings = request.with_rules(GateRules(rounds=7))
    assert (settings.expect_revision, settings.wait, settings.span) == ("3f2c91a", 120.0, 60.0)
    assert (settings.rounds, settings.fail_on_slower) == (7, 0.3)
    assert request.since == 1_795_521_600.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tag": "smoke"}, "tag:"),
        ({"wait": 5}, "wait: 5 has no unit; write 5s"),
        ({"wait": "2d"}, "wait:"),
        ({"rounds": 0}, "rounds:"),
        ({"expect_revision": " "}, "expect_revision: is empty; leave it out"),
        ({"since": "2026-11-24T12:00:00"}, "since: write the moment with its offset"),
        ({"baseline": {"seconds": {"api": [-1]}}}, "baseline.seconds.api.0:"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(wrong: dict[str, Any], said: str) -> None:
    """With its key; and it is bounded."""
    with pytest.raises(ValueError, match=said):
        GateRequest.read(wrong)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"wait": 300.0, "for": 90.0, "fail_on_slower": 0.3, "expect_revision": "3f2c91a", "require_slo": True},
        {"rounds": 7, "consecutive": 11, "fail_on_slower": 0.0},
    ],
)
def test_settings_travel_in_seconds_and_shares(given: dict[str, Any]) -> None:
    """What `--via` sends is the record itself; the file that completes it is the runner's, and what wasn't given isn't sent."""
    settings = GateSettings.model_validate(given)
    before = Before({"api": (0.1,)}, {"api": "91be20d"}, "before.json")
    sent = json.loads(json.dumps(request_of(settings, before, tags=["smoke"], since="")))
    assert {name: value for name, value in sent.items() if name in given} == given
    assert sent.keys() == {*given, "tags", "baseline"}
    received = GateRequest.read(sent)
    rules = GateRules(wait=60.0, rounds=3)
    assert received.with_rules(rules).model_dump(include=set(GateSettings.model_fields)) == settings.with_rules(rules).model_dump()
    assert received.before() == before


def test_checks_are_selected_as_on_the_command_line() -> None:
    """By tag and by name; by the gate's own tags where neither is given; an unknown one is an error, all of them at once."""
    plan = made_plan(made_check("api", tags=("smoke",)), made_check("cache", tags=("cache",)), made_check("database", tags=("smoke",)))
    names = [one.check.name for one in selected(plan, (), ())]
    assert names == ["api", "database"]
    assert [one.check.name for one in selected(plan, ("cache",), ("api",))] == ["api", "cache"]
    with pytest.raises(ValueError, match=r"no check carries the tag smok; there is no check ap"):
        selected(plan, ("smok",), ("ap",))
