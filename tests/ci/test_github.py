"""The composite action and the workflows, played by a small GitHub: its expressions, its outputs, its way to run a shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.outrider import ROOT, StandIn

pytestmark = pytest.mark.slow  # it runs shells, and the validators of others

ACTION = ROOT / ".github/actions/gate/action.yml"
PIN = re.compile(r"\./.+|[\w-]+/[\w./-]+@(v\d+|[0-9a-f]{40})")
TERM = re.compile(r"(?:(always|failure)\(\))|(?:([\w.-]+) (==|!=) '([^']*)')")


def read(file: Path) -> dict[str, Any]:
    """A YAML file. The word `on` is a key of GitHub's, and a boolean of YAML 1.1."""
    loaded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


@dataclass
class Job:
    """One job that uses the action: what its steps have said so far, and whether one has failed."""

    inputs: dict[str, str]
    environ: dict[str, str]
    work: Path
    temp: Path
    failed: bool = False
    code: int = 0
    said: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def run(self) -> Job:
        """Every step of the action, as GitHub runs them."""
        action = read(ACTION)
        given = {name: self.inputs.get(name, str(spec["default"])) for name, spec in action["inputs"].items()}
        self.names = {f"inputs.{name}": value for name, value in given.items()}
        self.names |= {"runner.temp": str(self.temp), "github.action_path": str(ACTION.parent), "github.sha": "3f2c91a0b1c2"}
        self.names = {name: self.filled(value) for name, value in self.names.items()}
        for number, step in enumerate(action["runs"]["steps"]):
            if self.holds(step.get("if", "")):
                self.step(step, step.get("id", str(number)))
        return self

    def filled(self, text: str) -> str:
        """A text with its ${{ names }} filled in; a name that nothing has set is empty."""
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: self.names.get(found[1], ""), text)

    def holds(self, condition: str) -> bool:
        """An `if:` of terms that are joined by &&. Without always() or failure() it includes that nothing has failed."""
        terms = [TERM.fullmatch(term) for term in condition.split(" && ")] if condition else []
        assert all(terms), condition
        found = [term.groups() for term in terms if term]
        states = [state for state, *_ in found if state]
        if (not states and self.failed) or ("failure" in states and not self.failed):
            return False
        return all((self.names.get(name, "") == value) == (sign == "==") for state, name, sign, value in found if not state)

    def step(self, step: dict[str, Any], name: str) -> None:
        """One `run:` step: bash as GitHub calls it, outputs taken from its file."""
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input in a line is a command in a line"
        script, output = self.temp / "step.sh", self.temp / f"output-{name}"
        script.write_text(step["run"], encoding="utf-8")
        environ = self.environ | {key: self.filled(value) for key, value in step.get("env", {}).items()} | {"GITHUB_OUTPUT": str(output)}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(command, cwd=self.work, env=environ, capture_output=True, text=True, check=False)
        self.said += done.stdout + done.stderr
        lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
        self.names |= {f"steps.{name}.outputs.{line.partition('=')[0]}": line.partition("=")[2] for line in lines}
        self.names[f"steps.{name}.outcome"] = "failure" if done.returncode else "success"
        if done.returncode and not self.failed:
            self.failed, self.code = True, done.returncode


def play(standin: StandIn, work: Path, code: int = 0, *, before: int = 0, **inputs: str) -> Job:
    """The action in a job, with an outrider that is installed."""
    temp = work.parent / "temp"
    temp.mkdir()
    return Job({"outrider": "outrider", **inputs}, standin.told(code, before=before), work, temp).run()


def options(call: list[str]) -> dict[str, str]:
    """The options of a call that have a value."""
    return {name: value for name, value in pairwise(call) if name.startswith("--") and not value.startswith("--")}


def test_a_good_release_goes_through_all_of_it(standin: StandIn, work: Path) -> None:
    """Measured before, marked, deployed, gated, with the verdict and the reports as outputs."""
    job = play(standin, work, deploy="./deploy.sh && touch deployed", annotate="true")
    assert (job.code, (work / "deployed").exists()) == (0, True), job.said
    before, start, gate = standin.calls
    assert options(before)["--save"] == options(gate)["--baseline"]
    assert start[:2] == ["annotate", "start"]
    assert options(gate) | {"--expect-revision": "3f2c91a0b1c2", "--tag": "smoke", "--wait": "5m"} == options(gate)
    assert {"--annotate", "--github"} <= set(gate)
    outputs = {name: job.filled(spec["value"]) for name, spec in read(ACTION)["outputs"].items()}
    assert outputs["verdict"] == "pass"
    assert json.loads(Path(outputs["json"]).read_text(encoding="utf-8"))["verdict"] == "pass"
    assert Path(outputs["junit"]).read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(("code", "verdict"), [(1, "fail"), (3, "inconclusive")])
def test_the_job_ends_as_the_gate_does(standin: StandIn, work: Path, code: int, verdict: str) -> None:
    """The exit code is the gate's own, and the verdict is told all the same."""
    job = play(standin, work, code, deploy="true")
    assert job.code == code
    assert job.filled(read(ACTION)["outputs"]["verdict"]["value"]) == verdict


def test_what_was_unwell_before_doesnt_stop_the_deployment(standin: StandIn, work: Path) -> None:
    """A deployment may be the very thing that mends it; the job says so."""
    job = play(standin, work, before=1, deploy="touch deployed")
    assert (job.code, (work / "deployed").exists()) == (0, True)
    assert "::warning title=Before the deployment::" in job.said


def test_a_wrong_configuration_stops_before_the_deployment(standin: StandIn, work: Path) -> None:
    """Exit 2 means that the gate could never judge: nothing is deployed."""
    job = play(standin, work, before=2, deploy="touch deployed")
    assert (job.code, (work / "deployed").exists()) == (2, False)


def test_a_deployment_that_fails_is_closed_as_failed(standin: StandIn, work: Path) -> None:
    """No gate runs, the job fails with the deployment's code, and the mark in Grafana ends."""
    job = play(standin, work, deploy="exit 7", annotate="true")
    assert job.code == 7
    assert [call[:2] for call in standin.calls][-1] == ["annotate", "finish"]
    assert options(standin.calls[-1])["--verdict"] == "fail"
    assert sum(call[0] == "gate" for call in standin.calls) == 1


def test_without_a_deployment_there_is_only_the_gate(standin: StandIn, work: Path) -> None:
    """It can stand after a deployment of any other kind, without a revision too, and takes more options line by line."""
    job = play(standin, work, revision="none", args="--fail-on-slower=30%\n--require-slo\n", inconclusive="fail")
    (gate,) = standin.calls
    assert job.code == 0
    assert not {"--expect-revision", "--baseline", "--annotate"} & set(gate)
    assert gate[-4:] == ["--inconclusive", "fail", "--fail-on-slower=30%", "--require-slo"]


def test_no_input_becomes_a_command(standin: StandIn, work: Path) -> None:
    """Shell in an input stays text."""
    nasty = "$(touch owned); touch owned; `touch owned` \"' && touch owned"
    play(standin, work, deploy="true", tag=nasty, revision=nasty, wait=nasty, args=nasty, annotate="true")
    assert not list(work.glob("owned"))
    assert options(standin.calls[-1])["--tag"] == nasty


def test_schemas() -> None:
    """GitHub's own schemas take the workflows and the action."""
    check = str(ROOT / ".venv/bin/check-jsonschema")
    for schema, files in (("github-workflows", sorted((ROOT / ".github/workflows").iterdir())), ("github-actions", [ACTION])):
        subprocess.run([check, "--builtin-schema", f"vendor.{schema}", *files], check=True, capture_output=True)


def test_workflows_have_no_more_rights_than_they_need() -> None:
    """Reading alone, a time limit on each job, and other people's actions by a version."""
    for file in sorted((ROOT / ".github/workflows").iterdir()):
        workflow = read(file)
        assert workflow["permissions"] == {"contents": "read"}, file.name
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 90
            assert all(PIN.fullmatch(step["uses"]) for step in job["steps"] if "uses" in step)
            assert all("${{ inputs" not in step.get("run", "") for step in job["steps"])


DEPLOY = ROOT / ".github/workflows/deploy.yml"
NAMED = {"API_URL": "https://api.example.com", "DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "ENVIRONMENT": "staging"}


@pytest.mark.parametrize("empty", ["", "API_URL", "DATABASE_URL", "REDIS_URL"])
def test_nothing_is_deployed_where_a_variable_is_empty(tmp_path: Path, empty: str) -> None:
    """checks.yaml would fill in its default, and the gate would judge another system than the one that was deployed."""
    first = read(DEPLOY)["jobs"]["deploy"]["steps"][0]
    job = Job({}, {**NAMED, empty or "OTHER": ""}, tmp_path, tmp_path)
    job.step(first, "first")
    assert (job.code, f"::{empty} is empty; set it for the environment staging" in job.said) == ((2, True) if empty else (0, False))


def test_a_caller_hands_over_what_the_workflow_reads() -> None:
    """Both ways to start it take the same inputs, and each secret that it reads is declared for callers."""
    started = read(DEPLOY)[True]  # type: ignore[index]  # `on:`
    assert started["workflow_call"]["inputs"] == started["workflow_dispatch"]["inputs"]
    assert started["workflow_call"]["secrets"].keys() == set(re.findall(r"secrets\.(\w+) \}\}", DEPLOY.read_text(encoding="utf-8")))


def test_our_own_ci_is_the_script_that_anybody_can_run() -> None:
    """No check of ours lives in a workflow alone."""
    steps = read(ROOT / ".github/workflows/ci.yml")["jobs"]["everything"]["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == "bash .ci/run"
    assert (ROOT / ".ci/run").is_file()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_action_installs_outrider_from_its_own_locks(tmp_path: Path) -> None:
    """Without an outrider it makes one, with hashes, out of its own repository, whatever the job's folder is."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    job = Job({}, environ, tmp_path, tmp_path)
    job.names = {"github.action_path": str(ACTION.parent), "runner.temp": str(tmp_path)}
    job.step(read(ACTION)["runs"]["steps"][0], "install")
    assert job.code == 0, job.said
    done = subprocess.run([job.names["steps.install.outputs.outrider"], "--version"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("outrider ")
