"""GitLab's and Jenkins' snippets: the very lines, run by a stand-in for each."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.outrider import ROOT, StandIn

pytestmark = pytest.mark.slow  # it runs shells, and the validators of others

GITLAB = ROOT / "docs/ci/gitlab-ci.yml"
JENKINS = ROOT / "docs/ci/Jenkinsfile"


def shell(lines: str, work: Path, environ: dict[str, str], *flags: str) -> int:
    """The exit code of lines that a shell runs."""
    return subprocess.run([*flags, lines], cwd=work, env=environ, capture_output=True, check=False).returncode


def gitlab(work: Path, environ: dict[str, str]) -> tuple[str, set[str]]:
    """The job's colour and the artifacts that it leaves, as GitLab has it."""
    job: dict[str, Any] = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))["deploy"]
    environ = environ | {"CI_COMMIT_SHA": "3f2c91a0b1c2"}
    code = next((code for line in job["script"] if (code := shell(line, work, environ, "bash", "-eo", "pipefail", "-c"))), 0)
    status = {"CI_JOB_STATUS": "success" if code == 0 else "failed"}
    for line in job["after_script"]:
        shell(line, work, environ | status, "bash", "-eo", "pipefail", "-c")
    colour = "green" if code == 0 else "orange" if code in job["allow_failure"]["exit_codes"] else "red"
    named = {job["artifacts"]["reports"]["junit"], *job["artifacts"]["paths"]}
    return colour, {name for name in named if (work / name).exists()}


@pytest.mark.parametrize(("code", "colour"), [(0, "green"), (1, "red"), (3, "orange")])
def test_gitlab_has_a_colour_for_each_verdict(standin: StandIn, work: Path, code: int, colour: str) -> None:
    """Green, red, and orange for inconclusive; the reports are kept, and no mark is closed twice."""
    assert gitlab(work, standin.told(code)) == (colour, {"gate.xml", "gate.json", "gate.md"})
    assert [call[:2] for call in standin.calls if call[0] == "annotate"] == [["annotate", "start"]]


def test_gitlab_closes_a_deployment_that_failed(standin: StandIn, work: Path) -> None:
    """Red, no gate, and the mark ends as failed."""
    assert gitlab(work, standin.told(0) | {"DEPLOYED": "9"}) == ("red", set())
    assert standin.calls[-1][:2] == ["annotate", "finish"]


def test_gitlab_goes_on_where_before_was_unwell(standin: StandIn, work: Path) -> None:
    """Only a wrong configuration (2) keeps it from deploying."""
    assert gitlab(work, standin.told(0, before=1))[0] == "green"
    assert gitlab(work, standin.told(0, before=2))[0] == "red"


def test_gitlabs_schema_takes_it() -> None:
    """GitLab's own schema."""
    command = [str(ROOT / ".venv/bin/check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci", str(GITLAB)]
    subprocess.run(command, check=True, capture_output=True)


def scripts() -> list[str]:
    """The Jenkinsfile's shell lines in their order, with Groovy's continued lines as the shell gets them."""
    found = re.findall(r"sh(?:\(returnStatus: true, script:)? ?(?:'''(.*?)'''|'([^'\n]+)')", JENKINS.read_text(encoding="utf-8"), re.DOTALL)
    return [textwrap.dedent(long or short).replace("\\\n", "") for long, short in found]


def jenkins(work: Path, environ: dict[str, str]) -> str:
    """The build's result: each stage in its order, a failed one ends it, the last one by the script's own branches."""
    before, deploy, closing, gate = scripts()
    environ = environ | {"GIT_COMMIT": "3f2c91a0b1c2"}
    if shell(before, work, environ, "sh", "-xec"):
        return "FAILURE"
    if shell(deploy, work, environ, "sh", "-xec"):
        shell(closing, work, environ, "sh", "-xec")
        return "FAILURE"
    code = shell(gate, work, environ, "sh", "-xec")
    branch = re.search(
        r"code == (\d+)\) \{\s+unstable\(.*?\} else if \(code != 0\) \{\s+error\(", JENKINS.read_text(encoding="utf-8"), re.DOTALL
    )
    assert branch
    return "UNSTABLE" if code == int(branch[1]) else "FAILURE" if code else "SUCCESS"


@pytest.mark.parametrize(("code", "result"), [(0, "SUCCESS"), (1, "FAILURE"), (3, "UNSTABLE"), (2, "FAILURE")])
def test_jenkins_has_a_result_for_each_verdict(standin: StandIn, work: Path, code: int, result: str) -> None:
    """Success, failure, and unstable for inconclusive; the JUnit report lies where the junit step looks."""
    assert jenkins(work, standin.told(code)) == result
    assert (work / "gate.xml").exists()
    assert standin.calls[-1].count("3f2c91a0b1c2") == 1


def test_jenkins_closes_a_deployment_that_failed(standin: StandIn, work: Path) -> None:
    """Failure, no gate, and the mark ends as failed."""
    assert jenkins(work, standin.told(0) | {"DEPLOYED": "9"}) == "FAILURE"
    assert standin.calls[-1] == ["annotate", "finish", "--config", "checks.yaml", "--verdict", "fail"]


def test_the_jenkinsfile_is_whole() -> None:
    """Every bracket and every quote that it opens is closed again."""
    text = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", JENKINS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "'" not in text
    assert [text.count(one) for one in "{(["] == [text.count(one) for one in "})]"]
