"""Plots as geometry: scales, ticks, lines and cells in the units of an SVG. Nothing here knows what it plots; a template draws it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

WIDTH = 960.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 10.0, 24.0
_STEPS = (1.0, 2.0, 5.0, 10.0)
_MINUTE = 60.0
_CLOCKWORK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600)


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a place: linear, or by the logarithm."""

    low: float
    high: float
    begins: float
    ends: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place, to a tenth; what lies outside stands at the edge."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = (at - low) / (high - low) if high > low else 0.0
        return round(self.begins + share * (self.ends - self.begins), 1)


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and its word."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """A period of the run behind the plot (`warm-up`)."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across at a value that matters: a threshold."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: the path, the class that colours and dashes it, and its name in the legend."""

    path: str
    style: str
    name: str
    ends: str = ""  # its value at the end of the run, beside the name


@dataclass(frozen=True, slots=True)
class Cell:
    """A rectangle of a heat map or a bar, with what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A measured point with a shape of its own by outcome."""

    x: float
    y: float
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A whole plot. `says` is what it shows, for who can't see it."""

    id: str
    title: str
    says: str
    height: float
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    cells: tuple[Cell, ...] = ()
    dots: tuple[Dot, ...] = ()
    bands: tuple[Band, ...] = ()
    rules: tuple[Rule, ...] = ()
    under: str = ""  # a sentence below: what the axes are
    width: float = WIDTH
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP

    @property
    def floor(self) -> float:
        """Where the plot's ground lies."""
        return self.height - BOTTOM


def across(low: float, high: float) -> Scale:
    """A scale over the plot's width."""
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def up(low: float, high: float, height: float, *, log: bool = False) -> Scale:
    """A scale from the plot's ground to its top."""
    return Scale(low, high, height - BOTTOM, TOP, log)


def nice(high: float, most: int = 4) -> list[float]:
    """Round values from 0 to at least `high`, in at most `steps` steps."""
    if high <= 0:
        return [0.0, 1.0]
    rough = high / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(s * size for s in _STEPS if s * size >= rough * (1 - 1e-9))
    return [step * n for n in range(math.ceil(high / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between two values: the ticks of a logarithmic axis; with few decades all, with many the powers of ten."""
    begin, end = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if math.log10(high / low) <= 2.5 else (1,)  # noqa: PLR2004 - more would not find room
    return [s * 10.0**e for e in range(begin, end + 1) for s in steps if low * 0.999 <= s * 10.0**e <= high * 1.001]


def clock(duration: float, most: int = 10) -> list[Tick]:
    """Moments of a run, in seconds or minutes."""
    step = next((s for s in _CLOCKWORK if duration / s <= most), _CLOCKWORK[-1] * math.ceil(duration / _CLOCKWORK[-1] / most))
    moments = [step * n for n in range(math.floor(duration / step + 1e-9) + 1)]
    return [Tick(float(m), f"{m / _MINUTE:g} min" if step >= _MINUTE and m else f"{m} s") for m in moments]


def path(points: Iterable[tuple[float, float | None]], place_x: Callable[[float], float], place_y: Callable[[float], float]) -> str:
    """A path through the points; where a value is missing the line is broken, and a lone point is a dot (a line of no length)."""
    pieces: list[str] = []
    for run in _unbroken(points):
        places = [f"{place_x(x):g} {place_y(y):g}" for x, y in run]
        pieces.append("M" + "L".join(places if len(places) > 1 else places * 2))
    return "".join(pieces)


def _unbroken(points: Iterable[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def stairs(values: Sequence[tuple[float, float, float]]) -> list[tuple[float, float | None]]:
    """From (begin, end, value) the corners of a stepped line."""
    return [corner for begin, end, value in values for corner in ((begin, value), (end, value))]
