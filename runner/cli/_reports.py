"""The options by which a gate's reports are asked for, one for each format, and their delivery."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from runner.cli._options import Command

if TYPE_CHECKING:
    from judge.report import Report


def report_options(command: Command) -> Command:
    """--json [FILE], --junit [FILE], ...: the command gets them by name, as a file's name, `-` for standard output, or None."""
    from runner.reports import formats

    for name, form in reversed(formats().items()):
        text = f"{form.help} Without FILE: standard output."
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
            click.echo(f"--{name} {file}: {error.strerror or error}", err=True)
    if asked.get("table") == "-" or all(file != "-" or known[name].beside for name, file in asked.items()):
        from rich.console import Console

        table.draw(Console(highlight=False), report)
