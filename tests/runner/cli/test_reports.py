"""The options of reports, on a command of its own."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.testing import CliRunner

from judge.report import Report
from judge.verdict import Finding, Outcome
from runner.cli._reports import deliver_reports, report_options

REPORT = Report(Outcome.FAIL, (Finding(Outcome.FAIL, "api: status: 503", "api", 29),), (), (), 0.0, 11.0)


@click.command()
@report_options
def gate(**wanted: str | None) -> None:
    """A gate that is over."""
    deliver_reports(REPORT, {name.removeprefix("as_"): file for name, file in wanted.items()})


def said(*arguments: str) -> str:
    """What the command writes to standard output."""
    done = CliRunner().invoke(gate, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_is_the_default() -> None:
    """Without an option a person reads it."""
    assert said().startswith("FAIL  smoke gate: 0 checks, 0 runs in 11 s\n      api: status: 503  checks.yaml:29\n")


def test_standard_output_belongs_to_one_who_asks_for_it(tmp_path: Path) -> None:
    """--json alone prints JSON and nothing else; what goes to a file leaves the table where it is."""
    assert json.loads(said("--json"))["verdict"] == "fail"
    assert said("--junit", str(tmp_path / "gate.xml")).startswith("FAIL  ")
    assert (tmp_path / "gate.xml").read_text(encoding="utf-8").startswith("<?xml")


def test_annotations_stand_beside_the_table() -> None:
    """A person who opens the job's log reads the same as anywhere."""
    assert "FAIL  smoke gate" in said("--github")


def test_any_number_at_once(tmp_path: Path) -> None:
    """Each goes where it was sent."""
    files = {name: tmp_path / name for name in ("json", "junit", "tap", "markdown", "github", "table")}
    said(*(word for name, file in files.items() for word in (f"--{name}", str(file))))
    assert all(file.is_file() for file in files.values())


def test_a_report_that_cant_be_written_is_said(tmp_path: Path) -> None:
    """The verdict stands; a sentence on standard error names the option."""
    done = CliRunner().invoke(gate, ["--json", str(tmp_path)])
    assert done.exit_code == 0
    assert f"--json {tmp_path}: Is a directory" in done.output
