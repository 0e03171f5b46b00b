"""Asking a target whether it is there and which build answers: through the engine, so that its limits and rules hold here as well."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
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
_TOLD = "told"


class Observing(Protocol):
    """The engine, as a gate needs it: runner.engine.execute.Execute."""

    async def observe(self, planned: Planned, *, by_hand: bool = False, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs a check once."""
        ...


class Asked(HttpProbe):
    """One request of the gate's own. Any answer will do, but those that only say that nobody is there yet."""

    told_by: Revision | None = None

    def asks(self) -> tuple[Ask, ...]:
        """The one request."""
        return (Ask("GET", self.location()),)

    async def run(self, ctx: Context) -> Result:
        """Asks over a fresh connection, and notes which revision answered."""
        async with self.session() as session:
            answer = await session.ask(ctx, Request("GET", self.location(), self.base_headers()))
        ctx.facts[_TOLD] = self.told_by.read(answer) if self.told_by else ""
        if answer.status in _NOBODY_THERE:
            return Result.failed(Reason.STATUS, f"{answer.status}, the service is not there yet")
        return Result.passed(str(answer.status))


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer: who gave it, and which revision it carries ("" where none, or where nobody answered)."""

    seen: Observation
    revision: str

    @property
    def address(self) -> str:
        """Whom we were connected to; "" where to nobody."""
        return str(self.seen.facts.get("ip", ""))

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses that the name had."""
        return tuple(str(one) for one in self.seen.evidence.get("addresses", ()))

    @property
    def answered(self) -> bool:
        """Whether somebody did."""
        return self.seen.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere that the checks ask: a target, or a check's own address. `told_by` says where it tells its revision."""

    name: str
    settings: dict[str, Any] = field(repr=False)
    target: Target | None = None
    told_by: Revision | None = None

    def planned(self, address: str = "") -> Planned:
        """The question as the engine takes it, to whatever address the name leads to, or to this one."""
        given = self.settings | ({"resolve": address} if address else {})
        probe = Asked.model_validate(given | {"told_by": self.told_by})
        check = Check(f"gate-{self.name}", "gate", 0, address=probe.address(), target=self.target.name if self.target else "")
        return Planned(check, probe, Every(1.0), _TIMEOUT, "", self.target)

    async def ask(self, observing: Observing, address: str = "") -> Heard:
        """Asks once, over a fresh connection. Raises nothing for the target."""
        seen = (await observing.observe(self.planned(address), by_hand=True))[0]
        return Heard(seen, str(seen.facts.get(_TOLD, "")))


def places(checks: Iterable[Planned]) -> tuple[Place, ...]:
    """Where the required checks ask by HTTP, each place once: an optional one that is down holds up no gate."""
    found: dict[str, Place] = {}
    for planned in checks:
        if planned.check.required and isinstance(planned.probe, HttpProbe):
            place = _place(planned, planned.probe)
            if place is not None:
                found.setdefault(place.name, place)
    return tuple(found.values())


def _place(planned: Planned, probe: HttpProbe) -> Place | None:
    """None for a check whose own address may not be asked plainly (a POST, as to a model)."""
    likewise: dict[str, Any] = {"tls": probe.tls, "headers": probe.headers, "proxy": probe.proxy, "ip": probe.ip}
    likewise |= {"allow_addresses": probe.allow_addresses, "http": probe.http, "oauth2": probe.oauth2}
    free = [ask for ask in probe.asks() if ask.method == "GET"]
    if probe.target is None:
        return Place(planned.check.name, {**likewise, "url": probe.url}) if free else None
    told_by = probe.target.revision
    below = probe.target.url.rstrip("/")
    first = free[0].url.removeprefix(below) if free and "{{" not in free[0].url and free[0].url.startswith(below) else "/"
    path = told_by.path if told_by else first
    return Place(probe.target.name, {**likewise, "target": probe.target, "path": path}, probe.target, told_by)


def reachable(addresses: Sequence[str], heard: Heard) -> list[str]:
    """The addresses that count beside the one that answered: on one machine, ::1 and 127.0.0.1 are the same place."""
    mine = heard.address
    others = [one for one in addresses if one != mine]
    if mine and _loopback(mine):
        others = [one for one in others if (":" in one) == (":" in mine) or not _loopback(one)]
    return ([mine] if mine else []) + others


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
