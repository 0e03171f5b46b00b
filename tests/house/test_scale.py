"""docs/scale.md: its manifests are valid, and their pods differ from that of docs/running.md in their shard alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.config.read import read_plan
from runner.shares.shard import Shard

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
MANIFESTS = re.findall(r"^```yaml\n(apiVersion.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)

EXAMPLES = re.findall(r"^```yaml\n(version.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def resources(text: str) -> dict[str, dict[str, Any]]:
    """The manifests by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_kubernetes_takes_the_manifests(tmp_path: Path) -> None:
    """Valid by its own schemas, no field unknown."""
    files = [tmp_path / f"{number}.yaml" for number in range(len(MANIFESTS))]
    for file, text in zip(files, MANIFESTS, strict=True):
        file.write_text(text, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "--quiet", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert files


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_are_valid(tmp_path: Path, number: int) -> None:
    """Each example is a file that loads as it stands."""
    (tmp_path / "checks.yaml").write_text(EXAMPLES[number], encoding="utf-8")
    assert read_plan(tmp_path / "checks.yaml", environ={}).checks


def test_each_pod_is_one_of_the_shards() -> None:
    """N stands twice, as replicas and for the runner, and the last pod's name leads to the last shard."""
    (made,) = [found["StatefulSet"] for text in MANIFESTS if "StatefulSet" in (found := resources(text))]
    pod = made["spec"]["template"]["spec"]["containers"][0]
    variables = {one["name"]: one.get("value") for one in pod["env"]}
    name = f"{made['metadata']['name']}-{made['spec']['replicas'] - 1}"
    shard = Shard.parse(variables["OUTRIDER_SHARD"], {"POD_NAME": name}, lambda: "")
    assert shard == Shard(made["spec"]["replicas"] - 1, made["spec"]["replicas"])
    assert next(one for one in pod["env"] if one["name"] == "POD_NAME")["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_a_pod_is_as_the_one_of_a_single_runner() -> None:
    """Beside its shard, the probe of readiness and what it may use, it is the pod of docs/running.md."""
    single = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    (deployment,) = re.findall(r"^```yaml\n(apiVersion: apps/v1\n.*?)^```", single, re.MULTILINE | re.DOTALL)
    alone = resources(deployment)["Deployment"]["spec"]["template"]["spec"]
    (made,) = [found["StatefulSet"] for text in MANIFESTS if "StatefulSet" in (found := resources(text))]
    pod = made["spec"]["template"]["spec"]
    assert {key: value for key, value in pod.items() if key not in ("containers", "volumes")} == {
        key: value for key, value in alone.items() if key not in ("containers", "volumes")
    }
    (first,), (second,) = alone["containers"], pod["containers"]
    own = ("env", "readinessProbe", "resources")
    assert {key: value for key, value in second.items() if key not in own} == {key: value for key, value in first.items() if key not in own}
    assert pod["volumes"] == [volume for volume in alone["volumes"] if volume["name"] != "state"]
    assert [claim["metadata"]["name"] for claim in made["spec"]["volumeClaimTemplates"]] == ["state"]
    assert {one["name"]: one for one in first["env"]} == {
        one["name"]: one for one in second["env"] if "SHARD" not in str(one) and "POD" not in one["name"]
    }
