"""A laboratory for the engine: a check that does what a test says, an Execute over a real wire, and what it logged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import PrivateAttr

from judge.observation import Check, Observation
from probes.core import Ask, Reason, Result
from probes.probe import Context, Probe
from probes.target import Target
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Every, Plan, Planned
from runner.engine.execute import Execute
from runner.engine.permits import Limits
from runner.state import StateLedger, open_ledger
from tests.support.clock import ShiftedClock

Run = Callable[[Context], Awaitable[Result]]


class LibraryError(Exception):
    pass


class SpecialError(LibraryError):
    pass


class Scripted(Probe):
    """Does what a test says."""

    errors: ClassVar[dict[type[Exception], Reason]] = {LibraryError: Reason.PROTOCOL, SpecialError: Reason.AUTH}
    parts: tuple[str, ...] = ()
    leaving: float = 0.0
    urls: tuple[tuple[str, str], ...] = ()
    _run: Run = PrivateAttr()

    def asks(self) -> tuple[Ask, ...]:
        return tuple(Ask(method, url) for method, url in self.urls)

    def part_names(self) -> tuple[str, ...]:
        return self.parts

    def cleanup_seconds(self) -> float:
        return self.leaving

    def address(self) -> str:
        return "nowhere"

    async def run(self, ctx: Context) -> Result:
        return await self._run(ctx)


def scripted(run: Run, *, timeout: float = 5.0, target: Target | None = None, address: str = "", **settings: Any) -> Planned:
    """A planned check that does this."""
    probe = Scripted(**settings)
    probe._run = run
    check = Check("under-test", "scripted", 7, address=address, timeout=timeout, target=target.name if target else "")
    parts = tuple(replace(check, name=f"under-test/{part}", part_of="under-test") for part in probe.parts)
    return Planned(check, probe, Every(30), timeout, "", target=target, parts=parts)


class Lab:
    """An Execute over a real wire and a ledger in memory, and what it logged."""

    def __init__(
        self,
        ledger: StateLedger,
        *targets: Target,
        wire: Wire,
        secrets: frozenset[str],
        references: tuple[str, ...],
        limits: Callable[[StateLedger, ShiftedClock], Limits] | None,
        clock: ShiftedClock,
    ) -> None:
        self.wire = wire
        self.ledger = ledger
        self.clock = clock
        self.logged: list[str] = []
        self.execute = Execute(
            plan=Plan("svc", "test", "here", (), {t.name: t for t in targets}, secrets=secrets, references=references),
            wire=self.wire,
            ledger=limits(ledger, self.clock) if limits else ledger,
            clock=self.clock,
            rng=random.Random(7),  # noqa: S311 - the same ids in every run of the test
            version="1.2.3",
            log=lambda _, message: self.logged.append(message),
        )

    async def observe(self, run: Run, **settings: Any) -> Observation:
        by_hand = settings.pop("by_hand", False)
        [observation] = await self.execute.observe(scripted(run, **settings), by_hand=by_hand)
        return observation


@asynccontextmanager
async def lab(
    *targets: Target,
    secrets: frozenset[str] = frozenset(),
    references: tuple[str, ...] = (),
    wire: Wire | None = None,
    limits: Callable[[StateLedger, ShiftedClock], Limits] | None = None,
    clock: ShiftedClock | None = None,
) -> AsyncIterator[Lab]:
    """A laboratory, closed at the end, with a wire of its own unless one is given. `limits` stands between it and its ledger."""
    ledger = await asyncio.to_thread(open_ledger, None, SystemClock())
    made = Lab(ledger, *targets, wire=wire or Wire(), secrets=secrets, references=references, limits=limits, clock=clock or ShiftedClock())
    try:
        yield made
    finally:
        await made.wire.aclose()
        await ledger.aclose()


def raising(error: BaseException, phase: str = "processing") -> Run:
    """A run that ends so, in a phase."""

    async def run(ctx: Context) -> Result:
        with ctx.phase(phase):
            raise error

    return run


async def later(seconds: float) -> None:
    """Ends so many seconds later, by the loop's own timer."""
    woken = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, woken.set)
    await woken.wait()


async def never() -> Result:
    """Ends when it is cancelled."""
    await asyncio.Event().wait()
    return Result.passed()
