"""One load run from outside: its quota is taken, Locust's process is started, its messages are read, and what wasn't sent is given back."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from judge.redact import Redactor
from loadtests.capacity import SearchPlan, SearchStopped, ended, search, shown
from loadtests.order import Order, as_json
from loadtests.result import LoadReport, Progress, message_of
from probes.core import QuotaRefused
from probes.text import exact
from runner.load.quota import acquire, settle

OnProgress = Callable[[Progress], None]


def run_load(state: Path | None, redactor: Redactor, order: Order, *, on_progress: OnProgress) -> LoadReport:
    """Runs one order; no text of the report holds a secret. Raises QuotaRefused where a limit has no room for all: nothing is sent."""
    taken = asyncio.run(acquire(state, order.spends, order.duration + order.drain))
    command = [sys.executable, "-m", "loadtests"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
        process.stdin.write(as_json(order))
        process.stdin.close()
        # SIGTERM, as containers are stopped by, ends that process as a Ctrl-C does: it judges what there is.
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            report = _read_report(process, redactor, on_progress)
        finally:
            signal.signal(signal.SIGTERM, before)
    if report is None:
        if process.returncode == 2:  # noqa: PLR2004 - it has printed what was wrong with its order
            raise click.exceptions.Exit(2)
        click.echo(f"INCONCLUSIVE  the sending process ended with exit code {process.returncode} and without a report", err=True)
        raise click.exceptions.Exit(3)
    if taken:
        try:
            asyncio.run(settle(state, taken, report))
        except QuotaRefused as refused:
            click.echo(f"the requests that the run didn't send could not be given back: {refused.message}", err=True)
    return report


def most_that_holds(rate: float, ceiling: float, order_at: Callable[[float], Order], run: Callable[[Order], LoadReport]) -> LoadReport:
    """The report of the highest rate that holds (else of the lowest that was tried), with the curve in it.

    Where a limit or a ceiling leaves no room for a further trial the search ends with what it has found. Raises QuotaRefused or
    SearchStopped for the first trial.
    """
    reports: dict[float, LoadReport] = {}
    moves = search(SearchPlan(rate=rate, ceiling=ceiling))
    trial = next(moves)
    while True:
        try:
            order = order_at(trial.rate)
            click.echo(f"trying {trial.rate:.5g}/s for {exact(order.duration)}{', once more' if trial.confirming else ''}", err=True)
            reports[trial.rate] = run(order)
        except (QuotaRefused, SearchStopped) as refused:
            if not reports:
                raise
            return shown(ended(moves, str(refused)), reports)
        if any(reason.cause == "interrupted" for reason in reports[trial.rate].reasons):
            return shown(ended(moves, "it was interrupted"), reports)
        try:
            trial = moves.send(reports[trial.rate])
        except StopIteration as over:
            return shown(over.value, reports)


def _read_report(process: subprocess.Popen[str], redactor: Redactor, on_progress: OnProgress) -> LoadReport | None:
    assert process.stdout  # noqa: S101 - as above
    shown_second = -1
    while True:
        try:
            line = process.stdout.readline()
        except KeyboardInterrupt:  # the process has it too: it ends, and judges what there is
            continue
        if not line:
            return None
        message = message_of(redactor.tree(json.loads(line)))
        if message.report is not None:
            return message.report
        if message.progress is not None and (second := round(message.progress.at)) > shown_second:
            shown_second = second
            on_progress(message.progress)
