"""Observations for a person at a terminal: the verdict first, then why, where the time went, and where to look next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from probes._core import Verdict
from runner.observation import Observation

_STYLE = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}
_BAR = 30  # signs that the whole run's time is drawn with


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
    lines = [bars(seen, colour=console.is_terminal)] if seen.phases else []
    if seen.verdict is not Verdict.PASS:
        lines += [Text(line) for line in (seen.finding, _evidence(seen)) if line]
    for line in lines:
        console.print(Text(" " * indent) + line, soft_wrap=True)


def bars(seen: Observation, *, colour: bool) -> Text:
    """Where the time went: the steps of a journey, or the phases, with a bar for each where there is a terminal."""
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
