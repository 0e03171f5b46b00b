"""What validate says of the alerts: how long an outage goes untold, and how little is enough."""

from __future__ import annotations

from pathlib import Path

from runner.config.purpose import Purpose
from runner.config.read import read_plan
from runner.render.rehearsal import rehearsal

HEAD = """\
version: 1
slos:
  availability: {objective: 99.9%, window: 30d}
  loose: {objective: 20%, window: 7d}
checks:
"""


def said(folder: Path, checks: str) -> list[str]:
    """The lines for these checks."""
    (folder / "checks.yaml").write_text(HEAD + checks, encoding="utf-8")
    return rehearsal(read_plan(folder / "checks.yaml", environ={}, purpose=Purpose.CHECKS))


def http(name: str, rest: str) -> str:
    """A check of a page."""
    return f"  {name}: {{kind: http, url: 'http://127.0.0.1:9/', {rest}}}\n"


def test_a_page_is_timed_from_the_interval_the_timeout_and_the_wait(tmp_path: Path) -> None:
    """The longest time until an outage pages: 15 s, a timeout of 5 s, and the minute for which CheckDown waits."""
    lines = said(tmp_path, http("api", "interval: 15s, alert: page") + http("slow", "interval: 10m, timeout: 30s, alert: page"))
    assert lines[0] == "a full outage pages: api after at most 80s; slow after at most 12m, and the time until Prometheus' next scrape"


def test_one_lost_run_that_calls_somebody_is_named(tmp_path: Path) -> None:
    """A check that runs less than once a minute calls at its first failed run, unless a re-check must fail too."""
    checks = http("often", "interval: 1m, alert: page") + http("rare", "interval: 5m, alert: page") + http("report", "interval: 1h")
    checks += http("sure", "interval: 5m, alert: page, confirm: 1") + http("quiet", "interval: 5m, alert: none")
    assert said(tmp_path, checks)[1:3] == [
        "one failed run pages: rare; with confirm: 1 a quick re-check must fail too",
        "one failed run raises a warning: report; with confirm: 1 a quick re-check must fail too",
    ]


def test_budgets_are_told_in_failed_runs(tmp_path: Path) -> None:
    """By the check's interval and level; none below three; what can't fire is said; the retention that the SLOs need."""
    several = {
        "api": "15s, alert: page",
        "twin": "15s, alert: page",
        "cache": "60s",
        "trip": "3h, alert: page",
        "daily": "12h, alert: page",
    }
    checks = "".join(http(name, f"interval: {rest}, slos: [availability, loose]") for name, rest in several.items())
    lines = said(tmp_path, checks)
    assert lines[2:] == [
        "availability of api and twin: 4 bad runs in 1h page, 18 bad runs in 1d raise a warning",
        "availability of cache: 3 bad runs in 1h raise a warning, 5 bad runs in 1d raise a warning",
        "availability of trip: 3 bad runs in 3d raise a warning, none can page by its error budget",
        "availability of daily: its error budget can't raise an alert: its runs are too rare, or its objective is too low",
        "loose of api and twin: 3,226 bad runs in 1008m raise a warning, none can page by its error budget",
        "loose of cache: 807 bad runs in 1008m raise a warning",
        "loose of trip and daily: its error budget can't raise an alert: its runs are too rare, or its objective is too low",
        "the SLOs look back 30d, and Prometheus keeps 15d by default: start it with --storage.tsdb.retention.time=35d",
    ]
