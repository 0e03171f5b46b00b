"""Which deployment a command speaks of: from its options and from the CI around it; and the recorder that annotates it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from probes.core import Clock
from runner.config.plan import Marking, Plan
from runner.grafana.annotations import Grafana
from runner.grafana.events import Deployment
from runner.grafana.recorder import Recorder
from runner.grafana.spool import Spool
from runner.grafana.transport import Patience, Settings
from runner.usage import unusable

NOWHERE = "Grafana: no annotation is written: add grafana: {url: ..., token: ...} to checks.yaml"
EMPTY = "Grafana: no annotation is written: the address in grafana: is empty; set its variable"


@dataclass(frozen=True, slots=True)
class Job:
    """Where a command runs. `run` is the same for all jobs of a run; `id` adds the attempt and is a deployment's own."""

    system: str  # github, gitlab, jenkins, argo
    run: str
    attempt: str
    revision: str = ""
    link: str = ""

    @property
    def id(self) -> str:
        """`github/owner/repo/12345/1`."""
        return f"{self.run}/{self.attempt}"


def detect(environ: Mapping[str, str]) -> Job | None:
    """The CI that these variables describe; None outside of any that is known."""
    env = environ.get
    if run := env("GITHUB_RUN_ID"):
        repository, server, attempt = env("GITHUB_REPOSITORY", ""), env("GITHUB_SERVER_URL", ""), env("GITHUB_RUN_ATTEMPT", "1")
        link = f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}" if server and repository else ""
        return Job("github", f"github/{repository}/{run}", attempt, env("GITHUB_SHA", ""), link)
    if (pipeline := env("CI_PIPELINE_ID")) and env("GITLAB_CI"):
        # GitLab rolls back by running the old pipeline's job again: the job's id is the attempt, the pipeline is the run.
        link = env("CI_JOB_URL") or env("CI_PIPELINE_URL", "")
        return Job("gitlab", f"gitlab/{env('CI_PROJECT_PATH', '')}/{pipeline}", env("CI_JOB_ID", "1"), env("CI_COMMIT_SHA", ""), link)
    if (number := env("BUILD_NUMBER")) and env("JENKINS_URL"):
        return Job("jenkins", f"jenkins/{env('JOB_NAME', '')}/{number}", "1", env("GIT_COMMIT", ""), env("BUILD_URL", ""))
    if name := env("ARGO_WORKFLOW_NAME"):  # unique in its namespace while it lives; its uid for ever
        return Job("argo", f"argo/{name}", env("ARGO_WORKFLOW_UID", "1"))
    if (name := env("ARGOCD_APP_NAME")) and (revision := env("ARGOCD_APP_REVISION")):
        return Job("argo", f"argo/{name}", revision, revision)
    return None


def deployment_of(plan: Plan, identity: str | None, *, revision: str = "", generated: str = "") -> Deployment | None:
    """The deployment that this command belongs to; `generated` is its id where neither an option nor a CI gives one (None without)."""
    job = detect(os.environ)
    name = identity or (job.id if job else generated)
    if not name:
        return None
    return Deployment(
        plan.service,
        plan.environment,
        name,
        revision=revision,
        commit=job.revision if job else "",
        link=job.link if job else "",
        dashboard=plan.grafana.dashboard if plan.grafana else "",
        panel=plan.grafana.panel if plan.grafana else None,
        run=job.run if job and not identity else "",
    )


def grafana_of(plan: Plan, *, require: bool, say: Callable[[str], None]) -> Marking | None:
    """The Grafana to annotate. An empty address is said, and stops nothing unless the annotation is required.

    Ends the command with exit 2 where it is required, and where the file has no grafana section at all.
    """
    if plan.grafana is None and not plan.unmarked:
        unusable(NOWHERE)
    if plan.grafana is None and require:
        unusable(f"{EMPTY} (--require needs the annotation)")
    if plan.grafana is None:
        say(EMPTY)
    return plan.grafana


@asynccontextmanager
async def recording(marking: Marking, folder: Path | None, clock: Clock, patience: Patience) -> AsyncIterator[Recorder]:
    """A recorder with its spool in the state folder; its client is closed at the end."""
    settings = Settings(marking.url, SecretStr(marking.token), marking.api, marking.namespace)
    client = await asyncio.to_thread(httpx.AsyncClient)  # it reads the authorities from the disk
    async with client:
        grafana = Grafana(settings, client, clock=clock, sleep=asyncio.sleep, rng=random.SystemRandom(), patience=patience)
        yield Recorder(grafana, Spool(folder) if folder else None, clock)


def publish(deployment: Deployment, say: Callable[[str], None]) -> None:
    """Gives the deployment's id to a person, and to the jobs that come later ($GITHUB_OUTPUT)."""
    say(f"deployment {deployment.id}")
    if file := os.environ.get("GITHUB_OUTPUT"):
        try:
            write_outputs(Path(file), {"deployment": deployment.id, "revision": deployment.deployed})
        except (OSError, ValueError) as error:
            say(f"$GITHUB_OUTPUT: {error}")


def write_outputs(path: Path, values: Mapping[str, str]) -> None:
    """Appends `name=value` lines to GitHub's output file ($GITHUB_OUTPUT) or a dotenv artifact of GitLab.

    Raises ValueError for a value of several lines, which could set other outputs, and OSError.
    """
    for name, value in values.items():
        if any(character in name + value for character in "\r\n\0") or "=" in name:
            raise ValueError(f"the output {name!r} has a line break in it")
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{name}={value}\n" for name, value in values.items()))
