"""A stand-in outrider on the PATH, and a folder as a job finds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from runner.cli import outrider
from tests.support.outrider import PROGRAM, StandIn


def understood(words: list[str]) -> None:
    """Reads a call as the real command does. Raises click.NoSuchOption for an option that it doesn't have; values are the user's."""
    name, *rest = words
    top = click.Context(outrider)
    command = outrider.get_command(top, name)
    assert command is not None, name
    if isinstance(command, click.Group):
        name, *rest = rest
        command = command.get_command(top, name)
        assert command is not None, name
    with suppress(click.BadParameter):
        command.make_context(name, rest)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in outrider on the PATH of its environment, and a deploy.sh in the folder `work`.

    Whatever it was called with, the real commands must understand.
    """
    folder, programs, work = tmp_path / "standin", tmp_path / "bin", tmp_path / "work"
    for made in (folder, programs, work):
        made.mkdir()
    (programs / "outrider").write_text(PROGRAM, encoding="utf-8")
    (programs / "outrider").chmod(0o755)
    (work / "deploy.sh").write_text('#!/bin/sh\nexit "${DEPLOYED:-0}"\n', encoding="utf-8")
    (work / "deploy.sh").chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "STANDIN": str(folder)}
    stand_in = StandIn(folder, environ)
    yield stand_in
    for call in stand_in.calls:
        understood(call)


@pytest.fixture
def work(standin: StandIn, tmp_path: Path) -> Path:
    """The folder of a checkout, in which a job's lines run."""
    return tmp_path / "work"
