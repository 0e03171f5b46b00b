"""Each row of the table of faults, against a fresh stand-in with a fresh state: what goes red, why, and in which words.

What a row doesn't name stays green, and everything is green again once the fault is off. A monitor that looks at status
codes alone stays green under the faults that lie: that is asserted, too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from demo.standin import StandIn
from judge.findings import finding
from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.config.read import read_plan
from runner.engine.execute import Execute
from runner.state import open_ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
CHECKS = Path(__file__).parents[2] / "checks.yaml"
API = ("api", "ready", "api-report", "plan-a-trip")
EVERY_ROUTE = (*API, "api-metrics")


@dataclass(frozen=True)
class Row:
    """What must be red and why, what may be, and the words that a message or finding must hold."""

    red: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)
    maybe: Mapping[str, str] = field(default_factory=dict)  # red or green, by its own bound


ROWS = {
    "api-500": Row(dict.fromkeys(API, "status"), {"api": "500", "plan-a-trip": "login"}),
    "api-slow": Row({"api": "latency", "plan-a-trip": "latency"}, {"api": "expected at most 2.00 s", "plan-a-trip": ": "}),
    "api-stall": Row(dict.fromkeys(EVERY_ROUTE, "timeout"), {"api": "no answer within 5s in processing"}),
    "api-reset": Row(dict.fromkeys(EVERY_ROUTE, "reset|truncated"), {"api": "bytes"}),
    "db-down": Row(
        {"database": "refused", "ready": "body", "api-report/db_healthy": "body", "plan-a-trip": "status"},
        {"plan-a-trip": "login", "api-report/db_healthy": "database", "ready": "not_ready"},
    ),
    "db-frozen": Row(
        {"database": "timeout", "ready": "timeout", "api-report": "timeout", "plan-a-trip": "timeout"},
        {"database": "in auth", "ready": "database accepts but doesn't answer"},
        maybe={"api": "timeout", "api-metrics": "timeout"},
    ),
    "db-locked-out": Row({"database": "auth"}, {"database": "outrider"}),
    "redis-down": Row({"cache": "refused", "ready": "body", "api-report/redis_healthy": "body"}, {"api-report/redis_healthy": "cache"}),
    "redis-readonly": Row({"cache": "body"}, {"cache": "READONLY"}),
    "ai-down": Row({"story-model": "status", "plan-a-trip": "fallback"}, {"plan-a-trip": "is_fallback", "story-model": "503"}),
    "ai-slow": Row({"story-model": "latency"}, {"story-model": "first token"}, maybe={"plan-a-trip": "latency"}),
    "ai-truncated": Row({"story-model": "truncated"}, {}, maybe={"plan-a-trip": "fallback"}),
    "ai-refuses": Row({"story-model": "body"}, {"story-model": "blocked"}),
    "ai-empty": Row({"story-model": "body"}, {"story-model": "no text"}),
    "ai-thinks": Row({"story-model": "body"}, {"story-model": "only thoughts"}),
    "ai-throttled": Row({"story-model": "throttled"}, {"story-model": "until"}, maybe={"plan-a-trip": "fallback"}),
    "story-cached": Row({"plan-a-trip": "fallback"}, {"plan-a-trip": "from_cache"}),
    "partner-429": Row({"opentable": "throttled"}),
    "partner-500": Row({"opentable": "status"}, {"opentable": "500"}),
    "partner-schema": Row({"opentable": "schema"}, {"opentable": "$"}),
    "partner-mock": Row({"opentable": "mock"}),
    "health-lies": Row({"ready": "body"}, {"ready": "not_ready"}),
    "cert-expired": Row({"api-certificate": "expired"}, {"api-certificate": "ago"}),
    "cert-wrong-host": Row({"api-certificate": "hostname"}, {"api-certificate": "certificate is for"}),
    "login-refused": Row({"plan-a-trip": "auth"}, {"plan-a-trip": "login"}),
    "revoke-refused": Row({}),  # the session stays, and one login is made for it all the same
    "report-broken": Row({"api-report": "schema"}, {"api-report": "none of the declared parts"}),
    "metrics-silent": Row({"api-metrics": "schema"}, {"api-metrics": "ai_request_duration_seconds has no sample"}),
    "metrics-crash": Row(dict.fromkeys(API, "status"), {"api": "500"}),
    "api-throttled": Row(dict.fromkeys(("api", "plan-a-trip"), "throttled"), {"api": "429"}),
    "address-locked": Row({"plan-a-trip": "auth"}, {"plan-a-trip": "423"}),
    "redis-frozen": Row(
        {"cache": "timeout", "ready": "timeout", "api-report": "timeout"}, {}, maybe={"plan-a-trip": "timeout|latency|fallback"}
    ),
}


@asynccontextmanager
async def everything(standin: StandIn, folder: Path, checks: Path = CHECKS) -> AsyncIterator[tuple[Execute, Plan]]:
    """The committed checks, pointed at the stand-in by environment variables alone, ready to run by hand."""
    environ = {**standin.environment(), "STATE_DIR": str(folder / "state")}
    plan = await asyncio.to_thread(read_plan, checks, environ=environ)
    clock, wire = SystemClock(), Wire()
    ledger = await asyncio.to_thread(open_ledger, folder / "state", clock)
    try:
        yield Execute(plan=plan, wire=wire, ledger=ledger, clock=clock, rng=random.SystemRandom(), version="test"), plan
    finally:
        await wire.aclose()
        await ledger.aclose()


async def seen_by(everything: tuple[Execute, Plan]) -> dict[str, Observation]:
    """Every check once, at the same time, as a person on call would run them.

    A run during which this machine stood still says nothing of the target, and says that: it is asked again, twice at most.
    """
    execute, plan = everything
    seen: dict[str, Observation] = {}
    asked = list(plan.checks)
    for _ in range(3):
        runs = await asyncio.gather(*(execute.observe(planned, by_hand=True) for planned in asked))
        seen |= {one.check.name: one for run in runs for one in run}
        asked = [planned for planned in asked if seen[planned.check.name].reason is Reason.STARVED]
    return seen


def not_green(seen: Mapping[str, Observation]) -> dict[str, str]:
    """Name and reason of what didn't pass; a part that shares its parent's failure isn't told twice."""
    return {
        name: f"{one.reason}"
        for name, one in seen.items()
        if one.verdict is not Verdict.PASS and not (one.check.part_of and seen[one.check.part_of].verdict is not Verdict.PASS)
    }


def said(name: str, seen: Mapping[str, Observation]) -> str:
    """All that a person is told of a check."""
    return f"{seen[name].message} {finding(seen[name], seen)}"


def judge(row: Row, seen: Mapping[str, Observation]) -> None:
    """Holds what was seen against a row."""
    red = not_green(seen)
    surely = {name: reason for name, reason in red.items() if name not in row.maybe}
    assert surely.keys() == row.red.keys(), {name: (red[name], seen[name].message) for name in red}
    for name, reason in red.items():
        assert reason in {**row.red, **row.maybe}[name].split("|"), said(name, seen)
    for name, words in row.words.items():
        assert words in said(name, seen), said(name, seen)


@pytest.mark.parametrize("fault", ROWS)
async def test_a_fault_turns_red_what_it_breaks_and_goes_back(fault: str, tmp_path: Path) -> None:
    """Green before; exactly the row's checks red for the row's reasons; green again after."""
    async with StandIn() as standin:
        async with everything(standin, tmp_path / "before") as checks:
            assert not_green(await seen_by(checks)) == {}
        await standin.switch_on(fault)
        async with everything(standin, tmp_path / "during") as checks:
            judge(ROWS[fault], await seen_by(checks))
        await standin.switch_off(fault)
        async with everything(standin, tmp_path / "after") as checks:
            assert not_green(await seen_by(checks)) == {}


async def test_without_the_forwarded_header_everything_is_a_redirect(tmp_path: Path) -> None:
    """Row https-redirect: a runner inside the network that doesn't send X-Forwarded-Proto is led to https, and says where."""
    without = tmp_path / "checks.yaml"
    text = await asyncio.to_thread(CHECKS.read_text)
    kept = (line for line in text.splitlines(keepends=True) if "X-Forwarded-Proto" not in line or line.lstrip().startswith("#"))
    contract = f"{CHECKS.parent}/infrastructure/monitoring/contract.yaml"  # the default is relative to the file
    await asyncio.to_thread(without.write_text, "".join(kept).replace("infrastructure/monitoring/contract.yaml", contract))
    async with StandIn() as standin, everything(standin, tmp_path, without) as checks:
        seen = await seen_by(checks)

    assert not_green(seen) == dict.fromkeys(EVERY_ROUTE, "redirect")
    assert "https://" in seen["api"].message


async def test_a_refused_login_is_not_tried_again_within_the_lock_out(tmp_path: Path) -> None:
    """R9: the first refusal tells how many attempts are left; the second attempt is withheld, says until when, and stays what it is."""
    async with StandIn(faults=("login-refused",)) as standin, everything(standin, tmp_path) as checks:
        first = await seen_by(checks)
        second = await seen_by(checks)

    assert "attempts left" in first["plan-a-trip"].message
    assert (second["plan-a-trip"].verdict, second["plan-a-trip"].reason) == (Verdict.FAIL, "auth")
    assert "held until" in second["plan-a-trip"].message


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        ("health-lies", "/health/ready"),
        ("db-down", "/health/ready"),
        ("redis-down", "/health/ready"),
        ("report-broken", "/health/metrics"),
        ("metrics-silent", "/metrics"),
        ("ai-down", "/api/stories/generate"),
        ("story-cached", "/api/stories/generate"),
        ("partner-mock", "/restaurants/search"),
    ],
)
async def test_a_monitor_of_status_codes_would_stay_green(fault: str, path: str) -> None:
    """The lies answer 200: what makes them red is what Outrider reads in the answer."""
    async with StandIn(faults=(fault,)) as standin, httpx.AsyncClient(trust_env=False) as client:
        told = standin.environment()
        if fault == "partner-mock":
            key = await asyncio.to_thread((Path(told["SECRETS"]) / "opentable").read_text)
            answer = await client.get(told["OPENTABLE_URL"] + path, headers={"Authorization": f"Bearer {key.strip()}"})
        elif path.startswith(("/health", "/metrics")):
            answer = await client.get(told["API_URL"] + path, headers={"X-Forwarded-Proto": "https"})
        else:
            story = {"location": {"latitude": 37.8, "longitude": -122.4}, "interests": ["history"], "force_refresh": True}
            anyone = {"X-Forwarded-Proto": "https", "Authorization": "Bearer anonymous"}
            answer = await client.post(told["API_URL"] + path, json=story, headers=anyone)

    assert answer.status_code == 200
