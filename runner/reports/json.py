"""The gate's report as JSON, for programs: the same object whoever carried the gate out."""

from __future__ import annotations

import json

from judge.report import Report, to_json
from runner.reports import Format


def write(report: Report) -> str:
    """One object, with the keys of HOUSE section 4 and a few more."""
    return json.dumps(to_json(report), indent=2) + "\n"


FORMAT = Format("One JSON object, for programs.", write)
