"""A new kind is one file or folder: those that CONTRIBUTING.md shows, dropped into a copy of the packages, work everywhere at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each test starts the command afresh
ROOT = Path(__file__).parents[2]
CHECKS = """\
version: 1
checks:
  banner: {{kind: greeting, host: 127.0.0.1, port: {port}, timeout: 2s}}
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A server that greets each who says hello, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def greet(server: socket.socket) -> None:
    """Greets until the server is shut."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(100)
            connection.sendall(b"220 good morning\r\n")


@pytest.fixture(params=["{}.py", "{}/__init__.py"], ids=["file", "folder"])
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the packages with the new kinds in it, as files and as folders, and not another file touched."""
    for room in ("probes", "judge", "runner"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    kinds = re.findall(r"^```python\n(.*?)^```", contributing, re.MULTILINE | re.DOTALL)
    for name, kind in zip(("greeting", "motd"), kinds, strict=True):
        place = tmp_path / "probes/kinds" / request.param.format(name)
        place.parent.mkdir(exist_ok=True)
        place.write_text(kind, encoding="utf-8")
    return tmp_path


def test_the_example_conforms(house: Path) -> None:
    """What a newcomer copies gives a fitting verdict on every server that misbehaves."""
    shutil.copytree(ROOT / "tests", house / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", house)
    shutil.copytree(ROOT / "demo", house / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(house)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/probes/test_conformance.py", "-k", "greeting or motd"]
    done = subprocess.run(command, cwd=house, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def outrider(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of this copy."""
    start = "import sys, runner.cli; assert runner.cli.__file__.startswith(sys.argv.pop()); runner.cli.main()"
    return subprocess.run(
        [sys.executable, "-c", start, *arguments, str(house)],
        cwd=house,
        env={"NO_COLOR": "1", "STATE_DIR": str(house / "state")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_kind_runs_with_no_other_file_touched(house: Path, port: int) -> None:
    """checks.yaml knows its word, its settings are validated with hints, it is run, timed and reported."""
    (house / "checks.yaml").write_text(CHECKS.format(port=port), encoding="utf-8")
    done = outrider(house, "probe", "banner", "--json")
    assert done.returncode == 0, done.stderr
    (seen,) = json.loads(done.stdout)
    assert (seen["check"], seen["kind"], seen["verdict"], seen["message"]) == ("banner", "greeting", "pass", "b'220 good morning\\r\\n'")
    assert {"connect", "greeting"} <= set(seen["phases"])
    (house / "checks.yaml").write_text(CHECKS.format(port=port).replace("host:", "hots:"), encoding="utf-8")
    wrong = outrider(house, "probe", "banner")
    assert wrong.returncode == 2
    assert "checks.banner.hots: no such setting of kind greeting; did you mean host?" in wrong.stderr


def test_a_new_kinds_failures_become_verdicts(house: Path) -> None:
    """It leaves network errors to the engine, and a refused connection is a failure with a reason, by no word of its own."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (house / "checks.yaml").write_text(CHECKS.format(port=unused.getsockname()[1]), encoding="utf-8")
        done = outrider(house, "probe", "banner", "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)[0]["reason"] == "refused"
