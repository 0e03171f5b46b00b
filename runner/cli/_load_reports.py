"""A load run's reports: the options that ask for them, and their delivery."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli._options import Command

if TYPE_CHECKING:
    from loadtests.result import LoadReport

FORMATS = {
    "html": "A page with plots, in one file that needs nothing else.",
    "junit": "JUnit XML, valid by Jenkins' junit-10.xsd.",
    "json": "One JSON object, for programs.",
}


def load_reports(command: Command) -> Command:
    """--html [FILE], --junit [FILE], --json [FILE]: the command gets them as_html and so on, `-` for standard output, or None."""
    for name, what in reversed(FORMATS.items()):
        said = f"{what} Without FILE: standard output."
        command = click.option(f"--{name}", f"as_{name}", is_flag=False, flag_value="-", metavar="[FILE]", help=said)(command)
    return command


def deliver(report: LoadReport, wanted: Mapping[str, str | None]) -> bool:
    """Writes what was asked for; whether standard output is taken by it.

    A report that can't be written changes no verdict: it is said on standard error.
    """
    asked = {name: file for name, file in wanted.items() if file is not None}
    for name, file in asked.items():
        text: str = importlib.import_module(f"loadtests.reports.{name}").write(report)
        if file == "-":
            click.echo(text, nl=False)
            continue
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            click.echo(f"--{name} {file}: {error.strerror or error}", err=True)
        else:
            click.echo(f"{'report' if name == 'html' else name}: {file}", err=True)
    return "-" in asked.values()
