"""The judged rounds: every check once, all at the same time, round after round; and a warm-up before them that counts for nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from judge.findings import finding, hangs
from judge.observation import Check, Observation
from judge.verdict import Rules, Run, Runs, can_change
from probes.core import Clock, Reason, Verdict
from probes.facts import LOGIN_HELD
from runner.config.plan import Planned
from runner.engine.confirm import recheck
from runner.gate.addresses import Engine
from runner.gate.run_revisions import RunRevisions
from runner.gate.settings import Display, GateSettings

PACE = 1.0  # seconds from the start of a round to the start of the next
_PACE_OF_SPAN = 2.0  # the same where the gate judges for a span: 2 minutes make 60 rounds, enough to decide a p95


class Rounds:
    """Runs the checks and keeps their runs. `pause(seconds)` returns early when the gate is stopped."""

    def __init__(
        self,
        checks: Sequence[Planned],
        engine: Engine,
        settings: GateSettings,
        *,
        pace: float,
        clock: Clock,
        pause: Callable[[float], Awaitable[None]],
        stopped: Callable[[], bool],
        display: Display,
        revisions: RunRevisions,
    ) -> None:
        self._checks = checks
        self._engine = engine
        self._settings = settings
        self._pace = pace
        self._clock = clock
        self._pause = pause
        self._stopped = stopped
        self._display = display
        self._revisions = revisions
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
        for attempts in await asyncio.gather(*(self._run(planned) for planned in self._checks)):
            self._display.ran(attempts[-1][0], judged=False)

    async def judge(self, rules: Rules, *, only_one: bool = False) -> None:
        """All rounds, until the gate is stopped or nothing that comes could change the verdict."""
        span = self._settings.span
        pace = self._pace if span is None else _PACE_OF_SPAN
        ends = self._clock.monotonic() + (span or 0.0)
        self._left = planned_rounds(self._settings)
        if only_one:
            span, self._left = None, 1
        await self._revisions.read()
        while self._left > 0 and not self._stopped():
            started = self._clock.monotonic()
            round_ = await asyncio.gather(*(self._run(planned) for planned in self._checks))
            await self._revisions.read()
            if self._stopped():  # a run that was cut short isn't judged
                round_ = [attempts for attempts in round_ if attempts[-1][0].reason is not Reason.CANCELLED]
            latest = {seen.check.name: seen for attempts in round_ for seen in attempts[-1]}
            hanging = dict.fromkeys(name for name, seen in latest.items() if hangs(seen))
            for attempts in round_:
                revision = self._revisions.revision_of([seen[0] for seen in attempts])
                for same in zip(*attempts, strict=True):  # the attempts of the check, then those of each of its parts
                    seen = tuple(replace(one, finding=finding(one, latest, hanging)) for one in same)
                    self._runs[seen[0].check].append(Run(seen, revision))
                    self._display.ran(seen[-1])
            self._revisions.next_round()
            self.done += 1
            next_at = max(self._clock.monotonic(), started + pace)
            self._left = self._left - 1 if span is None else _rounds_within(ends - next_at, pace)
            if self._left and not can_change(self.runs, rules, revision=self._settings.expect_revision):
                self.cut, self._left = self._left, 0
            if self._left > 0:
                await self._pause(next_at - self._clock.monotonic())

    async def _run(self, planned: Planned) -> list[tuple[Observation, ...]]:
        """One run of a check and its parts; after a failure with the re-checks that `confirm` asks for."""

        async def observe() -> tuple[Observation, ...]:
            seen = await self._engine.observe(planned, by_hand=True)
            if seen[0].facts.get(LOGIN_HELD):  # what an earlier release refused says nothing of this one
                return tuple(replace(one, verdict=Verdict.UNKNOWN) for one in seen)
            return seen

        attempts = [await observe()]
        rechecks = recheck(planned, attempts[0][0], observe, pause=self._pause, may_begin=lambda _: not self._stopped())
        return attempts + [seen async for seen in rechecks]

    def passed_seconds(self) -> dict[str, tuple[float, ...]]:
        """Seconds of the runs that passed with the right revision, by check: what a baseline is made of."""
        return {
            check.name: tuple(
                run.counted.seconds for run in runs if run.verdict is Verdict.PASS and self._revisions.is_expected(run.revision)
            )
            for check, runs in self._runs.items()
            if not check.part_of
        }


def planned_rounds(settings: GateSettings) -> int:
    """How many rounds the gate is going to judge."""
    return settings.rounds if settings.span is None else _rounds_within(settings.span, _PACE_OF_SPAN)


def _rounds_within(seconds: float, pace: float) -> int:
    """How many rounds begin within this time, the first of them at once."""
    return max(0, math.ceil(seconds / pace))
