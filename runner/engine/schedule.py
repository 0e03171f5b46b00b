"""When each check runs: APScheduler holds the cadences, a timer the phase of each check within a beat.

A scheduler job a check would cost more than the probe. So a beat comes for each distinct interval (at least every minute) and
sets a timer for each of its checks that is due before the next beat; a cron expression has a beat of its own.

Every slot of a check ends as one run or as one missed run with its reason: `late` (the loop stalled, the machine slept),
`overlap` (the run before hasn't ended), `cap` (too many runs in flight), `quota` (a limit, budget or hold withheld it).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from judge.observation import Check, Observation, Sink
from probes.core import Clock, Withheld
from runner.config.plan import Plan, Planned
from runner.config.slots import first, slots
from runner.engine.cadences import Cadences, Timer
from runner.engine.entries import Entry, beat_of, beats
from runner.sinks.journal import Log

CAP = 200  # runs in flight
_MOST_MISSED = 1000  # slots of one check that are counted one by one after a long sleep


class Observer(Protocol):
    """What runs checks: runner.engine.execute.Execute."""

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs once. Raises Withheld."""
        ...

    def cut_short(self) -> None:
        """Ends what is under way, as unknown / cancelled."""


class Schedule:
    """Runs a plan's checks for ever. Everything happens on the loop that `start` is called in.

    `last_seen` says when each check was last observed (runner.state): one not seen within its interval runs soon after the start.
    """

    def __init__(
        self,
        *,
        emit: Sink,
        missed: Callable[[Check, str], None],
        lagged: Callable[[float], None],
        clock: Clock,
        timer: Timer,
        cadences: Cadences,
        last_seen: Mapping[str, float] | None = None,
        cap: int = CAP,
        log: Log | None = None,
    ) -> None:
        self._emit = emit
        self._missed = missed
        self._lagged = lagged
        self._clock = clock
        self._timer = timer
        self._cadences = cadences
        self._last_seen = dict(last_seen or {})
        self._cap = cap
        self._log = log or logging.getLogger("outrider.engine").log
        self._withheld: set[str] = set()
        self._observer: Observer | None = None
        self._entries: dict[str, Entry] = {}
        self._names: set[str] = set()  # of the beats
        self._running: dict[asyncio.Task[None], tuple[str, Observer]] = {}

    # What a driver sets going

    def start(self, plan: Plan, observer: Observer) -> None:
        """Begins with a plan. Checks not seen lately run once within 10 s, or within their interval if that is shorter."""
        self.swap(plan, observer)
        self._cadences.start()

    def swap(self, plan: Plan, observer: Observer) -> tuple[asyncio.Task[None], ...]:
        """Goes on with another plan, at once: unchanged checks keep their rhythm, new and changed ones run soon.

        Returns the runs still in flight, all by the observer before; what that needs may be closed when they have ended. Those
        of removed and changed checks end too, but are not emitted: a series that is gone must not come back.
        """
        before, self._entries, self._observer = self._entries, {}, observer
        for planned in plan.checks:
            self._entries[planned.check.name] = self._kept_or_new(planned, before)
        for entry in before.values():
            entry.unset()
        self._set_beats()
        return self.in_flight

    async def drain(self, within: float) -> None:
        """Starts nothing more, waits `within` seconds for runs in flight, then cuts them short; all are emitted."""
        self._cadences.stop()
        for entry in self._entries.values():
            entry.unset()
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

    def upcoming(self) -> dict[str, float]:
        """When each check is due next, seconds since the epoch."""
        return {name: entry.due for name, entry in self._entries.items()}

    # Plans

    def _kept_or_new(self, planned: Planned, before: dict[str, Entry]) -> Entry:
        entry = before.get(planned.check.name)
        if entry and entry.planned.fingerprint == planned.fingerprint:
            entry.planned = planned
            return before.pop(planned.check.name)
        after = slots(planned)
        last = None if entry else self._last_seen.pop(planned.check.name, None)
        due = first(after, planned.check.name, planned.check.interval, self._clock.time(), last)
        return Entry(planned, after, due, beat_of(planned)[1])

    def _set_beats(self) -> None:
        """One beat for each distinct cadence of the plan; what is due before the first of them gets its timer now."""
        before, self._names = self._names, set()
        for name, when, group in beats(self._entries.values()):
            beat = partial(self._beat, group)
            self._cadences.add(name, when, beat)
            self._names.add(name)
            beat()
        for name in before - self._names:
            self._cadences.remove(name)

    # Beats and timers

    def _beat(self, group: tuple[Entry, ...]) -> None:
        """Sets a timer for each check of a group that is due before the next beat."""
        now = self._clock.time()
        for entry in group:
            if entry.timer is None:
                self._catch_up(entry, now)
            entry.until = now + entry.ahead
            self._set_timer(entry, now)

    def _set_timer(self, entry: Entry, now: float) -> None:
        """Where its beat looks ahead to its slot, and the slot isn't one of many that a sleep left behind."""
        if entry.timer is None and now - entry.grace <= entry.due < entry.until:
            delay = max(0.0, entry.due - now)
            entry.timer = self._timer.call_later(delay, partial(self._fire, entry, self._clock.monotonic() + delay))

    def _catch_up(self, entry: Entry, now: float) -> None:
        """Counts the slots that nobody could use, and comes back from a future that a wrong clock had promised."""
        for _ in range(_MOST_MISSED):
            if entry.due + entry.grace >= now:
                break
            self._missed(entry.planned.check, "late")
            entry.due = entry.after(entry.due)
        else:
            entry.due = entry.after(now)
        entry.due = min(entry.due, entry.after(now + entry.grace))

    def _fire(self, entry: Entry, due: float) -> None:
        """A check's slot has come: it runs, or is missed. `due` by the monotonic clock."""
        lag = max(0.0, self._clock.monotonic() - due)
        now = self._clock.time()
        late = max(lag, now - entry.due)  # the wall's clock knows of a sleep that the other one slept through
        entry.timer, entry.due = None, entry.after(entry.due)
        self._set_timer(entry, now)  # after a first run, its slot may come before the next beat
        self._lagged(lag)
        if obstacle := self._obstacle(entry, late):
            self._missed(entry.planned.check, obstacle)
        else:
            self._launch(entry, lag)

    def _obstacle(self, entry: Entry, late: float) -> str:
        if late > entry.grace:
            return "late"
        if any(name == entry.name for name, _ in self._running.values()):
            return "overlap"
        return "cap" if len(self._running) >= self._cap else ""

    # Runs

    def _launch(self, entry: Entry, lag: float) -> None:
        assert self._observer is not None  # noqa: S101 - `swap` sets it before any entry
        task = asyncio.get_running_loop().create_task(self._run(entry, self._observer, lag), name=f"run of {entry.name}")
        self._running[task] = entry.name, self._observer
        task.add_done_callback(self._ended)

    async def _run(self, entry: Entry, observer: Observer, lag: float) -> None:
        try:
            observations = await observer.observe(entry.planned, lag=lag)
        except Withheld as withheld:
            if self._is_scheduled(entry):
                self._withhold(entry.planned.check, withheld.message)
            return
        self._withheld.discard(entry.name)
        for observation in observations if self._is_scheduled(entry) else ():
            self._emit(observation)

    def _is_scheduled(self, entry: Entry) -> bool:
        """Not removed or changed meanwhile."""
        return self._entries.get(entry.name) is entry

    def _withhold(self, check: Check, why: str) -> None:
        """Counts it, and says why once, until the check runs again: a limit, a held login, a state that can't be written."""
        self._missed(check, "quota")
        if check.name not in self._withheld:
            self._withheld.add(check.name)
            self._log(logging.WARNING, f"{check.name} doesn't run for now: {why}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nothing that goes wrong in one run may touch another: the loop's handler logs it, and the schedule goes on."""
        name, _ = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()):
            task.get_loop().call_exception_handler({"message": f"the run of check {name} broke", "exception": error, "task": task})
