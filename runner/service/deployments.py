"""Deployments and outages of an always-on runner: gates on request, annotations in Grafana, and the metrics of a release."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from judge.baseline import Before
from judge.observation import Check, Observation, Outage
from judge.report import Report
from probes.core import Clock, QuotaRefused
from runner.config.plan import Plan
from runner.config.windows import Maintained
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
from runner.web.gates import RunGate

REVISIONS = 30.0  # seconds between two requests for a revision that no check's response names
SEND = 5.0  # seconds between two looks for annotations to be sent
FLUSH = 60.0  # seconds between two tries to send annotations that Grafana didn't accept
_PATIENCE = Patience(tries=2, total=10.0)
_MOST = 200  # annotations that wait in memory until the next `send`, which puts them into Grafana or the spool


@dataclass(frozen=True, slots=True)
class _Annotation:
    """An event for Grafana, and its outage, if it is about one."""

    event: Event
    outage: Outage | None = None
    lost: bool = False  # it was tried, and neither Grafana nor the spool accepted it


class Deployments:
    """A sink that reports changes of a revision and outages to Grafana and the metrics, and runs gates.

    `plan` returns what this runner runs, and `whole` what checks.yaml says: a gate isn't divided among runners. `execute` makes an
    engine for a plan, over the runner's own wire and ledger. `file` is the absolute path of checks.yaml, by which
    the ledger keeps this runner's open outages. `covering` returns the maintenance window in which a check is.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        execute: Callable[[Plan], Execute],
        *,
        whole: Callable[[], Plan] | None = None,
        health: Callable[[], Health],
        metrics: Metrics,
        ledger: StateLedger,
        file: str,
        clock: Clock,
        log: Log,
        covering: Callable[[Check], Maintained | None] = lambda _: None,
    ) -> None:
        self._covering = covering
        self._plan = plan
        self._execute = execute
        self._whole = whole or plan
        self._health = health
        self._metrics = metrics
        self._ledger = ledger
        self._file = file
        self._clock = clock
        self._log = log
        self._waiting: deque[_Annotation] = deque(maxlen=_MOST)
        self._lost: deque[_Annotation] = deque(maxlen=_MOST)  # ends of outages that nothing accepted yet
        self._annotated: set[tuple[str, float]] = set()  # check and begin of each outage whose begin was sent to Grafana
        self._flushed = clock.time()
        self._revisions = RevisionHistory(self._revision_changed)
        self.outages = Outages(self._outage_changed, clock)

    # What a sink does

    def __call__(self, seen: Observation) -> None:
        """Takes an observation."""
        self._revisions(seen)

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: the revisions and the release of a removed or changed target are forgotten, the others stand.

        A restart restores nothing: a revision that a target has when the runner starts is no change.
        """
        self._revisions.plan(plan)
        self._metrics.forget_deployments()
        for target, (revision, at) in self._revisions.current().items():
            self._metrics.deployed(target, revision, at)

    async def restore(self, plan: Plan) -> None:
        """Goes on with the outages that an earlier process left open in Grafana."""
        try:
            found = await self._ledger.open_outages(self._file, plan.service, plan.environment)
        except QuotaRefused as refused:
            self._log(logging.WARNING, f"the outages of the process before aren't known: {refused.message}")
            return
        self._annotated |= {(one.check, one.began) for one in found}
        self.outages.restore(found)

    # Gates

    def prepare(self, body: Mapping[str, Any]) -> RunGate:
        """Reads a gate's request, and returns what runs the gate. Raises ValueError."""
        request = GateRequest.read(body)
        plan = self._whole()
        chosen = replace(plan, checks=selected(plan, request.tags, request.checks))

        async def run_gate(add_line: Callable[[str], None], stop: asyncio.Event) -> Report:
            engine = self._execute(chosen)
            before = request.before() or self._seen_before(chosen, request)
            gate = Gate(
                chosen,
                engine,
                request.with_rules(plan.gate),
                clock=self._clock,
                sleep=asyncio.sleep,
                stop=stop,
                display=_Lines(add_line),
                before=before,
                covering=self._covering,
            )

            async def cut_short() -> None:
                await stop.wait()
                engine.cut_short()

            ending = asyncio.create_task(cut_short())
            try:
                result = await gate.run()
            finally:
                ending.cancel()
            for target, revision in result.revisions.items():
                self._note_revision(plan, target, revision, result.report.finished)
            return result.report

        return run_gate

    def patience(self, body: Mapping[str, Any]) -> float:
        """Seconds for which a gate's request waits for its turn: as long as for the release. Raises ValueError."""
        return GateRequest.read(body).with_rules(self._plan().gate).wait

    def _seen_before(self, plan: Plan, request: GateRequest) -> Before:
        recent = {one.check.name: one.recent for one in self._health().states()}
        return self._revisions.before(
            {planned.check.name: recent.get(planned.check.name, ()) for planned in plan.checks},
            target_of={planned.check.name: planned.check.target for planned in plan.checks},
            expect=request.expect_revision,
            now=self._clock.time(),
            since=request.since,
        )

    # Revisions and outages

    async def poll_revisions(self) -> None:
        """Asks each target for its revision where no check's response names it."""
        plan = self._plan()
        asked = [target for target in gate_targets(plan.checks, required=False) if target.revision and not target.revision.header]
        engine = self._execute(plan)
        await asyncio.gather(*(self._poll_revision(plan, target, engine) for target in asked))

    async def _poll_revision(self, plan: Plan, target: GateTarget, engine: Execute) -> None:
        response = await target.ask(engine)
        self._note_revision(plan, target.name, response.revision, response.seen.at)

    def _note_revision(self, plan: Plan, target: str, revision: str, at: float) -> None:
        """Notes the revision of a target, unless a reload removed or changed the target meanwhile."""
        before, now = plan.targets.get(target), self._plan().targets.get(target)
        if revision and before and now and source(before) == source(now):
            self._revisions.saw(target, revision, at)

    def _revision_changed(self, change: Change) -> None:
        """Reports a change. The first revision that a target shows is no change: only the metrics show it."""
        plan = self._plan()
        self._metrics.deployed(change.target, change.after, change.at if change.before else None)
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
        """Queues the annotation. While checks.yaml has no Grafana, only the end of an annotated outage waits for it to come back."""
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
        """Sends the annotations that wait, and every FLUSH seconds those that Grafana didn't accept before."""
        grafana = self._plan().grafana
        due = self._clock.time() - self._flushed >= FLUSH
        if grafana is None or not (self._waiting or due):
            return
        if due:
            self._waiting.extend(self._lost)
            self._lost.clear()
        async with recording(grafana, self._plan().state, self._clock, _PATIENCE) as recorder:
            while self._waiting:
                await self._write(self._waiting.popleft(), recorder)
            if due:
                self._flushed = self._clock.time()
                await self._flush(recorder.flush)

    async def _write(self, annotation: _Annotation, recorder: Recorder) -> None:
        """Sends one annotation. The state holds an outage before Grafana does, and until its end is in Grafana or in the spool."""
        changed = annotation.outage
        try:
            if changed and changed.ended is None:
                await self._keep_outage(changed, self._ledger.open_outage(self._file, changed))
            outcome = await recorder.record(annotation.event)
        except asyncio.CancelledError:  # the runner is stopping, and sends once more at its end
            self._waiting.appendleft(annotation)
            raise
        is_lost = outcome.state is RecordState.LOST
        if not (annotation.lost and is_lost):  # logged once
            for text in (outcome.message, *outcome.warnings):
                self._log(logging.INFO, text)
        if changed is None or changed.ended is None:
            return
        if is_lost:
            self._lost.append(replace(annotation, lost=True))
        else:
            self._annotated.discard((changed.check, changed.began))
            await self._keep_outage(changed, self._ledger.close_outage(self._file, changed))

    async def _keep_outage(self, changed: Outage, write: Awaitable[None]) -> None:
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


class _Lines:
    """Shows a gate as lines."""

    def __init__(self, add_line: Callable[[str], None]) -> None:
        self.say = add_line

    def ran(self, seen: Observation, *, judged: bool = True) -> None:
        """Adds the line of one run, as in the table of `outrider gate`."""
        self.say(fact(seen, judged=judged))
