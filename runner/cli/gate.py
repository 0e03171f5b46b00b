"""`outrider gate`: asks after a deployment whether the right release works; its exit code decides whether it stays."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner import our_version
from runner.cli._gate_options import Given, gate_options
from runner.cli._options import deployment_options, load_plan, selection_options
from runner.cli._reports import deliver_reports, report_options
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
    given = Given.of(options)
    if given.via:
        plan = _plan_for_marks(config, needed=given.annotate)
    else:
        plan = load_plan(config, tags=tags, checks=checks, marking=given.annotate, gating=True)
    if plan is not None and not given.via and not plan.checks:
        unusable(f"{config}: no check is enabled")
    before = _before(given.baseline)
    marked = _deployment(plan, deployment, given, require=require) if given.annotate and plan else None
    with contextlib.suppress(KeyboardInterrupt):
        told, stands = asyncio.run(_carried_out(plan, given, before, marked, tags=tags, checks=checks, quiet=_is_quiet(wanted)))
        deliver_reports(told, wanted)
        _end(told, given, failed_mark=require and given.annotate and not stands)
    raise click.exceptions.Exit(3)


def _end(told: Report, given: Given, *, failed_mark: bool) -> NoReturn:
    code = told.verdict.exit_code_as(given.inconclusive)
    if failed_mark:
        click.echo("the annotation is not in Grafana, but --require needs it", err=True)
        code = 1
    raise click.exceptions.Exit(code)


def _is_quiet(wanted: dict[str, str | None]) -> bool:
    """Whether data goes to standard output, so that what goes on is told on standard error."""
    from runner.reports import formats

    return any(file == "-" and not formats()[name].beside for name, file in wanted.items())


def _plan_for_marks(config: Path, *, needed: bool) -> Plan | None:
    """With --via the checks are the runner's; the file here only says where Grafana is."""
    return load_plan(config, marking=True, probing=False) if needed else None


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


def _deployment(plan: Plan, identity: str | None, given: Given, *, require: bool) -> Deployment | None:
    from runner.clock import SystemClock
    from runner.grafana.deployment import deployment_of, has_grafana

    has_grafana(plan, require=require)  # without one the deployment is told all the same, to the jobs that come later
    now = SystemClock().time()
    told = deployment_of(plan, identity, revision=given.expect_revision, made_up=f"by-hand/{round(now * 1000)}")
    return replace(told, started=now) if told else None


async def _carried_out(
    plan: Plan | None,
    given: Given,
    before: Before | None,
    deployment: Deployment | None,
    *,
    tags: tuple[str, ...],
    checks: tuple[str, ...],
    quiet: bool,
) -> tuple[Report, bool]:
    """The report, and whether its mark stands in Grafana. Ctrl-C ends the gate with a verdict so far; twice ends it at once."""
    from runner.gate.annotation import marking
    from runner.gate.local import here
    from runner.grafana.deployment import put_out

    async with marking(plan, deployment) as marks:
        if given.via:
            from runner.gate.remote import via

            told = await via(given, before, tags=tags, checks=checks)
        elif plan is not None:
            told = await here(plan, given, before, version=our_version(), quiet=quiet)
        else:
            raise AssertionError  # without --via there is a plan
        stands = await marks.finish(told)
    if deployment is not None:
        put_out(replace(deployment, id=marks.id or deployment.id))
    return told, stands
