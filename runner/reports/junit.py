"""The gate's report as JUnit XML, valid by the schema that Jenkins uses (junit-10.xsd).

A check is a test case. A failed check is a failure; one that could not run, since the probe itself broke, an error; an
inconclusive one is skipped, and so is an optional one that doesn't pass, for it mustn't turn the build red. What failed and
passed at once when asked again is a flakyFailure. A reason that belongs to no check (another revision, never ready, nothing
run) is a test case of its own.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET  # only written here, never parsed

from judge.report import CheckRow, Report, could_not_run, iso
from judge.verdict import Finding, Outcome
from runner.reports import Format

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no way to write


def write(report: Report) -> str:
    """The whole document."""
    suite = ET.Element("testsuite", name=_plain(f"outrider gate {report.service}".strip()), timestamp=iso(report.started)[:19])
    properties = ET.SubElement(suite, "properties")
    told = {"verdict": str(report.verdict), "revision": report.revision, "environment": report.environment}
    for name, value in told.items():
        ET.SubElement(properties, "property", name=name, value=_plain(value))
    for row in report.checks:
        _check(suite, row, report.file)
    for number, reason in enumerate((r for r in report.reasons if not r.check), 1):
        _reason(suite, reason, number)
    _note(suite, "system-out", "\n".join([*report.preamble, *(note.text for note in report.notes)]))
    _counted(suite, report.finished - report.started)
    document = ET.Element("testsuites")
    document.append(suite)
    ET.indent(document)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, encoding="unicode") + "\n"


def _check(suite: ET.Element, row: CheckRow, file: str) -> None:
    case = ET.SubElement(suite, "testcase", name=_plain(row.check), classname=_plain(f"outrider.{row.kind}"), time=_seconds(row.seconds))
    place = f"{file}:{row.line}"
    if row.verdict is not Outcome.PASS:
        tag = _tag(row)
        aside = "" if row.required else f"optional, {row.verdict}: "
        found = ET.SubElement(case, tag, type=_plain(row.reason or str(row.verdict)), message=_plain(f"{aside}{row.message}"))
        found.text = _plain("\n".join(line for line in (place, row.why, row.finding, row.trace_id and f"trace {row.trace_id}") if line))
    for message in row.flaky:
        found = ET.SubElement(case, "flakyFailure", type=_plain(message.partition(":")[0] or "fail"), message=_plain(message))
        found.text = place
    _note(case, "system-out", "\n".join(slo.sentence for slo in (row.slo or {}).values()))


def _tag(row: CheckRow) -> str:
    if not row.required:
        return "skipped"
    return "failure" if row.verdict is Outcome.FAIL else "error" if could_not_run(row) else "skipped"


def _reason(suite: ET.Element, reason: Finding, number: int) -> None:
    """A reason that belongs to no check: it must not be lost because every check is fine."""
    case = ET.SubElement(suite, "testcase", name=f"gate {number}", classname="outrider.gate", time="0.000")
    tag = "failure" if reason.outcome is Outcome.FAIL else "skipped"
    ET.SubElement(case, tag, type=str(reason.outcome), message=_plain(reason.text))


def _note(parent: ET.Element, tag: str, text: str) -> None:
    if text:
        ET.SubElement(parent, tag).text = _plain(text)


def _counted(suite: ET.Element, seconds: float) -> None:
    """The totals that readers show before they read the cases."""
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(1 for _ in suite.iter(tag))))
    suite.set("time", _seconds(seconds))


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}"


def _plain(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)


FORMAT = Format("JUnit XML, valid by Jenkins' junit-10.xsd.", write)
