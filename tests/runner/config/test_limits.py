from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.rates import Demand, limits, windows
from runner.config.read import read_plan


def asked(tmp_path: Path, limit: str, checks: str) -> tuple[Demand, ...]:
    """Loads checks of one target with a limit, and counts what they ask of it."""
    file = tmp_path / "checks.yaml"
    file.write_text(
        f"version: 1\ntargets:\n  api: {{url: http://localhost, limit: {limit}}}\n  free: {{url: http://localhost}}\nchecks:\n{checks}"
    )
    return limits(read_plan(file, environ={}))


def test_all_checks_of_a_target_count_together(tmp_path: Path) -> None:
    """Runs in a window times what a run may send, steps of a journey included; other targets and kinds don't count."""
    checks = (
        "  api: {kind: http, target: api, interval: 15s}\n"
        "  trip: {kind: journey, target: api, interval: 7m, steps: [{name: a, get: /a}, {name: b, get: /b}]}\n"
        "  night: {kind: http, target: api, cron: '0 3 * * *'}\n"
        "  free: {kind: http, target: free, interval: 1s, timeout: 1s}\n"
        "  port: {kind: tcp, host: localhost, port: 1}\n"
    )
    assert asked(tmp_path, "900/1h", checks) == (Demand("api", 240 + 2 * 9 + 1, 900.0, 3600.0),)


def test_a_limit_that_is_just_reached_is_kept(tmp_path: Path) -> None:
    """As many as the limit are allowed; one more is too many."""
    checks = "  api: {kind: http, target: api, interval: 15s}\n"
    assert [asked(tmp_path, limit, checks)[0].over for limit in ("240/1h", "239/1h")] == [False, True]


@pytest.mark.parametrize(
    ("limit", "hint"),
    [
        ("360/1h", "raise the interval of checks.api to 15s"),
        ("300/1h", "raise the interval of checks.api to 20s"),
        ("121/1h", "raise the interval of checks.api to 1h"),
        ("120/1h", "raise the intervals of checks.api, checks.ready"),
    ],
)
def test_the_hint_fits_the_limit(tmp_path: Path, limit: str, hint: str) -> None:
    """The check that asks most is told the interval at which all fit; where it alone can't help, all are named."""
    checks = "  api: {kind: http, target: api, interval: 12s}\n  ready: {kind: http, target: api, interval: 30s}\n"
    (found,) = asked(tmp_path, limit, checks)
    assert (found.asks, found.hint) == (300 + 120, hint)


def test_a_plan_says_the_windows_of_all_that_it_may_spend(tmp_path: Path) -> None:
    """Its targets' limits and what a load's requests cost, by their names in the state, the longest of each."""
    file = tmp_path / "checks.yaml"
    file.write_text(
        "version: 1\ntargets:\n  api: {url: http://localhost, limit: 900/1h}\n  partner: {url: http://other, limit: 1000/30d}\n"
        "  free: {url: http://free}\nload: {most: {POST /ask: 20/7d, GET /ask: partner}}\n"
        "checks: {api: {kind: http, target: api}}\n"
    )
    assert windows(read_plan(file, environ={})) == {"api": 3600.0, "partner": 30 * 86400.0, "POST /ask under load": 7 * 86400.0}
