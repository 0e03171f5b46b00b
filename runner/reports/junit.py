"""The gate's report as JUnit XML, valid by the schema that Jenkins uses (junit-10.xsd).

A check is a test case. A failed check is a failure; one that could not run, since the probe itself broke, an error; an
inconclusive one is skipped, and so is an optional one that doesn't pass, for it mustn't turn the build red. What failed and
passed at once when asked again is a flakyFailure. A reason that no check's outcome tells (another revision, never ready, nothing
run, slower than before) is a test case of its own.
"""

from __future__ import annotations

from judge.junit import Suite, add
from judge.report import CheckRow, Report, could_not_run
from judge.verdict import Outcome
from runner.reports import Format


def write(report: Report) -> str:
    """The whole document."""
    properties = {"verdict": str(report.verdict), "revision": report.revision, "environment": report.environment}
    suite = Suite(f"outrider gate {report.service}".strip(), started=report.started, properties=properties)
    for row in report.checks:
        _check(suite, row, report.place(row))
    for number, reason in enumerate(report.loose, 1):
        case = suite.case(f"gate {number}", "outrider.gate")
        add(case, "failure" if reason.outcome is Outcome.FAIL else "skipped", type=str(reason.outcome), message=reason.text)
    if notes := [*report.preamble, *(note.text for note in report.notes)]:
        add(suite.element, "system-out", "\n".join(notes))
    return suite.document(report.finished - report.started)


def _check(suite: Suite, row: CheckRow, place: str) -> None:
    case = suite.case(row.check, f"outrider.{row.kind}", row.seconds)
    if row.verdict is not Outcome.PASS:
        tag, aside = "skipped", "" if row.required else f"optional, {row.verdict}: "
        if row.required and row.verdict is Outcome.FAIL:
            tag = "failure"
        elif row.required and could_not_run(row):
            tag = "error"
        lines = (place, row.why, row.finding, row.trace_id and f"trace {row.trace_id}")
        add(case, tag, "\n".join(filter(None, lines)), type=row.reason or str(row.verdict), message=f"{aside}{row.message}")
    for message in row.flaky:
        add(case, "flakyFailure", place, type=message.partition(":")[0] or "fail", message=message)
    if row.slo:
        add(case, "system-out", "\n".join(slo.sentence for slo in row.slo.values()))


FORMAT = Format("JUnit XML, valid by Jenkins' junit-10.xsd.", write)
