"""The gate's report for GitHub Actions: lines that it shows at a check's own line of checks.yaml, and the step's summary.

About ten annotations of a kind are shown per step, so that no more are written; the summary is cut between two rows where it
would go over its cap, since GitHub throws a larger one away whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from judge.report import Report
from judge.verdict import Outcome
from runner.reports import Appended, Format, markdown

WORKSPACE = "GITHUB_WORKSPACE"  # the variable of the folder from which paths are read
SHOWN = 10  # annotations of a kind
CAP = 1024 * 1024  # bytes of a step's summary
_CUT = "\n*Cut here: the summary may have 1024 KiB. The JSON report has everything.*\n"


def write(report: Report) -> str:
    """The lines for the log: `::error` for what fails, `::warning` for what is inconclusive or optional, `::notice` for the flaky."""
    lines: list[str] = []
    for kind in ("error", "warning", "notice"):
        lines += list(_annotations(report, kind))[:SHOWN]
    return "".join(f"{line}\n" for line in lines)


def _annotations(report: Report, kind: str) -> Iterator[str]:
    for row in report.checks:
        title = f"{row.check}: {row.verdict}" + ("" if row.required else " (optional)")
        if row.verdict is not Outcome.PASS and _kind(row.verdict, required=row.required) == kind:
            yield annotation(kind, report.file_of(row), row.line, title, "\n".join(t for t in (row.why, row.finding) if t))
        if row.flaky and kind == "notice":
            text = f"{row.flaky[0]}; passed at once when asked again ({len(row.flaky)} of {row.runs} runs)"
            yield annotation(kind, report.file_of(row), row.line, f"{row.check}: flaky", text)
    for reason in report.loose:
        if _kind(reason.outcome) == kind:
            yield annotation(kind, report.file_of(reason), reason.line or 1, f"gate: {reason.outcome}", reason.text)


def _kind(outcome: Outcome, *, required: bool = True) -> str:
    return "error" if outcome is Outcome.FAIL and required else "warning"


def annotation(kind: str, file: str, line: int, title: str, message: str, *, column: int = 0) -> str:
    """A line that GitHub shows at a line of a file."""
    place = f"line={line}" + (f",col={column}" if column else "")
    return f"::{kind} file={_property(file)},{place},title={_property(title)}::{_data(message or title)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(report: Report, room: int = CAP) -> str:
    """The step's summary in at most `room` bytes of UTF-8, cut between two rows."""
    kept: list[str] = []
    left = room - len(_CUT.encode())
    for piece in markdown.pieces(report):
        left -= len(piece.encode(errors="replace"))
        if left < 0:
            return "".join(kept) + _CUT if room >= len(_CUT.encode()) else ""
        kept.append(piece)
    return "".join(kept)


FORMAT = Format(
    "Annotations in the log, and the step's summary ($GITHUB_STEP_SUMMARY).",
    write,
    appended={"GITHUB_STEP_SUMMARY": Appended(summary, CAP)},
    beside=True,
    paths_from=WORKSPACE,
)
