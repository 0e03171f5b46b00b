"""Numbers as shapes: a bar per run, phases as stretches. Only geometry; the templates draw it as SVG, without script or style.

A passed run's bar is at most two thirds high, by its duration; a failed run's is full; one that can't tell is hollow. So
the colours say nothing that the shapes don't say too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from judge.observation import Observation
from probes.core import Verdict
from probes.text import latency
from runner.web.words import moment

HEIGHT = 24.0
STEP = 5.0
_STEP = "step."  # how a kind names the facts that hold a step's seconds
_PASS_HEIGHT = 15.0
_TINTS = 6  # colours that the style sheet has for phases


@dataclass(frozen=True, slots=True)
class Bar:
    """A run that didn't pass: where its bar stands, how it looks, and what it says when pointed at."""

    x: float
    verdict: str
    label: str


@dataclass(frozen=True, slots=True)
class Bars:
    """The recent runs: those that passed as one SVG path (a thousand checks on one page must stay cheap), the others singly."""

    passes: str
    others: tuple[Bar, ...]
    text: str  # what they say to who can't see them


@dataclass(frozen=True, slots=True)
class Stretch:
    """One phase: where it lies on a scale of 0 to 100, its tint, and what it says."""

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
    pieces: tuple[Stretch, ...]
    verdict: str
    label: str


def bars(recent: Sequence[Observation], most: int, now: float) -> Bars:
    """A bar per run, newest at the right end of `most` places."""
    shown = recent[-most:]
    top = max((seen.seconds for seen in shown if seen.verdict is Verdict.PASS), default=0.0)
    placed = [((most - len(shown) + place) * STEP, seen) for place, seen in enumerate(shown)]
    passes = "".join(_pass(x, seen.seconds / top if top else 0.0) for x, seen in placed if seen.verdict is Verdict.PASS)
    others = tuple(Bar(x, seen.verdict.value, label(seen, now)) for x, seen in placed if seen.verdict is not Verdict.PASS)
    return Bars(passes, others, summary(shown))


def _pass(x: float, share: float) -> str:
    """A bar from the ground up, by its share of the longest."""
    height = 3.0 + (_PASS_HEIGHT - 3.0) * share
    return f"M{x:g} {HEIGHT:g}v-{height:.1f}h4V{HEIGHT:g}z"


def label(seen: Observation, now: float) -> str:
    """`12:00:15 passed in 250 ms`, `12:00:30 failed: status`."""
    at = moment(seen.at, now)
    if seen.verdict is Verdict.PASS:
        return f"{at} passed in {latency(seen.seconds)}"
    what = "failed" if seen.verdict is Verdict.FAIL else "unknown"
    return f"{at} {what}: {seen.reason.value if seen.reason else 'no reason'}"


def summary(recent: Sequence[Observation]) -> str:
    """What the bars say to who can't see them: `the last 40 runs: 38 passed, 2 failed`."""
    if not recent:
        return "no run yet"
    counts = {verdict: sum(seen.verdict is verdict for seen in recent) for verdict in Verdict}
    words = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.UNKNOWN: "unknown"}
    told = ", ".join(f"{number} {words[verdict]}" for verdict, number in counts.items() if number)
    return f"the last {len(recent)} runs: {told}" if len(recent) > 1 else f"the first run: {told}"


def stretches(phases: Mapping[str, float], tints: Mapping[str, int], whole: float = 0.0) -> tuple[Stretch, ...]:
    """Phases one after another; the scale is their sum, or `whole` seconds where that is longer."""
    total = max(sum(phases.values()), whole)
    place, found = 0.0, []
    for name, seconds in phases.items():
        width = 100 * seconds / total if total > 0 else 0.0
        found.append(Stretch(name, round(place, 2), round(width, 2), tints.get(name, 0), seconds, latency(seconds)))
        place += width
    return tuple(found)


def stages(seen: Observation) -> Mapping[str, float]:
    """Where a run's time went: its steps in seconds, where it has several, else its phases."""
    steps = {name.removeprefix(_STEP): float(value) for name, value in seen.facts.items() if name.startswith(_STEP)}
    return steps or seen.phases


def tints(recent: Sequence[Observation]) -> dict[str, int]:
    """A tint for each stage, the same in all drawings of one check."""
    names = dict.fromkeys(name for seen in recent for name in stages(seen))
    return {name: place % _TINTS for place, name in enumerate(names)}


def columns(recent: Sequence[Observation], most: int, now: float) -> tuple[Column, ...]:
    """Each recent run's phases on top of each other, on the scale of the longest that passed; a longer one is cut to fit."""
    shown = recent[-most:]
    whole = longest(shown)
    colours, start = tints(shown), most - len(shown)
    return tuple(_column(seen, (start + place) * STEP, colours, whole, now) for place, seen in enumerate(shown))


def longest(recent: Sequence[Observation]) -> float:
    """Seconds of the longest run that passed: a run that timed out would flatten all others. Of all, where none passed."""
    passed = [seen for seen in recent if seen.verdict is Verdict.PASS] or recent
    return max((max(seen.seconds, sum(stages(seen).values())) for seen in passed), default=0.0)


def _column(seen: Observation, x: float, colours: Mapping[str, int], whole: float, now: float) -> Column:
    pieces = stretches(stages(seen) or {"whole": seen.seconds}, colours, whole)
    return Column(x, pieces, seen.verdict.value, label(seen, now))
