"""One gate from its start to its report: wait, warm up, judge, compare, decide."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from judge import baseline
from judge.baseline import Before
from judge.observation import Check
from judge.redact import Redactor
from judge.report import Report, redacted, report
from judge.verdict import Finding, Outcome, Rules, decide
from probes.core import Clock
from probes.text import moment
from runner.config.plan import Plan
from runner.config.windows import Maintained
from runner.gate.addresses import Engine, gate_targets
from runner.gate.arrival import RevisionWait, WaitResult
from runner.gate.rounds import PACE, Rounds, planned_rounds
from runner.gate.run_revisions import RunRevisions
from runner.gate.settings import Display, GateSettings


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate leaves: its report, and what a later gate may compare with."""

    report: Report
    seconds: Mapping[str, Sequence[float]]  # of passed runs, by check
    revisions: Mapping[str, str]  # by target, as it stood when the waiting ended


class Gate:
    """Carries out one gate over the checks of a plan. `stop` ends it early, with a verdict so far.

    `covering` returns the maintenance window in which a check is. The report names it, and it changes no verdict: a window says that
    nobody is to be called, and not that the release works.

    Nothing of a target raises; what the engine raises by cancellation passes through.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        settings: GateSettings,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        stop: asyncio.Event,
        display: Display,
        before: Before | None = None,
        pace: float = PACE,
        covering: Callable[[Check], Maintained | None] = lambda _: None,
    ) -> None:
        self._covering = covering
        self._plan = plan
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._display = display
        self._before = before
        self._started = clock.time()

        async def pause(seconds: float) -> None:
            await sleep_unless(stop, seconds, sleep)

        self._revisions = RunRevisions(gate_targets(plan.checks), engine, settings.expect_revision)
        self._wait = RevisionWait(
            plan.checks,
            engine,
            settings,
            revisions_before=before.revisions if before else {},
            clock=clock,
            pause=pause,
            stopped=stop.is_set,
            display=display,
        )
        self._rounds = Rounds(
            plan.checks,
            engine,
            settings,
            pace=pace,
            clock=clock,
            pause=pause,
            stopped=stop.is_set,
            display=display,
            revisions=self._revisions,
        )

    async def run(self) -> GateResult:
        """A release that never came is not judged; one that never answered is asked once by every check, so that the report names them."""
        rules = Rules(require_slo=self._settings.require_slo)
        if self._before is not None:
            runs = {planned.check.name: len(self._before.durations.get(planned.check.name, ())) for planned in self._plan.checks}
            if text := baseline.too_few(runs, planned_rounds(self._settings)):
                self._display.say(text)
        waited = await self._wait.run()
        if waited.ready:
            never_answered = any(found.outcome is Outcome.FAIL for found in waited.findings)
            if not never_answered:
                self._display.say("warming up: this round is not judged")
                await self._rounds.warm_up()
            self._display.say("judging")
            await self._rounds.judge(rules, only_one=never_answered)
        seconds = self._rounds.passed_seconds()
        return GateResult(self._report(waited, rules, seconds), seconds, waited.revisions)

    def _report(self, waited: WaitResult, rules: Rules, seconds: Mapping[str, Sequence[float]]) -> Report:
        also = [*waited.findings, *self._in_maintenance(), *self._compare(seconds)]
        if self._rounds.cut:
            rounds = f"{self._rounds.done} round{'' if self._rounds.done == 1 else 's'}"
            also.append(Finding(Outcome.PASS, f"stopped after {rounds}: {self._rounds.cut} more could not change the verdict"))
        runs = self._rounds.runs
        decision = decide(runs, rules, revision=self._settings.expect_revision, also=also, interrupted=self._stop.is_set())
        made = report(
            decision,
            runs,
            started=self._started,
            finished=self._clock.time(),
            revision=self._settings.expect_revision,
            preamble=(*waited.sentences, *(self._revisions.notes if waited.ready else ())),
            file=str(self._plan.path) if self._plan.path else "checks.yaml",
            service=self._plan.service,
            environment=self._plan.environment,
        )
        return redacted(made, Redactor(self._plan.secrets).text)

    def _in_maintenance(self) -> Iterator[Finding]:
        for planned in self._plan.checks:
            if one := self._covering(planned.check):
                name, until = planned.check.name, moment(one.span.end)
                text = f"{name} is in maintenance until {until} ({one.window.name}, {one.window.by}); its runs are judged all the same"
                yield Finding(Outcome.PASS, text, name, planned.check.line)

    def _compare(self, seconds: Mapping[str, Sequence[float]]) -> tuple[Finding, ...]:
        """Before against after, where there is a before. A check that the baseline lacks is noted, and changes nothing.

        Inconclusive where the gate should fail on a slower release, and no required check can be compared.
        """
        if self._before is None or not any(seconds.values()):
            return ()
        limit = self._settings.fail_on_slower
        floor = baseline.FLOOR if limit is None else min(baseline.FLOOR, limit)
        after = {name: values for name, values in seconds.items() if values}
        lines = {planned.check.name: planned.check.line for planned in self._plan.checks}
        compared = baseline.compare_all(self._before.durations, after, floor=floor)
        new = [name for name in after if not self._before.durations.get(name)]
        notes = [Finding(Outcome.PASS, f"compared with {self._before.source}")] if self._before.source and compared else []
        notes += [
            Finding(Outcome.PASS, f"{name}: the baseline has no runs of it to compare with", name, lines.get(name, 0)) for name in new
        ]
        optional = {planned.check.name for planned in self._plan.checks if not planned.check.required}
        if limit is not None and not any(one.before and one.name not in optional for one in compared):
            source = self._before.source or "the baseline"
            notes.append(Finding(Outcome.INCONCLUSIVE, f"--fail-on-slower: nothing can be compared; {source} has no runs of these checks"))
        return (*notes, *baseline.findings((c for c in compared if c.before), lines, fail_on_slower=limit, optional=optional))


async def sleep_unless(stop: asyncio.Event, seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Sleeps, and returns early when `stop` is set."""
    waits = [asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
