"""A gate without a network: targets whose answers a test writes down, and time that passes only where the gate waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from judge.baseline import Before
from judge.observation import Check, Observation, Slo
from probes.core import Reason, Verdict
from probes.kinds.http import Http
from probes.target import Revision, Target
from runner.config.plan import Every, Plan, Planned
from runner.config.windows import Maintained
from runner.gate.addresses import ReadinessProbe
from runner.gate.gate import Gate, GateResult
from runner.gate.settings import GateSettings
from tests.support.clock import FakeClock

P95 = Slo("p95", Decimal("0.95"), 30 * 86400.0, threshold=0.5)


@dataclass
class Reply:
    """What an address says once. `revision` None: nobody answers."""

    revision: str | None = "new1234"
    seconds: float = 0.1
    verdict: Verdict = Verdict.PASS
    reason: Reason | None = None
    ip: str = "10.0.0.1"


Script = Callable[[int, str], Reply]
"""The reply to the n-th request (from 0), to this address ("" where any will do)."""


@dataclass
class Road:
    """Implements Engine. `asked` answers the gate's own questions, `ran` the checks."""

    asked: Script = lambda _n, _address: Reply()
    ran: Callable[[int, Check], Reply] = lambda _n, _check: Reply()
    addresses: tuple[str, ...] = ("10.0.0.1",)
    clock: FakeClock = field(default_factory=FakeClock)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    said: list[str] = field(default_factory=list)
    shown: list[tuple[str, bool]] = field(default_factory=list)
    questions: int = 0
    runs: int = 0

    async def observe(self, planned: Planned, *, by_hand: bool = False, lag: float = 0.0) -> tuple[Observation, ...]:
        """One run."""
        assert by_hand, "a gate is a hand's work: a limit makes it unknown"
        assert lag == 0.0
        probe = planned.probe
        if isinstance(probe, ReadinessProbe):
            reply = self.asked(self.questions, probe.resolve or "")
            self.questions += 1
            return (self._observed(planned, reply, {"gate_revision": reply.revision or ""}),)
        reply = self.ran(self.runs, planned.check)
        self.runs += 1
        facts = {"revision": reply.revision} if planned.target and planned.target.revision and planned.target.revision.header else {}
        return (self._observed(planned, reply, dict(facts)),)

    def _observed(self, planned: Planned, reply: Reply, facts: dict[str, object]) -> Observation:
        silent = reply.revision is None
        verdict = Verdict.FAIL if silent and reply.verdict is Verdict.PASS else reply.verdict
        reason = Reason.REFUSED if silent and reply.reason is None else reply.reason
        there = {} if silent else {"ip": reply.ip}
        message = "" if verdict is Verdict.PASS else "it refuses the connection"
        seen = Observation(planned.check, verdict, reason, message, self.clock.time(), reply.seconds)
        return replace(seen, facts={**facts, **there}, evidence={"addresses": list(self.addresses)})

    def say(self, text: str) -> None:
        """As Display."""
        self.said.append(text)

    def ran_one(self, seen: Observation, *, judged: bool = True) -> None:
        """As Display."""
        self.shown.append((seen.check.name, judged))

    async def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)


class _Display:
    def __init__(self, road: Road) -> None:
        self.say = road.say
        self.ran = road.ran_one


HEADER = Revision(header="X-Revision")
BY_PATH = Revision.model_validate({"path": "/health/", "json": "$.version"})


def plan(*names: str, told_by: Revision | None = HEADER, slos: tuple[Slo, ...] = (), required: bool = True) -> Plan:
    """Checks of one target that tells its revision so."""
    target = Target(name="api", url="http://api.test", revision=told_by)
    made = []
    for number, name in enumerate(names or ("api",)):
        probe = Http.model_validate({"target": target, "path": f"/{name}"})
        check = Check(name, "http", 10 + number, target="api", tags=("smoke",), slos=slos, required=required)
        made.append(Planned(check, probe, Every(1.0), 1.0, name, target=target))
    return Plan("roadtrip", "test", "here", tuple(made), targets={"api": target})


async def gated(
    road: Road, checks: Plan, settings: GateSettings, before: Before | None = None, *, pace: float = 1.0, window: Maintained | None = None
) -> GateResult:
    """One gate to its end; `window` is the maintenance window in which each check is."""
    gate = Gate(
        checks,
        road,
        settings,
        clock=road.clock,
        sleep=road.sleep,
        stop=road.stop,
        display=_Display(road),
        before=before,
        pace=pace,
        covering=lambda _: window,
    )
    return await gate.run()
