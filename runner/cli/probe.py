"""`outrider probe`: runs checks once, now, and shows where the time went."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from runner import our_version
from runner.cli._completion import CHECK
from runner.cli._options import plan_from, selection_options
from runner.config.purpose import Purpose
from runner.usage import unusable

if TYPE_CHECKING:
    from rich.console import Console

    from judge.observation import Observation
    from probes.core import Clock
    from runner.config.plan import Plan, Planned
    from runner.engine.execute import Execute

_TURN = 0.2  # seconds between two looks at the clock and at Ctrl-C


@click.command("probe", short_help="Run checks once, now, and show where the time went.")
@click.argument("names", nargs=-1, shell_complete=CHECK)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, with all details.")
@selection_options
def command(names: tuple[str, ...], config: Path, tags: tuple[str, ...], checks: tuple[str, ...], *, as_json: bool) -> None:
    """Run checks once, now, and show where the time went. Each result is shown as soon as it is there.

    A part of a check (api-report/db_healthy) runs the whole check, and shows the part.

    Exit 0 when all passed, 1 when one failed, 3 when one is unknown. Ctrl-C shows what is known by then: exit 3, or 1 when one failed.
    """
    named = (*checks, *names)
    plan = plan_from(config, Purpose.CHECKS, tags=tags, checks=tuple(name.partition("/")[0] for name in named))
    if not plan.checks:
        unusable(f"{config}: no check is enabled")
    shown = _shown(plan, named, tags)
    report = _Json() if as_json else _Terminal(max(map(len, shown)), config.name)
    seen, missing = asyncio.run(_probe(plan, shown, report))
    report.end(seen)
    if missing:
        click.echo(f"interrupted: no result of {', '.join(missing)}", err=True)
    verdicts = {one.verdict for one in seen}
    raise click.exceptions.Exit(1 if "fail" in verdicts else 3 if missing or "unknown" in verdicts else 0)


def _shown(plan: Plan, named: tuple[str, ...], tags: tuple[str, ...]) -> frozenset[str]:
    """The names whose results are shown: whole checks with their parts, and single parts where only these were asked for."""
    from probes.text import unknown

    shown = set[str]()
    for planned in plan.checks:
        check, parts = planned.check, [part.name for part in planned.parts]
        only = [name for name in named if name.startswith(f"{check.name}/")]
        for name in only:
            if name not in parts:
                problem = unknown(name.partition("/")[2], f"part of {check.name}", [part.partition("/")[2] for part in parts])
                unusable(f"{name}: {problem}")
        whole = check.name in named or not only or not set(tags).isdisjoint(check.tags)
        shown |= {check.name, *parts} if whole else set(only)
    return frozenset(shown)


class _Report(Protocol):
    def add(self, seen: Observation) -> None:
        """Takes a result, as soon as it is there."""

    def waiting(self, text: str) -> None:
        """Says what is waited for."""

    def end(self, seen: Iterable[Observation]) -> None:
        """Takes all results, with the findings that need them all."""


class _Json:
    """Prints everything at the end."""

    def add(self, seen: Observation) -> None: ...

    def waiting(self, text: str) -> None: ...

    def end(self, seen: Iterable[Observation]) -> None:
        from runner.reports import observations as report

        click.echo(report.observations(list(seen)))


class _Terminal:
    """Draws each result, and on a terminal a last line with what is waited for."""

    def __init__(self, width: int, file: str) -> None:
        from rich.console import Console

        self._console: Console = Console(highlight=False)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._width = width
        self._file = file
        self._findings: dict[str, str] = {}

    def add(self, seen: Observation) -> None:
        from runner.reports import waterfall

        waterfall.write_one(self._console, seen, width=self._width, file=self._file)
        self._findings[seen.check.name] = seen.finding

    def waiting(self, text: str) -> None:
        if self._status:
            self._status.update(text)
            self._status.start()

    def end(self, seen: Iterable[Observation]) -> None:
        if self._status:
            self._status.stop()
        for one in seen:
            if one.finding != self._findings[one.check.name]:  # what a later result says of an earlier one
                self._console.print(f"{one.check.name}: {one.finding}", soft_wrap=True, markup=False)


async def _probe(plan: Plan, shown: frozenset[str], report: _Report) -> tuple[list[Observation], list[str]]:
    """Runs every check at the same time. Returns the observations in the plan's order, and the checks that had none at the interrupt."""
    from dataclasses import replace

    from judge.findings import finding, hangs

    latest: dict[str, Observation] = {}

    def with_finding(one: Observation) -> Observation:
        hanging = dict.fromkeys(name for name, seen in latest.items() if hangs(seen))
        return replace(one, finding="; ".join(dict.fromkeys(filter(None, (one.finding, finding(one, latest, hanging))))))

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with _executing(plan) as (execute, clock):
        began = loop.time()
        pending = {asyncio.ensure_future(_run_check(execute, planned, clock)): planned for planned in plan.checks}
        while pending and not stop.is_set():
            report.waiting(_waiting(list(pending.values()), loop.time() - began))
            done, _ = await asyncio.wait(pending, timeout=_TURN, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del pending[task]
                latest |= {one.check.name: one for one in task.result()}
                for one in task.result():
                    if one.check.name in shown:
                        report.add(with_finding(one))
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    order = [check.name for planned in plan.checks for check in (planned.check, *planned.parts)]
    return [with_finding(latest[name]) for name in order if name in latest and name in shown], [p.check.name for p in pending.values()]


def _waiting(pending: list[Planned], seconds: float) -> str:
    from probes.text import listed

    names = listed([planned.check.name for planned in pending], 3)
    longest = max(planned.check.timeout for planned in pending)
    return f"waiting for {names} ({seconds:.0f} s of {longest:g} s)" if seconds < longest else f"diagnosing {names} ({seconds:.0f} s)"


@asynccontextmanager
async def _executing(plan: Plan) -> AsyncIterator[tuple[Execute, Clock]]:
    import random

    from probes.wire.wire import Wire
    from runner.clock import SystemClock
    from runner.config.rates import windows
    from runner.engine.execute import Execute
    from runner.state import open_ledger

    clock = SystemClock()
    ledger = await asyncio.to_thread(open_ledger, plan.state, clock, windows(plan))
    if not ledger.durable:
        click.echo(f"budgets and limits are counted in memory only: {ledger.why}", err=True)
    wire = Wire()
    try:
        yield Execute(plan=plan, wire=wire, ledger=ledger, clock=clock, rng=random.SystemRandom(), version=our_version()), clock
    finally:
        await wire.aclose()
        await ledger.aclose()


async def _run_check(execute: Execute, planned: Planned, clock: Clock) -> tuple[Observation, ...]:
    """Runs a check once, and diagnoses a failure. The failure itself stands as it was recorded."""
    from dataclasses import replace

    from probes.core import Verdict
    from runner.engine.diagnosis import burst

    observation, *parts = await execute.observe(planned, by_hand=True)
    if observation.verdict is Verdict.FAIL:
        try:
            diagnosis = await burst(execute, planned, observation, {}, clock)
        except Exception as error:  # noqa: BLE001 - the failure is reported without a diagnosis
            observation = replace(observation, finding=f"the diagnosis broke: {type(error).__name__}")
        else:
            if diagnosis:
                evidence = {**observation.evidence, "diagnosis": diagnosis.trials}
                observation = replace(observation, finding=diagnosis.text, evidence=evidence)
    return (observation, *parts)
