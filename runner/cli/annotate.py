"""`outrider annotate`: a deployment's annotation in Grafana, recorded by its start and its finish, perhaps on different machines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from runner.cli._options import config_option, deployment_options, plan_from
from runner.config.purpose import Purpose
from runner.usage import unusable

if TYPE_CHECKING:
    from runner.config.plan import Marking, Plan
    from runner.grafana import Recorder

T = TypeVar("T")
VERDICTS = ("pass", "fail", "inconclusive")


@click.group("annotate", short_help="Annotate a deployment in Grafana.")
def command() -> None:
    """Annotate a deployment in Grafana: a region from its start to its verdict.

    Exit 0 also when Grafana is down: the annotation waits in the spool, and a later flush (or `outrider run`) sends it. If
    Grafana's address in the file is empty, no annotation is written, and the command says so.
    """


@command.command("start")
@click.option("--revision", default="", help="What is deployed.  [default: the CI's commit]")
@click.option("--version", "release", default="", help="Its version, for display.")
@deployment_options
@config_option
def start(config: Path, deployment: str | None, revision: str, release: str, *, require: bool) -> None:
    """Annotate the start of a deployment, and close earlier ones that never finished."""
    _record(config, deployment, "", revision=revision, version=release, require=require)


@command.command("finish")
@click.option("--verdict", required=True, type=click.Choice(VERDICTS), help="The deployment's verdict.")
@click.option("--revision", default="", help="What was deployed.  [default: what the start said, else the CI's commit]")
@click.option("--version", "release", default="", help="Its version, for display.  [default: what the start said]")
@click.option("--detail", default="", help="The reason, in one line.")
@deployment_options
@config_option
def finish(config: Path, deployment: str | None, verdict: str, revision: str, release: str, detail: str, *, require: bool) -> None:
    """Finish the annotation: a region from the deployment's start to now. The start is found in Grafana."""
    _record(config, deployment, verdict, revision=revision, version=release, detail=detail, require=require)


@command.command("flush")
@click.option("--require", is_flag=True, help="Exit 1 unless every annotation was sent.")
@config_option
def flush(config: Path, *, require: bool) -> None:
    """Send the annotations that Grafana didn't accept before."""
    from runner.grafana.deployment import grafana_of

    plan = plan_from(config, Purpose.ANNOTATE)
    grafana = grafana_of(plan, require=require, say=_say)
    if grafana is None:
        return
    try:
        flushed = asyncio.run(_with(plan, grafana, lambda recorder: recorder.flush()))
    except OSError as error:
        unusable(f"the spool can't be read: {error}")
    for text in flushed.sent:
        click.echo(text)
    for state, texts in (("waits", flushed.waiting), ("given up", flushed.given_up)):
        for text in texts:
            _say(f"{state}: {text}")
    if flushed.busy:
        _say("another process is sending the waiting annotations")
    elif not (flushed.sent or flushed.waiting or flushed.given_up):
        click.echo("no annotation is waiting")
    raise click.exceptions.Exit(flushed.exit_code(require=require))


def _record(config: Path, identity: str | None, verdict: str, *, revision: str, version: str, detail: str = "", require: bool) -> None:
    """Records the start of a deployment, or its finish where there is a verdict."""
    from dataclasses import replace

    from runner.clock import SystemClock
    from runner.grafana.deployment import deployment_of, grafana_of, publish

    plan, now = plan_from(config, Purpose.ANNOTATE), SystemClock().time()
    deployment = deployment_of(plan, identity, revision=revision, generated="" if verdict else f"by-hand/{round(now * 1000)}")
    if deployment is None:
        unusable("outside of a CI the deployment has no id: give --deployment ID, as annotate start printed it")
    deployment = replace(deployment, version=version, verdict=verdict, detail=detail)
    deployment = replace(deployment, finished=now) if verdict else replace(deployment, started=now)
    grafana = grafana_of(plan, require=require, say=_say)
    if grafana is None:
        publish(deployment, _say)
        return
    outcome = asyncio.run(
        _with(plan, grafana, lambda recorder: recorder.finish(deployment) if verdict else recorder.start(deployment)),
    )
    for text in outcome.lines:
        _say(text)
    publish(outcome.deployment or deployment, _say)
    raise click.exceptions.Exit(outcome.exit_code(require=require))


async def _with(plan: Plan, grafana: Marking, work: Callable[[Recorder], Awaitable[T]]) -> T:
    from runner.clock import SystemClock
    from runner.grafana import Patience
    from runner.grafana.deployment import recording

    async with recording(grafana, plan.state, SystemClock(), Patience()) as recorder:
        return await work(recorder)


def _say(text: str) -> None:
    click.echo(text, err=True)
