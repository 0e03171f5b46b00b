"""Sinks for tests: they follow every plan, and forget nothing."""

from __future__ import annotations

from collections.abc import Callable

from judge.observation import Observation
from runner.config.plan import Plan


class Calling:
    """Hands each observation to a function, and keeps the plans."""

    def __init__(self, call: Callable[[Observation], None]) -> None:
        self._call = call
        self.plans: list[Plan] = []

    def __call__(self, seen: Observation) -> None:
        """Hands it on."""
        self._call(seen)

    def plan(self, plan: Plan) -> None:
        """Keeps it."""
        self.plans.append(plan)


class Kept(Calling):
    """Keeps the observations as well."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        super().__init__(self.seen.append)
