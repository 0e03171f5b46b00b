from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.plan import Plan
from runner.config.purpose import Purpose
from runner.config.rates import limits
from runner.config.read import read_plan

ROOT = Path(__file__).parents[3]


SYSTEM = {
    "DATABASE_URL": "postgresql://probe:db-pa55word@127.0.0.1:5432/roadtrip",
    "REDIS_URL": "redis://probe:redis%2Fpa55word@127.0.0.1:6379/0",
    "AI_URL": "http://127.0.0.1:8001",
    "AI_MODEL": "story-1",
    "PROBE_USER": "probe@example.com",
}


SECRET_FILES = ("ai-key", "opentable", "recreation", "probe-password")


@pytest.fixture
def system(tmp_path: Path) -> dict[str, str]:
    """The variables that the committed checks.yaml needs, and its secret files."""
    for name in SECRET_FILES:
        (tmp_path / name).write_text(f"the-{name}-secret\n")
    return {**SYSTEM, "SECRETS": str(tmp_path)}


def names(plan: Plan) -> list[str]:
    """Lists the checks of a plan."""
    return [one.check.name for one in plan.checks]


def test_the_committed_checks_are_those_of_the_road_trip_storyteller(system: dict[str, str]) -> None:
    """With its variables set the whole file loads; the certificate is looked at where TLS says so."""
    plan = read_plan(ROOT / "checks.yaml", environ=system)
    assert names(plan) == "api ready api-report database cache story-model opentable recreation plan-a-trip".split()
    assert names(read_plan(ROOT / "checks.yaml", environ={**system, "TLS": "true"}))[-1] == "api-certificate"
    assert {tag for one in plan.checks for tag in one.check.tags} == {"smoke", "api", "database", "cache", "ai", "partners", "journeys"}


def test_the_committed_checks_mark_nothing_without_an_address(system: dict[str, str]) -> None:
    """Grafana's address may be absent, so that the lines of docs/ci hold for everybody."""
    plan = read_plan(ROOT / "checks.yaml", environ=system)
    assert (plan.grafana, plan.unmarked) == (None, True)
    marking = read_plan(ROOT / "checks.yaml", environ={**system, "GRAFANA_URL": "http://127.0.0.1:3000"})
    assert (marking.grafana is None, marking.unmarked) == (False, False)


def test_the_committed_checks_compare_the_report_with_the_checks_themselves(system: dict[str, str]) -> None:
    """The parts of the health report are checks of their own, each beside the check that asks the same by itself."""
    report = next(one for one in read_plan(ROOT / "checks.yaml", environ=system).checks if one.check.name == "api-report")
    assert [(part.name, part.part_of, part.compare_with, part.slos) for part in report.parts] == [
        ("api-report/db_healthy", "api-report", "database", ()),
        ("api-report/redis_healthy", "api-report", "cache", ()),
    ]


def test_every_check_of_the_committed_checks_has_its_runbook(system: dict[str, str]) -> None:
    """Who is called finds the page that the check names."""
    plan = read_plan(ROOT / "checks.yaml", environ={**system, "TLS": "true"})
    assert [one.check.name for one in plan.checks if not (ROOT / one.check.runbook).is_file()] == []


def test_the_committed_checks_keep_every_limit(system: dict[str, str]) -> None:
    """What the checks ask of each target together stays below what it allows."""
    rates = limits(read_plan(ROOT / "checks.yaml", environ=system))
    assert {one.target for one in rates} == {"api", "model", "opentable"}
    assert [one for one in rates if one.over] == []


def test_every_secret_of_the_committed_checks_is_known(system: dict[str, str]) -> None:
    """Passwords inside addresses (as written and decoded), files and tokens are all there to be redacted; everyday words are not."""
    plan = read_plan(ROOT / "checks.yaml", environ={**system, "OPERATE_TOKEN": "operate-t0ken"})
    wanted = {"db-pa55word", "redis%2Fpa55word", "redis/pa55word", "operate-t0ken", *(f"the-{name}-secret" for name in SECRET_FILES)}
    assert wanted <= plan.secrets
    assert not {"https", "true", "", "roadtrip", "127.0.0.1", "password"} & plan.secrets


def test_nobody_needs_a_secret_to_validate_the_committed_checks() -> None:
    """`outrider validate --no-secrets` needs no variable and no file: texts stand in."""
    plan = read_plan(ROOT / "checks.yaml", environ={}, purpose=Purpose.DRY_RUN)
    assert names(plan) == "api ready api-report database cache story-model opentable recreation plan-a-trip".split()


def test_the_smoke_gate_needs_the_secrets_of_its_own_checks_alone() -> None:
    """Only what is selected is filled in: the gate knows nothing of models, partners and the probe's password."""
    environ = {name: SYSTEM[name] for name in ("DATABASE_URL", "REDIS_URL")}
    assert names(read_plan(ROOT / "checks.yaml", environ=environ, tags=["smoke"])) == ["api", "ready", "database", "cache"]
