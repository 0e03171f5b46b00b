"""The folder docs/examples/: a small file for each kind and for what goes beyond kinds, each of them as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import probes
from runner.cli.validate import command
from runner.config.purpose import Purpose
from runner.config.read import read_plan

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
LINES = 16


def test_every_kind_has_an_example() -> None:
    """Its file has the kind's name, and holds a check of that kind. Add docs/examples/KIND.yaml with a new kind."""
    found = {
        kind: (EXAMPLES / f"{kind}.yaml").exists()
        and kind in {one.check.kind for one in read_plan(EXAMPLES / f"{kind}.yaml", environ={}, purpose=Purpose.DRY_RUN).checks}
        for kind in probes.discover()
    }
    assert [kind for kind, there in found.items() if not there] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_valid_and_small(file: Path) -> None:
    """`outrider validate --no-secrets -c docs/examples/KIND.yaml` accepts it; it begins with what it is for, and fits on a screen."""
    ended = CliRunner().invoke(command, ["--no-secrets", "-c", str(file)], env={})
    assert (ended.exit_code, ended.output) == (0, ended.output)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert (lines[0][:2], lines[1], len(lines) <= LINES) == ("# ", "version: 1", True)


def test_the_readme_names_the_folder() -> None:
    """A newcomer finds it in the list of its files."""
    assert "(docs/examples/)" in (ROOT / "README.md").read_text(encoding="utf-8")
