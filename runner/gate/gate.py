"""One gate from its start to its report: wait, warm up, judge, compare, decide."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from judge import baseline
from judge.baseline import Before
from judge.redact import Redactor
from judge.report import Report, redacted, report
from judge.verdict import Finding, Outcome, Rules, decide
from probes.core import Clock
from runner.config.plan import Plan
from runner.gate.addresses import Observing, places
from runner.gate.arrival import Arrival, Waiting
from runner.gate.rounds import Rounds
from runner.gate.run_revisions import Beside
from runner.gate.settings import Settings, Shown


@dataclass(frozen=True, slots=True)
class Result:
    """What a gate leaves: its report, and what a later one may compare with."""

    report: Report
    seconds: Mapping[str, Sequence[float]]  # of passed runs, by check
    revisions: Mapping[str, str]  # what each target told, as it stood when the waiting ended


class Gate:
    """Carries out one gate over the checks of a plan. `stop` ends it early, with a verdict so far.

    `sleep` waits so many seconds. Nothing of a target raises; what the engine raises by cancellation passes through.
    """

    def __init__(
        self,
        plan: Plan,
        observing: Observing,
        settings: Settings,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        stop: asyncio.Event,
        shown: Shown,
        before: Before | None = None,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._stop = stop
        self._shown = shown
        self._before = before
        self._started = clock.time()
        asked = places(plan.checks)
        self._beside = Beside(asked, observing, settings.expect)
        self._waiting = Waiting(
            asked,
            observing,
            expect=settings.expect,
            consecutive=settings.consecutive,
            before=before.revisions if before else {},
            clock=clock,
            pause=self._pause,
            stopped=stop.is_set,
            shown=shown,
        )
        self._rounds = Rounds(
            plan.checks,
            observing,
            settings,
            clock=clock,
            pause=self._pause,
            stopped=stop.is_set,
            shown=shown,
            beside=self._beside,
        )

    async def run(self) -> Result:
        """Its report. A release that never came is not judged; one that never answered is asked once by every check, to name them."""
        rules = Rules(require_slo=self._settings.require_slo)
        arrival = await self._waiting.arrive(self._settings.wait)
        if arrival.ready:
            gone = bool(arrival.findings) and any(found.outcome is Outcome.FAIL for found in arrival.findings)
            if not gone:
                self._shown.say("warming up: this round is not judged")
                await self._rounds.warm_up()
            self._shown.say("judging")
            await self._rounds.judge(rules, only_one=gone)
        return self._result(arrival, rules)

    def _result(self, arrival: Arrival, rules: Rules) -> Result:
        seconds = self._rounds.passed_seconds()
        also = [*arrival.findings, *self._compared(seconds)]
        if self._rounds.cut:
            text = f"stopped after {_count(self._rounds.done, 'round')}: {self._rounds.cut} more could not change the verdict"
            also.append(Finding(Outcome.PASS, text))
        runs = self._rounds.runs
        decision = decide(runs, rules, revision=self._settings.expect, also=also, interrupted=self._stop.is_set())
        told = report(
            decision,
            runs,
            started=self._started,
            finished=self._clock.time(),
            revision=self._settings.expect,
            preamble=(*arrival.said, *(self._beside.said if arrival.ready else ())),
            file=str(self._plan.path) if self._plan.path else "checks.yaml",
            service=self._plan.service,
            environment=self._plan.environment,
        )
        return Result(redacted(told, Redactor(self._plan.secrets).text), seconds, arrival.revisions)

    def _compared(self, seconds: Mapping[str, Sequence[float]]) -> tuple[Finding, ...]:
        """Before against after, where there is a before. What the baseline doesn't have is said, and colours nothing."""
        if self._before is None or not any(seconds.values()):
            return ()
        limit = self._settings.fail_on_slower
        floor = baseline.FLOOR if limit is None else min(baseline.FLOOR, limit)
        after = {name: values for name, values in seconds.items() if values}
        lines = {planned.check.name: planned.check.line for planned in self._plan.checks}
        compared = baseline.compare_all(self._before.durations, after, floor=floor)
        new = [name for name in after if not self._before.durations.get(name)]
        notes = [Finding(Outcome.PASS, f"compared with {self._before.said}")] if self._before.said and compared else []
        notes += [
            Finding(Outcome.PASS, f"{name}: the baseline has no runs of it to compare with", name, lines.get(name, 0)) for name in new
        ]
        return (*notes, *baseline.findings((c for c in compared if c.before), lines, fail_on_slower=limit))

    async def _pause(self, seconds: float) -> None:
        """Waits, but not when the gate is to stop."""
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
