from __future__ import annotations

from pathlib import Path

import pytest

from runner.grafana import Job, detect, write_outputs

GITHUB = {
    "GITHUB_RUN_ID": "12345",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_REPOSITORY": "acme/roadtrip",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_SHA": "3f2c91a8",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PIPELINE_ID": "77",
    "CI_JOB_ID": "901",
    "CI_PROJECT_PATH": "acme/roadtrip",
    "CI_COMMIT_SHA": "3f2c91a8",
    "CI_JOB_URL": "https://gitlab.example/jobs/901",
}
JENKINS = {
    "JENKINS_URL": "https://ci/",
    "JOB_NAME": "roadtrip/main",
    "BUILD_NUMBER": "41",
    "GIT_COMMIT": "3f2c91a8",
    "BUILD_URL": "https://ci/41/",
}


@pytest.mark.parametrize(
    ("environ", "job", "number"),
    [
        (
            GITHUB,
            Job("github", "github/acme/roadtrip/12345", "2", "3f2c91a8", "https://github.com/acme/roadtrip/actions/runs/12345/attempts/2"),
            "github/acme/roadtrip/12345/2",
        ),
        (
            GITLAB,
            Job("gitlab", "gitlab/acme/roadtrip/77", "901", "3f2c91a8", "https://gitlab.example/jobs/901"),
            "gitlab/acme/roadtrip/77/901",
        ),
        (JENKINS, Job("jenkins", "jenkins/roadtrip/main/41", "1", "3f2c91a8", "https://ci/41/"), "jenkins/roadtrip/main/41/1"),
        ({"ARGO_WORKFLOW_NAME": "release-x7", "ARGO_WORKFLOW_UID": "u1"}, Job("argo", "argo/release-x7", "u1"), "argo/release-x7/u1"),
        ({"ARGOCD_APP_NAME": "api", "ARGOCD_APP_REVISION": "3f2c"}, Job("argo", "argo/api", "3f2c", "3f2c"), "argo/api/3f2c"),
    ],
)
def test_each_ci_is_known_by_its_variables(environ: dict[str, str], job: Job, number: str) -> None:
    """Its run, attempt, revision and page, and the id that ties a start to its finish."""
    assert detect(environ) == job
    assert job.id == number


@pytest.mark.parametrize("environ", [{}, {"CI": "true"}, {"BUILD_NUMBER": "3"}, {"CI_PIPELINE_ID": "3"}, {"ARGOCD_APP_NAME": "api"}])
def test_half_a_ci_is_none(environ: dict[str, str]) -> None:
    """A variable that others set too is not enough."""
    assert detect(environ) is None


def test_outputs_are_appended(tmp_path: Path) -> None:
    """One line each behind what is there; a value of several lines could set other outputs, and is refused."""
    path = tmp_path / "output"
    path.write_text("before=1\n")
    write_outputs(path, {"deployment-id": "github/acme/roadtrip/12345/2", "deployment-started": "1795521600"})
    assert path.read_text() == "before=1\ndeployment-id=github/acme/roadtrip/12345/2\ndeployment-started=1795521600\n"
    with pytest.raises(ValueError, match="'deployment-id' has a line break"):
        write_outputs(path, {"ok": "1", "deployment-id": "x\nPATH=/evil"})
    assert "evil" not in path.read_text()
    assert "ok" not in path.read_text()
