"""The gate's report as Markdown: for a pull request, a chat, a step summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from judge.report import CheckRow, Report
from judge.verdict import Finding, Outcome
from runner.reports import Format

_WORDS = {Outcome.PASS: "✅ pass", Outcome.FAIL: "❌ fail", Outcome.INCONCLUSIVE: "❔ inconclusive"}
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@-])")  # characters that mean something in Markdown, HTML or a mention


def write(report: Report) -> str:
    """The whole report."""
    return "".join(pieces(report))


def pieces(report: Report) -> Iterator[str]:
    """The report in pieces that may be cut between: what matters most comes first. A piece is a line or a whole row."""
    yield f"## {_WORDS[report.verdict]}: {escaped(report.headline)}\n\n"
    for reason in report.reasons:
        yield f"- **{escaped(reason.text)}**{_place(report, reason)}\n"
    yield "\n| check | verdict | runs passed | why | SLOs |\n|---|---|---:|---|---|\n"
    for row in sorted(report.checks, key=lambda row: (not row.counts_against, row.verdict is Outcome.PASS)):
        why = [row.why, *(f"flaky: {text}" for text in row.flaky), row.finding]
        slos = "<br>".join(f"{escaped(name)} {slo.state} {slo.good:,}/{slo.total:,}" for name, slo in (row.slo or {}).items())
        verdict = _WORDS[row.verdict] + ("" if row.required else " (optional)")
        place = "" if row.verdict is Outcome.PASS else _place(report, row)
        shown = "<br>".join(escaped(text) for text in why if text)
        yield f"| {escaped(row.check)} | {verdict} | {row.passed:,} of {row.runs + row.strays:,} | {shown}{place} | {slos} |\n"
    yield "\n"
    for text in (*report.preamble, *(note.text for note in report.notes)):
        yield f"- {escaped(text)}\n"


def _place(report: Report, found: Finding | CheckRow) -> str:
    return f" `{report.place(found)}`" if found.line else ""


def escaped(text: str) -> str:
    """The text in one line, with every character that could become markup, a link or a mention escaped."""
    one_line = " ".join(text.split())
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", "|": "&#124;"}
    return _ACTIVE.sub(lambda found: entities.get(found[1], f"\\{found[1]}"), one_line)


FORMAT = Format("Markdown, for a pull request or a chat.", write)
