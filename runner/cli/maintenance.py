"""`outrider maintenance`: opens, ends and lists the maintenance windows of a running runner."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli._operate import RefusedError, Runner, RunnerError, exit_for, read_token, runner_options
from runner.cli._options import Unit
from runner.usage import unusable

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.group("maintenance", short_help="Open, end and list maintenance windows.")
def command() -> None:
    """Open, end and list the maintenance windows of a running runner.

    In a window the checks go on, no failure counts for an SLO, and no alert of the checks that it covers fires. It ends by itself.
    Windows that come again and again stand in checks.yaml, under maintenance.
    """


@command.command("start")
@click.option("--for", "seconds", required=True, type=Unit("duration"), help="How long, such as 30m; at most 30d.")
@click.option("--why", required=True, help="The reason, for whoever looks at the page.")
@click.option("--name", default=None, help="A name.  [default: opened by hand]")
@click.option("--by", default=None, help="Who opens it.  [default: the user and the machine]")
@click.option("--check", "checks", multiple=True, metavar="CHECK", help="The check with this name.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="The checks with this tag.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="The checks of this target.")
@click.option("--all", "everything", is_flag=True, help="All checks.")
@click.option("--json", "as_json", is_flag=True, help="Print the window as JSON.")
@runner_options
def start(seconds: float, via: str | None, token_file: Path | None, *, everything: bool, as_json: bool, **given: Any) -> None:
    """Open a window now. Exit 0, or 1 with the reason."""
    if not (everything or given["checks"] or given["tags"] or given["targets"]):
        unusable("say what it covers: --check, --tag or --target, or --all")
    body = {
        "for": f"{seconds:g}s",
        "by": given.pop("by") or _user(),
        "all": everything,
        **{key: value for key, value in given.items() if value},
    }
    try:
        window = Runner.at(via, read_token(token_file)).ask("POST", "/api/maintenance", body)
    except (RunnerError, RefusedError) as error:
        raise exit_for(error) from None
    if as_json:
        click.echo(json.dumps(window))
        return
    click.echo(f"maintenance until {window['until']} for {', '.join(window['covers'])}")
    click.echo(f"end it earlier: outrider maintenance end {window['id']}")


@command.command("end")
@click.argument("identity", metavar="ID")
@runner_options
def end(identity: str, via: str | None, token_file: Path | None) -> None:
    """End a window that was opened by hand. `list` shows the ids."""
    from urllib.parse import quote

    try:
        window = Runner.at(via, read_token(token_file)).ask("DELETE", f"/api/maintenance/{quote(identity, safe='')}")
    except (RunnerError, RefusedError) as error:
        raise exit_for(error) from None
    click.echo(f"ended: {window['name']}, opened by {window['by']}: {window['why']}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the windows as JSON.")
@runner_options
def list_windows(via: str | None, token_file: Path | None, *, as_json: bool) -> None:
    """List the windows that are open or to come."""
    try:
        windows = Runner.at(via, read_token(token_file)).ask("GET", "/api/maintenance")
    except (RunnerError, RefusedError) as error:
        raise exit_for(error) from None
    if as_json:
        click.echo(json.dumps(windows))
        return
    for window in windows:
        click.echo(_line(window))
    if not windows:
        click.echo("no window is open or planned")


def _line(window: Mapping[str, Any]) -> str:
    when = f"open until {window['until']}" if window["open"] else f"opens {window['from']}, until {window['until']}"
    covers = "all checks" if not (window["checks"] or window["tags"] or window["targets"]) else ", ".join(window["covers"]) or "no check"
    why = f": {window['why']}" if window["why"] else ""
    return f"{window['id'] or '-':8}  {window['name']}  {when}, {covers}, by {window['by']}{why}"


def _user() -> str:
    try:
        return f"{getpass.getuser()} at {socket.gethostname()}"[:100]
    except (OSError, KeyError):  # a container's user may have no name
        return "the command line"
