"""The recorder of marks in Grafana, joined from a plan; and which deployment a command speaks of."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
from pydantic import SecretStr

from probes.core import Clock
from runner import our_version
from runner.config.plan import Marking, Plan
from runner.grafana import Deployment, Grafana, Patience, Recorder, Settings, Spool, detect, write_outputs
from runner.grafana.recorder import Outcome
from runner.grafana.transport import http_client
from runner.usage import unusable

NOWHERE = "Grafana: no annotation is written: add grafana: {url: ..., token: ...} to checks.yaml"
EMPTY = "Grafana: no annotation is written: the address in grafana: is empty; set its variable"


def has_grafana(plan: Plan, *, require: bool) -> bool:
    """Whether there is one to mark in. An empty address is said, and stops nothing unless the mark is required.

    Ends the command with exit 2 where it is required, and where the file has no grafana section at all.
    """
    if plan.grafana is None and not plan.unmarked:
        unusable(NOWHERE)
    if plan.grafana is None and require:
        unusable(f"{EMPTY} (--require needs the annotation)")
    if plan.grafana is None:
        click.echo(EMPTY, err=True)
    return plan.grafana is not None


@asynccontextmanager
async def recording(marking: Marking, folder: Path | None, clock: Clock, patience: Patience) -> AsyncIterator[Recorder]:
    """A recorder with its spool in the state folder; its client is closed at the end."""
    settings = Settings(marking.url, SecretStr(marking.token), marking.api, marking.namespace)
    version = await asyncio.to_thread(our_version)  # it reads the installed metadata
    async with http_client(clock, f"Outrider/{version}") as client:
        grafana = Grafana(settings, client, clock=clock, sleep=asyncio.sleep, rng=random.SystemRandom(), patience=patience)
        yield Recorder(grafana, Spool(folder) if folder else None, clock)


def deployment_of(plan: Plan, identity: str | None, *, revision: str = "", made_up: str = "") -> Deployment | None:
    """The deployment that this command belongs to; `made_up` is its id where neither an option nor a CI gives one (None without)."""
    job = detect(os.environ)
    name = identity or (job.id if job else made_up)
    if not name:
        return None
    return Deployment(
        plan.service,
        plan.environment,
        name,
        revision=revision or (job.revision if job else ""),
        link=job.link if job else "",
        dashboard=plan.grafana.dashboard if plan.grafana else "",
        panel=plan.grafana.panel if plan.grafana else None,
        run=job.run if job and not identity else "",
    )


def tell(outcome: Outcome) -> None:
    """What became of a mark, on standard error: a verdict's output isn't mixed with it."""
    for text in (outcome.message, *outcome.warnings):
        click.echo(text, err=True)


def put_out(deployment: Deployment) -> None:
    """Tells the jobs that come later what ties them together."""
    click.echo(f"deployment {deployment.id}", err=True)
    if file := os.environ.get("GITHUB_OUTPUT"):
        try:
            write_outputs(Path(file), {"deployment": deployment.id, "revision": deployment.revision})
        except (OSError, ValueError) as error:
            click.echo(f"$GITHUB_OUTPUT: {error}", err=True)
