"""What is far too small or too large is told at load, with its place and with what may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.errors import PlanError
from runner.config.read import read_plan

CHECK = "checks: {c: {kind: http, url: 'http://h/', %s}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CHECK % "interval: 1ms, timeout: 1ms", "checks.c.interval: must be between 100ms and 366d"),
        (CHECK % "interval: 999999999999999d", "checks.c.interval: must be at most 3650d"),
        (CHECK % "interval: 367d", "checks.c.interval: must be between 100ms and 366d"),
        (CHECK % "interval: 0s", "checks.c.interval: must be longer than 0s"),
        (CHECK % "interval: 30d, timeout: 25h", "checks.c.timeout: must be between 1ms and 1d"),
        (CHECK % "timeout: 0.01ms", "checks.c.timeout: must be between 1ms and 1d"),
        (CHECK % "body_cap: 999999999999GiB", "checks.c.body_cap: must be between 1B and 1GiB"),
        (CHECK % "body_cap: 0B", "checks.c.body_cap: must be between 1B and 1GiB"),
        (CHECK % "redirects: 21", "checks.c.redirects: must be less than or equal to 20"),
        (CHECK % "confirm: 6", "checks.c.confirm: must be less than or equal to 5"),
        (CHECK % "expect: {within: 99999d}", "checks.c.expect.within: must be at most 3650d"),
        ("defaults: {interval: 1ms}\n" + CHECK % "tags: [a]", "defaults.interval: must be between 100ms and 366d"),
        ("defaults: {timeout: 2d}\n" + CHECK % "tags: [a]", "defaults.timeout: must be between 1ms and 1d"),
        ("gate: {wait: 9d}\n" + CHECK % "tags: [a]", "gate.wait: must be between 1ms and 1d"),
        ("gate: {rounds: 1001}\n" + CHECK % "tags: [a]", "gate.rounds: must be less than or equal to 1000"),
        ("slos: {s: {objective: 99%, window: 9999d}}\n" + CHECK % "slos: [s]", "slos.s.window: must be at most 3650d"),
    ],
)
def test_what_is_out_of_bounds_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    """m11: intervals, timeouts, sizes and counts have bounds."""
    file = tmp_path / "checks.yaml"
    file.write_text(f"version: 1\n{text}\n")
    with pytest.raises(PlanError) as error:
        read_plan(file, environ={})
    assert said in str(error.value)
    assert f"{file}:2:" in str(error.value)


@pytest.mark.parametrize("settings", ["interval: 100ms, timeout: 1ms", "interval: 366d, timeout: 1d", "body_cap: 1B", "body_cap: 1GiB"])
def test_the_bounds_themselves_are_taken(settings: str, tmp_path: Path) -> None:
    """m11: both ends are within."""
    file = tmp_path / "checks.yaml"
    file.write_text(f"version: 1\n{CHECK % settings}\n")
    assert len(read_plan(file, environ={}).checks) == 1
