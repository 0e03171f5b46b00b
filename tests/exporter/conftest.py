"""Fixtures: the installed exporter as one process with the modules of all scenarios, and our engine."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.exporter.all_scenarios import ASKED
from tests.exporter.scenario import filled
from tests.support.ca import Authority, authority
from tests.support.engine import Observer, observer

__all__ = ["authority"]
PROGRAM = "prometheus-blackbox-exporter"
_LISTENS = re.compile(r'msg="Listening on" address=([0-9.:]+)')


@pytest.fixture
async def runs() -> AsyncIterator[Observer]:
    """The engine, to observe a plan with: `await runs.first(plan)`."""
    async with observer() as made:
        yield made


@pytest.fixture(scope="session")
def places(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str | int]]:
    """What fills the places of every scenario: files, and a port on which nobody listens."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("user", "password"):
        (folder / name).write_text(f"{name}_from_file\n")
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        files = {f"<{name}>": str(folder / name) for name in ("user", "password")}
        yield {"<ca>": str(authority.ca_file), "<nobody>": kept.getsockname()[1], **files}


@pytest.fixture(scope="session")
def exporter(places: Mapping[str, str | int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an exporter that knows the modules of all scenarios."""
    file = tmp_path_factory.mktemp("exporter") / "blackbox.yml"
    modules = {each.name: {"timeout": each.timeout, **filled(each.module, places)} for each in ASKED}
    file.write_text(yaml.safe_dump({"modules": modules}, allow_unicode=True))
    command = [PROGRAM, f"--config.file={file}", "--web.listen-address=127.0.0.1:0", "--log.level=info"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if found := _LISTENS.search(line):
                break
        else:
            raise AssertionError("".join(said))
        rest = threading.Thread(target=process.stderr.read, daemon=True)  # else it would stop at a full pipe
        rest.start()
        yield f"http://{found[1]}"
        process.terminate()
        rest.join()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Where a scenario's checks.yaml is."""
    return tmp_path / "checks.yaml"
