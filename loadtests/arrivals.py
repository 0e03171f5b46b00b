"""When users arrive, and which task each of them has: drawn from a seed alone, so that every worker knows the whole sequence. Pure."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadtests.result import Stage

KINDS = ("poisson", "even")


@dataclass(frozen=True, slots=True)
class Arrival:
    """The `number`th user (from 0): due `due` seconds after the start, with a task, and the variant of it."""

    number: int
    due: float
    task: str
    variant: int


def moments(stages: Sequence[Stage], kind: str, seed: int) -> Iterator[float]:
    """The due times in order, seconds from the start.

    Time is stretched by the rate: a steady stream of one a second (`even`), or one with exponential gaps (`poisson`), is laid
    over the area under the rate, so that both kinds follow any shape exactly. Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"arrivals are {' or '.join(KINDS)}, not {kind}")
    rng = random.Random(f"moments {seed}")
    gap: Callable[[], float] = (lambda: 1.0) if kind == "even" else (lambda: rng.expovariate(1.0))
    wanted = 0.5 if kind == "even" else gap()
    at, below = 0.0, 0.0
    for stage in stages:
        area = (stage.rate + stage.until_rate) / 2 * stage.seconds
        while wanted < below + area:
            yield at + _inverse(stage, wanted - below)
            wanted += gap()
        at, below = at + stage.seconds, below + area


def _inverse(stage: Stage, area: float) -> float:
    """The seconds into a stage after which `area` arrivals came: the root of rate*t + slope*t*t/2 = area, without lost digits."""
    slope = (stage.until_rate - stage.rate) / stage.seconds
    root = math.sqrt(max(0.0, stage.rate * stage.rate + 2 * slope * area))
    below = stage.rate + root
    return min(stage.seconds, 2 * area / below) if below > 0 else 0.0


def arrivals(stages: Sequence[Stage], mix: Mapping[str, float], *, kind: str, seed: int) -> Iterator[Arrival]:
    """Every arrival of a run. Tasks are drawn by weight; the same seed gives the same sequence, whoever shares it."""
    rng = random.Random(f"tasks {seed}")
    names = list(mix)
    edges = list(itertools.accumulate(mix.values()))
    for number, due in enumerate(moments(stages, kind, seed)):
        drawn = rng.random() * edges[-1]
        task = next(name for name, edge in zip(names, edges, strict=True) if drawn < edge)
        yield Arrival(number, due, task, rng.getrandbits(16))


def share_of(all_arrivals: Iterator[Arrival], index: int, workers: int) -> Iterator[Arrival]:
    """What one of several workers sends: every arrival belongs to exactly one of them. Raises ValueError for no such worker."""
    if not 0 <= index < workers:
        raise ValueError(f"there is no worker {index} of {workers}")
    return itertools.islice(all_arrivals, index, None, workers)
