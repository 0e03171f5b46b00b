"""What the CI around us tells of itself: which run, which attempt, which revision; and how it is told something back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    """The CI that these variables tell of; None outside of any that is known."""
    return next(
        (job for job in (find(environ) for find in (_github, _gitlab, _jenkins, _argo_workflow, _argo_cd)) if job is not None), None
    )


def _github(environ: Mapping[str, str]) -> Job | None:
    if not (run := environ.get("GITHUB_RUN_ID")):
        return None
    repository = environ.get("GITHUB_REPOSITORY", "")
    server = environ.get("GITHUB_SERVER_URL", "")
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "1")
    link = f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}" if server and repository else ""
    return Job("github", f"github/{repository}/{run}", attempt, environ.get("GITHUB_SHA", ""), link)


def _gitlab(environ: Mapping[str, str]) -> Job | None:
    """GitLab rolls back by running the old pipeline's job again: the job's id is the attempt, the pipeline is the run."""
    if not (pipeline := environ.get("CI_PIPELINE_ID")) or not environ.get("GITLAB_CI"):
        return None
    run = f"gitlab/{environ.get('CI_PROJECT_PATH', '')}/{pipeline}"
    link = environ.get("CI_JOB_URL") or environ.get("CI_PIPELINE_URL", "")
    return Job("gitlab", run, environ.get("CI_JOB_ID", "1"), environ.get("CI_COMMIT_SHA", ""), link)


def _jenkins(environ: Mapping[str, str]) -> Job | None:
    if not (number := environ.get("BUILD_NUMBER")) or not environ.get("JENKINS_URL"):
        return None
    run = f"jenkins/{environ.get('JOB_NAME', '')}/{number}"
    return Job("jenkins", run, "1", environ.get("GIT_COMMIT", ""), environ.get("BUILD_URL", ""))


def _argo_workflow(environ: Mapping[str, str]) -> Job | None:
    """A step of Argo Workflows: its name is unique in its namespace while it lives, its uid for ever."""
    if not (name := environ.get("ARGO_WORKFLOW_NAME")):
        return None
    return Job("argo", f"argo/{name}", environ.get("ARGO_WORKFLOW_UID", "1"))


def _argo_cd(environ: Mapping[str, str]) -> Job | None:
    if not (name := environ.get("ARGOCD_APP_NAME")) or not (revision := environ.get("ARGOCD_APP_REVISION")):
        return None
    return Job("argo", f"argo/{name}", revision, revision)


def write_outputs(path: Path, values: Mapping[str, str]) -> None:
    """Appends `name=value` lines to GitHub's output file ($GITHUB_OUTPUT) or a dotenv artifact of GitLab.

    Raises ValueError for a value of several lines, which could set other outputs, and OSError.
    """
    for name, value in values.items():
        if any(sign in name + value for sign in "\r\n\0") or "=" in name:
            raise ValueError(f"the output {name!r} has a line break in it")
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{name}={value}\n" for name, value in values.items()))
