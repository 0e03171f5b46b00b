"""Observations for a person at a terminal: the verdict first, then why, where the time went, and where to look next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from judge.observation import Observation
from probes.core import Span, Verdict

_STYLE = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}
_BAR = 30  # signs that the whole run's time is drawn with
_ROWS = 40  # of one waterfall
_SAME = 0.0005  # seconds by which two stretches that follow one another may overlap


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
    if not seen.check.part_of:
        _write_below(console, seen, indent=8 + width + 2)


def _write_below(console: Console, seen: Observation, *, indent: int) -> None:
    lines = _drawn(seen, colour=console.is_terminal)
    if seen.suspect:
        busy = _ms(seen.stalled)
        lines.append(Text(f"The runner was busy for {busy} during this run, so the times may be up to {busy} too high.", style="yellow"))
    if seen.verdict is not Verdict.PASS:
        lines += [Text(line) for line in (seen.finding, _evidence(seen)) if line]
    for line in lines:
        console.print(Text(" " * indent) + line, soft_wrap=True)


def _drawn(seen: Observation, *, colour: bool) -> list[Text]:
    """Where the time went: on a line, or at a terminal a row for each stretch where they overlap, repeat or belong to steps."""
    if not seen.phases:
        return []
    found = rows(seen) if colour else []
    if not found:
        return [bars(seen, colour=colour)]
    return [*_waterfall(found, seen), Text(_ms(seen.seconds), style="dim")]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One row of a waterfall; seconds from the run's start."""

    name: str
    start: float
    end: float


def rows(seen: Observation) -> list[Stretch]:
    """The stretches that one line can't tell, in the order in which they began; nothing where phases simply follow one another.

    Of a run by steps a row for each step, and below the one in which it ended badly the phases of that step.
    """
    spans = sorted(seen.spans, key=lambda span: span.start)
    if any(span.step for span in spans):
        return _by_step(seen, spans)[:_ROWS]
    apart = all(later.start >= earlier.end - _SAME for earlier, later in pairwise(spans))
    once = len({span.name for span in spans}) == len(spans)
    return [] if apart and once else [Stretch(span.name, span.start, span.end) for span in spans[:_ROWS]]


def _by_step(seen: Observation, spans: Sequence[Span]) -> list[Stretch]:
    steps: dict[str, list[Span]] = {}
    for span in spans:
        steps.setdefault(span.step, []).append(span)
    last = "" if seen.verdict is Verdict.PASS else _failed_step(seen, steps)
    found: list[Stretch] = []
    for step, own in steps.items():
        found.append(Stretch(step or own[0].name, own[0].start, max(span.end for span in own)))
        if step and step == last:
            found += [Stretch(f"  {span.name}", span.start, span.end) for span in own]
    return found


def _failed_step(seen: Observation, steps: Iterable[str]) -> str:
    """The step that the message names, else the last one that began."""
    named = [step for step in steps if step and step in seen.message]
    return max(named, key=len) if named else next((step for step in reversed(list(steps)) if step), "")


def _waterfall(found: Sequence[Stretch], seen: Observation) -> list[Text]:
    whole = max(seen.seconds, *(row.end for row in found), 1e-9)
    width = max(len(row.name) for row in found)
    style = "cyan" if seen.verdict is Verdict.PASS else "red"
    drawn = []
    for row in found:
        before = min(_BAR - 1, int(_BAR * row.start / whole))
        signs = max(1, min(_BAR - before, round(_BAR * (row.end - row.start) / whole)))
        bar = Text.assemble(" " * before, ("█" * signs, style), " " * (_BAR - before - signs))
        drawn.append(Text.assemble(f"{row.name:<{width}} ", ("▏", "dim"), bar, ("▏", "dim"), f" {_number(row.end - row.start)}"))
    return drawn


def bars(seen: Observation, *, colour: bool) -> Text:
    """The steps of a run, or its phases, on one line: with a bar for each where there is a terminal."""
    stretches = _steps(seen) or list(seen.phases.items())
    whole = max(seen.seconds, sum(seconds for _, seconds in stretches), 1e-9)
    drawn = Text()
    for i, (name, seconds) in enumerate(stretches):
        drawn.append("▏" if i and colour else ", " if i else "", style="dim")
        drawn.append(f"{name} {_number(seconds)}")
        if colour and (signs := round(_BAR * seconds / whole)):
            drawn.append(" " + "█" * signs, style="cyan" if seen.verdict is Verdict.PASS else "red")
    drawn.append(f"  {_ms(seen.seconds)}" if seen.verdict is not Verdict.PASS else "  (ms)", style="dim")
    return drawn


def _steps(seen: Observation) -> Sequence[tuple[str, float]]:
    return [(name.removeprefix("step."), float(value)) for name, value in seen.facts.items() if name.startswith("step.")]


def _evidence(seen: Observation) -> str:
    return f"evidence: outrider probe {seen.check.name} --json · trace {seen.trace_id[:16]}"


def _number(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 1 or milliseconds == 0 else f"{milliseconds:.1g}"


def _ms(seconds: float) -> str:
    return f"{_number(seconds)} ms"
