from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from loadtests.tasks import TASKS
from probes.core import Failed, Reason
from probes.expect.assertions import Expect
from probes.http.message import Response
from probes.journeys.steps import Step
from probes.kinds.http import Http
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


# What the application answers, as it was recorded at its revision 15954b6.

VOICE = {"name": "en-US-Standard-B", "language_code": "en-US", "gender": "MALE", "premium": False, "description": "Standard male voice"}
READY = {"status": "ready", "checks": {"database": {"status": "healthy"}, "redis": {"status": "healthy"}}}
NO_CSRF = ("/api/auth/token", "/api/auth/refresh", "/health", "/api/health", "/metrics")


def step_expectations(system: dict[str, str]) -> dict[str, Expect]:
    """What the committed checks expect, by check and by step of their journey."""
    found = {}
    for planned in read_plan(ROOT / "checks.yaml", environ=system).checks:
        if isinstance(planned.probe, Http):
            found[planned.check.name] = planned.probe.expect
        elif script := planned.probe.script():
            found |= {f"{planned.check.name}/{step.name}": step.expect for step in script.steps}
    return found


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("api", [VOICE, VOICE], None),
        ("api", [], Reason.SCHEMA),
        ("ready", READY, None),
        ("ready", [{**READY, "status": "not_ready"}, 503], Reason.BODY),
        ("plan-a-trip/directions", {"routes": [{"legs": [{"distance": {"value": 1}}]}]}, None),
        ("plan-a-trip/story", {"text": "A story", "metadata": {"is_fallback": False}, "from_cache": False}, None),
        ("plan-a-trip/story", {"text": "A story", "metadata": {"is_fallback": True}, "from_cache": False}, Reason.FALLBACK),
    ],
)
def test_the_committed_checks_fit_the_application(system: dict[str, str], name: str, body: Any, reason: Reason | None) -> None:
    """R4: what the committed checks expect is what the application answers when it is well, and not what it answers when it isn't."""
    response = Response(200, (("content-type", "application/json"),), json.dumps(body).encode(), 0.1, "http://api.test/")
    if reason is None:
        step_expectations(system)[name].judge(response)
    else:
        with pytest.raises(Failed) as failed:
            step_expectations(system)[name].judge(response)
        assert failed.value.reason is reason


def every_step(system: dict[str, str]) -> Iterator[Step]:
    """Every step of the committed journeys and of the load's tasks."""
    for planned in read_plan(ROOT / "checks.yaml", environ=system).checks:
        if script := planned.probe.script():
            yield from script.steps
    for task in TASKS.values():
        for steps in task(date(2026, 11, 24)):
            yield from map(Step.model_validate, steps)


def test_every_change_has_a_bearer_token(system: dict[str, str]) -> None:
    """R4: the application refuses every POST with neither a bearer token nor a CSRF token; a load's signed-in tasks have theirs."""
    signed_in = {"places", "availability"}
    for step in every_step(system):
        if step.method != "GET" and not step.path.startswith(NO_CSRF) and step.name not in signed_in:
            assert step.headers["Authorization"].get_secret_value().startswith("Bearer "), step.name
        if step.path == "/api/auth/revoke":
            assert step.json_ == {"token": "{{token}}"}


def test_the_committed_login_is_marked_as_one(system: dict[str, str]) -> None:
    """S2, R4: the committed login says that it is one, and the harmful query is not asked for."""
    assert [step.login for step in every_step(system) if step.path == "/api/auth/token"] == [True]
    assert "test-query" not in (ROOT / "checks.yaml").read_text()
