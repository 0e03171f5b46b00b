"""Numbers as shapes: a bar for each run, and a bar for each phase. Only geometry; the templates draw it as SVG.

A passed run's bar is at most two thirds high, by its duration; a failed run's bar has full height; an unknown run's bar is hollow. So
the shapes alone show everything that the colours show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from judge.observation import Observation
from probes import facts
from probes.core import Verdict
from probes.text import latency
from runner.web.words import moment

HEIGHT = 24.0
STEP = 5.0
_PASS_HEIGHT = 15.0
_TINTS = 6  # colours for phases in the style sheet


@dataclass(frozen=True, slots=True)
class Bar:
    """A run that didn't pass: its position, its verdict, and its tooltip."""

    x: float
    verdict: str
    label: str


@dataclass(frozen=True, slots=True)
class Bars:
    """The recent runs: the passed ones as one SVG path (a thousand checks on one page must stay cheap), the others one by one."""

    passes: str
    others: tuple[Bar, ...]
    text: str  # for screen readers


@dataclass(frozen=True, slots=True)
class PhaseBar:
    """One phase: its position on a scale of 0 to 100, its tint, and its text."""

    name: str
    start: float
    width: float
    tint: int
    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """The phases of one run on top of each other, over `HEIGHT` times four."""

    x: float
    pieces: tuple[PhaseBar, ...]
    verdict: str
    label: str


def bars(recent: Sequence[Observation], most: int, now: float) -> Bars:
    """A bar for each run, the newest at the right end of `most` positions."""
    shown = recent[-most:]
    top = max((seen.seconds for seen in shown if seen.verdict is Verdict.PASS), default=0.0)
    placed = [((most - len(shown) + index) * STEP, seen) for index, seen in enumerate(shown)]
    passes = ""
    for x, seen in placed:
        if seen.verdict is Verdict.PASS:
            height = 3.0 + (_PASS_HEIGHT - 3.0) * (seen.seconds / top if top else 0.0)
            passes += f"M{x:g} {HEIGHT:g}v-{height:.1f}h4V{HEIGHT:g}z"
    others = tuple(Bar(x, seen.verdict.value, label(seen, now)) for x, seen in placed if seen.verdict is not Verdict.PASS)
    return Bars(passes, others, summary(shown))


def label(seen: Observation, now: float) -> str:
    """`12:00:15 passed in 250 ms`, `12:00:30 failed: status`."""
    at = moment(seen.at, now)
    if seen.verdict is Verdict.PASS:
        return f"{at} passed in {latency(seen.seconds)}"
    what = "failed" if seen.verdict is Verdict.FAIL else "unknown"
    return f"{at} {what}: {seen.reason.value if seen.reason else 'no reason'}"


def summary(recent: Sequence[Observation]) -> str:
    """The bars as a text for screen readers: `the last 40 runs: 38 passed, 2 failed`."""
    if not recent:
        return "no run yet"
    counts = {verdict: sum(seen.verdict is verdict for seen in recent) for verdict in Verdict}
    words = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.UNKNOWN: "unknown"}
    counted = ", ".join(f"{number} {words[verdict]}" for verdict, number in counts.items() if number)
    return f"the last {len(recent)} runs: {counted}" if len(recent) > 1 else f"the first run: {counted}"


def phase_bars(phases: Mapping[str, float], tints: Mapping[str, int], scale: float = 0.0) -> tuple[PhaseBar, ...]:
    """Phases one after another, on a scale of their sum, or of `scale` seconds where that is longer."""
    total = max(sum(phases.values()), scale)
    start, found = 0.0, []
    for name, seconds in phases.items():
        width = 100 * seconds / total if total > 0 else 0.0
        found.append(PhaseBar(name, round(start, 2), round(width, 2), tints.get(name, 0), seconds, latency(seconds)))
        start += width
    return tuple(found)


def stages(seen: Observation) -> Mapping[str, float]:
    """Seconds of a run by its steps, where it has steps, else by its phases."""
    steps = {step: float(value) for step, value in facts.steps(seen.facts).items()}
    return steps or seen.phases


def tints(recent: Sequence[Observation]) -> dict[str, int]:
    """A tint for each stage, the same in all drawings of one check."""
    names = dict.fromkeys(name for seen in recent for name in stages(seen))
    return {name: index % _TINTS for index, name in enumerate(names)}


def columns(recent: Sequence[Observation], most: int, now: float) -> tuple[Column, ...]:
    """Each recent run's phases on top of each other, on the scale of the longest passed run; a longer run is cut off."""
    shown = recent[-most:]
    scale, colours = longest(shown), tints(shown)
    found = []
    for index, seen in enumerate(shown, most - len(shown)):
        pieces = phase_bars(stages(seen) or {"whole": seen.seconds}, colours, scale)
        found.append(Column(index * STEP, pieces, seen.verdict.value, label(seen, now)))
    return tuple(found)


def longest(recent: Sequence[Observation]) -> float:
    """Seconds of the longest passed run (a run that timed out would flatten all others); of the longest run where none passed."""
    passed = [seen for seen in recent if seen.verdict is Verdict.PASS] or recent
    return max((max(seen.seconds, sum(stages(seen).values())) for seen in passed), default=0.0)
