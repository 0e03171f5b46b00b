"""One load run from outside: what it may send is paid, Locust's process is started, listened to, and what wasn't sent given back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from runner.cli._options import unusable

if TYPE_CHECKING:
    from loadtests.order import Order
    from loadtests.result import LoadReport, Progress
    from probes._target import Target
    from runner.plan.model import Plan

Tell = Callable[["Progress"], None]
BESIDE = 4  # requests beside the load: a login, two looks at the revision, one to spare


def paid_run(plan: Plan, target: Target, order: Order, *, tell: Tell) -> LoadReport:
    """Runs one order. Ends the command with exit 2 where its limit doesn't leave room for all of it: nothing is sent then."""
    from loadtests.order import as_json

    slots = asyncio.run(_pay(plan, target, order))
    report = _sent(as_json(order), tell)
    if slots:
        sent = sum(task.done for task in report.tasks if task.kind == "request")
        asyncio.run(_settle(plan, slots, sent + BESIDE + max(order.workers, order.expect_workers)))
    return report


def most_that_holds(order: Order, ceiling: float, run: Callable[[Order], LoadReport]) -> LoadReport:
    """The report of the highest rate that holds (else of the lowest that was tried), with the curve in it."""
    from loadtests.capacity import Search, search
    from loadtests.shapes import peak, stages

    reports: dict[float, LoadReport] = {}
    moves = search(Search(rate=peak(order.stages), ceiling=ceiling))
    trial = next(moves)
    while True:
        click.echo(f"trying {trial.rate:.5g}/s{', once more' if trial.confirming else ''}", err=True)
        reports[trial.rate] = run(replace(order, shape="constant", stages=stages("constant", trial.rate, order.duration)))
        try:
            trial = moves.send(reports[trial.rate])
        except StopIteration as over:
            shown = reports[over.value.holds] if over.value.holds is not None else reports[min(reports)]
            return replace(shown, capacity=over.value)


async def _pay(plan: Plan, target: Target, order: Order) -> tuple[int, ...]:
    """Takes from the target's limit what the run may send at most, all or nothing, shared with the probes; exit 2 where it can't."""
    from loadtests.outlook import requests_at_most
    from loadtests.tasks import playable, requests_of
    from probes._core import Withheld
    from runner.engine.clock import SystemClock
    from runner.state import open_ledger

    if target.limit is None:
        return ()
    if order.arrivals == "closed":
        unusable(f"a closed loop sends as much as it can, and target {target.name} has a limit; take the limit away, or another arrival")
    count = requests_at_most(order, requests_of(playable(order, date.today())))  # noqa: DTZ011 - as in the process that sends
    clock = SystemClock()
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock)
    try:
        end = clock.time() + order.duration + order.drain
        return await ledger.limit(target.name, count, int(target.limit.amount), target.limit.window, until=end)
    except Withheld as withheld:
        unusable(f"the run would send up to {count:,} requests: {withheld.message}; nothing was sent")
    finally:
        await ledger.aclose()


async def _settle(plan: Plan, slots: tuple[int, ...], sent: int) -> None:
    """Gives back what wasn't sent. A run that broke off before keeps all that it paid."""
    from runner.engine.clock import SystemClock
    from runner.state import open_ledger

    ledger = await asyncio.to_thread(open_ledger, plan.state, SystemClock())
    try:
        await ledger.sent(slots[:sent], slots[sent:])
    finally:
        await ledger.aclose()


def _sent(order: str, tell: Tell) -> LoadReport:
    """Starts the process that sends, tells how it goes, and returns its report."""
    command = [sys.executable, "-m", "loadtests"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
        process.stdin.write(order)
        process.stdin.close()
        report = _heard(process, tell)
    if report is None:
        if process.returncode == 2:  # noqa: PLR2004 - it has said what was wrong with its order
            raise click.exceptions.Exit(2)
        click.echo(f"INCONCLUSIVE  the process that sends ended with exit {process.returncode} and no report", err=True)
        raise click.exceptions.Exit(3)
    return report


def _heard(process: subprocess.Popen[str], tell: Tell) -> LoadReport | None:
    from loadtests.result import progress_from, report_from

    assert process.stdout  # noqa: S101 - as above
    told = -1
    while True:
        try:
            line = process.stdout.readline()
        except KeyboardInterrupt:  # the process has it too: it ends, and judges what there is
            continue
        if not line:
            return None
        said: dict[str, Any] = json.loads(line)
        if "report" in said:
            return report_from(json.dumps(said["report"]))
        progress = progress_from(json.dumps(said["progress"]))
        if (second := round(progress.at)) > told:
            told = second
            tell(progress)
