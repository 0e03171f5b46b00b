"""Runs a check once and makes its observations: the one place where exceptions become verdicts."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from judge.observation import Observation
from judge.redact import Redactor
from probes.core import Clock, LoginHeld, QuotaRefused, Reason, Result, Verdict
from probes.facts import LOGIN_HELD, LOOP_LAG
from probes.probe import Context
from probes.wire.wire import Wire
from runner.config.plan import Plan, Planned
from runner.engine.blame import blame_stall
from runner.engine.contexts import Contexts
from runner.engine.lag import Heartbeat, OwnSteps
from runner.engine.observations import observations, unreported
from runner.engine.permits import Limits, Permits, Rules
from runner.engine.reasons import result_of, timed_out, unwrapped
from runner.engine.references import References, Uplink
from runner.log import Log

STUBBORN = 0.25  # seconds that a cancelled run has to end, beyond those that its kind needs for its clean-up
_REDACTORS = 4 * 2**20  # bytes of redactors that are kept, since making one takes a millisecond
_CUT_SHORT = Result(Verdict.UNKNOWN, Reason.CANCELLED, "the runner stopped before the response came")


@dataclass(slots=True)
class _Run:
    """One run under way."""

    planned: Planned
    ctx: Context
    permits: Permits
    at: float  # when it started, seconds since the epoch
    task: asyncio.Task[Result] | None = None
    stalled: Callable[[], float] = float  # seconds for which the runner's loop was busy during the run
    own: OwnSteps = field(default_factory=OwnSteps)
    wake: asyncio.Future[None] | None = None  # done when it is cut short: its deadline isn't waited for any more
    seconds: float = 0.0  # until its verdict was known

    @property
    def held_up(self) -> float:
        """Seconds for which the loop was busy with anything but this run."""
        return max(0.0, self.stalled() - self.own.seconds)

    @property
    def cut(self) -> bool:
        """Whether it was ended by `cut_short`."""
        return self.wake is not None and self.wake.done()

    def decide(self) -> None:
        """Notes that the verdict is known now, unless it was before: a run's clean-up doesn't count as the target's time."""
        if not self.seconds:
            moment = self.ctx.clock.monotonic() if self.ctx.decided is None else self.ctx.decided
            self.seconds = moment - self.ctx.started

    def latency(self, result: Result) -> float:
        """The seconds of the observation: those of the phases, without the runner's own; at a deadline, the whole timeout."""
        if result.reason is Reason.TIMEOUT or not self.ctx.spans:
            return self.seconds
        return min(self.seconds, self.ctx.waited)


class Execute:
    """Observes the checks of one plan. Runs share nothing but the wire, the ledger and a heartbeat of the loop."""

    def __init__(
        self,
        *,
        plan: Plan,
        wire: Wire,
        ledger: Limits,
        clock: Clock,
        rng: random.Random,
        version: str,
        log: Log | None = None,
        holds: Callable[[str], bool] = bool,
    ) -> None:
        self._plan = plan
        self._targets = {**plan.unused_targets, **plan.targets}
        self._rules: dict[str, Rules] = {}  # by fingerprint
        self._holds = holds
        self._ledger = ledger
        self._clock = clock
        self._log = log or logging.getLogger("outrider.engine").log
        self._redactor = Redactor(plan.secrets)
        self._redactors: dict[frozenset[str], Redactor] = {}  # by the secrets that a run learnt
        self._heartbeat = Heartbeat(clock)
        self.contexts = Contexts(wire, ledger, clock, rng, version)
        self.uplink = Uplink(References(plan.references, self.contexts, clock), clock)
        self._running: dict[int, _Run] = {}
        self._tasks: set[asyncio.Task[Result]] = set()
        self._closing = False

    async def observe(self, planned: Planned, *, by_hand: bool = False, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs a check once. Returns its observation, then those of its parts.

        Whatever the probe does, this returns soon after the check's timeout and the time that its kind has for its clean-up.
        Raises QuotaRefused if a limit, budget or hold forbids a scheduled run; `by_hand` that is unknown / quota, and fail / auth for a
        login that is held. After a failure by the network the references may be asked first, for at most two seconds. `lag` is the
        seconds by which the run came late.
        What breaks in the runner itself loses no run: a failure stays one, and all else is unknown / internal.
        """
        run, result = self._begin(planned), None
        try:
            try:
                result = await self._verdict(run)
            except QuotaRefused as refused:
                if not by_hand:
                    raise
                if isinstance(refused, LoginHeld):
                    run.ctx.facts[LOGIN_HELD] = True
                    result = Result.failed(Reason.AUTH, refused.message)
                else:
                    result = Result(Verdict.UNKNOWN, Reason.QUOTA, refused.message)
            result = await self.uplink.blame(planned.check.target or planned.check.address, result, run.ctx)
            return self._observations(run, result, lag)
        except QuotaRefused:
            raise
        except Exception as error:  # noqa: BLE001 - a check that doesn't report must not stay green
            where = "".join(traceback.format_tb(error.__traceback__))  # without the error's text, which may hold a secret
            self._log(logging.ERROR, f"{planned.check.name}: the run can't be reported: {type(error).__name__}\n{where}")
            return unreported(planned, result, error, at=run.at, seconds=run.seconds)

    async def attempt(self, planned: Planned, *, share: float) -> Observation:
        """Runs a varied check for a diagnosis. Only its requests are counted, against their limits.

        Raises QuotaRefused if they would use more than `share` of a limit.
        """
        run = self._begin(planned, share)
        return self._observations(run, await self._verdict(run), lag=0.0)[0]

    def redacted(self, text: str) -> str:
        """The text without the plan's secrets."""
        return self._redactor.text(text)

    def cut_short(self) -> None:
        """Cancels all runs under way, and all later ones: they are observed as unknown / cancelled.

        Each may finish its clean-up, for as long as its kind may take.
        """
        self._closing = True
        for run in self._running.values():
            has_verdict = run.cut or run.ctx.decided is not None or run.seconds
            if run.task and run.wake and not run.task.done() and not has_verdict:
                run.decide()
                run.task.cancel()
                run.wake.set_result(None)

    def _begin(self, planned: Planned, share: float = 1.0) -> _Run:
        rules = self._rules.get(planned.fingerprint)
        if rules is None or rules.planned is not planned:  # a varied check of a diagnosis has its own
            rules = self._rules[planned.fingerprint] = Rules(planned, self._targets)
        permits = Permits(rules, self._ledger, self._clock.time, share, self._holds)
        return _Run(planned, self.contexts.of_check(planned, permits), permits, self._clock.time())

    async def _verdict(self, run: _Run) -> Result:
        """Acquires the run's quota, runs its probe, turns what it raises into a verdict, and gives back the quota that was not used."""
        planned, ctx = run.planned, run.ctx
        try:
            await run.permits.acquire(planned.timeout + planned.probe.cleanup_seconds() + STUBBORN)
            # The clock starts now: waiting for quota must not count as the target's latency.
            run.at, ctx.started = self._clock.time(), self._clock.monotonic()
            ctx.deadline = ctx.started + planned.timeout
            with self._heartbeat.watch() as run.stalled:
                try:
                    result = await self._run_probe(run)
                except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - the one place where exceptions become verdicts
                    error = unwrapped(raised)
                    if isinstance(error, QuotaRefused):
                        raise error from None
                    result = result_of(error, planned.probe, ctx) or self._unexpected(run, error)
                run.decide()
                stalled, held_up = run.stalled(), run.held_up
            ctx.facts[LOOP_LAG] = round(stalled, 3)
            return blame_stall(result, seconds=run.seconds, stalled=held_up, timeout=planned.timeout)
        finally:
            try:
                await run.permits.settle()
            except Exception as error:  # noqa: BLE001 - the slots stay taken, which is the safe side, and the verdict stands
                self._log(logging.WARNING, f"{planned.check.name}: the reserved requests can't be given back: {error}")

    async def _run_probe(self, run: _Run) -> Result:
        """The probe's own result, or whatever it raises, from a task of its own that is cancelled at the deadline."""
        if self._closing:
            return _CUT_SHORT
        planned, ctx = run.planned, run.ctx
        run.task = task = asyncio.create_task(_contained(run), name=f"check {planned.check.name}")
        run.wake = asyncio.get_running_loop().create_future()
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        self._running[id(run)] = run
        ends: tuple[asyncio.Future[Any], ...] = (task, run.wake)
        try:
            await asyncio.wait(ends, timeout=planned.timeout, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not run.cut and (held_up := min(run.held_up, planned.timeout)):
                # The run gets back the time for which the runner's loop was busy with something else.
                await asyncio.wait(ends, timeout=held_up, return_when=asyncio.FIRST_COMPLETED)
            late = not run.cut and not task.done() and ctx.decided is None
            if late:
                run.decide()
            elif not run.cut and not task.done():  # its verdict is known: it may finish its clean-up
                await asyncio.wait({task}, timeout=planned.probe.cleanup_seconds())
            await self._cancel(run, task)
        except asyncio.CancelledError:  # the caller is gone
            await self._cancel(run, task)
            raise
        finally:
            del self._running[id(run)]
        if late:
            return timed_out(planned.timeout, ctx)
        if run.cut:
            return _CUT_SHORT
        if task.cancelled():
            raise RuntimeError("the run cancelled itself")
        result: object = task.result()  # a kind may come from outside
        if not isinstance(result, Result):
            raise TypeError(f"run returned {type(result).__name__} instead of a Result")
        return result

    async def _cancel(self, run: _Run, task: asyncio.Task[Result]) -> None:
        """Cancels a run and waits for its end, but not for ever: one that doesn't end is left alone, and that is logged."""
        if task.done():
            return
        if not run.cut:  # else it is cancelled already: a second time would break off its clean-up
            task.cancel()
        await asyncio.wait({task}, timeout=run.planned.probe.cleanup_seconds() + STUBBORN)
        if not task.done():
            task.cancel()
            self._log(logging.ERROR, f"{run.planned.check.name}: kind {run.planned.check.kind} doesn't end when it is cancelled")

    def _forget(self, task: asyncio.Task[Result]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio doesn't complain about one that came after the verdict

    def _unexpected(self, run: _Run, error: BaseException) -> Result:
        """Turns an unexpected exception into unknown / internal and logs its traceback. It never marks the target as down."""
        frames = "".join(traceback.format_exception(error))  # without the values of variables
        message = f"{run.planned.check.name}: the probe (kind {run.planned.check.kind}) broke\n{frames}"
        self._log(logging.ERROR, self._redactor_of(run).text(message))
        return Result(Verdict.UNKNOWN, Reason.INTERNAL, f"the probe broke: {type(error).__name__}: {error}")

    def _observations(self, run: _Run, result: Result, lag: float) -> tuple[Observation, ...]:
        redactor, seconds = self._redactor_of(run), run.latency(result)
        return observations(run.planned, run.ctx, result, redactor, at=run.at, seconds=seconds, lag=lag)

    def _redactor_of(self, run: _Run) -> Redactor:
        """A redactor of the plan's secrets and of those that the run learnt. A target chooses those: what is kept is bounded in bytes."""
        learnt = frozenset(run.ctx.secrets - self._plan.secrets)
        if not learnt:
            return self._redactor
        if (kept := self._redactors.get(learnt)) is None:
            kept = Redactor(learnt, self._redactor.known)
            if sum(one.known[-1].size for one in (*self._redactors.values(), kept)) > _REDACTORS:
                self._redactors.clear()
            if kept.known[-1].size <= _REDACTORS:
                self._redactors[learnt] = kept
        return kept


async def _contained(run: _Run) -> Result:
    """Runs the probe. A kind that calls sys.exit() must not end the runner."""
    try:
        return await run.own.run(run.planned.probe.run(run.ctx))
    except SystemExit as error:
        raise RuntimeError("the probe tried to end the process") from error
