"""What the checks of a plan ask of each target at most, held against what the target is asked at most (its `limit`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
        checks = [one for one in plan.checks if one.target is not None and one.target.name == name]
        asks = sum(_asks(one, window) for one in checks)
        hint = _hint(checks, window, target.limit.amount, asks) if asks > target.limit.amount else ""
        found.append(Demand(name, asks, target.limit.amount, window, hint))
    return tuple(found)


def _asks(planned: Planned, window: float, interval: float | None = None) -> int:
    """The most requests in any window: what runs every 15s can run 240 times in an hour."""
    return len(planned.probe.asks()) * math.ceil(window / (interval or planned.check.interval))


def _hint(checks: list[Planned], window: float, limit: float, asks: int) -> str:
    """The check that asks most, and the interval at which all would fit."""
    most = max(checks, key=lambda one: _asks(one, window))
    others = asks - _asks(most, window)
    for seconds in _ROUND:
        if seconds > most.check.interval and others + _asks(most, window, seconds) <= limit:
            return f"raise the interval of checks.{most.check.name} to {setting(seconds)}"
    return f"raise the intervals of {', '.join(f'checks.{one.check.name}' for one in checks)}"
