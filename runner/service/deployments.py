"""What an always-on runner does about deployments and outages: gates on request, annotations in Grafana, and the metrics of a release."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from judge.baseline import Before
from judge.observation import Observation, Outage
from judge.report import Report
from probes.core import Clock, QuotaRefused
from runner.config.plan import Plan
from runner.engine.execute import Execute
from runner.gate.addresses import GateTarget, gate_targets
from runner.gate.gate import Gate
from runner.gate.revision_history import Change, RevisionHistory, source
from runner.gate.settings import GateRequest, selected
from runner.grafana import Event, Patience, Recorder, RecordState, outage, revision_change
from runner.grafana.deployment import recording
from runner.log import Log
from runner.reports.table import fact
from runner.sinks.health import Health
from runner.sinks.metrics import Metrics
from runner.sinks.outages import Outages
from runner.state import StateLedger
from runner.web.gates import Carry

REVISIONS = 30.0  # seconds between two requests for a revision that no check's response names
SEND = 5.0  # seconds between two looks for annotations to be sent
FLUSH = 60.0  # seconds between two tries to send what Grafana didn't take
_PATIENCE = Patience(tries=2, total=10.0)
_MOST = 200  # marks that wait in memory for a moment; then they are in the spool


@dataclass(frozen=True, slots=True)
class _Annotation:
    """What is to be written into Grafana, and the outage that it is about, if it is about one."""

    event: Event
    outage: Outage | None = None
    lost: bool = False  # it was tried, and neither Grafana nor the spool took it


class Deployments:
    """One runner's; a sink. `execute` makes an engine for a plan, over the runner's own wire and ledger.

    `file` is the absolute path of its checks.yaml, by which it finds its open outages again in the ledger.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        execute: Callable[[Plan], Execute],
        *,
        health: Callable[[], Health],
        metrics: Metrics,
        ledger: StateLedger,
        file: str,
        clock: Clock,
        log: Log,
    ) -> None:
        self._plan = plan
        self._execute = execute
        self._health = health
        self._metrics = metrics
        self._ledger = ledger
        self._file = file
        self._clock = clock
        self._log = log
        self._waiting: deque[_Annotation] = deque(maxlen=_MOST)
        self._lost: deque[_Annotation] = deque(maxlen=_MOST)  # ends of outages that nothing took yet
        self._annotated: set[tuple[str, float]] = set()  # outages whose begin was handed to Grafana: check, and when it began
        self._flushed = clock.time()
        self._revisions = RevisionHistory(self._revision_changed)
        self.outages = Outages(self._outage_changed, clock)

    # What a sink does

    def __call__(self, seen: Observation) -> None:
        """Takes an observation."""
        self._revisions(seen)

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: the revisions of a target that is gone or is another one are forgotten, and so is a release of theirs.

        A restart restores nothing: a revision that a target has when the runner starts is no change.
        """
        self._revisions.plan(plan)
        revision, at = self._revisions.latest()
        self._metrics.forget_deployments()
        if revision:
            self._metrics.deployed(revision, at)

    async def restore(self, plan: Plan) -> None:
        """Goes on with the outages that a process before this one left open in Grafana."""
        try:
            found = await self._ledger.open_outages(self._file, plan.service, plan.environment)
        except QuotaRefused as refused:
            self._log(logging.WARNING, f"the outages of the process before aren't known: {refused.message}")
            return
        self._annotated |= {(one.check, one.began) for one in found}
        self.outages.restore(found)

    # Gates

    def prepare(self, told: Mapping[str, Any]) -> Carry:
        """Reads a gate's request. Raises ValueError."""
        request = GateRequest.read(told)
        plan = self._plan()
        chosen = replace(plan, checks=selected(plan, request.tags, request.checks))

        async def carried(say: Callable[[str], None], stop: asyncio.Event) -> Report:
            engine = self._execute(chosen)
            before = request.before() or self._seen_before(chosen, request)
            gate = Gate(
                chosen,
                engine,
                request.with_rules(plan.gate),
                clock=self._clock,
                sleep=asyncio.sleep,
                stop=stop,
                display=_Said(say),
                before=before,
            )
            ending = asyncio.create_task(_cut_short(stop, engine))
            try:
                result = await gate.run()
            finally:
                ending.cancel()
            for target, revision in result.revisions.items():
                self._saw(plan, target, revision, result.report.started)
            return result.report

        return carried

    def _seen_before(self, plan: Plan, request: GateRequest) -> Before:
        recent = {one.check.name: one.recent for one in self._health().states()}
        return self._revisions.before(
            {planned.check.name: recent.get(planned.check.name, ()) for planned in plan.checks},
            target_of={planned.check.name: planned.check.target for planned in plan.checks},
            expect=request.expect_revision,
            now=self._clock.time(),
            since=request.since,
        )

    # What is seen by itself

    async def poll_revisions(self) -> None:
        """Asks each target for its revision where no check's response names it."""
        plan = self._plan()
        asked = [target for target in gate_targets(plan.checks) if target.revision and not target.revision.header]
        engine = self._execute(plan)
        await asyncio.gather(*(self._look_at(plan, target, engine) for target in asked))

    async def _look_at(self, plan: Plan, target: GateTarget, engine: Execute) -> None:
        response = await target.ask(engine)
        self._saw(plan, target.name, response.revision, response.seen.at)

    def _saw(self, plan: Plan, target: str, revision: str, at: float) -> None:
        """Notes what a target of a plan answered, unless a reload meanwhile took the target out or changed it."""
        asked, now = plan.targets.get(target), self._plan().targets.get(target)
        if revision and asked and now and source(asked) == source(now):
            self._revisions.saw(target, revision, at)

    def _revision_changed(self, change: Change) -> None:
        """A revision that a target had when the runner began is no change: it is told by the metrics alone."""
        plan = self._plan()
        self._metrics.deployed(change.after, change.at if change.before else None)
        if change.before and plan.grafana:
            event = revision_change(
                change.target,
                service=plan.service,
                environment=plan.environment,
                at=change.at,
                before=change.before,
                after=change.after,
                dashboard=plan.grafana.dashboard,
            )
            self._waiting.append(_Annotation(event))

    def _outage_changed(self, changed: Outage) -> None:
        """Where Grafana is gone from checks.yaml the end of an annotated outage waits for it to come back."""
        grafana, key = self._plan().grafana, (changed.check, changed.began)
        if grafana is None and key not in self._annotated:
            return
        if changed.ended is None:
            self._annotated.add(key)
        event = outage(
            changed.check,
            service=changed.service,
            environment=changed.environment,
            began=changed.began,
            ended=changed.ended,
            until=changed.until,
            why=changed.why,
            dashboard=grafana.dashboard if grafana else "",
        )
        self._waiting.append(_Annotation(event, changed))

    async def send(self) -> None:
        """Marks what has come up, and now and then what Grafana didn't take before."""
        marking = self._plan().grafana
        due = self._clock.time() - self._flushed >= FLUSH
        if marking is None or not (self._waiting or due):
            return
        if due:
            self._waiting.extend(self._lost)
            self._lost.clear()
        async with recording(marking, self._plan().state, self._clock, _PATIENCE) as recorder:
            while self._waiting:
                await self._write(self._waiting.popleft(), recorder)
            if due:
                self._flushed = self._clock.time()
                await self._flush(recorder.flush)

    async def _write(self, annotation: _Annotation, recorder: Recorder) -> None:
        """An outage is in the state before it is in Grafana, and until its end is there or in the spool."""
        changed = annotation.outage
        try:
            if changed and changed.ended is None:
                await self._kept(changed, self._ledger.open_outage(self._file, changed))
            outcome = await recorder.record(annotation.event)
        except asyncio.CancelledError:  # the runner stops, and sends once more at its end
            self._waiting.appendleft(annotation)
            raise
        is_lost = outcome.state is RecordState.LOST
        if not (annotation.lost and is_lost):  # said once
            for text in (outcome.message, *outcome.warnings):
                self._log(logging.INFO, text)
        if changed is None or changed.ended is None:
            return
        if is_lost:
            self._lost.append(replace(annotation, lost=True))
        else:
            self._annotated.discard((changed.check, changed.began))
            await self._kept(changed, self._ledger.close_outage(self._file, changed))

    async def _kept(self, changed: Outage, write: Awaitable[None]) -> None:
        try:
            await write
        except QuotaRefused as refused:
            self._log(logging.WARNING, f"a restart won't know how the outage of {changed.check} stands: {refused.message}")

    async def _flush(self, flush: Callable[[], Awaitable[Any]]) -> None:
        try:
            flushed = await flush()
        except OSError as error:
            self._log(logging.WARNING, f"the spool of annotations can't be read: {error}")
            return
        for text in flushed.sent:
            self._log(logging.INFO, text)
        for text in flushed.given_up:
            self._log(logging.WARNING, f"given up: {text}")


class _Said:
    """Shows a gate as lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def ran(self, seen: Observation, *, judged: bool = True) -> None:
        """One run, in the words of the table."""
        self.say(fact(seen, judged=judged))


async def _cut_short(stop: asyncio.Event, engine: Execute) -> None:
    await stop.wait()
    engine.cut_short()
