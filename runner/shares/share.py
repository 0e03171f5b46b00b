"""The one abstraction of this folder: a share of a plan, which may change while the runner runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from runner.config.plan import Plan
from runner.log import Log


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

    def holds(self, check: str) -> bool:
        """Whether a run of this check may start, and its request be sent, at this moment. Unsure means no."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the share, for the page and for whoever reloads."""
        ...


class Whole:
    """The share of a runner that runs alone: everything."""

    def of(self, plan: Plan) -> Plan:
        return plan

    async def follow(self, changed: Callable[[], Awaitable[None]], log: Log) -> None:
        """Nothing changes."""

    async def aclose(self) -> None:
        """Nothing is held."""

    def holds(self, check: str) -> bool:  # noqa: ARG002 - every check
        return True

    def warnings(self) -> tuple[str, ...]:
        return ()
