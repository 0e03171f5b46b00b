"""The share of a runner that coordinates with others: the checks of the slots whose leases it holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from prometheus_client import CollectorRegistry

from judge.observation import Observation
from probes.core import Clock
from probes.text import count, moment
from runner.config.plan import Coordinate, Plan
from runner.engine.permits import Limits
from runner.log import Log
from runner.shares.families import OF_EVERY_SHARE, OF_LEASES, counter, gauges
from runner.shares.leases import Leases, Moment, Rules, slot_of
from runner.shares.ledger import SharedLedger
from runner.shares.redis import Store, StoreGoneError
from runner.state import StateLedger

_MOST_SEEN = 2000  # checks whose latest run is recent at one renewal


class LeasedShare:
    """Renews, takes and gives leases while the runner runs. `passed` is a clock that goes on while the machine is suspended."""

    def __init__(
        self,
        coordinate: Coordinate,
        me: str,
        clock: Clock,
        registry: CollectorRegistry,
        passed: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._coordinate = coordinate
        self._leases = Leases(me, Rules(coordinate.slots, coordinate.lasts, coordinate.most))
        self._store = Store(coordinate, me)
        self._clock = clock
        self._passed = passed
        self._gauges = gauges(registry, (*OF_EVERY_SHARE, *OF_LEASES))
        self._gauges["outrider_lease_slots"].set(coordinate.slots)
        self._moved = counter(registry, OF_LEASES[-1])
        for how in ("acquired", "released", "lost"):
            self._moved.labels(how)
        self._slots: dict[str, int] = {}  # by check
        self._shown: frozenset[int] = frozenset()  # the slots of the latest `of`
        self._given: frozenset[int] = frozenset()  # slots that this runner gave away since then
        self._ran: dict[str, float] = {}  # when checks ran, seconds since the epoch, until the store knows
        self._last_seen: dict[str, float] = {}
        self._gone: tuple[float, str] | None = None  # since when the store can't be used, and why

    def of(self, plan: Plan) -> Plan:
        """The checks of the slots that are held now. Limits stay whole: all runners count them together."""
        self._slots = {
            check.name: slot_of(one.check.name, self._coordinate.slots) for one in plan.checks for check in (one.check, *one.parts)
        }
        self._leases.count(Counter(self._slots[one.check.name] for one in plan.checks))
        self._shown = self._leases.held(self._now())
        mine = replace(plan, checks=tuple(one for one in plan.checks if self._slots[one.check.name] in self._shown))
        self._gauges["outrider_checks_planned"].set(len(plan.checks))
        self._gauges["outrider_checks_held"].set(len(mine.checks))
        self._gauges["outrider_lease_slots_held"].set(len(self._shown))
        return mine

    def holds(self, check: str) -> bool:
        """Whether the lease of the check's slot lasts, by both clocks of this machine."""
        slot = self._slots.get(check)
        return slot is not None and self._leases.holds(slot, self._now())

    def last_seen(self) -> Mapping[str, float]:
        """When the checks that came lately were last run by another runner, in seconds since the epoch of this machine."""
        found, self._last_seen = self._last_seen, {}
        return found

    def ran(self, seen: Observation) -> None:
        """Notes a run, for whoever takes the check over."""
        self._ran[seen.check.name] = seen.at

    def ledger(self, local: StateLedger) -> Limits:
        """Budgets and limits of all runners."""
        return SharedLedger(local, self._store, self._leases.me, self._clock.monotonic, self._clock.time)

    def warnings(self) -> tuple[str, ...]:
        """That Redis can't be used, and what follows."""
        if self._gone is None:
            return ()
        now = self._now()
        since, why = self._gone
        held = len(self._leases.held(now))
        ends = moment(self._clock.time() + self._leases.until(now))
        until = f"{held} of {self._coordinate.slots} slots are held until {ends}, then their checks stop" if held else "no check runs"
        return (
            f"The Redis of coordinate can't be used since {moment(since)}: {why}. Here {until}. What has a budget or a limit isn't sent.",
        )

    async def follow(self, changed: Callable[[], Awaitable[None]], log: Log) -> None:
        """Looks at the leases again and again, and changes the schedule when they have changed. No error ends it."""
        while True:
            began = self._now()
            try:
                await self._look(log)
                self._back(log)
            except StoreGoneError as gone:
                self._lost_store(str(gone), log)
            try:
                await self._show(changed, log)
            except Exception as error:  # noqa: BLE001 - the leases end by themselves, and the next look tries again
                log(logging.ERROR, f"the checks can't be changed to those that this runner holds: {type(error).__name__}: {error}")
            await asyncio.sleep(max(0.05, self._leases.rules.look - (self._now().running - began.running)))

    async def _show(self, changed: Callable[[], Awaitable[None]], log: Log) -> None:
        """Changes the schedule to what is held now."""
        now = self._now()
        held, given, self._given = self._leases.held(now), self._given, frozenset()
        if ended := len(self._shown - held - given):
            log(logging.WARNING, f"{count(ended, 'lease')} ended or went to another runner: their checks stop here")
            self._moved.labels("lost").inc(ended)
        self._gauges["outrider_lease_until_timestamp_seconds"].set(self._clock.time() + self._leases.until(now))
        if held != self._shown:
            await changed()

    async def aclose(self) -> None:
        """Gives every lease to the others, who go on at their next look. Without Redis the leases end by themselves."""
        given, recent = self._leases.to_leave(), dict(list(self._ran.items())[:_MOST_SEEN])
        self._leases.released(given)
        with contextlib.suppress(StoreGoneError):  # they end by themselves
            await self._store.renew(frozenset(), room=False, seen=self._rows(recent))
            await self._store.release(given, leaving=True)
        await self._store.aclose()

    async def _look(self, log: Log) -> None:
        sent = self._now()
        claimed = self._leases.claims(sent)
        recent = dict(list(self._ran.items())[:_MOST_SEEN])
        view = await self._store.renew(claimed, room=self._leases.has_room, seen=self._rows(recent))
        self._ran = {name: at for name, at in self._ran.items() if recent.get(name) != at}
        self._leases.renewed(claimed, sent, view, self._now())
        self._gauges["outrider_lease_runners"].set(len(view.runners))
        taken = (view.renewed - claimed) | await self._acquire(sent)
        if taken:
            checks = [name for name, slot in self._slots.items() if slot in taken]
            self._moved.labels("acquired").inc(len(taken))
            log(logging.INFO, f"took {len(taken)} of {count(self._coordinate.slots, 'slot')}, with {count(len(checks), 'check')}")
            ages = await self._store.seen(checks)
            self._last_seen |= {name: self._clock.time() - age for name, age in ages.items()}
        await self._release(log)

    def _rows(self, recent: Mapping[str, float]) -> list[tuple[int, str, float]]:
        """Slot, check, and how many seconds ago it ran."""
        now = self._clock.time()
        return [(self._slots[name], name, max(0.0, now - at)) for name, at in recent.items() if name in self._slots]

    async def _acquire(self, renewed: Moment) -> frozenset[int]:
        if not (wanted := self._leases.to_acquire(renewed)):
            return wanted
        sent = self._now()
        taken = frozenset(await self._store.acquire(wanted))
        self._leases.acquired(taken, sent)
        return taken

    async def _release(self, log: Log) -> None:
        """Gives slots to the runners that come first for them. It isn't held here any more before the store knows."""
        if not (given := self._leases.to_release(self._now())):
            return
        self._leases.released(given)
        self._given = frozenset(given)
        self._moved.labels("released").inc(len(given))
        log(logging.INFO, f"gives {count(len(given), 'slot')} to other runners")
        await self._store.release(given)

    def _lost_store(self, why: str, log: Log) -> None:
        self._gauges["outrider_lease_store_up"].set(0)
        if self._gone is None:
            self._gone = self._clock.time(), why
            log(logging.ERROR, self.warnings()[0])
        self._gone = self._gone[0], why

    def _back(self, log: Log) -> None:
        self._gauges["outrider_lease_store_up"].set(1)
        if self._gone:
            log(logging.INFO, f"the Redis of coordinate can be used again; it couldn't since {moment(self._gone[0])}")
        self._gone = None

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._passed())
