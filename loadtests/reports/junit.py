"""The report as JUnit XML, valid by the schema that Jenkins uses, by the same conventions as the gate's.

Each SLO of each route or journey is a test case: a proven breach is a failure, what is not proven is skipped. In a run that is no
result (a saturated generator, a lost worker) a breach is skipped too: it coloured nothing. A reason that belongs to no SLO is a
test case of its own, so that it isn't lost because every case is fine.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET  # only written here, never parsed

from judge.verdict import Outcome
from loadtests.result import Judgement, LoadReport, Reason

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no way to write


def write(report: LoadReport) -> str:
    """The whole document."""
    began = datetime.fromtimestamp(report.started, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ET.Element("testsuite", name=_plain(f"outrider load {report.scenario}"), timestamp=began)
    properties = ET.SubElement(suite, "properties")
    told = {"verdict": str(report.verdict), "revision": report.revision_after or report.revision_before, "target": report.offered.target}
    for name, value in told.items():
        ET.SubElement(properties, "property", name=name, value=_plain(value))
    place = f"{report.config}:{report.line}" if report.config else ""
    counted = {(reason.task, reason.slo) for reason in report.reasons}
    for one in report.judgements:
        _judged(suite, one, place, result=report.verdict is not Outcome.INCONCLUSIVE or (one.subject, one.slo) in counted)
    for number, reason in enumerate((r for r in report.reasons if not r.slo), 1):
        _reason(suite, reason, number)
    if report.notes:
        ET.SubElement(suite, "system-out").text = _plain("\n".join(note.text for note in report.notes))
    _total(suite, report.finished - report.started)
    document = ET.Element("testsuites")
    document.append(suite)
    ET.indent(document)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, encoding="unicode") + "\n"


def _judged(suite: ET.Element, one: Judgement, place: str, *, result: bool) -> None:
    """`result` is False where the run is none and this SLO coloured nothing."""
    case = ET.SubElement(suite, "testcase", name=_plain(f"{one.subject} {one.slo}"), classname="outrider.load", time="0.000")
    outcome = one.outcome if result or one.outcome is Outcome.PASS else Outcome.INCONCLUSIVE
    if outcome is Outcome.PASS:
        ET.SubElement(case, "system-out").text = _plain(one.text)
        return
    tag = "failure" if outcome is Outcome.FAIL else "skipped"
    found = ET.SubElement(case, tag, type=str(outcome), message=_plain(one.text))
    found.text = place


def _reason(suite: ET.Element, reason: Reason, number: int) -> None:
    case = ET.SubElement(suite, "testcase", name=f"load {number}", classname="outrider.load", time="0.000")
    tag = "failure" if reason.outcome is Outcome.FAIL else "skipped"
    ET.SubElement(case, tag, type=_plain(reason.cause), message=_plain(reason.text))


def _total(suite: ET.Element, seconds: float) -> None:
    """The totals that readers show before they read the cases."""
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(1 for _ in suite.iter(tag))))
    suite.set("time", f"{max(0.0, seconds):.3f}")


def _plain(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
