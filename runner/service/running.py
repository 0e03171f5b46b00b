"""A runner from its configuration to its last line: what is opened is closed in the opposite order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TextIO, cast

from prometheus_client.process_collector import ProcessCollector

from probes.core import Clock
from runner.config.live import LiveConfiguration
from runner.config.plan import Plan
from runner.config.rates import windows
from runner.service.deployments import REVISIONS, SEND
from runner.service.reload import Reload, Targets
from runner.service.service import GRACE, Service
from runner.shares.divide import divided
from runner.shares.shard import Shard
from runner.sinks.dispatch import LastingSink
from runner.sinks.journal import Bridge, Form
from runner.state import StateLedger, open_ledger
from runner.web.refusals import EVERY
from runner.web.serve import Listening, serve

_LOOK = 2.0  # seconds between two looks at checks.yaml
_WINDOWS = 1.0  # seconds between two looks at which checks are in maintenance
_PRUNE = 3600.0  # seconds between two prunings of the state


@asynccontextmanager
async def running(
    configuration: Callable[[], Plan] | LiveConfiguration,
    *,
    path: Path,
    clock: Clock,
    version: str,
    journal: TextIO,
    extra: Sequence[tuple[str, LastingSink]] = (),
    form: Form = Form.JSON,
    shard: Shard | None = None,
) -> AsyncIterator[tuple[Service, Listening, Callable[[], Awaitable[str]]]]:
    """A runner that probes and serves until the context is left; yields it, where it listens, and its reload.

    Raises PlanError from the configuration, and CannotListenError before any request is sent. Whatever was opened by then is closed.
    """
    live = configuration if isinstance(configuration, LiveConfiguration) else None
    load = live.read if live else cast("Callable[[], Plan]", configuration)
    plan = await asyncio.to_thread(load)
    async with AsyncExitStack() as stack:  # closes in the opposite order: the page is served until the runs in flight have ended
        ledger = await asyncio.to_thread(open_ledger, plan.state, clock, windows(plan))
        stack.push_async_callback(ledger.aclose)
        file = str(await asyncio.to_thread(path.absolute))
        divide = await asyncio.to_thread(divided, plan, shard, clock)
        service = Service(plan, ledger, clock, version, journal, file=file, extra=extra, form=form, divide=divide)
        stack.push_async_callback(service.aclose)
        await asyncio.to_thread(ProcessCollector, registry=service.registry)  # it reads /proc

        async def apply(plan: Plan) -> None:
            await service.apply(plan)
            service.note_target_files(live.warnings() if live else ())

        reload = Reload(
            path=path,
            load=load,
            apply=apply,
            report=service.metrics.reloaded,
            time=clock.time,
            files=lambda: service.plan.files,
            targets=Targets(live.read_targets, live.target_paths) if live else None,
            log=service.log,
        )

        web = await asyncio.to_thread(service.web, reload)
        listening = await serve(web, plan.server.host, plan.server.port, grace=GRACE, refused=service.refusals)
        stack.push_async_callback(listening.stop)
        bridge = Bridge(service.journal)
        logging.getLogger().addHandler(bridge)
        stack.callback(logging.getLogger().removeHandler, bridge)
        stack.push_async_callback(service.leave)
        stack.push_async_callback(service.drain)
        await service.start()
        if not ledger.durable:
            refused = ", and what costs money or logs in is refused" if ledger.broken else ""
            service.log(logging.WARNING, f"budgets and limits are counted in memory only{refused}: {ledger.why}")
        service.metrics.reloaded(True)  # noqa: FBT003 - the plan that runs was loaded
        service.note_target_files(live.warnings() if live else ())
        _repeat(service, reload, ledger)
        yield service, listening, reload


def _repeat(service: Service, reload: Reload, ledger: StateLedger) -> None:
    """What the runner does again and again beside its checks."""
    every = service.background.every
    every(_LOOK, "look at the file", reload.look)
    every(_WINDOWS, "look at the maintenance windows", service.look_at_windows)
    every(REVISIONS, "look at the revisions", service.deployments.poll_revisions)
    every(SEND, "annotate in Grafana", service.deployments.send)
    every(EVERY, "report refused requests", service.refusals.report)
    every(_PRUNE, "prune the state", ledger.prune)
