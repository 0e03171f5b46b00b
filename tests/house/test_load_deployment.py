"""The manifests and the compose file of a load on several machines: read, held against schemas, and against each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from runner.cli.load import command

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infrastructure/loadtests"
MANIFESTS = sorted((FOLDER / "k8s").glob("*.yaml"))


def documents() -> dict[str, dict[str, Any]]:
    """Every resource by kind and name."""
    found = [one for file in MANIFESTS for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def pods() -> dict[str, dict[str, Any]]:
    """What the pods of each Job are."""
    return {name: one["spec"]["template"]["spec"] for name, one in documents().items() if name.startswith("Job/")}


def test_kubernetes_takes_them() -> None:
    """Valid by its own schemas, no field unknown."""
    done = subprocess.run([Path(sys.executable).with_name("kubernetes-validate"), "--strict", "--quiet", *MANIFESTS], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["Job/outrider-load", "Job/outrider-load-workers"])
def test_pods_keep_the_restricted_standard(name: str) -> None:
    """Nobody's user, no privilege, a file system that can't be written, no token of the cluster, and bounded."""
    pod = pods()[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for bound in ("requests", "limits"):
        assert {"cpu", "memory"} <= container["resources"][bound].keys()


def test_a_load_is_sent_once() -> None:
    """A failed verdict must not send it again."""
    for name, one in documents().items():
        if name.startswith("Job/"):
            assert one["spec"]["backoffLimit"] == 0
            assert one["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_master_waits_for_as_many_as_are_started() -> None:
    """Their number and the port stand in several places, and must agree."""
    found = documents()
    args = pods()["Job/outrider-load"]["containers"][0]["args"]
    workers = found["Job/outrider-load-workers"]["spec"]
    assert f"--expect-workers={workers['completions']}" in args
    assert workers["parallelism"] == workers["completions"]
    told = pods()["Job/outrider-load-workers"]["containers"][0]["command"]
    assert told[-2:] == [found["Service/outrider-load"]["metadata"]["name"], "5557"]
    assert "--bind=0.0.0.0:5557" in args
    assert {port["port"] for port in found["Service/outrider-load"]["spec"]["ports"]} == {5557, 9798}


def test_only_workers_reach_the_master() -> None:
    """What it tells them holds the users' logins."""
    policy = documents()["NetworkPolicy/outrider-load-master"]["spec"]
    (first, metrics) = policy["ingress"]
    assert first["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    assert first["ports"] == [{"port": 5557}]
    assert metrics["ports"] == [{"port": 9798}]


def test_all_options_are_the_commands_own() -> None:
    """What the manifests and the compose file write is what `outrider load` takes."""
    known = {option for parameter in command.params for option in parameter.opts}
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]["master"]["command"]
    for arguments in (pods()["Job/outrider-load"]["containers"][0]["args"], compose):
        assert {argument.partition("=")[0] for argument in arguments[1:]} <= known
    assert CliRunner().invoke(command, ["--help"]).exit_code == 0


def test_compose_gives_nobody_more_than_they_need() -> None:
    """Read-only, without capabilities; metrics on loopback; only the master holds the secrets."""
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in services["master"]["ports"])
    assert not {"env_file", "volumes", "ports"} & services["worker"].keys()


def test_the_image_differs_from_the_runners_by_its_lock_alone() -> None:
    """Built as the runner's is, with Locust: what is held of that Dockerfile is held of this one."""
    runner = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("FROM ")[1]
    load = (FOLDER / "Dockerfile").read_text(encoding="utf-8").split("FROM ")[1]
    assert load == runner.replace("requirements/runtime.txt", "requirements/load.txt")
    assert "USER 65532:65532" in (FOLDER / "Dockerfile").read_text(encoding="utf-8")
