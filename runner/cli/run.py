"""`outrider run`: runs the checks continuously, and serves the results."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner import our_version
from runner.cli._options import config_option, shard_option
from runner.usage import unusable

if TYPE_CHECKING:
    from runner.shares.shard import Shard


@click.command("run", short_help="Run all checks continuously; serve the page, the API and the metrics.")
@click.option(
    "--log",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="text: changes in words; json: each line an object. auto is text on a terminal, else json.",
)
@shard_option
@config_option
def command(config: Path, log: str, shard: Shard | None) -> None:
    """Run all checks continuously, and serve the metrics, the health report, the API and a page for people.

    SIGHUP, POST /-/reload and a changed file reload checks.yaml; SIGTERM stops the runner after the runs in flight. Exit 2 for a
    wrong configuration or a busy port.
    """
    import uvloop

    from runner.config.errors import PlanError
    from runner.shares.divide import SharesError
    from runner.web.serve import CannotListenError

    try:
        uvloop.run(_run(config, log, shard))
    except (PlanError, CannotListenError, SharesError) as error:
        unusable(str(error))


async def _run(config: Path, log: str, shard: Shard | None) -> None:
    from probes.text import count
    from runner.clock import SystemClock
    from runner.config.read import read_plan
    from runner.service.running import running
    from runner.service.signals import signals
    from runner.sinks.journal import Form

    stop = asyncio.Event()
    form = Form(log) if log != "auto" else Form.WORDS if sys.stdout.isatty() else Form.JSON
    async with running(
        lambda: read_plan(config, environ=os.environ),
        path=config,
        clock=SystemClock(),
        version=our_version(),
        journal=sys.stdout,
        form=form,
        shard=shard,
    ) as (service, listening, reload):
        with signals(stop, reload):
            part = f"shard {shard}: " if shard else ""
            how = "are shared with other runners" if service.whole.coordinate else "run"
            number = len(service.whole.checks if service.whole.coordinate else service.plan.checks)
            runs = f"{part}{count(number, 'check')} of {config} {how}"
            service.journal.log(logging.INFO, f"{runs}; times are UTC; the page is at {listening.url}")
            await stop.wait()
            service.journal.log(logging.INFO, "stopping: waiting for the runs in flight")
