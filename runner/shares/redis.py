"""The store of leases, budgets and limits: Redis, by scripts that are one step each. Each call has a deadline, and is made once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from probes.text import one_line
from runner.config.plan import Coordinate
from runner.shares import scripts
from runner.shares.leases import DEADLINE, View


class StoreGoneError(Exception):
    """Redis didn't do it within the deadline, or nobody knows whether it did. The text is for a person, without a secret."""


class Store:
    """Redis, as one group of runners uses it: those of one service, environment and location have the same leases.

    Budgets and limits are those of the service and environment, wherever their runners are.
    """

    def __init__(self, coordinate: Coordinate, me: str) -> None:
        self._me = me
        self._slots = coordinate.slots
        self._lasts = round(1000 * coordinate.lasts)
        self._deadline = min(1.0, DEADLINE * coordinate.lasts)
        self._leases, self._counts = f"outrider:{{{coordinate.leases}}}", f"outrider:{{{coordinate.counts}}}"
        self._client = redis.asyncio.Redis.from_url(
            coordinate.url,
            decode_responses=True,
            socket_timeout=self._deadline,
            socket_connect_timeout=self._deadline,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        self._scripts: dict[str, Any] = {}

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def renew(self, claimed: frozenset[int], *, room: bool, seen: Sequence[tuple[int, str, float]] = ()) -> View:
        """Renews the leases of these slots, and notes this runner and when checks were last seen: slot, check, seconds since then."""
        keys = [self._leases + ":runners", self._leases + ":seen", *(self._lease(slot) for slot in range(self._slots))]
        claims = "".join("1" if slot in claimed else "0" for slot in range(self._slots))
        rows = [value for slot, check, age in seen for value in (slot, check, round(1000 * age))]
        states, *runners = await self._run(scripts.RENEW, keys, [self._me, self._lasts, int(room), claims, *rows])
        slots = {state: frozenset(slot for slot in range(self._slots) if states[slot] == state) for state in "rf"}
        return View(slots["r"], slots["f"], dict(zip(runners[::2], (room == "1" for room in runners[1::2]), strict=True)))

    async def acquire(self, wanted: frozenset[int]) -> Mapping[int, int]:
        """Takes the leases of free slots. Returns the fence of each that it took: a number that rises with each new holder."""
        slots = sorted(wanted)
        fences = await self._run(scripts.ACQUIRE, self._with_fences(slots), [self._me, self._lasts])
        return {slot: fence for slot, fence in zip(slots, fences, strict=True) if fence}

    async def release(self, heirs: Mapping[int, str], *, leaving: bool = False) -> None:
        """Gives the lease of each slot to a runner, or back; with `leaving` this runner is no longer one of the group."""
        keys = [self._leases + ":runners", *self._with_fences(heirs)]
        await self._run(scripts.RELEASE, keys, [self._me, int(leaving), self._lasts, *heirs.values()])

    async def seen(self, checks: Sequence[str]) -> Mapping[str, float]:
        """How many seconds ago checks were last seen, by whichever runner."""
        ages = await self._run(scripts.SEEN, [self._leases + ":seen"], list(checks)) if checks else []
        return {check: age / 1000 for check, age in zip(checks, ages, strict=True) if age >= 0}

    async def count(self, script: str, what: str, *arguments: float | str) -> Any:
        """Runs a script on the budget, limit or hold of this name."""
        return await self._run(script, [f"{self._counts}:{what}"], list(arguments))

    async def held(self, what: str) -> tuple[str, float] | None:
        """Why something is held, and for how many seconds more; None if it isn't."""
        key = f"{self._counts}:{what}"

        async def read() -> tuple[Any, int]:
            return await self._client.get(key), await self._client.pttl(key)

        why, left = await self._in_time(read())
        return None if why is None else (why, left / 1000)

    def _with_fences(self, slots: Iterable[int]) -> list[str]:
        return [key for slot in slots for key in (self._lease(slot), f"{self._leases}:fence:{slot}")]

    def _lease(self, slot: int) -> str:
        return f"{self._leases}:lease:{slot}"

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[float | str]) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(script)
        return await self._in_time(self._scripts[script](keys=keys, args=arguments))

    async def _in_time(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(self._deadline):
                return await call
        except TimeoutError:
            raise StoreGoneError(f"no response within {self._deadline:g} s") from None
        except Exception as error:  # noqa: BLE001 - of the library's own faults, too, nobody knows whether the call was made
            raise StoreGoneError(one_line(str(error)) or type(error).__name__) from None
