"""The report as JUnit XML, valid by the schema that Jenkins uses, by the same conventions as the gate's.

Each SLO of each route or journey is a test case: a proven breach is a failure, what is not proven is skipped. In a run that is no
result (a saturated generator, a lost worker) a breach is skipped too: it coloured nothing. A reason that belongs to no SLO is a
test case of its own, so that it isn't lost because every case is fine.
"""

from __future__ import annotations

from judge.junit import Suite, add
from judge.verdict import Outcome
from loadtests.result import LoadReport


def write(report: LoadReport) -> str:
    """The whole document."""
    revision = report.revision_after or report.revision_before
    properties = {"verdict": str(report.verdict), "revision": revision, "target": report.offered.target}
    suite = Suite(f"outrider load {report.scenario}", started=report.started, properties=properties)
    place = f"{report.config}:{report.line}" if report.config else ""
    counted = {(reason.task, reason.slo) for reason in report.reasons}
    for one in report.judgements:
        case = suite.case(f"{one.subject} {one.slo}", "outrider.load")
        is_result = report.verdict is not Outcome.INCONCLUSIVE or (one.subject, one.slo) in counted
        outcome = one.outcome if is_result or one.outcome is Outcome.PASS else Outcome.INCONCLUSIVE
        if outcome is Outcome.PASS:
            add(case, "system-out", one.text)
        else:
            add(case, "failure" if outcome is Outcome.FAIL else "skipped", place, type=str(outcome), message=one.text)
    for number, reason in enumerate((r for r in report.reasons if not r.slo), 1):
        case = suite.case(f"load {number}", "outrider.load")
        add(case, "failure" if reason.outcome is Outcome.FAIL else "skipped", type=reason.cause, message=reason.text)
    if report.notes:
        add(suite.element, "system-out", "\n".join(note.text for note in report.notes))
    return suite.document(report.finished - report.started)
