"""The one abstraction of this folder: a share of a plan, which may change while the runner runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from judge.observation import Observation
from runner.config.plan import Plan
from runner.engine.permits import Limits
from runner.log import Log
from runner.state import StateLedger


class Share(Protocol):
    """Which checks of a plan this runner runs now."""

    def of(self, plan: Plan) -> Plan:
        """The plan with these checks alone, and with the limits that hold for them."""
        ...

    async def follow(self, changed: Callable[[], Awaitable[None]], log: Log) -> None:
        """Runs beside the schedule until it is cancelled, and calls `changed` whenever `of` returns other checks than before."""
        ...

    async def aclose(self) -> None:
        """Gives the checks back, when the last run has ended."""
        ...

    def ran(self, seen: Observation) -> None:
        """Notes a run, for the runner that has the check next."""
        ...

    def last_seen(self) -> Mapping[str, float]:
        """When the checks that came with the latest `of` were run elsewhere, by name, in seconds since the epoch."""
        ...

    def ledger(self, local: StateLedger) -> Limits:
        """What counts budgets and limits: this runner's own state, or one that all runners share."""
        ...

    def holds(self, check: str) -> bool:
        """Whether a run of this check may start, and its request be sent, at this moment. Unsure means no."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the share, for the page and for whoever reloads."""
        ...


class Whole:
    """The share of a runner that runs alone: everything, and nobody else has it."""

    def of(self, plan: Plan) -> Plan:
        return plan

    async def follow(self, changed: Callable[[], Awaitable[None]], log: Log) -> None:
        """Nothing changes."""

    async def aclose(self) -> None:
        """Nothing is held."""

    def ran(self, seen: Observation) -> None:
        """Nobody else needs to know."""

    def last_seen(self) -> Mapping[str, float]:
        return {}

    def ledger(self, local: StateLedger) -> Limits:
        return local

    def holds(self, check: str) -> bool:  # noqa: ARG002 - every check
        return True

    def warnings(self) -> tuple[str, ...]:
        return ()
