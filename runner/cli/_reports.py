"""The options by which the reports of a gate and of a load are asked for, one for each format, and their delivery."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli._options import Command

if TYPE_CHECKING:
    from judge.report import Report
    from loadtests.result import LoadReport

LOAD_FORMATS = {
    "html": "A page with plots, in one file that needs nothing else.",
    "junit": "JUnit XML, valid by Jenkins' junit-10.xsd.",
    "json": "One JSON object, for programs.",
}


def report_options(command: Command) -> Command:
    """--json [FILE], --junit [FILE], ...: the command gets them as as_json and so on, a file's name, `-` for standard output, or None."""
    from runner.reports import formats

    return _options(command, {name: form.help for name, form in formats().items()})


def load_report_options(command: Command) -> Command:
    """As report_options, for the formats of a load."""
    return _options(command, LOAD_FORMATS)


def _options(command: Command, formats: Mapping[str, str]) -> Command:
    for name, what in reversed(list(formats.items())):
        text = f"{what} Without FILE: standard output."
        command = click.option(f"--{name}", f"as_{name}", is_flag=False, flag_value="-", metavar="[FILE]", help=text)(command)
    return command


def standard_output_is_taken(wanted: Mapping[str, str | None]) -> bool:
    """Whether data goes to standard output, so that what goes on is shown on standard error."""
    from runner.reports import formats

    return any(file == "-" and not formats()[name].beside for name, file in wanted.items())


def deliver_reports(report: Report, wanted: Mapping[str, str | None]) -> None:
    """Writes what was asked for, by the format's name; the table, where no data goes to standard output.

    A report that can't be written changes no verdict: standard error says so.
    """
    from runner.reports import deliver, formats, table

    known = formats()
    asked = {name: file for name, file in wanted.items() if file is not None}
    for name, file in asked.items():
        if name == "table" and file == "-":
            continue
        try:
            deliver(known[name], report, file, environ=os.environ, out=lambda text: click.echo(text, nl=False))
        except OSError as error:
            _cannot_write(name, file, error)
    if asked.get("table") == "-" or all(file != "-" or known[name].beside for name, file in asked.items()):
        from rich.console import Console

        table.draw(Console(highlight=False), report)


def deliver_load_reports(report: LoadReport, wanted: Mapping[str, str | None]) -> None:
    """Writes what was asked for, by the format's name.

    A report that can't be written changes no verdict: standard error says why.
    """
    for name, file in wanted.items():
        if file is None:
            continue
        text: str = importlib.import_module(f"loadtests.reports.{name}").write(report)
        if file == "-":
            click.echo(text, nl=False)
            continue
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            _cannot_write(name, file, error)
        else:
            click.echo(f"{'report' if name == 'html' else name}: {file}", err=True)


def _cannot_write(name: str, file: str, error: OSError) -> None:
    click.echo(f"--{name} {file}: {error.strerror or error}", err=True)
