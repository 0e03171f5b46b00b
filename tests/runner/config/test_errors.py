from __future__ import annotations

import pytest

from probes.text import did_you_mean, unknown
from runner.config.errors import NOWHERE, Path, PlanError, Position, Problem, spoken


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("checks", "api", "timeout"), "checks.api.timeout"),
        (("checks", "plan-a-trip", "steps", 2), "checks.plan-a-trip, step 3"),
        (("checks", "plan-a-trip", "steps", 2, "expect", "within"), "checks.plan-a-trip, step 3, expect.within"),
        (("targets", "api", "allow", 0), "targets.api.allow, item 1"),
        (("checks", "x" * 200), f"checks.{'x' * 80}..."),
        ((), ""),
    ],
)
def test_a_path_is_said_as_a_person_says_it(path: Path, words: str) -> None:
    """Steps and items count from 1, and a key of many signs is cut."""
    assert spoken(path) == words


def test_problems_are_sorted_by_place_and_said_once() -> None:
    """What the command line asked for and what has no line come first, then line by line; places stand in a column."""
    problems = [
        Problem(Position(31, 14), ("checks", "api", "timeout"), "5 has no unit; write 5s"),
        Problem(Position(4, 7), ("checks", "cache"), "is wrong"),
        Problem(Position(4, 7), ("checks", "cache"), "is wrong"),
        Problem(NOWHERE, (), "no check carries the tag smok", "--tag smok"),
    ]
    assert str(PlanError("checks.yaml", problems)).splitlines() == [
        "--tag smok         no check carries the tag smok",
        "checks.yaml:4:7    checks.cache: is wrong",
        "checks.yaml:31:14  checks.api.timeout: 5 has no unit; write 5s",
        "3 errors in checks.yaml; nothing was started",
    ]


def test_a_flood_of_problems_is_counted() -> None:
    """A hundred problems are printed and all are counted."""
    lines = str(PlanError("checks.yaml", [Problem(Position(line, 1), (), "is wrong") for line in range(1, 251)])).splitlines()
    assert (len(lines), lines[-2:]) == (102, ["and 150 more", "250 errors; nothing was started"])


@pytest.mark.parametrize(("word", "hint"), [("roundtrip", "; did you mean round_trip?"), ("xyz", ""), ("", ""), ("x" * 100_000, "")])
def test_a_hint_is_given_where_a_word_is_near(word: str, hint: str) -> None:
    """A typing mistake is told the word that was meant; a word of its own is told nothing."""
    assert did_you_mean(word, {"round_trip", "url"}) == hint


def test_a_long_list_of_names_is_cut() -> None:
    """Where no name is near, the first dozen is listed and the rest counted."""
    assert unknown("moon", "check", ["b", "a"]) == "no such check: moon (there are a, b)"
    assert unknown("moon", "check", []) == "no such check: moon (none is declared)"
    assert unknown("moon", "check", [f"c{n:03}" for n in range(100)]).endswith("c010, c011 and 88 more)")
