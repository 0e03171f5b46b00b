"""`confirm`: a few quick re-checks before a check that was well counts as down.

The first failure stands as recorded: where a re-check passes, it goes to journal and evidence as unconfirmed and to a counter of its
own, and the run counts as the one that passed. Where all re-checks fail as well, or none can be made, the first failure is the run;
a check that is down already is asked once a run. Only what may be repeated is (a plan says so at load); a re-check counts against
its target's limit, and none begins that wouldn't end within the check's interval.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from judge.observation import Observation
from probes.core import Clock, QuotaRefused, Reason, Verdict
from runner.config.plan import Planned
from runner.engine.cadences import Timer
from runner.engine.schedule import Observer

SPACE = 1.0  # seconds between two re-checks, where the interval is no shorter than twenty times that
_SHARE = 20
NOT_AGAIN = frozenset({Reason.AUTH, Reason.THROTTLED, Reason.POLICY, Reason.QUOTA})  # asking again would only make it worse


class Confirm:
    """An Observer around another one. `failing` holds the checks that are down, and outlives a reload."""

    def __init__(self, observer: Observer, failing: set[str], clock: Clock, timer: Timer) -> None:
        self._observer = observer
        self._failing = failing
        self._clock = clock
        self._timer = timer

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs once, and again where a failure needs to be confirmed. An unconfirmed one comes before the run that passed."""
        began = self._clock.monotonic()
        seen = await self._observer.observe(planned, lag=lag)
        first, name = seen[0], planned.check.name
        if first.verdict is not Verdict.FAIL:
            if first.verdict is Verdict.PASS:
                self._failing.discard(name)
            return seen
        if planned.confirm and name not in self._failing and first.reason not in NOT_AGAIN:
            rechecks: list[str] = []
            if passed := await self._again(planned, first, began, rechecks):
                return (replace(first, confirmed=False), *passed)
            seen = (replace(first, evidence={**first.evidence, "rechecks": rechecks}), *seen[1:])
        self._failing.add(name)
        return seen

    def cut_short(self) -> None:
        """As Observer."""
        self._observer.cut_short()

    async def _again(self, planned: Planned, first: Observation, began: float, rechecks: list[str]) -> tuple[Observation, ...]:
        """The re-check that passed; nothing where none did. What each of the others said is added to `rechecks`."""
        interval = planned.check.interval or _SHARE * SPACE
        space = min(SPACE, interval / _SHARE)
        for _ in range(planned.confirm):
            if self._clock.monotonic() - began + space + max(space, 1.5 * first.seconds) > interval:
                rechecks.append("no time was left before the next run")
                return ()
            await self._pause(space)
            try:
                seen = await self._observer.observe(planned)
            except QuotaRefused as refused:
                rechecks.append(refused.message)
                return ()
            if seen[0].verdict is Verdict.PASS:
                return seen
            rechecks.append(f"{seen[0].reason}: {seen[0].message}")
            if seen[0].verdict is Verdict.UNKNOWN:
                return ()
        return ()

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        self._timer.call_later(seconds, over.set)
        await over.wait()
