"""The judged rounds: every check once, all at the same time, round after round; and a warm-up before them that counts for nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from judge.findings import finding
from judge.observation import Check, Observation
from judge.verdict import Rules, Run, Runs, can_change
from probes.core import Clock, Reason, Verdict
from runner.config.plan import Planned
from runner.engine.confirm import NOT_AGAIN, SPACE
from runner.gate.addresses import Observing
from runner.gate.run_revisions import Beside
from runner.gate.settings import Settings, Shown

Attempt = tuple[Observation, ...]  # of a check, and its parts


class Rounds:
    """Runs the checks, and keeps what they said. `pause` waits so many seconds, or shorter where the gate is to stop."""

    def __init__(
        self,
        checks: Sequence[Planned],
        observing: Observing,
        settings: Settings,
        *,
        clock: Clock,
        pause: Callable[[float], Awaitable[None]],
        stopped: Callable[[], bool],
        shown: Shown,
        beside: Beside,
    ) -> None:
        self._checks = checks
        self._observing = observing
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._stopped = stopped
        self._shown = shown
        self._beside = beside
        self._runs: dict[Check, list[Run]] = {check: [] for planned in checks for check in (planned.check, *planned.parts)}
        self._left = settings.rounds
        self.done = 0
        self.cut = 0  # rounds that were not needed any more

    @property
    def runs(self) -> tuple[Runs, ...]:
        """What was judged so far, and how much is to come."""
        return tuple(Runs(check, tuple(runs), self._left) for check, runs in self._runs.items())

    async def warm_up(self) -> None:
        """One round that is shown and not judged: the first requests after a deployment fill pools and caches."""
        for attempts in await self._round():
            self._shown.ran(attempts[-1][0], judged=False)

    async def judge(self, rules: Rules, *, only_one: bool = False) -> None:
        """All rounds, unless it is stopped or nothing that comes could change the verdict."""
        pace = self._settings.pace if self._settings.span is None else self._settings.pace_of_span
        ends = self._clock.monotonic() + (self._settings.span or 0.0)
        self._left = 1 if only_one else self._settings.rounds if self._settings.span is None else _fitting(self._settings.span, pace)
        await self._beside.read()
        while self._left > 0 and not self._stopped():
            started = self._clock.monotonic()
            await self._judged_round()
            next_at = max(self._clock.monotonic(), started + pace)
            self._left = self._left - 1 if self._settings.span is None or only_one else _fitting(ends - next_at, pace)
            if self._left and not can_change(self.runs, rules, revision=self._settings.expect):
                self.cut, self._left = self._left, 0
            if self._left > 0:
                await self._pause(next_at - self._clock.monotonic())

    async def _judged_round(self) -> None:
        told = await self._round()
        await self._beside.read()
        if self._stopped():
            told = [attempts for attempts in told if attempts[-1][0].reason is not Reason.CANCELLED]
        latest = {one.check.name: one for attempts in told for one in attempts[-1]}
        for attempts in told:
            revision = self._beside.revision_of([seen[0] for seen in attempts])
            for same in zip(*attempts, strict=True):  # the attempts of the check, then those of each of its parts
                seen = tuple(replace(one, finding=finding(one, latest)) for one in same)
                self._runs[seen[0].check].append(Run(seen, revision))
                self._shown.ran(seen[-1])
        self._beside.begin()
        self.done += 1

    async def _round(self) -> list[list[Attempt]]:
        return list(await asyncio.gather(*(self._attempted(planned) for planned in self._checks)))

    async def _attempted(self, planned: Planned) -> list[Attempt]:
        """One run; where the check says `confirm`, with its quick re-checks after a failure, up to the first that isn't one."""
        attempts = [await self._observing.observe(planned, by_hand=True)]
        for _ in range(planned.confirm):
            last = attempts[-1][0]
            if last.verdict is not Verdict.FAIL or last.reason in NOT_AGAIN or self._stopped():
                break
            await self._pause(SPACE)
            attempts.append(await self._observing.observe(planned, by_hand=True))
        return attempts

    def passed_seconds(self) -> dict[str, tuple[float, ...]]:
        """Seconds of the runs that passed with the right revision, by check: what a baseline is made of."""
        return {
            check.name: tuple(run.counted.seconds for run in runs if run.verdict is Verdict.PASS and self._is_ours(run))
            for check, runs in self._runs.items()
            if not check.part_of
        }

    def _is_ours(self, run: Run) -> bool:
        return self._beside.is_expected(run.revision)


def _fitting(seconds: float, pace: float) -> int:
    """How many rounds begin within so many seconds, the first of them at once."""
    return max(0, math.ceil(seconds / pace))
