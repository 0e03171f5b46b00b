"""What the checks of a plan ask of each target at most, held against what the target is asked at most (its `limit`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from probes.fields import Rate
from probes.target import Target, origin
from probes.text import setting
from runner.config.plan import Plan, Planned

_ROUND = (1, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds that a person would write


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests to one target in one window of its limit. `hint` says what to do where there are too many."""

    target: str
    asks: int
    limit: float
    window: float  # seconds
    hint: str = ""

    @property
    def over(self) -> bool:
        """Whether more is asked than is allowed: runs will be refused."""
        return self.asks > self.limit


def windows(plan: Plan) -> Mapping[str, float]:
    """Seconds of the longest window of each limit that the plan may spend, by its name in the ledger."""
    found: dict[str, float] = {name: target.limit.window for name, target in plan.targets.items() if target.limit}
    for cost in plan.load.costs:
        found[cost.quota] = max(cost.window, found.get(cost.quota, 0.0))
    return found


def limits(plan: Plan) -> tuple[Demand, ...]:
    """For each target with a limit what all checks together ask of it at most in a window, redirects aside."""
    found = []
    for name, target in plan.targets.items():
        if target.limit is None:
            continue
        window = target.limit.window
        checks = [one for one in plan.checks if one.target is not None and _in_a_run(one, target)]
        asks = sum(_asks(one, target, window) for one in checks)
        hint = _hint(checks, target, target.limit, asks) if asks > target.limit.amount else ""
        found.append(Demand(name, asks, target.limit.amount, window, hint))
    return tuple(found)


def in_shares(plan: Plan, mine: Sequence[Planned], runners: int) -> Plan:
    """The plan with `mine` of its checks alone, and that share of each target's limit that they ask for.

    It is rounded down, so that the shares of all runners together never exceed the limit. Where all checks together fit into a limit,
    each runner's checks fit into its share. A target that no check asks, and that a redirect may reach, is divided evenly by the number
    of `runners`.
    """

    def shared(target: Target) -> Target:
        if target.limit is None:
            return target
        of_all = [(one, asks) for one in plan.checks if (asks := _asks_of(one, target))]
        total, names = sum(asks for _, asks in of_all), {one.check.name for one in mine}
        part = sum(asks for one, asks in of_all if one.check.name in names)
        amount = int(target.limit.amount) * part // total if total else int(target.limit.amount) // runners
        return target.model_copy(update={"limit": replace(target.limit, amount=float(amount))})

    targets = {name: shared(target) for name, target in plan.targets.items()}
    checks = tuple(replace(one, target=targets.get(one.target.name, one.target)) if one.target else one for one in mine)
    unused = {name: shared(target) for name, target in plan.unused_targets.items()}
    return replace(plan, checks=checks, targets=targets, unused_targets=unused)


def _asks_of(planned: Planned, target: Target) -> int:
    """The most requests of a check to a target in one window of its limit: a check with an address of its own may ask it, too."""
    asks, interval = _in_a_run(planned, target), planned.check.interval
    return asks * math.ceil(target.limit.window / interval) if target.limit and interval else asks


def _in_a_run(planned: Planned, target: Target) -> int:
    """The most requests to a target in one run."""
    own = planned.target.name if planned.target else ""
    names = ((ask, ask.target or own) for ask in planned.probe.asks())
    return sum(name == target.name if name else origin(ask.url) == origin(target.url) for ask, name in names)


def _asks(planned: Planned, target: Target, window: float, interval: float | None = None) -> int:
    """The most requests in any window: what runs every 15s can run 240 times in an hour."""
    return _in_a_run(planned, target) * math.ceil(window / (interval or planned.check.interval))


def _hint(checks: list[Planned], target: Target, limit: Rate, asks: int) -> str:
    """The check that asks most, and the interval at which all would fit."""
    most = max(checks, key=lambda one: _asks(one, target, limit.window))
    others = asks - _asks(most, target, limit.window)
    for seconds in _ROUND:
        if seconds > most.check.interval and others + _asks(most, target, limit.window, seconds) <= limit.amount:
            return f"raise the interval of checks.{most.check.name} to {setting(seconds)}"
    return f"raise the intervals of {', '.join(f'checks.{one.check.name}' for one in checks)}"
