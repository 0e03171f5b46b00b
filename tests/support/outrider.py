"""A stand-in `outrider` that notes how it was called, writes the reports asked for, and exits as it is told."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from judge.report import CheckRow, Report
from judge.verdict import Outcome
from runner.reports import formats

ROOT = Path(__file__).parents[2]
VERDICTS = {0: Outcome.PASS, 1: Outcome.FAIL, 3: Outcome.INCONCLUSIVE}

PROGRAM = f"""#!{sys.executable}
import json, os, pathlib, shutil, sys

home = pathlib.Path(os.environ["STANDIN"])
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
for name, file in zip(sys.argv, sys.argv[1:]):
    if name in ("--json", "--junit", "--markdown"):
        shutil.copy(home / name[2:], file)
    if name == "--save":
        pathlib.Path(file).write_text("{{}}")
before = "--save" in sys.argv
sys.exit(int(os.environ["BEFORE" if before else "CODE"]) if sys.argv[1] == "gate" else 0)
"""


def report(verdict: Outcome) -> Report:
    """A gate over one check."""
    return Report(verdict, (), (), (CheckRow("api", "http", 29, True, verdict, "", "", 3, 3, 0, 0, 0.1, slo={}),), 0.0, 1.0)  # noqa: FBT003


@dataclass(frozen=True, slots=True)
class StandIn:
    """A folder with the program in it, and the environment that finds it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def told(self, code: int, *, before: int = 0) -> dict[str, str]:
        """The environment in which the gate exits with `code`, and with `before` where it measures before the deployment."""
        for name, form in formats().items():
            (self.folder / name).write_text(form.write(report(VERDICTS.get(code, Outcome.FAIL))), encoding="utf-8")
        return self.environ | {"CODE": str(code), "BEFORE": str(before)}

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call so far."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
