"""locations: runners in several places run every check, each at its own time."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.errors import PlanError
from runner.config.plan import Plan
from runner.config.read import read_plan
from runner.config.slots import slots

CHECKS = """\
checks:
  api: {kind: tcp, host: localhost, port: 1, interval: 30s}
  night: {kind: tcp, host: localhost, port: 1, cron: "0 3 * * *"}
"""
NOON = 1764072000.0


def plan(tmp_path: Path, location: str, locations: str = "locations: [eu, us, asia]\n") -> Plan:
    """The plan of the runner in a location."""
    file = tmp_path / "checks.yaml"
    file.write_text(f"version: 1\nlocation: {location}\n{locations}{CHECKS}")
    return read_plan(file, environ={})


def test_runs_are_shifted_by_their_place(tmp_path: Path) -> None:
    """With three locations each asks a third of the interval after the one before; a cron expression keeps its time."""
    plans = [plan(tmp_path, location) for location in ("eu", "us", "asia")]
    first = [slots(one.checks[0])(NOON) for one in plans]
    assert sorted((at - first[0]) % 30 for at in first) == pytest.approx([0, 10, 20])
    assert len({slots(one.checks[1])(NOON) for one in plans}) == 1
    assert slots(plan(tmp_path, "eu", "").checks[0])(NOON) == first[0]


def test_another_place_is_another_check(tmp_path: Path) -> None:
    """A reload that changes the place gives the checks their new times."""
    here, there = plan(tmp_path, "eu"), plan(tmp_path, "us")
    assert here.checks[0].fingerprint != there.checks[0].fingerprint
    assert here.checks[0].fingerprint == plan(tmp_path, "eu", "").checks[0].fingerprint


@pytest.mark.parametrize(
    ("location", "locations", "message"),
    [
        ("mars", "locations: [eu, us]\n", "mars isn't one of them; the location of each runner must be in the list"),
        ("eu", "locations: [eu, us, eu]\n", "names a location twice"),
    ],
)
def test_a_wrong_list_is_told(tmp_path: Path, location: str, locations: str, message: str) -> None:
    """A runner whose place isn't listed would ask at the time of another one."""
    with pytest.raises(PlanError) as refused:
        plan(tmp_path, location, locations)
    assert f"checks.yaml:3:1  locations: {message}" in str(refused.value)
