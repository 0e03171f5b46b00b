"""What an always-on runner does about deployments: gates on request, marks of what it sees by itself, and the metrics of a release."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from judge.baseline import Before
from judge.observation import Observation
from judge.report import Report
from probes.core import Clock
from runner.config.plan import Plan
from runner.engine.execute import Execute
from runner.gate.addresses import Place, places
from runner.gate.gate import Gate
from runner.gate.request import GateRequest, read, selected
from runner.grafana import Event, Patience, outage, revision_change
from runner.grafana.deployment import recording
from runner.reports.table import fact
from runner.sinks.health import Health
from runner.sinks.journal import Log
from runner.sinks.metrics import Metrics
from runner.sinks.outages import Change, Outage, Watch
from runner.web.gates import Carry

LOOK = 30.0  # seconds between two looks at a revision that no judged answer tells
SEND = 5.0  # seconds between two looks for marks to be sent
FLUSH = 60.0  # seconds between two tries to send what Grafana didn't take
_PATIENCE = Patience(tries=2, total=10.0)
_MOST = 200  # marks that wait in memory for a moment; then they are in the spool


class Deployments:
    """One runner's. `execute` makes an engine for a plan, over the runner's own wire and ledger."""

    def __init__(
        self,
        plan: Callable[[], Plan],
        execute: Callable[[Plan], Execute],
        *,
        health: Callable[[], Health],
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        self._plan = plan
        self._execute = execute
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._waiting: deque[Event] = deque(maxlen=_MOST)
        self._flushed = clock.time()
        self.watch = Watch(self._changed, self._failed)

    # Gates

    def prepare(self, told: Mapping[str, Any]) -> Carry:
        """Reads a gate's request. Raises ValueError."""
        request = read(told)
        plan = self._plan()
        chosen = replace(plan, checks=selected(plan, request.tags, request.checks))

        async def carried(say: Callable[[str], None], stop: asyncio.Event) -> Report:
            engine = self._execute(chosen)
            before = request.before() or self._seen_before(chosen, request)
            gate = Gate(
                chosen,
                engine,
                request.settings(plan.gate),
                clock=self._clock,
                sleep=asyncio.sleep,
                stop=stop,
                shown=_Said(say),
                before=before,
            )
            ending = asyncio.create_task(_cut_short(stop, engine))
            try:
                result = await gate.run()
            finally:
                ending.cancel()
            for target, revision in result.revisions.items():
                if revision:
                    self.watch.told(target, revision, result.report.started)
            return result.report

        return carried

    def _seen_before(self, plan: Plan, request: GateRequest) -> Before:
        recent = {one.check.name: one.recent for one in self._health().states()}
        return self.watch.before(
            {planned.check.name: recent.get(planned.check.name, ()) for planned in plan.checks},
            target_of={planned.check.name: planned.check.target for planned in plan.checks},
            expect=request.expect_revision,
            now=self._clock.time(),
            since=request.since,
        )

    # What is seen by itself

    async def look(self) -> None:
        """Asks for the revisions that no judged answer tells."""
        plan = self._plan()
        asked = [place for place in places(plan.checks) if place.told_by and not place.told_by.header]
        engine = self._execute(plan)
        await asyncio.gather(*(self._look_at(place, engine) for place in asked))

    async def _look_at(self, place: Place, engine: Execute) -> None:
        heard = await place.ask(engine)
        if heard.revision:
            self.watch.told(place.name, heard.revision, heard.seen.at)

    def _changed(self, change: Change) -> None:
        """A revision that a target had when the runner began is no change: it is told by the metrics alone."""
        plan = self._plan()
        self._metrics.deployed(change.after, change.at if change.before else None)
        if change.before and plan.grafana:
            self._mark(
                revision_change(
                    change.target,
                    service=plan.service,
                    environment=plan.environment,
                    at=change.at,
                    before=change.before,
                    after=change.after,
                    dashboard=plan.grafana.dashboard,
                )
            )

    def _failed(self, failing: Outage) -> None:
        plan = self._plan()
        if plan.grafana:
            self._mark(
                outage(
                    failing.check,
                    service=plan.service,
                    environment=plan.environment,
                    began=failing.began,
                    ended=failing.ended,
                    why=failing.why,
                    dashboard=plan.grafana.dashboard,
                )
            )

    def _mark(self, event: Event) -> None:
        self._waiting.append(event)

    async def send(self) -> None:
        """Marks what has come up, and now and then what Grafana didn't take before."""
        marking = self._plan().grafana
        due = self._clock.time() - self._flushed >= FLUSH
        if marking is None or not (self._waiting or due):
            return
        async with recording(marking, self._plan().state, self._clock, _PATIENCE) as recorder:
            while self._waiting:
                told = await recorder.record(self._waiting[0])
                self._waiting.popleft()
                for text in (told.message, *told.warnings):
                    self._log(logging.INFO, text)
            if due:
                self._flushed = self._clock.time()
                await self._flush(recorder.flush)

    async def _flush(self, flush: Callable[[], Awaitable[Any]]) -> None:
        try:
            flushed = await flush()
        except OSError as error:
            self._log(logging.WARNING, f"the spool of marks can't be read: {error}")
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
