"""The always-on runner: plan, schedule, sinks and web put together, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TextIO

from starlette.types import ASGIApp

from judge.observation import Observation
from judge.redact import Redactor
from probes.core import Clock, QuotaRefused
from probes.text import count
from probes.wire.wire import Wire
from runner.config.errors import RefusedFile
from runner.config.plan import Plan
from runner.config.rates import windows
from runner.engine.cadences import APSchedulerCadences, LoopTimer
from runner.engine.confirm import Confirm, Down
from runner.engine.diagnosis import Diagnosis
from runner.engine.execute import Execute
from runner.engine.maintenance import Maintenance
from runner.engine.reports import Reports
from runner.engine.schedule import Schedule
from runner.service.background import BackgroundJobs
from runner.service.deployments import Deployments
from runner.service.garbage import freeze_garbage_collector
from runner.service.reload import Reload
from runner.shares.share import Share, Whole
from runner.sinks.dispatch import Emit, LastingSink
from runner.sinks.evidence import Evidence
from runner.sinks.health import Health
from runner.sinks.journal import Form, Journal
from runner.sinks.metrics import Metrics
from runner.sinks.registry import Registry
from runner.state import LastSeen, StateLedger
from runner.web.app import app
from runner.web.gates import Gates
from runner.web.refusals import Refusals

GRACE = 10.0  # seconds that runs in flight have to end by themselves when the runner stops


class Service:
    """What `outrider run` and `outrider demo` keep running: it is whole when it is made, and asks nothing before `start`. See `running`.

    `file` is the absolute path of checks.yaml; `extra` sinks come after the runner's own. `form` is how the journal is
    written. The caller closes the ledger.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: StateLedger,
        clock: Clock,
        version: str,
        stream: TextIO,
        *,
        file: str,
        extra: Sequence[tuple[str, LastingSink]] = (),
        form: Form = Form.JSON,
        divide: Callable[[Registry], Share] = lambda _: Whole(),
    ) -> None:
        self.registry = Registry()
        self.share = divide(self.registry)
        self.whole = plan  # as checks.yaml says it; `plan` is the share of it that this runner runs
        self.plan = plan = self.share.of(plan)
        self._applying = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self.ledger = ledger
        self._limits = self.share.ledger(ledger)
        self.ready = False  # whether the schedule runs
        self._started = plan  # its server and state stay until the end
        self._restart_for: tuple[str, ...] = ()
        self._target_files: tuple[str, ...] = ()  # what is wrong with files that list targets
        self._clock = clock
        self._version = version
        self._wire = Wire()
        self._redactor = Redactor(plan.secrets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._down = Down()
        self.metrics = metrics = Metrics(self.registry, clock, version)
        self.journal = self._open_journal(stream, form)
        self.log = log = self.journal.log
        self.maintenance = Maintenance(ledger, file, clock, log, self.show_windows)
        self.health = Health(plan, clock, self.maintenance.covering)
        self.evidence = Evidence()
        self.refusals = Refusals(metrics, log)
        self.deployments = Deployments(
            lambda: self.plan,
            self._execute,
            whole=lambda: self.whole,
            health=lambda: self.health,
            metrics=metrics,
            ledger=ledger,
            file=file,
            clock=clock,
            log=log,
            covering=self.maintenance.covering,
        )
        self.gates = Gates(self.deployments.prepare, clock, self.deployments.patience)
        self.emit = self._join_sinks(extra)
        metrics.state_durable(ledger.durable)
        ledger.watch(self._state_changed)
        self.diagnosis = Diagnosis(self.emit.found, clock, log)
        cadences = APSchedulerCadences(clock)
        self.background = BackgroundJobs(cadences)
        self.schedule = Schedule(
            emit=self.take, missed=metrics.missed, lagged=metrics.lagged, clock=clock, timer=LoopTimer(), cadences=cadences, log=log
        )

    def _open_journal(self, stream: TextIO, form: Form) -> Journal:
        return Journal(
            stream,
            service=self.plan.service,
            clock=self._clock,
            form=form,
            counted=self.metrics.logged,
            failed=lambda: self.metrics.sink_failed("journal"),
            redact=lambda value: self._redactor.tree(value),  # noqa: PLW0108 - the redactor of the plan that runs now
        )

    def _join_sinks(self, extra: Sequence[tuple[str, LastingSink]]) -> Emit:
        sinks: dict[str, LastingSink] = {
            "metrics": self.metrics,  # the first, since it may refuse a plan
            "health": self.health,
            "evidence": self.evidence,
            "journal": self.journal,
            "state": LastSeen(self.ledger),
            "deployments": self.deployments,
            "outages": self.deployments.outages,
            **dict(extra),
        }
        self.metrics.count_errors_of(sinks)
        self.ledger.failed = lambda: self.metrics.sink_failed("state")
        finders = {"health": self.health.found, "evidence": self.evidence.found, "journal": self.journal.found}
        return Emit(sinks, self.metrics.sink_failed, self.log, finders)

    def _state_changed(self) -> None:
        """Says in metrics and journal that the state folder can't be used, or can again; from the ledger's thread."""
        self.metrics.state_durable(self.ledger.durable)
        if self.ledger.durable:
            self.log(logging.INFO, "the state folder can be used again; what was counted meanwhile is written down")
        else:
            self.log(logging.ERROR, f"limits are counted in memory only, and what costs money or logs in is refused: {self.ledger.why}")

    async def start(self) -> None:
        """Goes on from what the state knows, and starts the schedule."""
        await self.deployments.restore(self.plan)
        last_seen = await self.ledger.last_seen()
        self._follow(self.plan)
        await self.maintenance.restore()
        execute = self._execute(self.plan, scheduled=True)
        self.diagnosis.plan(execute, self.plan.checks)
        freeze_garbage_collector()
        self.schedule.start(self.plan, self._confirming(execute), last_seen)
        self._keep(self._ask_references(execute))
        self._keep(self.deployments.poll_revisions())
        self._following = asyncio.create_task(self.share.follow(self.divide, self.log), name="the share of the checks")
        self._following.add_done_callback(self._share_ended)
        self.ready = True

    def _follow(self, plan: Plan) -> None:
        """Gives the plan to everything that remembers checks. Raises ValueError, having changed nothing, where a sink refuses it."""
        self.emit.plan(plan)
        self._down.plan(plan)
        self.maintenance.plan(plan)

    def take(self, observation: Observation) -> None:
        """Hands an observation to every sink, and then a failure to its diagnosis. A run of which a part fell into a window is marked."""
        if self.maintenance.during(observation.check, observation.at, observation.at + observation.seconds):
            observation = replace(observation, maintenance=True)
        self.emit(observation)
        self.share.ran(observation)
        try:
            self.diagnosis(observation)
        except Exception as error:  # noqa: BLE001 - the observations of the run's parts must not be lost
            self.log(logging.ERROR, f"the diagnosis of {observation.check.name} broke: {type(error).__name__}: {error}")

    def show_windows(self) -> None:
        """Shows in the metrics which checks are in maintenance now."""
        checks = (check for planned in self.plan.checks for check in (planned.check, *planned.parts))
        self.metrics.in_maintenance(self.maintenance.covered_now(checks))

    async def look_at_windows(self) -> None:
        self.show_windows()

    async def _ask_references(self, execute: Execute) -> None:
        """Warns before anything fails where no reference responds."""
        if warning := await execute.uplink.ask_at_start():
            self.log(logging.WARNING, warning)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def apply(self, plan: Plan) -> None:
        """Goes on with another plan. The wire of the plan before is closed when the runs that still use it have ended."""
        async with self._applying:
            self.whole, before = plan, self.whole
            try:
                await self._apply(self.share.of(plan))
            except ValueError:
                self.whole = before
                self.share.of(before)
                raise

    async def divide(self) -> None:
        """Goes on with the checks that are this runner's now, by its share."""
        async with self._applying:
            await self._apply(self.share.of(self.whole))

    async def _apply(self, plan: Plan) -> None:
        try:
            await self.ledger.know(windows(plan))
        except QuotaRefused as refused:  # each run finds it out for itself, and isn't sent
            self.log(logging.WARNING, refused.message)
        self._follow(plan)
        plan = self._unchangeable(plan)
        self.plan, wire, self._wire = plan, self._wire, Wire()
        self._redactor = Redactor(plan.secrets)
        execute = self._execute(plan, scheduled=True)
        self.diagnosis.plan(execute, plan.checks)
        runs = self.schedule.swap(plan, self._confirming(execute), self.share.last_seen())

        async def close_wire() -> None:
            if runs:
                await asyncio.wait(runs)
            await wire.aclose()

        self._keep(close_wire())
        self._keep(self._ask_references(execute))

    def _unchangeable(self, plan: Plan) -> Plan:
        """The plan with the server and the state that run on: a reload can't change them. What it would change is told."""
        here, there = self._started.server, plan.server
        changes = {
            "server.listen": (f"{here.host}:{here.port}", f"{there.host}:{there.port}"),
            "state": (str(self._started.state or "none"), str(plan.state or "none")),
            "coordinate": (str(self._started.coordinate or "none"), str(plan.coordinate or "none")),
        }
        self._restart_for = tuple(
            f"{key} is {after} in checks.yaml now, and the runner goes on with {before}: restart it"
            for key, (before, after) in changes.items()
            if before != after
        )
        for text in self._restart_for:
            self.log(logging.WARNING, text)
        self.metrics.restart_needed(bool(self._restart_for))
        return replace(plan, server=replace(there, host=here.host, port=here.port), state=self._started.state)

    def note_target_files(self, wrong: tuple[str, ...]) -> None:
        """Says in metrics, journal and pages which files with targets can't be used."""
        for text in wrong:
            if text not in self._target_files:
                self.log(logging.ERROR, text)
        if self._target_files and not wrong:
            self.log(logging.INFO, "all files with targets can be used again")
        self._target_files = wrong
        self.metrics.target_files_read(not wrong)

    def _selection(self) -> tuple[str, ...]:
        if not self.whole.selected:
            return ()
        number = count(len(self.whole.checks), "check")
        return (f"This runner runs only the {number} of {' '.join(self.whole.selected)}; the others of checks.yaml are not run here.",)

    def warnings(self) -> tuple[str, ...]:
        """What the runner lacks, for whoever looks at its pages or reloads it."""
        found = (*self._selection(), *self._restart_for, *self._target_files, *self.share.warnings())
        if not self.ledger.broken:
            return found
        return (*found, f"Limits are counted in memory only, and what costs money or logs in is refused: {self.ledger.why}.")

    def _confirming(self, execute: Execute) -> Confirm:
        return Confirm(execute, self._down, self._clock, LoopTimer())

    def _execute(self, plan: Plan, *, scheduled: bool = False) -> Execute:
        """An engine for a plan. A gate runs every check that it is asked for, whoever holds it; a scheduled run needs the share."""
        return Execute(
            plan=plan,
            wire=self._wire,
            ledger=self._limits,
            clock=self._clock,
            rng=random.SystemRandom(),
            version=self._version,
            log=self.log,
            holds=self.share.holds if scheduled else bool,
        )

    def web(self, reload: Reload) -> ASGIApp:
        """The routes. It reads their templates: call it in a thread."""

        async def problems() -> Sequence[str]:
            return (await reload()).splitlines()

        def refused_file() -> RefusedFile | None:
            refused = reload.refused
            return refused and replace(refused, errors=tuple(self._redactor.tree(list(refused.errors))))

        return app(
            plan=lambda: self.plan,
            registry=self.registry,
            health=self.health,
            evidence=self.evidence,
            reload=problems,
            ready=lambda: self.ready,
            clock=self._clock,
            version=self._version,
            gates=self.gates,
            warnings=self.warnings,
            maintenance=self.maintenance,
            run_now=self.schedule.run_now,
            reports=Reports(lambda: self.plan, self.ledger, self._clock, self.schedule.run_now),
            refused=self.refusals,
            refused_file=refused_file,
        )

    async def drain(self) -> None:
        """Starts no new run; those in flight end or are cut short, and Grafana gets what waits for it."""
        self.ready = False
        await self.gates.stop(GRACE)
        await self.schedule.drain(GRACE)
        await self.background.drain(GRACE)
        await self.diagnosis.stop()
        await self.deployments.send()
        await asyncio.gather(*self._tasks)
        await self._wire.leave()  # before the share is given up, which permits what is sent

    async def leave(self) -> None:
        """Gives this runner's share to the others, when no run is in flight any more."""
        if self._following:
            self._following.cancel()
            await asyncio.wait({self._following})
        await self.share.aclose()

    def _share_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            task.get_loop().call_exception_handler({"message": "the share of the checks can't be followed", "exception": error})

    async def aclose(self) -> None:
        """Closes the connections, and writes the rest of the journal."""
        await self._wire.aclose()
        await asyncio.to_thread(self.journal.close)
