"""What a kind under test is run with: a context over a real wire, a ledger in memory, a permit that keeps what it was asked."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from probes.core import Clock, PolicyRefused, QuotaRefused, Sender
from probes.probe import Context
from probes.wire.wire import Wire
from tests.support.clock import RealClock

SENDER = Sender(
    user_agent="outrider/test (check under-test)",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    span_id="00f067aa0ba902b7",
    request_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
)


class Permit:
    """Lets every send pass and keeps it in `asked`; refuses those whose URL is in `refused`."""

    def __init__(self, *refused: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refused = refused

    async def __call__(self, method: str, url: str) -> None:
        """As the engine's: awaited before every send."""
        self.asked.append((method, url))
        if url in self.refused:
            raise PolicyRefused(f"{method} {url} is not allowed")


class LedgerInMemory:
    """Implements probes.core.Ledger for one process and one test."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reservations: list[tuple[str, int, float]] = []  # budget, number of its window, amount
        self.records: dict[str, dict[str, dict[str, Any]]] = {}  # by key and name
        self.holds: dict[str, tuple[float, str]] = {}  # until, why
        self.reports: dict[tuple[str, str], Mapping[str, Any]] = {}

    def spent(self, budget: str, window: float) -> float:
        """What is reserved or spent of a budget in the window that is running."""
        now = int(self._clock.time() // window)
        return sum(amount for name, number, amount in self.reservations if (name, number) == (budget, now))

    async def reserve(self, budget: str, amount: float, most: float, window: float) -> int:
        """Reserves, or raises QuotaRefused where it would be more than `most`."""
        if self.spent(budget, window) + amount > most:
            raise QuotaRefused(f"budget {budget} is spent")
        self.reservations.append((budget, int(self._clock.time() // window), amount))
        return len(self.reservations) - 1

    async def settle(self, reservation: int, amount: float) -> None:
        """Replaces a reservation's amount."""
        budget, number, _ = self.reservations[reservation]
        self.reservations[reservation] = (budget, number, amount)

    async def hold(self, key: str, seconds: float, why: str) -> None:
        """Holds a key."""
        self.holds[key] = (self._clock.time() + seconds, why)

    async def held(self, key: str) -> None:
        """Raises QuotaRefused while the key is held."""
        until, why = self.holds.get(key, (0.0, ""))
        if until > self._clock.time():
            raise QuotaRefused(why)

    async def remember(self, check: str, name: str, body: Mapping[str, Any], seconds: float) -> None:
        """Keeps a record; `seconds` are the test's to look at."""
        del seconds
        self.records.setdefault(check, {})[name] = dict(body)

    async def remembered(self, check: str) -> Mapping[str, Mapping[str, Any]]:
        """The records."""
        return {name: dict(body) for name, body in self.records.get(check, {}).items()}

    async def forget(self, check: str, name: str) -> None:
        """Forgets one."""
        self.records.get(check, {}).pop(name, None)

    async def recall(self, topic: str, name: str, *, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record, or else this one from now on."""
        return self.reports.setdefault((topic, name), otherwise)


def make_context(
    wire: Wire,
    *,
    timeout: float = 5.0,
    clock: Clock | None = None,
    ledger: LedgerInMemory | None = None,
    permit: Permit | None = None,
    check: str = "under-test",
) -> Context:
    """A context whose deadline is `timeout` seconds away (by its clock: the machine's, unless one is given)."""
    clock = clock or RealClock()
    return Context(
        check=check,
        wire=wire,
        clock=clock,
        ledger=ledger or LedgerInMemory(clock),
        sender=SENDER,
        permit=permit or Permit(),
        deadline=clock.monotonic() + timeout,
        rng=random.Random(7),  # noqa: S311 - the same jitter in every run of the test
    )


@asynccontextmanager
async def context(**settings: object) -> AsyncIterator[Context]:
    """`make_context` over a wire of its own, which is closed at the end."""
    wire = Wire()
    try:
        yield make_context(wire, **settings)  # type: ignore[arg-type]
    finally:
        await wire.aclose()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """Where a test's connections come from."""
    made = Wire()
    yield made
    await made.aclose()
