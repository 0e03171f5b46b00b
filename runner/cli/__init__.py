"""The command line: each public file of this folder is one command."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import click

from runner.terminal import columns_of, wrapped
from runner.usage import Unusable

_SHORT_HELP = re.compile(r"^@click\.(?:command|group)\(.*short_help=\"([^\"]+)\"", re.MULTILINE)


class Commands(click.Group):
    """The commands are the public files of this folder; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command by name."""
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, or None if there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of the commands for --help, read from their files: to import them all takes a third of a second."""
        rows = []
        for name in self.list_commands(ctx):
            found = _SHORT_HELP.search(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
            rows.append((name, found[1] if found else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. A usage error (Unusable) is printed on standard error, and ends it with exit 2."""
        try:
            return super().invoke(ctx)
        except Unusable as error:
            click.echo(wrapped(str(error), columns_of(sys.stderr), 4), err=True)
            raise click.exceptions.Exit(2) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(None, "-v", "--version", package_name="outrider", message="outrider %(version)s")
def outrider() -> None:
    """Synthetic monitoring and health probes for the AI Road Trip Storyteller.

    Exit codes: 0 pass, 1 fail, 2 usage or configuration, 3 inconclusive.
    """


def main() -> None:
    """The entry point: Ctrl-C ends a command without a traceback, with exit 3 (nothing is certain)."""
    try:
        sys.exit(outrider.main(standalone_mode=False))
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(3)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
