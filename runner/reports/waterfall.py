"""Observations for a person at a terminal: the verdict first, then why, where the time went, and where to look next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from judge.observation import Observation
from probes.core import Span, Verdict
from runner.reports.lines import room, write_line

_STYLE = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}
_BAR = 30  # columns for the whole run's time, where the console has so many
_SHORTEST_BAR = 5  # columns
_ROWS = 40  # of one waterfall
_SAME = 0.0005  # seconds by which two spans that follow one another may overlap


def write(console: Console, seen: Iterable[Observation], *, file: str) -> None:
    """Draws every observation: one or two lines for a pass, as many as it needs for the rest."""
    rows = list(seen)
    width = max((len(o.check.name) for o in rows), default=0)
    for row in rows:
        write_one(console, row, width=width, file=file)


def write_one(console: Console, seen: Observation, *, width: int, file: str) -> None:
    """Draws one observation; names are padded to `width`."""
    passed = seen.verdict is Verdict.PASS
    indent = 8 + width + 2
    head = Text.assemble((f"{seen.verdict.upper():<8}", _STYLE[seen.verdict]), (f"{seen.check.name:<{width}}  ", "bold"))
    reason = ("" if passed else f"{seen.reason or '':<11} ", _STYLE[seen.verdict])
    tail = f"  {_ms(seen.seconds)}" if passed else f"  {seen.check.place(file)}"
    write_line(console, head, Text.assemble(reason, seen.message, (tail, "dim")), indent=indent)
    if seen.check.part_of:
        return
    indent, columns = room(console, indent)
    lines = _times(seen, columns=columns if console.is_terminal else 0)
    if seen.suspect:
        busy = _ms(min(seen.stalled, seen.seconds))
        lines.append(Text(f"The runner was busy for {busy} during this run, so the times may be up to {busy} too high.", style="yellow"))
    if not passed:
        evidence = f"evidence: outrider probe {seen.check.name} --json · trace {seen.trace_id[:16]}"
        lines += [Text(line) for line in (seen.finding, evidence) if line]
    for line in lines:
        write_line(console, Text(" " * indent), line, indent=indent)


def _times(seen: Observation, *, columns: int) -> list[Text]:
    """Where the time went: on a line, or a row for each span where they overlap, repeat or belong to steps.

    `columns` are those of a terminal; 0 without one: a line without bars.
    """
    if not seen.phases:
        return []
    rows = _rows(seen) if columns else []
    if not rows:
        return [_bars(seen, columns=columns)]
    whole = max(seen.seconds, *(row.end for row in rows), 1e-9)
    numbers = [_number(row.end - row.start) for row in rows]
    around = len("_▏▏_") + max(map(len, numbers))
    width = min(max(len(row.name) for row in rows), max(1, columns - around - _SHORTEST_BAR))
    columns = max(_SHORTEST_BAR, min(_BAR, columns - around - width))
    style = "cyan" if seen.verdict is Verdict.PASS else "red"
    lines = []
    for row, number in zip(rows, numbers, strict=True):
        name = row.name if len(row.name) <= width else f"{row.name[: width - 1]}…"
        before = min(columns - 1, int(columns * row.start / whole))
        length = max(1, min(columns - before, round(columns * (row.end - row.start) / whole)))
        bar = Text.assemble(" " * before, ("█" * length, style), " " * (columns - before - length))
        lines.append(Text.assemble(f"{name:<{width}} ", ("▏", "dim"), bar, ("▏", "dim"), f" {number}"))
    return [*lines, Text(_ms(seen.seconds), style="dim")]


def _rows(seen: Observation) -> list[Span]:
    """A row for each span, in the order in which they began; none where phases simply follow one another, as one line can show.

    Of a run by steps a row for each step, and below the one in which it ended badly the phases of that step.
    """
    spans = sorted(seen.spans, key=lambda span: span.start)
    if any(span.step for span in spans):
        return _step_rows(seen, spans)[:_ROWS]
    apart = all(later.start >= earlier.end - _SAME for earlier, later in pairwise(spans))
    once = len({span.name for span in spans}) == len(spans)
    return [] if apart and once else spans[:_ROWS]


def _step_rows(seen: Observation, spans: Sequence[Span]) -> list[Span]:
    steps: dict[str, list[Span]] = {}
    for span in spans:
        steps.setdefault(span.step, []).append(span)
    failed = ""
    if seen.verdict is not Verdict.PASS:  # the step that the message names, else the last one that began
        named = [step for step in steps if step and step in seen.message]
        failed = max(named, key=len) if named else next((step for step in reversed(steps) if step), "")
    rows: list[Span] = []
    for step, own in steps.items():
        rows.append(Span(step or own[0].name, own[0].start, max(span.end for span in own)))
        if step and step == failed:
            rows += [Span(f"  {span.name}", span.start, span.end) for span in own]
    return rows


def _bars(seen: Observation, *, columns: int) -> Text:
    """The steps of a run, or its phases, on one line: with a bar for each where a terminal has the columns for it."""
    steps = [(name.removeprefix("step."), float(value)) for name, value in seen.facts.items() if name.startswith("step.")]
    times = steps or list(seen.phases.items())
    whole = max(seen.seconds, sum(seconds for _, seconds in times), 1e-9)
    tail = f"  {_ms(seen.seconds)}" if seen.verdict is not Verdict.PASS else "  (ms)"
    labels = [f"{name} {_number(seconds)}" for name, seconds in times]
    bar = min(_BAR, columns - len(tail) - sum(len(label) + len(" ▏") for label in labels))
    with_bars = bar >= _SHORTEST_BAR
    line, passed, drawn = Text(), 0.0, 0
    for i, (label, (_, seconds)) in enumerate(zip(labels, times, strict=True)):
        line.append("▏" if i and with_bars else ", " if i else "", style="dim")
        line.append(label)
        passed += seconds
        if with_bars and (length := round(bar * passed / whole) - drawn):
            line.append(" " + "█" * length, style="cyan" if seen.verdict is Verdict.PASS else "red")
            drawn += length
    line.append(tail, style="dim")
    return line


def _number(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 1 or milliseconds == 0 else f"{milliseconds:.1g}"


def _ms(seconds: float) -> str:
    return f"{_number(seconds)} ms"
