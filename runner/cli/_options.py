"""The options that every command which reads checks has, and the one place where they become a Plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli._completion import CHECK, TAG
from runner.config.purpose import Purpose
from runner.usage import unusable

if TYPE_CHECKING:
    from runner.config.plan import Plan
    from runner.shares.shard import Shard

Command = Callable[..., Any]


class Unit(click.ParamType[Any]):
    """A number with its unit, as in checks.yaml: a duration (seconds), a percent (a share) or a rate."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value. Ends with exit 2, the option, the value, and what to write instead."""
        from probes.fields import Rate, percent, positive_seconds

        if not isinstance(value, str):
            return value
        try:
            if self.name == "rate":
                return Rate.parse(value)
            return positive_seconds(value) if self.name == "duration" else float(percent(value))
        except ValueError as error:
            self.fail(str(error) if value in str(error) else f"{value}: {error}", param, ctx)


def config_option(command: Command) -> Command:
    """--config, or OUTRIDER_CONFIG, or checks.yaml."""
    return click.option(
        "-c",
        "--config",
        "config",
        type=click.Path(path_type=Path),
        envvar="OUTRIDER_CONFIG",
        default=Path("checks.yaml"),
        show_default=True,
        help="The file with the checks.",
    )(command)


def selection_options(command: Command) -> Command:
    """--tag and --check, each any number of times."""
    for name, help_text in (("check", "Only the check with this name."), ("tag", "Only the checks with this tag.")):
        completing = {"check": CHECK, "tag": TAG}[name]
        command = click.option(f"--{name}", f"{name}s", multiple=True, metavar=name.upper(), help=help_text, shell_complete=completing)(
            command
        )
    return config_option(command)


def shard_option(command: Command) -> Command:
    """--shard, or OUTRIDER_SHARD; the command gets None or a Shard."""
    return click.option(
        "--shard",
        envvar="OUTRIDER_SHARD",
        default=None,
        metavar="ORDINAL/N",
        callback=lambda _context, _option, text: _shard(text) if text else None,
        help="Only the checks of one of N shards, such as 2/5, counted from 0. auto/5 takes the ordinal from the pod's name.",
    )(command)


def _shard(text: str) -> Shard:
    import socket

    from runner.shares.shard import Shard

    try:
        return Shard.parse(text, os.environ, socket.gethostname)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def deployment_options(command: Command) -> Command:
    """--deployment and --require: what ties a deployment's start to its finish."""
    text = "The id that connects its start and its finish.  [default: the CI's run and attempt]"
    command = click.option("--require", is_flag=True, help="Exit 1 unless the annotation is in Grafana.")(command)
    return click.option("--deployment", default=None, metavar="ID", help=text)(command)


def plan_from(config: Path, purpose: Purpose, *, tags: tuple[str, ...] = (), checks: tuple[str, ...] = (), annotate: bool = False) -> Plan:
    """The plan of a file; ends the command with exit 2 and every problem where there is one."""
    from runner.config.errors import PlanError
    from runner.config.read import read_plan

    try:
        return read_plan(config, environ=os.environ, purpose=purpose, tags=tags, checks=checks, annotate=annotate)
    except PlanError as error:
        unusable(str(error))
