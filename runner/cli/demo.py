"""`outrider demo`: the stand-in and the runner together, with faults to switch on."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from functools import partial
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


def _complete_fault(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    try:
        from demo.introduction import FAULTS
    except ImportError:
        return []
    return [name for name in (*FAULTS, "all") if name.startswith(begun)]


@click.command("demo", short_help="Run the stand-in for the Road Trip Storyteller and the runner together.")
@click.option(
    "--as",
    "played_as",
    type=click.Choice(["guide", "built"]),
    default="guide",
    show_default=True,
    help="Play the application as the monitoring guide intends it, or as it is built, with its mistakes.",
)
@click.option("--duration", default=None, metavar="TIME", help="End after this time, such as 20s.")
@click.option("--with", "faults", multiple=True, metavar="FAULT", shell_complete=_complete_fault, help="Switch a fault on at the start.")
@click.option(
    "--fault", "turned_on", multiple=True, metavar="FAULT", shell_complete=_complete_fault, help="Switch a fault of the running demo on."
)
@click.option(
    "--off",
    "turned_off",
    multiple=True,
    metavar="FAULT",
    shell_complete=_complete_fault,
    help="Switch a fault of the running demo off; all of them: all.",
)
@click.option("--faults", "listed", is_flag=True, help="List the faults, and those that are on in the running demo.")
@click.option(
    "--demo", "pid", type=int, default=None, envvar="OUTRIDER_DEMO", help="The process id of the demo that is meant, if several run."
)
@click.option("--no-limits", is_flag=True, help="Switch off the application's own rate limit, for load tests.")
@click.option("--embedded", is_flag=True, help="Use the packages' PostgreSQL and Redis, even if others are on the PATH.")
@config_option
def command(
    config: Path,
    duration: str | None,
    faults: tuple[str, ...],
    turned_on: tuple[str, ...],
    turned_off: tuple[str, ...],
    pid: int | None,
    *,
    played_as: str,
    listed: bool,
    no_limits: bool,
    embedded: bool,
) -> None:
    """Run the stand-in for the Road Trip Storyteller (API, database, cache, AI service, booking partners) and the runner together.

    --fault and --off change the running demo, any number of faults at once, and exit with 1 if there is none.
    """
    try:
        from demo import introduction
    except ImportError as error:
        unusable(f"the demo needs {error.name}, which isn't installed here; in a clone: make install, then .venv/bin/outrider demo")
    if listed:
        try:
            on = introduction.faults_on(introduction.find_demo(pid))
        except (introduction.NoDemo, introduction.Declined):
            on = frozenset()
        for fault in introduction.FAULTS.values():
            click.echo(f"{'on' if fault.name in on else '':<3}{fault.name:<16} {fault.summary}")
    elif turned_on or turned_off:
        _switch(turned_on, turned_off, pid)
    else:
        _show(config, _seconds(duration), faults, as_built=played_as == "built", limits=not no_limits, embedded=embedded)


def _seconds(duration: str | None) -> float | None:
    from probes.fields import positive_seconds

    try:
        return positive_seconds(duration) if duration else None
    except ValueError as error:
        unusable(f"--duration: {error}")


def _switch(turned_on: tuple[str, ...], turned_off: tuple[str, ...], pid: int | None) -> None:
    from demo.introduction import FAULTS, Declined, NoDemo, UnknownFault, faults_on, find_demo, send

    try:
        for name in (*turned_on, *turned_off):
            if name not in FAULTS and (name != "all" or name in turned_on):
                raise UnknownFault(name)
        demo = find_demo(pid)
        off = faults_on(demo) if "all" in turned_off else turned_off
        if not off and not turned_on:
            click.echo(f"no fault was on in the demo with the process id {demo.pid}")
        for name in sorted(off):
            click.echo(send("off", name, demo))
        for name in turned_on:
            click.echo(send("on", name, demo))
    except UnknownFault as error:
        unusable(str(error))
    except (NoDemo, Declined) as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(1) from error


def _show(config: Path, seconds: float | None, faults: tuple[str, ...], *, as_built: bool, limits: bool, embedded: bool) -> None:
    import uvloop

    from demo.introduction import Built, StandIn, UnknownFault, control_file
    from runner.config.errors import PlanError
    from runner.web.serve import CannotListenError

    try:
        standin = StandIn(limits=limits, faults=faults, control=control_file(), embedded=embedded, built=Built() if as_built else None)
        uvloop.run(_play(standin, config, seconds))
    except (UnknownFault, PlanError, CannotListenError) as error:
        unusable(str(error))
    except RuntimeError as error:
        click.echo(f"the stand-in can't start: {error}", err=True)
        raise click.exceptions.Exit(1) from error


async def _play(standin: StandIn, config: Path, seconds: float | None) -> None:
    from demo.introduction import DEMO
    from runner.clock import SystemClock
    from runner.config.read import read_plan
    from runner.service.running import running
    from runner.service.signals import signals

    stop = asyncio.Event()
    click.echo("starting the stand-in: PostgreSQL, Redis, the API, the model, two partners")
    if standin.world.built is not None:
        click.echo("  the API is played as it is built: api-report and plan-a-trip are down, and the messages say why")
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
                more = {DEMO: str(os.getpid()), "OUTRIDER_CONFIG": str(await asyncio.to_thread(config.absolute))}
                started = Path(sys.argv[0] if Path(sys.argv[0]).name == "outrider" else sys.executable)
                programs = (await asyncio.to_thread(started.absolute)).parent
                environment = await asyncio.to_thread(partial(standin.write_environment, programs, **more))
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
    click.echo("\n  In another terminal, set the demo's variables and put outrider on the PATH:\n")
    click.echo(f"    . {environment}\n\n  and then try:\n")
    width = min(100, shutil.get_terminal_size().columns)
    for trial in (*TRY, *ASK, *(() if standin.world.limits else (TRY_LOAD,))):
        click.echo(f"    {trial.where}\n{textwrap.fill(trial.what, width, initial_indent=' ' * 8, subsequent_indent=' ' * 8)}")
    if standin.world.limits:
        click.echo("\n  A load test needs the demo without its rate limit: outrider demo --no-limits")
