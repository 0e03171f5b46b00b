"""A gate that is carried out here, in the CI job itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from judge.baseline import Before, too_few
from judge.report import Report
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.config.rates import windows
from runner.engine.execute import Execute
from runner.engine.maintenance import Maintenance
from runner.gate import baseline_file
from runner.gate.gate import Gate
from runner.gate.rounds import planned_rounds
from runner.gate.settings import GateSettings
from runner.reports.table import Board
from runner.state import open_ledger


async def gate_here(
    plan: Plan,
    settings: GateSettings,
    before: Before | None,
    *,
    save: Path | None,
    version: str,
    console: Console,
    say: Callable[[str], None],
) -> Report:
    """The report; what was measured goes to the file `save`. `say` gets what a person should know besides."""
    clock, stop = SystemClock(), asyncio.Event()
    settings = settings.with_rules(plan.gate)
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock, windows(plan))
    if not ledger.durable:
        say(f"budgets and limits are counted in memory only: {ledger.why}")
    if save is not None and (
        text := too_few({planned.check.name: (rounds := planned_rounds(settings)) for planned in plan.checks}, rounds)
    ):
        say(f"--save: {text}")
    windows_open = Maintenance(ledger, str(await asyncio.to_thread(plan.path.absolute)) if plan.path else "", clock, lambda *_: None)
    windows_open.plan(plan)
    await windows_open.restore()
    wire = Wire()
    execute = Execute(plan=plan, wire=wire, ledger=ledger, clock=clock, rng=random.SystemRandom(), version=version)
    board = Board(console, tuple(one.check for one in plan.checks), rounds=settings.rounds)
    try:
        with interruptible(stop, lambda text: None if board.above(text) else say(text), execute), board:
            gate = Gate(
                plan,
                execute,
                settings,
                clock=clock,
                sleep=asyncio.sleep,
                stop=stop,
                display=board,
                before=before,
                covering=windows_open.covering,
            )
            result = await gate.run()
    finally:
        await wire.aclose()
        await ledger.aclose()
    if save is not None:
        write = partial(baseline_file.save, save, seconds=result.seconds, revisions=result.revisions)
        try:
            await asyncio.to_thread(write, at=result.report.finished, service=plan.service)
        except OSError as error:
            say(f"--save {save}: {error.strerror or error}")
    return result.report


@contextlib.contextmanager
def interruptible(stop: asyncio.Event, say: Callable[[str], None], execute: Execute | None = None) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the gate with a verdict so far; from the second on it is as if there were no handler."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        say("ending the gate: the verdict so far follows")
        stop.set()
        if execute is not None:
            execute.cut_short()
        remove()

    def remove() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        remove()
