"""A stand-in outrider on the PATH, and a folder as a job finds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.outrider import PROGRAM, StandIn


@pytest.fixture
def standin(tmp_path: Path) -> StandIn:
    """A stand-in outrider on the PATH of its environment, and a deploy.sh in the folder `work`."""
    folder, programs, work = tmp_path / "standin", tmp_path / "bin", tmp_path / "work"
    for made in (folder, programs, work):
        made.mkdir()
    (programs / "outrider").write_text(PROGRAM, encoding="utf-8")
    (programs / "outrider").chmod(0o755)
    (work / "deploy.sh").write_text('#!/bin/sh\nexit "${DEPLOYED:-0}"\n', encoding="utf-8")
    (work / "deploy.sh").chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "STANDIN": str(folder)}
    return StandIn(folder, environ)


@pytest.fixture
def work(standin: StandIn, tmp_path: Path) -> Path:
    """The folder of a checkout, in which a job's lines run."""
    return tmp_path / "work"
