"""Starts each check at its slots. APScheduler holds the cadences; a timer of the loop holds a check's slot within a tick.

A scheduler job for each check would cost more than the probe. So there is one tick for each distinct interval (at least every minute),
which sets a timer for each of its checks that is due before the next tick. A cron expression has a tick of its own.

Every slot of a check ends as one run or as one missed run with its reason: `late` (the loop stalled, the machine slept),
`overlap` (the run before hasn't ended), `cap` (too many runs in flight), `quota` (a limit or a budget refused it), `held` (a login
was refused, and none is tried for now: the last verdict stands), `state` (it costs
money or logs in, and the state can't be written), `lease` (another runner may hold the check).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from apscheduler.triggers.base import BaseTrigger

from judge.observation import Check, Observation, Sink
from probes.core import Clock, LoginHeld, QuotaRefused, Reason, Verdict
from probes.text import listed
from runner.config.cron import trigger
from runner.config.plan import After, Every, Plan, Planned
from runner.config.slots import first, fraction, grace, slots, soon
from runner.engine.cadences import Cadences, Handle, Timer, regular
from runner.engine.observations import unreported
from runner.engine.permits import NotHeldError
from runner.log import Log
from runner.state import StateRefused

CAP = 200  # runs in flight
LONGEST_TICK = 60.0  # seconds for which a timer, which runs by the monotonic clock, may be out of step with the wall clock
AT_ONCE = 500  # checks of one tick: to set the timers of 10,000 at once would stall the loop for some 30 ms
_REPORT_AFTER = 1.0  # seconds after the first run that a sleep or a step of the clock has cost
_STEP = 1.0  # seconds by which the wall clock may drift between two ticks
_MOST_MISSED = 1000  # slots of one check that are counted one by one after a long sleep


class Observer(Protocol):
    """Runs checks: runner.engine.execute.Execute."""

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs once. Raises QuotaRefused."""
        ...

    def cut_short(self) -> None:
        """Ends the runs under way, as unknown / cancelled."""


@dataclass(slots=True, eq=False)
class ScheduledCheck:
    """One check of the schedule, and when it is due next (seconds since the epoch)."""

    planned: Planned
    after: After
    due: float
    ahead: float  # seconds by which its tick looks ahead
    begun: float  # clock.monotonic() of its latest slot, or of its entry
    until: float = 0.0  # the time to which its last tick looked ahead
    timer: Handle | None = None
    reported: bool = False  # whether it has had a verdict since it came here
    grace: float = field(init=False)  # seconds by which a run may come late

    def __post_init__(self) -> None:
        self.grace = grace(self.planned.check.interval)

    @property
    def name(self) -> str:
        return self.planned.check.name

    def cancel(self) -> None:
        """Cancels its timer."""
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
        self._lost: Counter[str] = Counter()  # runs that came too late, by check, until the journal has told them
        self._ahead = clock.time() - clock.monotonic()  # they change when somebody sets the clock, or the machine sleeps
        self._observer: Observer | None = None
        self._checks: dict[str, ScheduledCheck] = {}
        self._ticks: set[str] = set()  # their names
        self._running: dict[asyncio.Task[None], tuple[str, Observer]] = {}
        self._busy: set[str] = set()  # the names of those checks

    # Starting, swapping and draining

    def start(self, plan: Plan, observer: Observer, last_seen: Mapping[str, float] | None = None) -> None:
        """Starts with a plan. `last_seen` says when each check was last observed, by its name, in seconds since the epoch.

        A check that was not seen within its interval runs once within 10 s, or within its interval if that is shorter. Of more than 500
        checks 50 a second run so. A check with a cron expression waits for its time, unless it has missed one since it was last seen.
        """
        self._last_seen = dict(last_seen or {})
        self.swap(plan, observer)
        self._cadences.start()

    def swap(self, plan: Plan, observer: Observer, last_seen: Mapping[str, float] | None = None) -> tuple[asyncio.Task[None], ...]:
        """Goes on with another plan, at once: unchanged checks keep their rhythm, new and changed ones run soon.

        Returns the runs still in flight, all by the previous observer; its resources may be closed when they have ended. The runs of
        removed and changed checks end too, but are not emitted: a series that is gone must not come back. `last_seen` is as for `start`,
        of checks that another runner had.
        """
        elsewhere = last_seen or {}
        self._last_seen |= elsewhere
        before, self._checks, self._observer = self._checks, {}, observer
        unchanged = {name: scheduled.planned.fingerprint for name, scheduled in before.items()}
        within = soon(sum(unchanged.get(planned.check.name) != planned.fingerprint for planned in plan.checks))
        for planned in plan.checks:
            name = planned.check.name
            scheduled = before.get(name)
            if scheduled and scheduled.planned.fingerprint == planned.fingerprint:
                scheduled.planned = planned
                self._checks[name] = before.pop(name)
                continue
            after = slots(planned)
            last = None if scheduled else self._last_seen.pop(name, None)
            due = first(planned, after, self._clock.time(), last, elsewhere=name in elsewhere, within=within)
            ahead = min(planned.schedule.seconds, LONGEST_TICK) if isinstance(planned.schedule, Every) else LONGEST_TICK
            self._checks[name] = ScheduledCheck(planned, after, due, ahead, self._clock.monotonic())
        for scheduled in before.values():  # of checks that are removed or changed
            scheduled.cancel()
            self._refused.discard(scheduled.name)
        self._set_ticks()
        return self.in_flight

    async def drain(self, within: float) -> None:
        """Starts no more runs, waits `within` seconds for those in flight, then cuts them short; all are emitted."""
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

    def run_now(self, name: str) -> bool:
        """Runs a check once more, beside its slots. False where it runs already, too many do, or there is no such check."""
        scheduled = self._checks.get(name)
        if scheduled is None or name in self._busy or len(self._running) >= self._cap:
            return False
        self._begin(scheduled, 0.0)
        return True

    def _begin(self, scheduled: ScheduledCheck, lag: float) -> None:
        assert self._observer is not None  # noqa: S101 - `swap` sets it before any check
        task = asyncio.get_running_loop().create_task(self._run(scheduled, self._observer, lag), name=f"run of {scheduled.name}")
        self._running[task] = scheduled.name, self._observer
        self._busy.add(scheduled.name)
        task.add_done_callback(self._ended)

    # Ticks and timers

    def _set_ticks(self) -> None:
        """Sets one tick for each distinct cadence of the plan. A check that is due before its first tick gets its timer now."""
        before, self._ticks = self._ticks, set()
        for name, when, group in cadences_of(self._checks.values()):
            tick = partial(self._tick, group)
            self._cadences.add(name, when, tick)
            self._ticks.add(name)
            tick()
        for name in before - self._ticks:
            self._cadences.remove(name)

    def _tick(self, group: tuple[ScheduledCheck, ...]) -> None:
        """Sets a timer for each check of a group that is due before the next tick."""
        now = self._clock.time()
        self._look_at_clock()
        for scheduled in group:
            if scheduled.timer is None:
                self._catch_up(scheduled, now)
            scheduled.until = now + scheduled.ahead
            self._set_timer(scheduled, now)

    def _set_timer(self, scheduled: ScheduledCheck, now: float) -> None:
        """Sets the timer of a slot before its tick's horizon, unless the slot is one of many that a sleep left behind."""
        if scheduled.timer is None and now - scheduled.grace <= scheduled.due < scheduled.until:
            delay = max(0.0, scheduled.due - now)
            scheduled.timer = self._timer.call_later(delay, partial(self._fire, scheduled, self._clock.monotonic() + delay))

    def _catch_up(self, scheduled: ScheduledCheck, now: float) -> None:
        """Counts the slots that are past as missed, and corrects a slot that a wrong clock has put too far ahead."""
        for _ in range(_MOST_MISSED):
            if scheduled.due + scheduled.grace >= now:
                break
            self._count_late(scheduled.planned.check)
            scheduled.due = scheduled.after(scheduled.due)
        else:
            scheduled.due = scheduled.after(now)
        if scheduled.due > (regular := scheduled.after(now + scheduled.grace)):
            interval = scheduled.planned.check.interval
            passed = int((self._clock.monotonic() - scheduled.begun) / interval) if isinstance(scheduled.planned.schedule, Every) else 0
            for _ in range(min(passed, _MOST_MISSED)):  # slots that went by while the timers waited for a time that was set back
                self._count_late(scheduled.planned.check)
            scheduled.due, scheduled.begun = regular, self._clock.monotonic()

    def _fire(self, scheduled: ScheduledCheck, due: float) -> None:
        """Starts the run of a slot, or counts it as missed. `due` is a time of the monotonic clock."""
        lag = max(0.0, self._clock.monotonic() - due)
        now = self._clock.time()
        late = max(lag, now - scheduled.due)  # the wall clock counts a sleep of the machine, the monotonic one doesn't
        scheduled.timer, scheduled.due, scheduled.begun = None, scheduled.after(scheduled.due), self._clock.monotonic()
        self._set_timer(scheduled, now)  # after a first run, its slot may come before the next tick
        self._lagged(lag)
        obstacle = ""
        if late > scheduled.grace:
            obstacle = "late"
        elif scheduled.name in self._busy:
            obstacle = "overlap"
        elif len(self._running) >= self._cap:
            obstacle = "cap"
        if obstacle == "late":
            self._count_late(scheduled.planned.check)
            return
        if obstacle:
            self._missed(scheduled.planned.check, obstacle)
            return
        self._begin(scheduled, lag)

    # What time has cost

    def _look_at_clock(self) -> None:
        ahead = self._clock.time() - self._clock.monotonic()
        if abs(by := ahead - self._ahead) > _STEP:
            which = "forward, or the machine slept," if by > 0 else "back"
            self._log(logging.WARNING, f"the wall clock was set {which} by {abs(by):,.0f} s")
            self._ahead = ahead

    def _count_late(self, check: Check) -> None:
        """Counts a run that came too late. The journal has one line for all that come close together."""
        self._missed(check, "late")
        if not self._lost:
            self._timer.call_later(_REPORT_AFTER, self._tell_lost)
        self._lost[check.name] += 1

    def _tell_lost(self) -> None:
        runs, names = sum(self._lost.values()), listed(list(self._lost), 3)
        self._lost.clear()
        what = "run was" if runs == 1 else "runs were"
        self._log(
            logging.WARNING, f"{runs:,} {what} missed, too late to start ({names}): the runner was busy or stopped, or the clock was set"
        )

    # Runs

    async def _run(self, scheduled: ScheduledCheck, observer: Observer, lag: float) -> None:
        name, check, at = scheduled.name, scheduled.planned.check, self._clock.time()
        try:
            observations = await observer.observe(scheduled.planned, lag=lag)
        except NotHeldError:  # who holds it has a schedule of its own
            if self._is_scheduled(scheduled):
                self._missed(check, "lease")
            return
        except QuotaRefused as refused:  # a limit, a held login, a state that can't be written
            if self._is_scheduled(scheduled):
                self._withhold(scheduled, refused, at)
            return
        except Exception as error:  # a check that doesn't report must not stay green
            for observation in unreported(scheduled.planned, None, error, at=at, seconds=0.0) if self._is_scheduled(scheduled) else ():
                self._emit(observation)
            raise
        self._refused.discard(name)
        scheduled.reported = True
        for observation in observations if self._is_scheduled(scheduled) else ():
            self._emit(observation)

    def _withhold(self, scheduled: ScheduledCheck, refused: QuotaRefused, at: float) -> None:
        """Counts a run that was refused. A held login is told again where there is no verdict that could stand, since a restart."""
        name, check, held = scheduled.name, scheduled.planned.check, isinstance(refused, LoginHeld)
        self._missed(check, "held" if held else "state" if isinstance(refused, StateRefused) else "quota")
        if name not in self._refused:  # logged once, until the check runs again
            self._refused.add(name)
            self._log(logging.WARNING, f"{name} doesn't run for now: {refused.message}")
        if held and not scheduled.reported:
            scheduled.reported = True
            for each in (check, *scheduled.planned.parts):
                self._emit(Observation(each, Verdict.FAIL, Reason.AUTH, refused.message, at, 0.0))

    def _is_scheduled(self, scheduled: ScheduledCheck) -> bool:
        """Whether no reload has removed or changed the check meanwhile."""
        return self._checks.get(scheduled.name) is scheduled

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Gives an unexpected error to the loop's exception handler, which logs it; the other checks go on."""
        name, _ = self._running.pop(task)
        self._busy.discard(name)
        if not task.cancelled() and (error := task.exception()):
            task.get_loop().call_exception_handler({"message": f"the run of check {name} broke", "exception": error, "task": task})


def cadences_of(checks: Iterable[ScheduledCheck]) -> Iterator[tuple[str, BaseTrigger, tuple[ScheduledCheck, ...]]]:
    """The cadences of a plan: name, trigger and checks of each. The checks of one interval are split into parts of about AT_ONCE."""
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
