"""The gate's report for a person: the verdict first, then why, where in the file, and what is worth knowing besides.

On a terminal it is live while the gate runs; without one the same words come plain, one fact a line.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from judge.observation import Check, Observation
from judge.report import CheckRow, Report
from judge.revision import brief
from judge.verdict import Outcome
from probes.core import Verdict
from probes.text import one_line
from runner.reports import Format
from runner.reports.lines import write_line

_STYLE = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "unknown": "yellow", "": "dim"}
_INDENT = " " * 6
_RECENT = 10  # runs that a row shows
_LETTERS = {Verdict.PASS: "·", Verdict.FAIL: "F", Verdict.UNKNOWN: "?"}


def write(report: Report) -> str:
    """The report as plain text, for a file or a log."""
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False, highlight=False, width=200)
    draw(console, report)
    return console.file.getvalue() if isinstance(console.file, io.StringIO) else ""


def draw(console: Console, report: Report) -> None:
    """The report on a console, in colour where the console has colour."""
    for line in _lines(report):
        write_line(console, Text(), line, indent=len(_INDENT))


def _lines(report: Report) -> Iterator[Text]:
    for text in report.preamble:
        yield Text(one_line(text), style="dim")
    yield Text.assemble((f"{report.verdict.upper()}  ", _STYLE[report.verdict]), report.headline)
    for reason in report.reasons:
        place = f"  {report.place(reason)}" if reason.line else ""
        yield Text.assemble(_INDENT, (one_line(reason.text), _STYLE[reason.outcome]), (place, "dim"))
    for row in report.checks:
        yield from _below(row)
    for note in report.notes:
        in_trouble = any(row.check == note.check and row.verdict is not Outcome.PASS for row in report.checks)
        place = f"  {report.place(note)}" if note.line and in_trouble else ""
        yield Text.assemble(_INDENT, one_line(note.text), (place, "dim"))
    if report.verdict is Outcome.INCONCLUSIVE:
        what = brief(report.revision) or "this release"
        yield Text(f"{_INDENT}nothing about {what} is proven; wait and run again", style="dim")


def _below(row: CheckRow) -> Iterator[Text]:
    """Where to look next, for a check that isn't well."""
    if row.verdict is Outcome.PASS:
        return
    if row.finding:
        yield Text(f"{_INDENT}{row.check}: {one_line(row.finding)}")
    if row.trace_id:
        yield Text(f"{_INDENT}evidence: outrider probe {row.check} --json · trace {row.trace_id[:16]}", style="dim")


class Board:
    """What is seen while a gate runs: a live table on a terminal, one fact a line without one. A context manager."""

    def __init__(self, console: Console, checks: tuple[Check, ...], *, rounds: int) -> None:
        self._console = console
        self._seen: dict[str, list[Observation]] = {check.name: [] for check in checks}
        self._rounds = rounds
        self._doing = ""
        self._live = Live(console=console, get_renderable=self._drawn, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Clears the live table: the report is drawn in its place."""
        self._live.stop()

    def above(self, text: str) -> bool:
        """Writes a line above the live table, which would be torn by another writer; False where there is no such table."""
        if self._live.is_started:
            self._console.print(text, soft_wrap=True, markup=False, highlight=False)
        return self._live.is_started

    def say(self, text: str) -> None:
        """What is going on now: `waiting for revision 3f2c91a: 2 of 5 answers in a row`."""
        if text != self._doing and not self._console.is_terminal:
            self._console.print(text, soft_wrap=True, markup=False, highlight=False)
        self._doing = text

    def ran(self, seen: Observation, *, judged: bool = True) -> None:
        """One run is over. The warm-up is shown and not judged."""
        if judged and not seen.check.part_of:
            self._seen.setdefault(seen.check.name, []).append(seen)
        if not self._console.is_terminal:
            self._console.print(fact(seen, judged=judged), soft_wrap=True, markup=False, highlight=False)

    def _drawn(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, runs in self._seen.items():
            last = runs[-1] if runs else None
            letters = "".join(_LETTERS[one.verdict] for one in runs[-_RECENT:])
            verdict = str(last.verdict) if last else ""
            took = f"{last.seconds * 1000:.0f} ms" if last else ""
            table.add_row(Text(verdict.upper() or "…", _STYLE[verdict]), name, f"{len(runs)}/{self._rounds}", letters, took)
        table.add_row("", Text(self._doing, style="dim"), "", "", "")
        return table


def fact(seen: Observation, *, judged: bool) -> str:
    """One run in a line: `PASS    api  12 ms`."""
    why = "" if seen.verdict is Verdict.PASS else f"  {seen.reason or ''} {one_line(seen.message)}".rstrip()
    return f"{str(seen.verdict).upper():<8}{seen.check.name}  {seen.seconds * 1000:.0f} ms{'' if judged else '  warm-up'}{why}"


FORMAT = Format("For a person; the default.", write, beside=True)
