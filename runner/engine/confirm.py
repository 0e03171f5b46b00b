"""`confirm`: a few quick re-checks before a check that was well counts as down.

The first failure stands as recorded: where a re-check passes, it goes to journal and evidence as unconfirmed and to a counter of its
own, and the run counts as the one that passed. Where all re-checks fail as well, or none can be made, the first failure is the run;
a check that is down already is asked once a run. Only what may be repeated is (a plan says so at load); a re-check counts against
its target's limit, and none begins that wouldn't end within the check's interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from judge.observation import Observation
from probes.core import Clock, QuotaRefused, Reason, Verdict
from runner.config.plan import Plan, Planned
from runner.engine.cadences import Timer
from runner.engine.schedule import Observer

_SPACE = 1.0  # seconds between two re-checks, where the interval is no shorter than twenty times that
_SHARE = 20
_NOT_AGAIN = frozenset({Reason.AUTH, Reason.THROTTLED, Reason.POLICY, Reason.QUOTA})  # asking again would only make it worse


async def recheck(
    planned: Planned,
    first: Observation,
    observe: Callable[[], Awaitable[tuple[Observation, ...]]],
    *,
    pause: Callable[[float], Awaitable[None]],
    may_begin: Callable[[float], bool],
) -> AsyncIterator[tuple[Observation, ...]]:
    """Repeats a run that failed, `planned.confirm` times at most, until one doesn't fail: a scheduled run, or a gate's.

    `may_begin` gets the seconds of the pause before the next re-check, and says whether it may be made. What `observe` raises
    ends the re-checks.
    """
    interval = planned.check.interval or _SHARE * _SPACE
    space = min(_SPACE, interval / _SHARE)
    last = first
    for _ in range(planned.confirm):
        if last.verdict is not Verdict.FAIL or last.reason in _NOT_AGAIN or not may_begin(space):
            return
        await pause(space)
        seen = await observe()
        yield seen
        last = seen[0]


class Down:
    """The checks that are down, so that no re-check is made for them. It outlives each plan's Confirm.

    A check is known by its fingerprint, which holds its name too: a changed check is another one.
    """

    def __init__(self) -> None:
        self._planned: frozenset[str] = frozenset()
        self._down: set[str] = set()

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: a removed or changed check isn't down any more, and its next failure is confirmed.

        A restart restores nothing, so that a check that was down is confirmed again, as a new one is. That is right: the process
        before may have ended long ago, and a re-check too many costs a second, while a failure that nobody confirmed may page somebody.
        """
        self._planned = frozenset(planned.fingerprint for planned in plan.checks)
        self._down &= self._planned

    def __contains__(self, planned: Planned) -> bool:
        return planned.fingerprint in self._down

    def add(self, planned: Planned) -> None:
        """The check is down, unless a reload removed or changed it while it ran."""
        if planned.fingerprint in self._planned:
            self._down.add(planned.fingerprint)

    def discard(self, planned: Planned) -> None:
        """The check is up."""
        self._down.discard(planned.fingerprint)


class Confirm:
    """An Observer around another one. It is made for each plan, and `down` for all of them."""

    def __init__(self, observer: Observer, down: Down, clock: Clock, timer: Timer) -> None:
        self._observer = observer
        self._down = down
        self._clock = clock
        self._timer = timer

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs once, and again where a failure needs to be confirmed. An unconfirmed one comes before the run that passed."""
        began = self._clock.monotonic()
        seen = await self._observer.observe(planned, lag=lag)
        first = seen[0]
        if first.verdict is not Verdict.FAIL:
            if first.verdict is Verdict.PASS:
                self._down.discard(planned)
            return seen
        if planned.confirm and planned not in self._down and first.reason not in _NOT_AGAIN:
            rechecks: list[str] = []
            if passed := await self._again(planned, first, began, rechecks):
                return (replace(first, confirmed=False), *passed)
            seen = (replace(first, evidence={**first.evidence, "rechecks": rechecks}), *seen[1:])
        self._down.add(planned)
        return seen

    def cut_short(self) -> None:
        """Ends the runs under way, as unknown / cancelled."""
        self._observer.cut_short()

    async def _again(self, planned: Planned, first: Observation, began: float, rechecks: list[str]) -> tuple[Observation, ...]:
        """The re-check that passed; nothing where none did. What each of the others said is added to `rechecks`."""
        passed: tuple[Observation, ...] = ()

        def has_time(space: float) -> bool:
            ends = self._clock.monotonic() + space + max(space, 1.5 * first.seconds)
            if ends - began <= (planned.check.interval or _SHARE * _SPACE):
                return True
            rechecks.append("no time was left before the next run")
            return False

        try:
            async for seen in recheck(planned, first, lambda: self._observer.observe(planned), pause=self._pause, may_begin=has_time):
                if seen[0].verdict is Verdict.PASS:
                    passed = seen
                else:
                    rechecks.append(f"{seen[0].reason}: {seen[0].message}")
        except QuotaRefused as refused:
            rechecks.append(refused.message)
        return passed

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        self._timer.call_later(seconds, over.set)
        await over.wait()
