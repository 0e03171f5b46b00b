"""`outrider probe`: runs checks once, now, and shows where the time went."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner import our_version
from runner.cli._options import plan_from, selection_options
from runner.config.purpose import Purpose
from runner.usage import unusable

if TYPE_CHECKING:
    from judge.observation import Observation
    from probes.core import Clock
    from runner.config.plan import Plan, Planned
    from runner.engine.execute import Execute


@click.command("probe", short_help="Run checks once, now, and show where the time went.")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, with all details.")
@selection_options
def command(names: tuple[str, ...], config: Path, tags: tuple[str, ...], checks: tuple[str, ...], *, as_json: bool) -> None:
    """Run checks once, now, and show where the time went.

    Exit 0 when all passed, 1 when one failed, 3 when one is unknown.
    """
    plan = plan_from(config, Purpose.CHECKS, tags=tags, checks=(*checks, *names))
    if not plan.checks:
        unusable(f"{config}: no check is enabled")
    seen = asyncio.run(_probe(plan))
    _write(seen, file=config.name, as_json=as_json)
    verdicts = {one.verdict for one in seen}
    raise click.exceptions.Exit(1 if "fail" in verdicts else 3 if "unknown" in verdicts else 0)


async def _probe(plan: Plan) -> list[Observation]:
    """Runs every check of the plan at the same time, and returns the observations in the plan's order."""
    import random
    from dataclasses import replace

    from judge.findings import finding, hangs
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
        execute = Execute(plan=plan, wire=wire, ledger=ledger, clock=clock, rng=random.SystemRandom(), version=our_version())
        runs = await asyncio.gather(*(_run_check(execute, planned, clock) for planned in plan.checks))
    finally:
        await wire.aclose()
        await ledger.aclose()
    latest = {one.check.name: one for run in runs for one in run}
    hanging = dict.fromkeys(name for name, seen in latest.items() if hangs(seen))
    return [replace(one, finding="; ".join(filter(None, (one.finding, finding(one, latest, hanging))))) for one in latest.values()]


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


def _write(seen: list[Observation], *, file: str, as_json: bool) -> None:
    from runner.reports import observations as report
    from runner.reports import waterfall

    if as_json:
        click.echo(report.observations(seen))
        return
    from rich.console import Console

    waterfall.write(Console(highlight=False), seen, file=file)
