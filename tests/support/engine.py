"""One run of one kind through the engine itself, as `outrider probe` makes it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from judge.observation import Check, Observation
from probes.core import Reason
from probes.probe import Probe
from probes.target import Target
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Every, Plan, Planned
from runner.config.secret_names import of_settings
from runner.engine.execute import Execute
from runner.engine.permits import Limits
from runner.state import open_ledger

TRIES = 40  # of 0.4 s each, where a run has 0.2 s and is given them again: as many as a test has time for


@dataclass
class Observer:
    """Runs probes; what the engine logs is kept in `log`."""

    wire: Wire
    ledger: Limits
    log: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds that a run took at most, seen from outside

    async def observe(self, probe: Probe, *, kind: str = "kind", within: float = 5.0, references: tuple[str, ...] = ()) -> Observation:
        """The observation of the whole check, asked for by hand.

        A run of which the engine says that this machine had no time for it tells nothing of the kind: it is made again.
        """
        target = getattr(probe, "target", None)
        targets = {target.name: target} if isinstance(target, Target) else {}
        check = Check("under-test", kind, 1, timeout=within)
        planned = Planned(check, probe, Every(30.0), within, "", target=target if isinstance(target, Target) else None)
        plan = Plan("roadtrip", "test", "local", (planned,), targets, secrets=frozenset(of_settings(probe)), references=references)
        return await self.first(plan)

    async def first(self, plan: Plan) -> Observation:
        """The observation of a plan's first check, asked for by hand. As above, a run for which this machine had no time is made again."""
        execute = Execute(
            plan=plan,
            wire=self.wire,
            ledger=self.ledger,
            clock=SystemClock(),
            rng=random.Random(7),  # noqa: S311 - the same ids in every run of the test
            version="0.0.0",
            log=lambda level, message: self.log.append(f"{logging.getLevelName(level)} {message}"),
        )
        said = ""
        for _ in range(TRIES):
            began = time.monotonic()
            seen = (await execute.observe(plan.checks[0], by_hand=True))[0]
            took = time.monotonic() - began
            if seen.reason is not Reason.STARVED:
                self.longest = max(self.longest, took)
                return seen
            said = seen.message
        raise AssertionError(f"this machine is too busy for any test: {said}")


@asynccontextmanager
async def observer() -> AsyncIterator[Observer]:
    """An engine with a wire and a ledger of its own, closed at the end."""
    wire, ledger = Wire(), await asyncio.to_thread(open_ledger, None, SystemClock())
    try:
        yield Observer(wire, ledger)
    finally:
        await wire.aclose()
        await ledger.aclose()
