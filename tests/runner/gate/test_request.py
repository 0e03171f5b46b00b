from __future__ import annotations

from typing import Any

import pytest

from runner.config.plan import GateRules
from runner.gate.request import read, selected
from tests.support.observations import made_check, made_plan


def test_the_words_are_those_of_the_command() -> None:
    """Units stand on every number that has one; what isn't said is the file's."""
    told = read({"expect_revision": "3f2c91a", "wait": "2m", "for": "1m", "fail_on_slower": "30%", "since": "2026-11-24T12:00:00Z"})
    settings = told.settings(GateRules(rounds=7))
    assert (settings.expect, settings.wait, settings.span, settings.rounds, settings.fail_on_slower) == ("3f2c91a", 120.0, 60.0, 7, 0.3)
    assert told.since == 1_795_521_600.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tag": "smoke"}, "tag:"),
        ({"wait": 5}, "wait: 5 has no unit; write 5s"),
        ({"wait": "2d"}, "wait:"),
        ({"rounds": 0}, "rounds:"),
        ({"since": "2026-11-24T12:00:00"}, "since: write the moment with its offset"),
        ({"baseline": {"seconds": {"api": [-1]}}}, "baseline.seconds.api.0:"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(wrong: dict[str, Any], said: str) -> None:
    """With its key; and it is bounded."""
    with pytest.raises(ValueError, match=said):
        read(wrong)


def test_checks_are_selected_as_on_the_command_line() -> None:
    """By tag and by name; by the gate's own tags where neither is given; an unknown one is an error, all of them at once."""
    plan = made_plan(made_check("api", tags=("smoke",)), made_check("cache", tags=("cache",)), made_check("database", tags=("smoke",)))
    names = [one.check.name for one in selected(plan, (), ())]
    assert names == ["api", "database"]
    assert [one.check.name for one in selected(plan, ("cache",), ("api",))] == ["api", "cache"]
    with pytest.raises(ValueError, match=r"no check carries the tag smok; there is no check ap"):
        selected(plan, ("smok",), ("ap",))
