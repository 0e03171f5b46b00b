"""Made-up plans and observations for the rooms that only read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from judge.observation import Check, Observation, Slo
from probes.core import Reason, Result, Verdict
from probes.families import Family, fact_family, phase_family
from probes.probe import Context, Probe
from runner.config.plan import Every, Plan, Planned, Server

NOON = 1_795_521_600.0  # 2026-11-24 12:00:00 UTC
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
AVAILABILITY = Slo("availability", Decimal("0.999"), 30 * 86400.0)
P95 = Slo("p95", Decimal("0.95"), 30 * 86400.0, threshold=0.5)
STORY = Slo("story-time", Decimal("0.95"), 30 * 86400.0, threshold=3.0, measure="step.story")


class Made(Probe):
    """A kind that asks nothing: its families are what the sinks' tests need."""

    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_made_duration_seconds", "Seconds by phase.", "connect", "processing"),
        fact_family("probe_made_status_code", "What it answered.", "status_code"),
        fact_family("probe_made_tokens_total", "Tokens used.", "tokens", "counter"),
    )

    def address(self) -> str:
        """Nowhere."""
        return "nowhere"

    async def run(self, ctx: Context) -> Result:
        """Passes."""
        return Result.passed(ctx.check)


@dataclass
class Hands:
    """A clock that stands still until it is moved."""

    now: float = NOON

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.now

    def monotonic(self) -> float:
        """The same hands: good enough for what only reads the time."""
        return self.now


def made_check(name: str = "api", **settings: Any) -> Check:
    """A check of the made-up kind, every 15 s."""
    given: dict[str, Any] = {"name": name, "kind": "made", "line": 12, "interval": 15.0, "timeout": 5.0} | settings
    return Check(**given)


def made_plan(*checks: Check, server: Server | None = None, parts: Mapping[str, tuple[Check, ...]] | None = None) -> Plan:
    """A plan that holds these checks; a check's fingerprint is its address, and `parts` are by the check's name."""
    every = tuple(Planned(c, Made(), Every(c.interval or 15.0), c.timeout, c.address, parts=(parts or {}).get(c.name, ())) for c in checks)
    slos = tuple({slo.name: slo for check in checks for slo in check.slos}.values())
    return Plan("roadtrip", "test", "here", every, slos=slos, server=server or Server())


def passed(check: Check, seconds: float = 0.25, **more: Any) -> Observation:
    """A pass of a quarter of a second at noon."""
    given: dict[str, Any] = {"check": check, "verdict": Verdict.PASS, "reason": None, "message": "", "at": NOON, "seconds": seconds} | more
    return Observation(**given)


def failed(check: Check, reason: Reason = Reason.STATUS, message: str = "503, expected 200", **more: Any) -> Observation:
    """A failure at noon."""
    return replace(passed(check), verdict=Verdict.FAIL, reason=reason, message=message, **more)


def unknown(check: Check, reason: Reason = Reason.STARVED, **more: Any) -> Observation:
    """A run that can't tell."""
    return replace(passed(check), verdict=Verdict.UNKNOWN, reason=reason, message="the runner was starved", **more)
