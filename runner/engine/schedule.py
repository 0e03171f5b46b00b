"""When each check runs: APScheduler holds the cadences, a timer the phase of each check within a tick.

A scheduler job for each check would cost more than the probe. So a tick comes for each distinct interval (at least every minute)
and sets a timer for each of its checks that is due before the next tick; a cron expression has a tick of its own.

Every slot of a check ends as one run or as one missed run with its reason: `late` (the loop stalled, the machine slept),
`overlap` (the run before hasn't ended), `cap` (too many runs in flight), `quota` (a limit, budget or hold refused it).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from apscheduler.triggers.base import BaseTrigger

from judge.observation import Check, Observation, Sink
from probes.core import Clock, QuotaRefused
from runner.config.cron import trigger
from runner.config.plan import After, Every, Plan, Planned
from runner.config.slots import first, fraction, grace, slots
from runner.engine.cadences import Cadences, Handle, Timer, regular
from runner.log import Log

CAP = 200  # runs in flight
LONGEST_TICK = 60.0  # seconds: a timer runs by the monotonic clock, and no longer than this out of step with the wall's
AT_ONCE = 500  # checks that one tick looks at: to set the timers of 10,000 at once would hold the loop for some 30 ms
_MOST_MISSED = 1000  # slots of one check that are counted one by one after a long sleep


class Observer(Protocol):
    """What runs checks: runner.engine.execute.Execute."""

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs once. Raises QuotaRefused."""
        ...

    def cut_short(self) -> None:
        """Ends what is under way, as unknown / cancelled."""


@dataclass(slots=True, eq=False)
class ScheduledCheck:
    """One check of the schedule, and when it is due next (seconds since the epoch)."""

    planned: Planned
    after: After
    due: float
    ahead: float  # by how many seconds its tick looks ahead
    until: float = 0.0  # what its last tick looked ahead to
    timer: Handle | None = None

    @property
    def name(self) -> str:
        return self.planned.check.name

    @property
    def grace(self) -> float:
        """By how many seconds a run may come late."""
        return grace(self.planned.check.interval)

    def cancel(self) -> None:
        """Ends its timer."""
        if self.timer:
            self.timer.cancel()
        self.timer = None


class Schedule:
    """Runs a plan's checks for ever. Everything happens on the loop that `start` is called in."""

    def __init__(
        self,
        *,
        emit: Sink,
        missed: Callable[[Check, str], None],
        lagged: Callable[[float], None],
        clock: Clock,
        timer: Timer,
        cadences: Cadences,
        cap: int = CAP,
        log: Log | None = None,
    ) -> None:
        self._emit = emit
        self._missed = missed
        self._lagged = lagged
        self._clock = clock
        self._timer = timer
        self._cadences = cadences
        self._last_seen: dict[str, float] = {}
        self._cap = cap
        self._log = log or logging.getLogger("outrider.engine").log
        self._refused: set[str] = set()
        self._observer: Observer | None = None
        self._checks: dict[str, ScheduledCheck] = {}
        self._ticks: set[str] = set()  # their names
        self._running: dict[asyncio.Task[None], tuple[str, Observer]] = {}

    # What a driver sets going

    def start(self, plan: Plan, observer: Observer, last_seen: Mapping[str, float] | None = None) -> None:
        """Starts with a plan. `last_seen` says when each check was last observed, by its name, in seconds since the epoch.

        A check that was not seen within its interval runs once within 10 s, or within its interval if that is shorter.
        """
        self._last_seen = dict(last_seen or {})
        self.swap(plan, observer)
        self._cadences.start()

    def swap(self, plan: Plan, observer: Observer) -> tuple[asyncio.Task[None], ...]:
        """Goes on with another plan, at once: unchanged checks keep their rhythm, new and changed ones run soon.

        Returns the runs still in flight, all by the observer before; what that needs may be closed when they have ended. Those
        of removed and changed checks end too, but are not emitted: a series that is gone must not come back.
        """
        before, self._checks, self._observer = self._checks, {}, observer
        for planned in plan.checks:
            self._checks[planned.check.name] = self._kept_or_new(planned, before)
        for scheduled in before.values():  # of checks that are removed or changed
            scheduled.cancel()
            self._refused.discard(scheduled.name)
        self._set_ticks()
        return self.in_flight

    async def drain(self, within: float) -> None:
        """Starts nothing more, waits `within` seconds for runs in flight, then cuts them short; all are emitted."""
        self._cadences.stop()
        for scheduled in self._checks.values():
            scheduled.cancel()
        if self._running:
            await asyncio.wait(self.in_flight, timeout=within)
        for observer in {observer for _, observer in self._running.values()}:
            observer.cut_short()
        if self._running:
            await asyncio.wait(self.in_flight)

    @property
    def in_flight(self) -> tuple[asyncio.Task[None], ...]:
        """The runs under way."""
        return tuple(self._running)

    # Plans

    def _kept_or_new(self, planned: Planned, before: dict[str, ScheduledCheck]) -> ScheduledCheck:
        scheduled = before.get(planned.check.name)
        if scheduled and scheduled.planned.fingerprint == planned.fingerprint:
            scheduled.planned = planned
            return before.pop(planned.check.name)
        after = slots(planned)
        last = None if scheduled else self._last_seen.pop(planned.check.name, None)
        due = first(after, planned.check.name, planned.check.interval, self._clock.time(), last)
        ahead = min(planned.schedule.seconds, LONGEST_TICK) if isinstance(planned.schedule, Every) else LONGEST_TICK
        return ScheduledCheck(planned, after, due, ahead)

    def _set_ticks(self) -> None:
        """One tick for each distinct cadence of the plan; what is due before the first of them gets its timer now."""
        before, self._ticks = self._ticks, set()
        for name, when, group in cadences_of(self._checks.values()):
            tick = partial(self._tick, group)
            self._cadences.add(name, when, tick)
            self._ticks.add(name)
            tick()
        for name in before - self._ticks:
            self._cadences.remove(name)

    # Ticks and timers

    def _tick(self, group: tuple[ScheduledCheck, ...]) -> None:
        """Sets a timer for each check of a group that is due before the next tick."""
        now = self._clock.time()
        for scheduled in group:
            if scheduled.timer is None:
                self._catch_up(scheduled, now)
            scheduled.until = now + scheduled.ahead
            self._set_timer(scheduled, now)

    def _set_timer(self, scheduled: ScheduledCheck, now: float) -> None:
        """Where its tick looks ahead to its slot, and the slot isn't one of many that a sleep left behind."""
        if scheduled.timer is None and now - scheduled.grace <= scheduled.due < scheduled.until:
            delay = max(0.0, scheduled.due - now)
            scheduled.timer = self._timer.call_later(delay, partial(self._fire, scheduled, self._clock.monotonic() + delay))

    def _catch_up(self, scheduled: ScheduledCheck, now: float) -> None:
        """Counts the slots that nobody could use, and comes back from a future that a wrong clock had promised."""
        for _ in range(_MOST_MISSED):
            if scheduled.due + scheduled.grace >= now:
                break
            self._missed(scheduled.planned.check, "late")
            scheduled.due = scheduled.after(scheduled.due)
        else:
            scheduled.due = scheduled.after(now)
        scheduled.due = min(scheduled.due, scheduled.after(now + scheduled.grace))

    def _fire(self, scheduled: ScheduledCheck, due: float) -> None:
        """A check's slot has come: it runs, or is missed. `due` by the monotonic clock."""
        lag = max(0.0, self._clock.monotonic() - due)
        now = self._clock.time()
        late = max(lag, now - scheduled.due)  # the wall's clock knows of a sleep that the other one slept through
        scheduled.timer, scheduled.due = None, scheduled.after(scheduled.due)
        self._set_timer(scheduled, now)  # after a first run, its slot may come before the next tick
        self._lagged(lag)
        if obstacle := self._obstacle(scheduled, late):
            self._missed(scheduled.planned.check, obstacle)
            return
        assert self._observer is not None  # noqa: S101 - `swap` sets it before any check
        task = asyncio.get_running_loop().create_task(self._run(scheduled, self._observer, lag), name=f"run of {scheduled.name}")
        self._running[task] = scheduled.name, self._observer
        task.add_done_callback(self._ended)

    def _obstacle(self, scheduled: ScheduledCheck, late: float) -> str:
        if late > scheduled.grace:
            return "late"
        if any(name == scheduled.name for name, _ in self._running.values()):
            return "overlap"
        return "cap" if len(self._running) >= self._cap else ""

    # Runs

    async def _run(self, scheduled: ScheduledCheck, observer: Observer, lag: float) -> None:
        name, check = scheduled.name, scheduled.planned.check
        try:
            observations = await observer.observe(scheduled.planned, lag=lag)
        except QuotaRefused as refused:  # a limit, a held login, a state that can't be written
            if self._is_scheduled(scheduled):
                self._missed(check, "quota")
                if name not in self._refused:  # said once, until the check runs again
                    self._refused.add(name)
                    self._log(logging.WARNING, f"{name} doesn't run for now: {refused.message}")
            return
        self._refused.discard(name)
        for observation in observations if self._is_scheduled(scheduled) else ():
            self._emit(observation)

    def _is_scheduled(self, scheduled: ScheduledCheck) -> bool:
        """Not removed or changed meanwhile."""
        return self._checks.get(scheduled.name) is scheduled

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nothing that goes wrong in one run may touch another: the loop's handler logs it, and the schedule goes on."""
        name, _ = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()):
            task.get_loop().call_exception_handler({"message": f"the run of check {name} broke", "exception": error, "task": task})


def cadences_of(checks: Iterable[ScheduledCheck]) -> Iterator[tuple[str, BaseTrigger, tuple[ScheduledCheck, ...]]]:
    """The cadences that a plan needs: name, trigger and checks of each. Those of an interval are split by phase where they are many."""
    intervals: dict[float, list[ScheduledCheck]] = defaultdict(list)
    crons: dict[tuple[str, str], list[ScheduledCheck]] = defaultdict(list)
    for scheduled in checks:
        schedule = scheduled.planned.schedule
        if isinstance(schedule, Every):
            intervals[scheduled.ahead].append(scheduled)
        else:
            crons[schedule.expression, schedule.zone].append(scheduled)
    for period, group in intervals.items():
        parts: list[list[ScheduledCheck]] = [[] for _ in range(-(-len(group) // AT_ONCE))]
        for scheduled in group:
            parts[int(fraction(scheduled.name) * len(parts))].append(scheduled)
        for number, part in enumerate(parts):
            yield f"every {period:g} s, part {number + 1} of {len(parts)}", regular(period, period * number / len(parts)), tuple(part)
    for (expression, zone), group in crons.items():
        yield f"cron {expression} {zone}", trigger(expression, zone), tuple(group)
