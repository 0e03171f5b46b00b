"""The targets that a gate asks, and what each of their addresses responds: through the engine, so that limits and rules hold here too."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from judge.observation import Check, Observation
from probes.core import Ask, Reason, Result, Verdict
from probes.http.message import Request
from probes.http.probe import HttpProbe
from probes.probe import Context
from probes.target import Revision, Target
from runner.config.plan import Every, Planned

_NOBODY_THERE = (502, 503, 504)  # what a balancer says while nothing is behind it
_TIMEOUT = 5.0  # seconds
_REVISION = "gate_revision"  # a fact of this probe alone


class Engine(Protocol):
    """The engine, as a gate needs it: runner.engine.execute.Execute."""

    async def observe(self, planned: Planned, *, by_hand: bool = False, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs a check once."""
        ...


class ReadinessProbe(HttpProbe):
    """The gate's own request: no kind of checks.yaml. Any response will do, but those that only say that nobody is there yet."""

    revision: Revision | None = None  # where the target tells its revision

    def asks(self) -> tuple[Ask, ...]:
        """The one request."""
        return (Ask("GET", self.location()),)

    async def run(self, ctx: Context) -> Result:
        """Asks over a fresh connection, and notes which revision answered."""
        async with self.session() as session:
            response = await session.send(ctx, Request("GET", self.location(), self.base_headers()))
        ctx.facts[_REVISION] = self.revision.read(response) if self.revision else ""
        if response.status in _NOBODY_THERE:
            return Result.failed(Reason.STATUS, f"{response.status}, the service is not there yet")
        return Result.passed(str(response.status))


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """What came of one request to a target."""

    seen: Observation

    @property
    def revision(self) -> str:
        """The revision that it carries; "" where it carries none, or nobody answered."""
        return str(self.seen.facts.get(_REVISION, ""))

    @property
    def address(self) -> str:
        """Remote address of the connection, or "" before one exists."""
        return str(self.seen.facts.get("ip", ""))

    @property
    def answered(self) -> bool:
        return self.seen.verdict is Verdict.PASS

    def addresses(self) -> list[str]:
        """The addresses of the target's name, first the one that answered. On one machine, ::1 and 127.0.0.1 are the same place."""
        mine = self.address
        others = [str(one) for one in self.seen.evidence.get("addresses", ()) if str(one) != mine]
        if mine and _is_loopback(mine):
            others = [one for one in others if (":" in one) == (":" in mine) or not _is_loopback(one)]
        return ([mine] if mine else []) + others


@dataclass(frozen=True, slots=True)
class GateTarget:
    """Somewhere that the checks ask: a target, or a check's own url. `revision` says where it tells its revision."""

    name: str
    settings: dict[str, Any] = field(repr=False)
    target: Target | None = None
    revision: Revision | None = None
    _planned: dict[str, Planned] = field(default_factory=dict, repr=False)  # by address; "" where any will do

    async def ask(self, engine: Engine, address: str = "") -> ProbeResponse:
        """Asks once, over a fresh connection, this address or whichever the name leads to. Raises nothing for the target."""
        planned = self._planned.get(address)
        if planned is None:
            settings = self.settings | ({"resolve": address} if address else {}) | {"revision": self.revision}
            probe = ReadinessProbe.model_validate(settings)
            check = Check(f"gate-{self.name}", "gate", 0, address=probe.address(), target=self.target.name if self.target else "")
            planned = self._planned[address] = Planned(check, probe, Every(1.0), _TIMEOUT, "", target=self.target)
        return ProbeResponse((await engine.observe(planned, by_hand=True))[0])


def gate_targets(checks: Iterable[Planned], *, required: bool = True) -> tuple[GateTarget, ...]:
    """Where the checks ask by HTTP, each once: the required ones, since an optional check that is down holds up no gate; or all."""
    found: dict[str, GateTarget] = {}
    for planned in checks:
        counts = planned.check.required or not required
        if counts and isinstance(planned.probe, HttpProbe) and (target := _target_of(planned, planned.probe)):
            found.setdefault(target.name, target)
    return tuple(found.values())


def _target_of(planned: Planned, probe: HttpProbe) -> GateTarget | None:
    """None for a check whose own url may not be asked plainly (a POST, as to a model)."""
    connection: dict[str, Any] = {"tls": probe.tls, "headers": probe.headers, "proxy": probe.proxy, "ip": probe.ip}
    connection |= {"allow_addresses": probe.allow_addresses, "http": probe.http, "oauth2": probe.oauth2, "sign": probe.sign}
    reads = [ask for ask in probe.asks() if ask.method == "GET" and ask.known and not ask.target and probe.login is None]
    if probe.target is None:
        return GateTarget(planned.check.name, {**connection, "url": probe.url}) if reads else None
    revision = probe.target.revision
    base = probe.target.url.rstrip("/")
    path = reads[0].url.removeprefix(base) if reads and "{{" not in reads[0].url and reads[0].url.startswith(base) else "/"
    path = revision.path if revision else path
    return GateTarget(probe.target.name, {**connection, "target": probe.target, "path": path}, probe.target, revision)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
