"""The label `location` of every series, where checks.yaml names several locations."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import generate_latest

from tests.support.metrics import Counted
from tests.support.observations import failed, made_check, made_plan, passed


def test_every_series_of_a_check_names_its_location() -> None:
    """With `locations` each has the label; a reload without them takes it away, and the counters go on."""
    metrics = Counted()
    plan = replace(made_plan(check := made_check()), locations=("here", "there"))
    metrics.plan(plan)
    metrics(failed(check))
    metrics(passed(check))
    page = metrics.page().decode()
    lines = [line for line in page.splitlines() if 'check="api"' in line]
    assert len(lines) > 10
    assert [line for line in lines if 'location="here"' not in line] == []
    assert page.encode() == generate_latest(metrics.registry)
    metrics.plan(made_plan(check))
    page = metrics.page().decode()
    assert 'probe_runs_total{check="api",kind="made",outcome="pass"} 1.0' in page
    assert [line for line in page.splitlines() if 'location="' in line and not line.startswith("probe_check_info")] == []
