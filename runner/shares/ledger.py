"""Budgets, limits and holds that all runners of a service share in Redis. Without Redis nothing that one of them guards is sent.

Each is counted in this runner's own state first, and then in Redis: a Redis that has forgotten (a failover to a replica that lacked
the latest writes, a restart without a disk) is told again what this runner saw last, and never lets this runner alone exceed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probes.core import QuotaRefused
from probes.text import moment, setting
from runner.shares import scripts
from runner.shares.redis import Store, StoreGoneError
from runner.state import StateLedger, StateRefused


@dataclass(frozen=True, slots=True)
class _Reservation:
    budget: str
    starts: str
    amount: float


@dataclass(slots=True)
class _Taken:
    """What this runner saw last of a limit."""

    count: int
    at: float  # by the monotonic clock
    slot: str
    until: float  # by the monotonic clock: later, the slot need not be there any more


class SharedLedger:
    """Implements runner.engine.permits.Limits over the runner's own ledger and Redis."""

    def __init__(self, local: StateLedger, store: Store, me: str, monotonic: Callable[[], float], now: Callable[[], float]) -> None:
        self._local = local
        self._store = store
        self._me = me
        self._monotonic = monotonic
        self._now = now
        self._number = 0
        self._spent: dict[str, tuple[str, str, int]] = {}  # by budget: when its window began, the sum, the number of changes
        self._reserved: dict[int, _Reservation] = {}
        self._taken: dict[str, _Taken] = {}  # by limit
        self._slots: dict[int, tuple[str, str]] = {}  # by the local slot: the limit, and the name of the slot in Redis

    async def reserve(self, budget: str, amount: float, most: float, window: float) -> int:
        """Reserves an amount of a budget, as probes.core.Ledger promises, for all runners together."""
        local = await self._local.reserve(budget, amount, most, window)
        key, known = f"budget:{window:g}:{budget}", self._spent.get(budget, ("0", "0", 0))
        try:
            allowed, spent, starts, changes = await self._count(scripts.RESERVE, key, repr(amount), repr(most), repr(window), *known)
            self._spent[budget] = starts, spent, changes
            if not allowed:
                until = moment(float(starts) + window)
                raise QuotaRefused(
                    f"budget {budget}: all runners have spent {float(spent):g} of {most:g} until {until}, {amount:g} more would exceed it"
                )
        except BaseException:
            await self._local.settle(local, 0.0)
            raise
        self._reserved[local] = _Reservation(key, starts, amount)
        return local

    async def settle(self, reservation: int, amount: float) -> None:
        """Replaces a reservation by the real amount. Without Redis the reservation stays spent there, which is the safe side."""
        await self._local.settle(reservation, amount)
        if known := self._reserved.pop(reservation, None):
            found = await self._count(scripts.SETTLE, known.budget, known.starts, repr(amount - known.amount))
            if found:  # else its window is over
                self._spent[known.budget.split(":", 2)[2]] = known.starts, *found

    async def hold(self, key: str, seconds: float, why: str) -> None:
        """Holds a key for all runners."""
        await self._local.hold(key, seconds, why)
        await self._count(scripts.HOLD, f"hold:{key}", round(1000 * seconds), why)

    async def held(self, key: str) -> None:
        """Raises QuotaRefused while any runner holds a key, and while nobody knows whether one does."""
        await self._local.held(key)
        try:
            found = await self._store.held(f"hold:{key}")
        except StoreGoneError as gone:
            raise _refused(gone) from None
        if found:
            why, left = found
            raise QuotaRefused(f"held until {moment(self._now() + left)}: {why}")

    async def remember(self, check: str, name: str, body: Mapping[str, Any], seconds: float) -> None:
        """Keeps a record in this runner's own state."""
        await self._local.remember(check, name, body, seconds)

    async def remembered(self, check: str) -> Mapping[str, Mapping[str, Any]]:
        """The records in this runner's own state."""
        return await self._local.remembered(check)

    async def forget(self, check: str, name: str) -> None:
        """Forgets a record in this runner's own state."""
        await self._local.forget(check, name)

    async def recall(self, topic: str, name: str, *, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record of this runner: what was reported to another one isn't known here."""
        return await self._local.recall(topic, name, otherwise=otherwise)

    async def limit(self, name: str, count: int, most: int, window: float, *, until: float | None = None) -> tuple[int, ...]:
        """Takes `count` slots of a limit for all runners together, all or none."""
        local = await self._local.limit(name, count, most, window, until=until)
        ahead = max(0.0, (until or 0.0) - self._now())
        now, names = self._monotonic(), []
        for _ in local:
            self._number += 1
            names.append(f"{self._me}:{self._number}")
        last = self._taken.get(name)
        known: tuple[Any, ...] = (0, 0, "")
        if last and last.until > now:
            known = last.count, round(1000 * (now - last.at)), last.slot
        try:
            allowed, taken = await self._count(
                scripts.LIMIT,
                f"limit:{name}",
                most,
                round(1000 * window),
                round(1000 * ahead),
                *known,
                *names,
            )
            if not allowed:
                raise QuotaRefused(
                    f"limit of {name}: all runners have taken {taken} of {most} in {setting(window)}, and this needs {count}"
                )
        except BaseException:
            await self._local.sent((), local)
            raise
        if names:
            self._taken[name] = _Taken(taken, now, names[-1], now + window)
        self._slots.update(zip(local, ((name, slot) for slot in names), strict=True))
        return local

    async def sent(self, used: Sequence[int], unused: Sequence[int] = ()) -> None:
        """Notes that the used slots' requests were sent by now, and frees the unused slots."""
        await self._local.sent(used, unused)
        by_limit: dict[str, tuple[list[str], list[str]]] = {}
        for kind, slots in enumerate((used, unused)):
            for slot in slots:
                if known := self._slots.pop(slot, None):
                    by_limit.setdefault(known[0], ([], []))[kind].append(known[1])
        for name, (dated, freed) in by_limit.items():
            if (last := self._taken.get(name)) and last.slot in freed:
                last.slot, last.until = "", 0.0
            await self._count(scripts.SENT, f"limit:{name}", len(dated), *dated, *freed)

    async def _count(self, script: str, what: str, *arguments: Any) -> Any:
        try:
            return await self._store.count(script, what, *arguments)
        except StoreGoneError as gone:
            raise _refused(gone) from None


def _refused(gone: StoreGoneError) -> StateRefused:
    return StateRefused(f"the Redis of `coordinate` can't be used, so that nobody knows what the other runners use: {gone}")
