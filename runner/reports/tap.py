"""The gate's report as TAP version 13: a check is a test point, with what is known of it as YAML below."""

from __future__ import annotations

import json
from collections.abc import Iterator

from judge.report import CheckRow, Report
from judge.verdict import Finding, Outcome
from probes.text import one_line
from runner.reports import Format


def write(report: Report) -> str:
    """All lines. Inconclusive is skipped, as JUnit has it; the verdict itself stands in a comment."""
    loose = report.loose
    lines = ["TAP version 13", f"1..{len(report.checks) + len(loose)}", f"# verdict: {report.verdict}", f"# {one_line(report.headline)}"]
    lines += [f"# {one_line(text)}" for text in report.preamble]
    for number, row in enumerate(report.checks, 1):
        lines += _check(number, row, report.place(row))
    for number, reason in enumerate(loose, len(report.checks) + 1):
        lines.append(_reason(number, reason))
    lines += [f"# {one_line(note.text)}" for note in report.notes]
    return "".join(f"{line}\n" for line in lines)


def _check(number: int, row: CheckRow, place: str) -> Iterator[str]:
    skipped = row.verdict is Outcome.INCONCLUSIVE or (row.verdict is Outcome.FAIL and not row.required)
    ok = "not ok" if row.verdict is Outcome.FAIL and row.required else "ok"
    word = str(row.verdict) if row.required else f"optional, {row.verdict}"
    yield f"{ok} {number} - {_description(row.check)}" + (f" # SKIP {word}: {one_line(row.why)}" if skipped else "")
    if row.verdict is not Outcome.PASS or row.flaky:
        details = {"message": row.why, "at": place, "runs": row.runs, "passed": row.passed, "flaky": list(row.flaky)}
        yield "  ---"
        yield from (f"  {name}: {json.dumps(value)}" for name, value in details.items())  # JSON is YAML, and stays in its line
        yield "  ..."


def _reason(number: int, reason: Finding) -> str:
    text = one_line(reason.text)
    if reason.outcome is Outcome.FAIL:
        return f"not ok {number} - gate: {_description(text)}"
    return f"ok {number} - gate # SKIP {reason.outcome}: {text}"


def _description(text: str) -> str:
    """A # would begin a directive."""
    return one_line(text).replace("\\", "\\\\").replace("#", "\\#")


FORMAT = Format("TAP version 13.", write)
