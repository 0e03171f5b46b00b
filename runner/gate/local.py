"""A gate that is carried out here, in the CI job itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Iterator

import click
from rich.console import Console

from judge.baseline import Before
from judge.report import Report
from probes.wire.wire import Wire
from runner.cli._gate_options import Given
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.config.rates import windows
from runner.engine.execute import Execute
from runner.gate.baseline_file import save
from runner.gate.gate import Gate, Result
from runner.reports.table import Board
from runner.state import open_ledger


async def here(plan: Plan, given: Given, before: Before | None, *, version: str, quiet: bool) -> Report:
    """Its report; what was measured is saved where that was asked for."""
    clock, stop, settings = SystemClock(), asyncio.Event(), given.settings(plan.gate)
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock, windows(plan))
    if not ledger.durable:
        click.echo(f"budgets and limits are counted in memory only: {ledger.why}", err=True)
    wire = Wire()
    execute = Execute(plan=plan, wire=wire, ledger=ledger, clock=clock, rng=random.SystemRandom(), version=version)
    board = Board(Console(highlight=False, stderr=quiet), tuple(one.check for one in plan.checks), rounds=settings.rounds)
    try:
        with interruptible(stop, execute), board:
            gate = Gate(plan, execute, settings, clock=clock, sleep=asyncio.sleep, stop=stop, shown=board, before=before)
            result = await gate.run()
    finally:
        await wire.aclose()
        await ledger.aclose()
    if given.save is not None:
        await asyncio.to_thread(_save, plan, given, result)
    return result.report


def _save(plan: Plan, given: Given, result: Result) -> None:

    if given.save is None:
        return
    try:
        save(given.save, seconds=result.seconds, revisions=result.revisions, at=result.report.finished, service=plan.service)
    except OSError as error:
        click.echo(f"--save {given.save}: {error.strerror or error}", err=True)


@contextlib.contextmanager
def interruptible(stop: asyncio.Event, execute: Execute | None = None) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the gate with a verdict so far; from the second on it is as if there were no handler."""
    loop = asyncio.get_running_loop()

    def ends() -> None:
        click.echo("ending the gate: the verdict so far follows", err=True)
        stop.set()
        if execute is not None:
            execute.cut_short()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ends)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
