"""One always-on runner, joined: plan, schedule, sinks and web, in the order in which they begin and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

from prometheus_client.process_collector import ProcessCollector

from judge.observation import Observation
from judge.redact import Redactor
from probes.core import Clock, QuotaRefused
from probes.wire.wire import Wire
from runner.config.plan import Plan
from runner.config.rates import windows
from runner.engine.cadences import Beats, LoopTimer
from runner.engine.confirm import Confirm, Down
from runner.engine.diagnosis import Diagnosis
from runner.engine.execute import Execute
from runner.engine.schedule import Schedule
from runner.service.background import Chores
from runner.service.deployments import LOOK, SEND, Deployments
from runner.service.quiet import settle
from runner.service.reload import Reload
from runner.sinks.dispatch import Emit, LastingSink
from runner.sinks.evidence import Evidence
from runner.sinks.health import Health
from runner.sinks.journal import Bridge, Journal
from runner.sinks.metrics import Metrics
from runner.sinks.registry import Registry
from runner.state import LastSeen, StateLedger, open_ledger
from runner.web.app import app
from runner.web.gates import Gates
from runner.web.serve import Listening, serve

GRACE = 10.0  # seconds that runs in flight have to end by themselves when the runner stops
_LOOK = 2.0  # seconds between two looks at the file
_PRUNE = 3600.0  # seconds between two prunings of the state


class Service:
    """What `outrider run` and `outrider demo` keep running. Make it with `running`.

    `file` is the absolute path of checks.yaml.
    """

    def __init__(self, plan: Plan, ledger: StateLedger, clock: Clock, version: str, stream: TextIO, *, file: str) -> None:
        self.plan = plan
        self.ledger = ledger
        self._clock = clock
        self._version = version
        self._wire = Wire()
        self._redactor = Redactor(plan.secrets)
        self.registry = Registry()
        self.metrics = Metrics(self.registry, clock, version)
        self.health = Health(plan, clock)
        self.evidence = Evidence()
        self.journal = Journal(
            stream,
            service=plan.service,
            clock=clock,
            counted=self.metrics.logged,
            failed=lambda: self.metrics.sink_failed("journal"),
            redact=self._redacted,
        )
        self._cadences = Beats(clock)
        self.chores = Chores(self._cadences)
        self._tasks: set[asyncio.Task[None]] = set()
        self._down = Down()
        self.ready = False  # whether the schedule runs
        self.deployments = Deployments(
            lambda: self.plan,
            self._execute,
            health=lambda: self.health,
            metrics=self.metrics,
            ledger=ledger,
            file=file,
            clock=clock,
            log=self.log,
        )
        self.gates = Gates(self.deployments.prepare, clock)

    def join(self, extra: Sequence[tuple[str, LastingSink]], last_seen: dict[str, float]) -> None:
        """Builds the schedule over the sinks; `extra` sinks come after the house's own."""
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
        finders = {"health": self.health.found, "evidence": self.evidence.found, "journal": self.journal.found}
        self.emit = Emit(sinks, self.metrics.sink_failed, self.log, finders)
        self.diagnosis = Diagnosis(self.emit.found, self._clock, self.log)
        self.schedule = Schedule(
            emit=self.take,
            missed=self.metrics.missed,
            lagged=self.metrics.lagged,
            clock=self._clock,
            timer=LoopTimer(),
            cadences=self._cadences,
            last_seen=last_seen,
        )
        self._follow(self.plan)
        execute = self._execute(self.plan)
        self.diagnosis.plan(execute, self.plan.checks)
        settle()
        self.schedule.start(self.plan, self._confirming(execute))
        self._keep(self._look_outside(execute))
        self._keep(self.deployments.look())
        self.ready = True

    def _follow(self, plan: Plan) -> None:
        """Lets everything that remembers checks know the plan. Raises ValueError, having changed nothing, where it can't be followed."""
        self.emit.plan(plan)
        self._down.plan(plan)

    def take(self, observation: Observation) -> None:
        """Hands an observation to every sink, and then a failure to its diagnosis."""
        self.emit(observation)
        self.diagnosis(observation)

    def _redacted(self, value: Any) -> Any:
        return self._redactor.tree(value)  # the redactor of the plan that runs now

    async def _look_outside(self, execute: Execute) -> None:
        """Says where the references tell nothing, before anything fails."""
        if warning := await execute.uplink.first_look():
            self.log(logging.WARNING, warning)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def log(self, level: int, message: str) -> None:
        """The engine's words, into the journal."""
        self.journal.log(logging.getLevelName(level).lower(), message)

    async def apply(self, plan: Plan) -> None:
        """Goes on with another plan. What the runs under way still need is closed when they have ended."""
        try:
            await self.ledger.know(windows(plan))
        except QuotaRefused as refused:  # whatever pays finds it out too, and isn't sent
            self.log(logging.WARNING, refused.message)
        self._follow(plan)
        self.plan, wire, self._wire = plan, self._wire, Wire()
        self._redactor = Redactor(plan.secrets)
        execute = self._execute(plan)
        self.diagnosis.plan(execute, plan.checks)
        self._keep(_close_after(self.schedule.swap(plan, self._confirming(execute)), wire))
        self._keep(self._look_outside(execute))

    def _confirming(self, execute: Execute) -> Confirm:
        return Confirm(execute, self._down, self._clock, LoopTimer())

    def _execute(self, plan: Plan) -> Execute:
        rng = random.SystemRandom()
        return Execute(plan=plan, wire=self._wire, ledger=self.ledger, clock=self._clock, rng=rng, version=self._version, log=self.log)

    async def stop(self) -> None:
        """Drains: no new run, those in flight end or are cut short, and everything that is known is written."""
        self.ready = False
        await self.gates.stop(GRACE)
        await self.schedule.drain(GRACE)
        await self.chores.drain(GRACE)
        await self.diagnosis.stop()
        await self.deployments.send()
        await asyncio.gather(*self._tasks)
        await self._wire.aclose()
        await self.ledger.aclose()
        await asyncio.to_thread(self.journal.close)


async def _close_after(runs: Sequence[asyncio.Task[None]], wire: Wire) -> None:
    if runs:
        await asyncio.wait(runs)
    await wire.aclose()


@asynccontextmanager
async def running(
    load: Callable[[], Plan],
    *,
    path: Path,
    clock: Clock,
    version: str,
    journal: TextIO,
    extra: Sequence[tuple[str, LastingSink]] = (),
) -> AsyncIterator[tuple[Service, Listening, Callable[[], Awaitable[str]]]]:
    """A runner that probes and serves until the context is left; yields it, where it listens, and its reload.

    Raises PlanError from `load`, and CannotListenError before anything is asked of anybody.
    """
    plan = await asyncio.to_thread(load)
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock, windows(plan))
    service = Service(plan, ledger, clock, version, journal, file=str(await asyncio.to_thread(path.absolute)))
    await asyncio.to_thread(ProcessCollector, registry=service.registry)  # it reads /proc
    bridge = Bridge(service.journal)
    reload = Reload(
        path=path,
        load=load,
        apply=service.apply,
        told=service.metrics.reloaded,
        files=lambda: service.plan.files,
        log=service.log,
    )
    web = await asyncio.to_thread(
        app,
        plan=lambda: service.plan,
        registry=service.registry,
        health=service.health,
        evidence=service.evidence,
        reload=lambda: _problems(reload),
        ready=lambda: service.ready,
        clock=clock,
        version=version,
        gates=service.gates,
    )
    listening = await serve(web, plan.server.host, plan.server.port, grace=GRACE)
    logging.getLogger().addHandler(bridge)
    try:
        await service.deployments.restore(plan)
        service.join(extra, dict(await ledger.last_seen()))
        if not ledger.durable:
            service.journal.log("warning", f"budgets and limits are counted in memory only: {ledger.why}")
        service.metrics.reloaded(True)  # noqa: FBT003 - the plan that runs was loaded
        service.chores.every(_LOOK, "look at the file", reload.look)
        service.chores.every(LOOK, "look at the revisions", service.deployments.look)
        service.chores.every(SEND, "annotate in Grafana", service.deployments.send)
        service.chores.every(_PRUNE, "prune the state", ledger.prune)
        yield service, listening, reload
    finally:
        if service.ready:
            await service.stop()
        logging.getLogger().removeHandler(bridge)
        await listening.stop()


async def _problems(reload: Reload) -> Sequence[str]:
    return (await reload()).splitlines()


@contextlib.contextmanager
def signals(stop: asyncio.Event, reload: Callable[[], Awaitable[str]]) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; SIGHUP reloads."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Future[str]] = set()

    def again() -> None:
        task = asyncio.ensure_future(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number, handler in ((signal.SIGTERM, stop.set), (signal.SIGINT, stop.set), (signal.SIGHUP, again)):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
