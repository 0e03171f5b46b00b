"""`outrider demo`: the stand-in and the runner together, with faults to switch on."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner import our_version
from runner.cli._options import config_option
from runner.usage import unusable

if TYPE_CHECKING:
    from demo.introduction import StandIn
    from judge.observation import Observation
    from runner.config.plan import ByCheck, Plan


@click.command("demo", short_help="Run the stand-in for the Road Trip Storyteller and the runner together.")
@click.option("--duration", default=None, metavar="TIME", help="End after this time, such as 20s.")
@click.option("--with", "faults", multiple=True, metavar="FAULT", help="Switch a fault on at the start.")
@click.option("--fault", "turned_on", default=None, metavar="FAULT", help="Switch a fault of the running demo on.")
@click.option("--off", "turned_off", default=None, metavar="FAULT", help="Switch a fault of the running demo off.")
@click.option("--faults", "listed", is_flag=True, help="List the faults.")
@click.option("--no-limits", is_flag=True, help="Switch off the application's own rate limit, for load tests.")
@click.option("--embedded", is_flag=True, help="Use the packages' PostgreSQL and Redis, even if others are on the PATH.")
@config_option
def command(
    config: Path,
    duration: str | None,
    faults: tuple[str, ...],
    turned_on: str | None,
    turned_off: str | None,
    *,
    listed: bool,
    no_limits: bool,
    embedded: bool,
) -> None:
    """Run the stand-in for the Road Trip Storyteller (API, database, cache, AI service, booking partners) and the runner together.

    --fault and --off change the running demo, and exit with 1 if there is none.
    """
    try:
        from demo import introduction
    except ImportError as error:
        unusable(f"the demo needs {error.name}, which isn't installed here; in a clone: make install, then .venv/bin/outrider demo")
    if listed:
        for fault in introduction.FAULTS.values():
            click.echo(f"{fault.name:<16} {fault.summary}")
    elif turned_on or turned_off:
        _switch(turned_on, turned_off)
    else:
        _show(config, _seconds(duration), faults, limits=not no_limits, embedded=embedded)


def _seconds(duration: str | None) -> float | None:
    from probes.fields import positive_seconds

    try:
        return positive_seconds(duration) if duration else None
    except ValueError as error:
        unusable(f"--duration: {error}")


def _switch(turned_on: str | None, turned_off: str | None) -> None:
    from demo.introduction import Declined, NoDemo, send

    try:
        if turned_off:
            click.echo(send("off", turned_off))
        if turned_on:
            click.echo(send("on", turned_on))
    except (NoDemo, Declined) as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(1) from error


def _show(config: Path, seconds: float | None, faults: tuple[str, ...], *, limits: bool, embedded: bool) -> None:
    import uvloop

    from demo.introduction import StandIn, UnknownFault, control_file
    from runner.config.errors import PlanError
    from runner.web.serve import CannotListenError

    try:
        standin = StandIn(limits=limits, faults=faults, control=control_file(), embedded=embedded)
        uvloop.run(_play(standin, config, seconds))
    except (UnknownFault, PlanError, CannotListenError) as error:
        unusable(str(error))
    except RuntimeError as error:
        click.echo(f"the stand-in can't start: {error}", err=True)
        raise click.exceptions.Exit(1) from error


async def _play(standin: StandIn, config: Path, seconds: float | None) -> None:
    from runner.clock import SystemClock
    from runner.config.read import read_plan
    from runner.service.service import running, signals

    stop = asyncio.Event()
    click.echo("starting the stand-in: PostgreSQL, Redis, the API, the model, two partners")
    async with standin:
        environ = {**os.environ, **standin.environment()}
        journal = standin.folder / "journal.jsonl"
        with await asyncio.to_thread(journal.open, "w", encoding="utf-8") as stream:
            printer = _VerdictPrinter(config.name)
            async with running(
                lambda: read_plan(config, environ=environ),
                path=config,
                clock=SystemClock(),
                version=our_version(),
                journal=stream,
                extra=(("terminal", printer),),
            ) as (_, listening, reload):
                environment = await asyncio.to_thread(standin.write_environment)
                _print_addresses(standin, listening.url, str(journal), str(environment))
                with signals(stop, reload), suppress(TimeoutError):  # the duration is over
                    await asyncio.wait_for(stop.wait(), seconds)
    click.echo("the demo has ended; all its processes are stopped")


class _VerdictPrinter:
    """A sink that prints each check's first verdict, and every change of it."""

    def __init__(self, file: str) -> None:
        from rich.console import Console

        from runner.config.plan import ByCheck

        self._console = Console(highlight=False)
        self._file = file
        self._verdicts: ByCheck[str] = ByCheck()
        self._waiting: set[str] = set()  # checks without a verdict, until all of them have had one
        self._width = 0

    def __call__(self, seen: Observation) -> None:
        from runner.reports import waterfall

        if self._verdicts.get(seen.check.name) != seen.verdict:
            waterfall.write_one(self._console, seen, width=self._width, file=self._file)
        self._verdicts[seen.check.name] = seen.verdict
        if self._waiting:
            self._waiting.discard(seen.check.name)
            if not self._waiting and set(self._verdicts.values()) == {"pass"}:
                self._console.print("all checks are up", style="bold green")

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: a removed check is no longer waited for, and the next verdict of a changed check is printed again.

        A restart restores nothing: the terminal is another one.
        """
        self._verdicts.plan(plan)
        self._waiting = plan.fingerprints.keys() - self._verdicts.keys()
        self._width = max(map(len, plan.fingerprints), default=0)


def _print_addresses(standin: StandIn, page: str, journal: str, environment: str) -> None:
    from demo.introduction import ASK, TRY, TRY_LOAD, look

    click.echo(
        f"\n  the page       {page}\n  metrics        {page}metrics\n  health         {page}health/metrics\n  the journal    {journal}\n"
    )
    for page_of in look(standin):
        click.echo(f"  {page_of.what:<42} {page_of.where}")
    outrider = "outrider" if shutil.which("outrider") else sys.argv[0]
    trials = ASK if standin.world.limits else (*ASK, TRY_LOAD)
    width = max(len(trial.where) for trial in (*TRY, *trials)) + len(outrider) - len("outrider")
    click.echo("\n  try, in another terminal:")
    for trial in TRY:
        click.echo(f"    {trial.where.replace('outrider', outrider, 1):<{width}}  {trial.what}")
    click.echo(f"\n  to run other commands against the demo, first set its variables:\n    . {environment}")
    for trial in trials:
        click.echo(f"    {trial.where.replace('outrider', outrider, 1):<{width}}  {trial.what}")
    click.echo("")
    sys.stdout.flush()
