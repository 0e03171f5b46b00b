"""Gates as they come: everything well, a failure with its line, another revision, a flaky check, an SLO that so few can't decide."""

from __future__ import annotations

from decimal import Decimal

import pytest

from judge.observation import Check, Observation, Slo
from judge.report import Report, report
from judge.verdict import Finding, Outcome, Run, Runs, decide
from probes.core import Reason, Verdict

P95 = Slo("p95", Decimal("0.95"), 2592000.0, threshold=0.5)


def seen(check: Check, verdict: Verdict = Verdict.PASS, reason: Reason | None = None, message: str = "", finding: str = "") -> Observation:
    """One run of 42 ms."""
    return Observation(check, verdict, reason, message, 1764000000.0, 0.042, finding=finding, trace_id="4bf92f3577b34da6a3ce929d0e0e4736")


def row(name: str, line: int, *attempts: tuple[Verdict, Reason | None, str], required: bool = True, slos: tuple[Slo, ...] = ()) -> Runs:
    """A check that ran once, with these attempts."""
    check = Check(name, "http", line, required=required, slos=slos)
    return Runs(check, (Run(tuple(seen(check, *attempt) for attempt in attempts)),))


PASSED = (Verdict.PASS, None, "200")
FAILED = (Verdict.FAIL, Reason.STATUS, "503 from 10.0.3.7, expected 200")
BROKE = (Verdict.UNKNOWN, Reason.INTERNAL, "ValueError: the probe itself broke")
STARVED = (Verdict.UNKNOWN, Reason.STARVED, "the runner was starved")


def told(*checks: Runs, also: tuple[Finding, ...] = (), revision: str = "3f2c91a0b1c2") -> Report:
    """The report of a gate over these checks."""
    decision = decide(checks, revision=revision, also=also)
    return report(
        decision,
        checks,
        started=1764000000.25,
        finished=1764000011.5,
        revision=revision,
        preamble=("waited 38 s for revision 3f2c91a: 5 answers in a row from 2 of 2 addresses",),
        service="roadtrip",
        environment="production",
    )


@pytest.fixture
def good() -> Report:
    """Everything passed; p95 is not decidable."""
    return told(row("api", 29, PASSED, slos=(P95,)), row("database", 60, PASSED))


@pytest.fixture
def mixed() -> Report:
    """One of each: failed, flaky, broken, starved, optional and failed, passed; and a reason that belongs to no check."""
    return told(
        row("api", 29, FAILED, slos=(P95,)),
        row("ready", 40, FAILED, PASSED),
        row("cache", 71, BROKE),
        row("story-model", 80, STARVED),
        row("opentable", 95, FAILED, required=False),
        row("database", 60, PASSED),
        also=(Finding(Outcome.INCONCLUSIVE, "the runner was cut off for 3 s"),),
    )
