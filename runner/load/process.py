"""One load run from outside: what it may send is paid, Locust's process is started, listened to, and what wasn't sent given back."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from judge.redact import Redactor
from loadtests.capacity import Search, ended, search, shown
from loadtests.order import Order, as_json
from loadtests.result import LoadReport, Progress, progress_from, report_from
from probes.core import QuotaRefused
from runner.load.quota import pay, settle

Tell = Callable[["Progress"], None]


def paid_run(state: Path | None, redactor: Redactor, order: Order, *, tell: Tell) -> LoadReport:
    """Runs one order; no text of the report holds a secret. Raises QuotaRefused where a limit has no room for all: nothing is sent."""
    paid = asyncio.run(pay(state, order.spends, order.duration + order.drain))
    report = _sent(as_json(order), redactor, tell)
    if paid:
        try:
            asyncio.run(settle(state, paid, report))
        except QuotaRefused as refused:
            click.echo(f"the requests that the run didn't send could not be given back: {refused.message}", err=True)
    return report


def most_that_holds(rate: float, ceiling: float, run: Callable[[float], LoadReport]) -> LoadReport:
    """The report of the highest rate that holds (else of the lowest that was tried), with the curve in it.

    Where a limit leaves no room for a further trial the search ends with what it has found. Raises QuotaRefused for the first.
    """
    reports: dict[float, LoadReport] = {}
    moves = search(Search(rate=rate, ceiling=ceiling))
    trial = next(moves)
    while True:
        click.echo(f"trying {trial.rate:.5g}/s{', once more' if trial.confirming else ''}", err=True)
        try:
            reports[trial.rate] = run(trial.rate)
        except QuotaRefused as refused:
            if not reports:
                raise
            return shown(ended(moves, refused.message), reports)
        if any(reason.cause == "interrupted" for reason in reports[trial.rate].reasons):
            return shown(ended(moves, "it was interrupted"), reports)
        try:
            trial = moves.send(reports[trial.rate])
        except StopIteration as over:
            return shown(over.value, reports)


def _sent(order: str, redactor: Redactor, tell: Tell) -> LoadReport:
    """Starts the process that sends, tells how it goes, and returns its report."""
    command = [sys.executable, "-m", "loadtests"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
        process.stdin.write(order)
        process.stdin.close()
        with _ended_in_order(process):
            report = _heard(process, redactor, tell)
    if report is None:
        if process.returncode == 2:  # noqa: PLR2004 - it has said what was wrong with its order
            raise click.exceptions.Exit(2)
        click.echo(f"INCONCLUSIVE  the sending process ended with exit code {process.returncode} and without a report", err=True)
        raise click.exceptions.Exit(3)
    return report


@contextmanager
def _ended_in_order(process: subprocess.Popen[str]) -> Iterator[None]:
    """SIGTERM, as containers are stopped by, ends the process that sends as a Ctrl-C does: it judges what there is."""
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _heard(process: subprocess.Popen[str], redactor: Redactor, tell: Tell) -> LoadReport | None:

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
            return report_from(json.dumps(redactor.tree(said["report"])))
        progress = progress_from(json.dumps(said["progress"]))
        if (second := round(progress.at)) > told:
            told = second
            tell(progress)
