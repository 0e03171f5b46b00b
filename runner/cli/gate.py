"""`outrider gate`: asks after a deployment whether the right release works; its exit code decides whether it stays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner import our_version
from runner.cli._gate_options import GateOptions, gate_options
from runner.cli._options import deployment_options, plan_from, selection_options
from runner.cli._reports import deliver_reports, report_options, standard_output_is_taken
from runner.config.purpose import Purpose
from runner.usage import unusable

if TYPE_CHECKING:
    from judge.baseline import Before
    from judge.report import Report
    from runner.config.plan import Plan
    from runner.grafana import Deployment


@click.command("gate", short_help="Check after a deployment that the right release works.")
@gate_options
@deployment_options
@report_options
@selection_options
def command(config: Path, tags: tuple[str, ...], checks: tuple[str, ...], deployment: str | None, *, require: bool, **options: Any) -> None:
    """Check after a deployment that the right release works.

    Wait until the targets serve the expected revision, run the checks in rounds, and exit with 0 pass, 1 fail, 3 inconclusive
    (nothing is proven), 2 usage or configuration.
    """
    wanted = {name.removeprefix("as_"): options.pop(name) for name in list(options) if name.startswith("as_")}
    given = GateOptions.read(options)
    before = _before(given.baseline)
    plan: Plan | None
    run: Callable[[], Awaitable[Report]]
    if given.via:
        from runner.gate.remote import gate_via, request_of

        plan = plan_from(config, Purpose.ANNOTATE) if given.annotate else None  # for Grafana alone: the runner has the checks
        request = request_of(given.settings, before, tags=list(tags), checks=list(checks), since=given.since)
        run = partial(gate_via, given.via, given.token, request, wait=given.settings.wait, say=_say)
    else:
        from rich.console import Console

        from runner.gate.local import gate_here

        plan = plan_from(config, Purpose.GATE, tags=tags, checks=checks, annotate=given.annotate)
        if not plan.checks:
            unusable(f"{config}: no check is enabled")
        console = Console(highlight=False, stderr=standard_output_is_taken(wanted))
        run = partial(gate_here, plan, given.settings, before, save=given.save, version=our_version(), console=console, say=_say)
    annotated = _deployment(plan, deployment, given, require=require) if given.annotate and plan else None
    with contextlib.suppress(KeyboardInterrupt):
        report, stands = asyncio.run(_annotated(run, plan, annotated))
        deliver_reports(report, wanted)
        code = report.verdict.exit_code_as(given.inconclusive)
        if require and given.annotate and not stands:
            click.echo("the mark does not stand in Grafana, and --require asks for it", err=True)
            code = 1
        raise click.exceptions.Exit(code)
    raise click.exceptions.Exit(3)


def _before(baseline: Path | None) -> Before | None:
    if baseline is None:
        return None
    from runner.gate.baseline_file import load

    try:
        return load(baseline)
    except OSError as error:
        unusable(f"--baseline {baseline}: {error.strerror or error}")
    except ValueError as error:
        unusable(f"--baseline {baseline}: {error}")


def _deployment(plan: Plan, identity: str | None, given: GateOptions, *, require: bool) -> Deployment | None:
    from runner.clock import SystemClock
    from runner.grafana.deployment import deployment_of, grafana_of

    grafana_of(plan, require=require, say=_say)  # without one the deployment is published all the same, for the jobs that come later
    now = SystemClock().time()
    revision = given.settings.expect_revision
    found = deployment_of(plan, identity, revision=revision, generated=f"by-hand/{round(now * 1000)}")
    return replace(found, started=now) if found else None


async def _annotated(run: Callable[[], Awaitable[Report]], plan: Plan | None, deployment: Deployment | None) -> tuple[Report, bool]:
    """The gate's report, and whether its annotation stands in Grafana (also True where there is none to write)."""
    from runner.gate.annotation import annotating
    from runner.grafana.deployment import publish

    async with annotating(plan, deployment, _say) as finish:
        report = await run()
        outcome = await finish(report) if finish else None
    if deployment is not None:
        publish((outcome and outcome.deployment) or deployment, _say)
    return report, outcome is None or outcome.stands


def _say(text: str) -> None:
    click.echo(text, err=True)
