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
from runner.cli._options import selection_options, shard_option
from runner.usage import unusable

if TYPE_CHECKING:
    from runner.config.live import LiveConfiguration
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
@selection_options
def command(config: Path, tags: tuple[str, ...], checks: tuple[str, ...], log: str, shard: Shard | None) -> None:
    """Run all checks continuously, and serve the metrics, the health report, the API and a page for people.

    --tag and --check select checks, also after a reload; the page and /-/ready say so. SIGHUP, POST /-/reload and a changed file
    reload checks.yaml; SIGTERM stops the runner after the runs in flight. Exit 2 for a
    wrong configuration or a busy port.
    """
    import uvloop

    from runner.config.errors import PlanError
    from runner.config.live import LiveConfiguration
    from runner.shares.divide import SharesError
    from runner.web.serve import CannotListenError

    try:
        uvloop.run(_run(LiveConfiguration(config, os.environ, tags=tags, checks=checks), log, shard))
    except (PlanError, CannotListenError, SharesError) as error:
        unusable(str(error))


async def _run(config: LiveConfiguration, log: str, shard: Shard | None) -> None:
    from probes.text import count
    from runner.clock import SystemClock
    from runner.service.running import running
    from runner.service.signals import signals
    from runner.sinks.journal import Form

    stop = asyncio.Event()
    form = Form(log) if log != "auto" else Form.WORDS if sys.stdout.isatty() else Form.JSON
    async with running(
        config,
        path=config.path,
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
            only = f" ({' '.join(service.whole.selected)})" if service.whole.selected else ""
            runs = f"{part}{count(number, 'check')}{only} of {config.path} {how}"
            service.journal.log(logging.INFO, f"{runs}; times are UTC; the page is at {listening.url}")
            await stop.wait()
            service.journal.log(logging.INFO, "stopping: waiting for the runs in flight")
