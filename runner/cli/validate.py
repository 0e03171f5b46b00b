"""`outrider validate`: reads the configuration and says what it will do, without asking anything of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli._options import load_plan, selection_options

if TYPE_CHECKING:
    from runner.plan.model import Plan

DAY = 86400.0


@click.command("validate", short_help="Read the configuration and say what it will do.")
@click.option("--no-secrets", is_flag=True, help="Need no variable and no secret file: texts stand in for them.")
@selection_options
def command(config: Path, tags: tuple[str, ...], checks: tuple[str, ...], *, no_secrets: bool) -> None:
    """Read the configuration and say what it will do: exit 0, or 2 with every problem at its line and column."""
    plan = load_plan(config, tags=tags, checks=checks, secrets=not no_secrets)
    for line in summary(plan):
        click.echo(line)


def summary(plan: Plan) -> list[str]:
    """What the plan will do, one fact a line."""
    return [_rhythm(plan), *_asked(plan)]


def _rhythm(plan: Plan) -> str:
    intervals = sorted({planned.check.interval for planned in plan.checks})
    runs = sum(DAY / planned.check.interval for planned in plan.checks if planned.check.interval)
    spread = f", every {_span(intervals[0])} to {_span(intervals[-1])}" if intervals else ""
    return f"{_count(len(plan.checks), 'check')}, {_count(len(plan.slos), 'SLO')}{spread}: {runs:,.0f} runs a day"


def _asked(plan: Plan) -> list[str]:
    from runner.plan.limits import limits

    return [
        f"over its limit: {load.target} is asked {_rate(load.asks, load.window)} and allows {load.limit:,.0f}; {load.hint}"
        if load.over
        else f"{load.target} is asked {_rate(load.asks, load.window)} of {load.limit:,.0f} allowed"
        for load in limits(plan)
    ]


def _rate(asks: float, window: float) -> str:
    return f"{asks:,.0f} times in {_span(window)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _span(seconds: float) -> str:
    """A duration as checks.yaml writes it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
