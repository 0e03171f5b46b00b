"""Runs a check once and makes its observations: the one place where exceptions become verdicts."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from judge.observation import Observation
from judge.redact import Redactor
from probes.core import Clock, Reason, Result, Sender, Verdict, Withheld
from probes.probe import Context
from probes.wire.wire import Wire
from runner.config.plan import Plan, Planned
from runner.engine.blame import blamed
from runner.engine.lag import Heartbeat
from runner.engine.observations import observations
from runner.engine.permits import Limits, Permits
from runner.engine.reasons import result_of, timed_out, unwrapped
from runner.engine.references import References, Uplink
from runner.sinks.journal import Log

STUBBORN = 0.25  # seconds that a cancelled run has to end, beyond those that its kind needs to leave in order
_REDACTORS = 64  # kept: one takes a millisecond to make
_CUT = Result(Verdict.UNKNOWN, Reason.CANCELLED, "the runner stopped before the answer came")


@dataclass(slots=True)
class _Run:
    """What is known of one run under way."""

    planned: Planned
    ctx: Context
    permits: Permits
    at: float
    task: asyncio.Task[Result] | None = None
    stalled: Callable[[], float] = float  # seconds that our own loop stood still meanwhile
    cut: bool = False  # by `cut_short`
    seconds: float = 0.0  # until its verdict was known

    def decide(self) -> None:
        """The verdict is known now, unless it was before: what a run does to leave in order isn't the target's time."""
        if not self.seconds:
            moment = self.ctx.clock.monotonic() if self.ctx.decided is None else self.ctx.decided
            self.seconds = moment - self.ctx.started

    def told(self, result: Result) -> float:
        """The seconds that the observation tells: those of the phases, none of our own; at a deadline, all of them."""
        if result.reason is Reason.TIMEOUT or not self.ctx.spans:
            return self.seconds
        return min(self.seconds, self.ctx.waited)


async def _run(run: _Run) -> Result:
    try:
        return await run.planned.probe.run(run.ctx)
    except SystemExit as error:
        raise RuntimeError("the probe tried to end the process") from error


def _checked(result: object) -> Result:
    """Kinds come from elsewhere, too: what isn't a Result is a fault of the kind."""
    if not isinstance(result, Result):
        raise TypeError(f"run returned {type(result).__name__} instead of a Result")
    return result


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
    ) -> None:
        self._plan = plan
        self._wire = wire
        self._ledger = ledger
        self._clock = clock
        self._rng = rng
        self._version = version
        self._log = log or logging.getLogger("outrider.engine").log
        self._redactors: dict[frozenset[str], Redactor] = {}  # by what a run learnt
        self._heartbeat = Heartbeat(clock)
        self.uplink = Uplink(References(plan.references, lambda deadline: self.aside("references", deadline), clock))
        self._running: dict[int, _Run] = {}
        self._closing = False
        self._asking: set[asyncio.Task[Result]] = set()

    async def observe(self, planned: Planned, *, by_hand: bool = False, lag: float = 0.0) -> tuple[Observation, ...]:
        """Runs a check once: its observation first, then those of its parts.

        Whatever the probe does, it returns soon after the check's timeout (and after the time of its own that the kind has to
        leave in order). Raises Withheld where a limit, budget or hold forbids a scheduled run; by hand that is unknown / quota.
        Where it failed by the network, the references may be asked before it says so, for two seconds at most.
        `lag` is by how many seconds the run came late, for the record.
        """
        run = self._begin(planned)
        try:
            result = await self._paid(run)
        except Withheld as withheld:
            if not by_hand:
                raise
            result = Result(Verdict.UNKNOWN, Reason.QUOTA, withheld.message)
        result = await self.uplink.judged(planned.check.target or planned.check.address, result)
        return observations(planned, run.ctx, result, self._redact(run), at=run.at, seconds=run.told(result), lag=lag)

    async def attempt(self, planned: Planned, *, share: float) -> Observation:
        """Runs a (varied) check for a diagnosis: nobody is blamed and nothing is counted, but its requests against their limits.

        Raises Withheld where they would use more than `share` of one.
        """
        run = self._begin(planned, share)
        result = await self._paid(run)
        return observations(planned, run.ctx, result, self._redact(run), at=run.at, seconds=run.told(result), lag=0.0)[0]

    def aside(self, name: str, deadline: float) -> Context:
        """A notebook for what is no check's run: no target's request, and not limited. `deadline` by the clock's monotonic hand."""

        async def permit(method: str, url: str) -> None:
            """The plan names it: it may be asked."""

        return Context(
            check=name,
            wire=self._wire,
            clock=self._clock,
            ledger=self._ledger,
            sender=self._sender(name),
            permit=permit,
            deadline=deadline,
            rng=self._rng,
        )

    def redacted(self, text: str) -> str:
        """The text without any secret of the plan."""
        return self._redact_of(frozenset()).text(text)

    def cut_short(self) -> None:
        """Ends all runs under way, and those yet to begin: they are observed as unknown / cancelled.

        One whose verdict is known is left to leave in order, for as long as its kind may take.
        """
        self._closing = True
        for run in self._running.values():
            if run.task and not run.task.done() and run.ctx.decided is None:
                run.cut = True
                run.task.cancel()

    # One run, from its permits to its verdict

    def _begin(self, planned: Planned, share: float = 1.0) -> _Run:
        permits = Permits(planned, self._plan.targets, self._ledger, self._clock.time, share)
        ctx = Context(
            check=planned.check.name,
            wire=self._wire,
            clock=self._clock,
            ledger=self._ledger,
            sender=self._sender(planned.check.name),
            permit=permits,
            deadline=self._clock.monotonic() + planned.timeout,
            rng=self._rng,
        )
        told = planned.target.revision if planned.target else None
        ctx.revision_header = (told.header or "") if told else ""
        return _Run(planned, ctx, permits, self._clock.time())

    def _sender(self, name: str) -> Sender:
        trace = uuid.UUID(int=self._rng.getrandbits(128), version=4)
        return Sender(
            user_agent=f"Outrider/{self._version} (check {name}; +synthetic monitoring)",
            trace_id=trace.hex,
            span_id=f"{self._rng.getrandbits(64) or 1:016x}",
            request_id=str(trace),
        )

    async def _paid(self, run: _Run) -> Result:
        """The verdict of a run that pays before it asks. The time that paying takes is none of the target's."""
        try:
            await run.permits.open(run.planned.timeout + run.planned.probe.afterwards() + STUBBORN)
            run.at, run.ctx.started = self._clock.time(), self._clock.monotonic()
            run.ctx.deadline = run.ctx.started + run.planned.timeout
            return await self._judged(run)
        finally:
            await self._settle(run)

    async def _settle(self, run: _Run) -> None:
        try:
            await run.permits.close()
        except Withheld as withheld:  # what was paid stays paid, which is the safe side
            self._log(logging.WARNING, f"{run.planned.check.name}: slots can't be given back: {withheld.message}")

    async def _judged(self, run: _Run) -> Result:
        with self._heartbeat.watch() as run.stalled:
            try:
                result = await self._asked(run)
            except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - the one place where exceptions become verdicts
                error = unwrapped(raised)
                if isinstance(error, Withheld):
                    raise error from None
                result = result_of(error, run.planned.probe, run.ctx) or self._our_fault(run, error)
            run.decide()
            stalled = run.stalled()
        run.ctx.facts["loop_lag"] = round(stalled, 3)
        return blamed(result, seconds=run.seconds, stalled=stalled, timeout=run.planned.timeout)

    async def _asked(self, run: _Run) -> Result:
        """The probe's own result, or whatever it raises; at the deadline, and where it is cut short, ours."""
        if self._closing:
            return _CUT
        run.task = asyncio.create_task(_run(run), name=f"check {run.planned.check.name}")
        self._asking.add(run.task)
        run.task.add_done_callback(self._has_ended)
        self._running[id(run)] = run
        try:
            late = await self._ended(run, run.task)
        except asyncio.CancelledError:  # whoever asked has gone
            await self._end(run, run.task)
            raise
        finally:
            del self._running[id(run)]
        if late:
            return timed_out(run.planned.timeout, run.ctx)
        if run.cut:
            return _CUT
        if run.task.cancelled():
            raise RuntimeError("the run cancelled itself")
        return _checked(run.task.result())

    async def _ended(self, run: _Run, task: asyncio.Task[Result]) -> bool:
        """Waits until the run has ended, or was made to: True where it had no verdict at its deadline."""
        await asyncio.wait({task}, timeout=run.planned.timeout)
        if not task.done() and (ours := min(run.stalled(), run.planned.timeout)):
            await asyncio.wait({task}, timeout=ours)  # the time that our own loop took is the run's again
        if run.cut or (not task.done() and run.ctx.decided is None):
            late = not run.cut
            run.decide()
            await self._end(run, task)
            return late
        if not task.done():
            await asyncio.wait({task}, timeout=run.planned.probe.afterwards())
            await self._end(run, task)
        return False

    async def _end(self, run: _Run, task: asyncio.Task[Result]) -> None:
        """Cancels a run and waits for its end, but not for ever: one that won't end is left to itself, and said."""
        if task.done():
            return
        task.cancel()
        await asyncio.wait({task}, timeout=run.planned.probe.afterwards() + STUBBORN)
        if not task.done():
            task.cancel()
            self._log(logging.ERROR, f"{run.planned.check.name}: kind {run.planned.check.kind} doesn't end when it is cancelled")

    def _has_ended(self, task: asyncio.Task[Result]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio doesn't complain where the verdict was already known

    def _our_fault(self, run: _Run, error: BaseException) -> Result:
        """An exception that nobody foresaw is a fault of ours, logged with its place; never a red light for the target."""
        frames = "".join(traceback.format_exception(error))  # without the values of variables
        self._log(logging.ERROR, self._redact(run).text(f"{run.planned.check.name}: kind {run.planned.check.kind} broke\n{frames}"))
        return Result(Verdict.UNKNOWN, Reason.INTERNAL, f"the probe broke: {type(error).__name__}: {error}")

    def _redact(self, run: _Run) -> Redactor:
        """The plan's redactor, or one that knows the run's secrets too: made once where those are the same each time."""
        return self._redact_of(frozenset(run.ctx.secrets - self._plan.secrets))

    def _redact_of(self, learnt: frozenset[str]) -> Redactor:
        if learnt not in self._redactors:
            if len(self._redactors) > _REDACTORS:
                self._redactors.clear()
            self._redactors[learnt] = Redactor(self._plan.secrets | learnt)
        return self._redactors[learnt]
