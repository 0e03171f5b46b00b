"""docs/running.md: its list of variables is the file's own, and what it shows of Kubernetes and systemd holds together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/running.md").read_text(encoding="utf-8")
CHECKS = "\n".join(line for line in (ROOT / "checks.yaml").read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
FILES = set(re.findall(r"\$\{file:\$\{SECRETS:-/run/secrets\}/([\w-]+)\}", CHECKS))


def block(language: str, heading: str) -> str:
    """The first code block of a language below a heading."""
    section = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[:1]
    return str(found)


def resources() -> dict[str, dict[str, Any]]:
    """The manifests by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(block("yaml", "Kubernetes"))}


def pod() -> dict[str, Any]:
    """What the Deployment's pods are."""
    found: dict[str, Any] = resources()["Deployment"]["spec"]["template"]["spec"]
    return found


def test_the_list_of_variables_is_whole() -> None:
    """Each variable of checks.yaml, with the default that it has there, and no other."""
    cells = {None: "needed", "": "none"}
    used = {name: cells.get(default, f"`{default}`") for name, default in re.findall(r"\$\{([A-Z]\w*)(?::-([^}]*))?\}", CHECKS)}
    needed = set(re.findall(r"\$\{([A-Z]\w*)\}", CHECKS))
    used |= dict.fromkeys(needed, "needed")
    table = GUIDE.partition("\nAll others are read by the committed checks.yaml")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([A-Z]\w*)` \| (\S+) \|", table, re.MULTILINE)
    assert dict(told) == used
    assert len(told) == len(used)


def test_the_files_own_heading_names_its_variables() -> None:
    """Who reads checks.yaml alone is told of each variable that is needed, and of each that switches something on."""
    heading = (ROOT / "checks.yaml").read_text(encoding="utf-8").partition("\nversion:")[0]
    told = set(re.findall(r"\b[A-Z][A-Z_]+\b", heading))
    secondary = {"ENVIRONMENT", "LOCATION", "REFERENCE_1", "REFERENCE_2", "LISTEN", "READ_TOKEN", "STATE_DIR"}  # said where they stand
    assert set(re.findall(r"\$\{([A-Z]\w*)", CHECKS)) - told - secondary == set()
    assert {name for name in FILES if name not in heading} == set()


def test_kubernetes_takes_the_manifests(tmp_path: Path) -> None:
    """Valid by its own schemas, no field unknown."""
    file = tmp_path / "outrider.yaml"
    file.write_text(block("yaml", "Kubernetes"), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "--quiet", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pod_runs_as_the_image_is_meant() -> None:
    """As the image's user on a read-only root, with what the image expects mounted, and no token of the cluster."""
    (container,) = pod()["containers"]
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["securityContext"]["runAsUser"] == 65532
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"/etc/outrider", "/var/lib/outrider", "/run/secrets"} == {mount["mountPath"] for mount in container["volumeMounts"]}
    claims = [one["persistentVolumeClaim"]["claimName"] for one in pod()["volumes"] if "persistentVolumeClaim" in one]
    assert claims == [resources()["PersistentVolumeClaim"]["metadata"]["name"]]


def test_every_secret_of_the_pod_is_a_secrets() -> None:
    """What the list calls a secret comes from a Secret, and each file that checks.yaml reads is mounted from it."""
    (container,) = pod()["containers"]
    secret = set(re.findall(r"^\| `(\w+)` \| .*? \| secret:", GUIDE, re.MULTILINE))
    assert {"DATABASE_URL", "REDIS_URL", "OPERATE_TOKEN"} <= secret
    assert {one["name"] for one in container["env"] if "secretKeyRef" in one["valueFrom"]} == secret
    (mounted,) = [one["secret"] for one in pod()["volumes"] if "secret" in one]
    assert {item["path"] for item in mounted["items"]} == FILES


def test_the_service_is_where_the_pipelines_ask() -> None:
    """Its name and port are those of docs/ci, it finds the pods, and Argo's token is the runner's."""
    service = resources()["Service"]
    address = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    argo = yaml.safe_load((ROOT / "docs/ci/argo-rollouts.yaml").read_text(encoding="utf-8"))["spec"]
    flagger = yaml.safe_load((ROOT / "docs/ci/flagger.yaml").read_text(encoding="utf-8"))["webhooks"]
    urls = [argo["metrics"][0]["provider"]["web"]["url"], *(webhook["url"] for webhook in flagger)]
    assert {urlsplit(url).netloc for url in urls} == {address}
    assert service["spec"]["selector"] == resources()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    given = {one["name"]: one["valueFrom"] for one in [*pod()["containers"][0]["env"], *argo["args"]] if "valueFrom" in one}
    assert given["token"] == given["OPERATE_TOKEN"]


def test_the_unit_has_a_credential_for_every_file() -> None:
    """Each file that checks.yaml reads below $SECRETS is handed to the unit, from the folder that the guide names."""
    unit = block("ini", "systemd")
    assert dict(re.findall(r"^LoadCredential=([\w-]+):(\S+)$", unit, re.MULTILINE)) == {
        name: f"/etc/outrider/secrets/{name}" for name in FILES
    }
    assert "SECRETS=%d" in unit


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_unit_starts_what_the_lines_install(tmp_path: Path) -> None:
    """The guide's own lines, their absolute paths moved, leave the command where the unit starts it, and the file that it reads."""
    lines = block("sh", "systemd")
    for folder in ("/opt/", "/etc/"):
        lines = lines.replace(folder, f"{tmp_path}{folder}")
    lines = lines.replace("python3", sys.executable, 1)
    done = subprocess.run(["/bin/sh", "-ec", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program, _, config = re.findall(r"^ExecStart=(\S+) (run --config) (\S+)$", block("ini", "systemd"), re.MULTILINE)[0]
    told = [f"{tmp_path}{program}", "validate", "--no-secrets", "--config", f"{tmp_path}{config}"]
    assert subprocess.run(told, cwd=tmp_path, env={}, capture_output=True, check=False).returncode == 0
