"""Observations for a person at a terminal: the verdict first, then why, where the time went, and where to look next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from judge.observation import Observation
from probes.core import Span, Verdict

_STYLE = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}
_BAR = 30  # characters for the whole run's time
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
    head = Text.assemble((f"{seen.verdict.upper():<8}", _STYLE[seen.verdict]), (f"{seen.check.name:<{width}}  ", "bold"))
    if not passed:
        head.append(f"{seen.reason or '':<11} ", style=_STYLE[seen.verdict])
    head.append(seen.message)
    head.append(f"  {_ms(seen.seconds)}" if passed else f"  {file}:{seen.check.line}", style="dim")
    console.print(head, soft_wrap=True)
    if seen.check.part_of:
        return
    lines = _times(seen, colour=console.is_terminal)
    if seen.suspect:
        busy = _ms(min(seen.stalled, seen.seconds))
        lines.append(Text(f"The runner was busy for {busy} during this run, so the times may be up to {busy} too high.", style="yellow"))
    if not passed:
        evidence = f"evidence: outrider probe {seen.check.name} --json · trace {seen.trace_id[:16]}"
        lines += [Text(line) for line in (seen.finding, evidence) if line]
    for line in lines:
        console.print(Text(" " * (8 + width + 2)) + line, soft_wrap=True)


def _times(seen: Observation, *, colour: bool) -> list[Text]:
    """Where the time went: on a line, or at a terminal a row for each span where they overlap, repeat or belong to steps."""
    if not seen.phases:
        return []
    rows = _rows(seen) if colour else []
    if not rows:
        return [_bars(seen, colour=colour)]
    whole = max(seen.seconds, *(row.end for row in rows), 1e-9)
    width = max(len(row.name) for row in rows)
    style = "cyan" if seen.verdict is Verdict.PASS else "red"
    lines = []
    for row in rows:
        before = min(_BAR - 1, int(_BAR * row.start / whole))
        length = max(1, min(_BAR - before, round(_BAR * (row.end - row.start) / whole)))
        bar = Text.assemble(" " * before, ("█" * length, style), " " * (_BAR - before - length))
        lines.append(Text.assemble(f"{row.name:<{width}} ", ("▏", "dim"), bar, ("▏", "dim"), f" {_number(row.end - row.start)}"))
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


def _bars(seen: Observation, *, colour: bool) -> Text:
    """The steps of a run, or its phases, on one line: with a bar for each where there is a terminal."""
    steps = [(name.removeprefix("step."), float(value)) for name, value in seen.facts.items() if name.startswith("step.")]
    times = steps or list(seen.phases.items())
    whole = max(seen.seconds, sum(seconds for _, seconds in times), 1e-9)
    line = Text()
    for i, (name, seconds) in enumerate(times):
        line.append("▏" if i and colour else ", " if i else "", style="dim")
        line.append(f"{name} {_number(seconds)}")
        if colour and (length := round(_BAR * seconds / whole)):
            line.append(" " + "█" * length, style="cyan" if seen.verdict is Verdict.PASS else "red")
    line.append(f"  {_ms(seen.seconds)}" if seen.verdict is not Verdict.PASS else "  (ms)", style="dim")
    return line


def _number(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 1 or milliseconds == 0 else f"{milliseconds:.1g}"


def _ms(seconds: float) -> str:
    return f"{_number(seconds)} ms"
