"""What counts of neighbouring requests prove. Pure.

Requests of one second share its luck: a pause of the target spoils all of them at once. So the counts are taken by blocks of a
second, and what they vary more than independent ones would (the design effect) makes them worth that many fewer samples; of those
the exact binomial bounds of judge.intervals are taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from judge import intervals

Blocks = Sequence[tuple[int, int]]  # good and total of each second
_FEWEST = 2  # blocks that say anything of how they vary


@dataclass(frozen=True, slots=True)
class Share:
    """The good ones of all, what they are worth in independent samples, and the bounds of the true share."""

    good: int
    total: int
    effect: float
    low: float
    high: float

    @property
    def observed(self) -> float | None:
        """Good of total; None of nothing."""
        return self.good / self.total if self.total else None


def design_effect(blocks: Blocks) -> float:
    """How many times the variance of the share is what it would be of independent requests; never below 1.

    The ratio estimator's variance by blocks: residuals of each second's good against the overall share of its total.
    """
    filled = [(good, total) for good, total in blocks if total]
    good, total = sum(g for g, _ in filled), sum(t for _, t in filled)
    if len(filled) < _FEWEST or good in (0, total):
        return 1.0
    share = good / total
    spread = sum((g - share * t) ** 2 for g, t in filled) * len(filled) / (len(filled) - 1)
    return max(1.0, spread / (total * share * (1 - share)))


def share(blocks: Blocks, confidence: float, breach: float | None = None) -> Share:
    """The bounds that the true share lies above and below, each with `confidence` (the upper one with `breach` where it is given)."""
    good, total = sum(g for g, _ in blocks), sum(t for _, t in blocks)
    effect = design_effect(blocks)
    bad = total - good
    fewer, more_bad = math.floor(total / effect), math.ceil(bad / effect)
    low = intervals.lower_bound(max(0, fewer - more_bad), fewer, confidence) if fewer else 0.0
    more, fewer_bad = math.ceil(total / effect), math.floor(bad / effect)
    high = intervals.upper_bound(more - fewer_bad, more, breach if breach is not None else confidence) if more else 1.0
    return Share(good, total, effect, low, high)


def blocks_between(counts: Mapping[int, Sequence[int]], begins: float, ends: float) -> list[tuple[int, int]]:
    """Good and total of each second that lies wholly within two times, those with nothing in them left out."""
    return [(counts[second][0], counts[second][1]) for second in sorted(counts) if begins <= second and second + 1 <= math.ceil(ends)]


def pooled(many: Iterable[Mapping[int, Sequence[int]]]) -> dict[int, list[int]]:
    """The counts of several subjects added up by second."""
    whole: dict[int, list[int]] = {}
    for counts in many:
        for second, (good, total) in counts.items():
            ours = whole.setdefault(second, [0, 0])
            ours[0] += good
            ours[1] += total
    return whole


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a run: where it begins and ends (whole seconds from the start), and good and total of each second in it."""

    begins: int
    ends: int
    pairs: tuple[tuple[int, int], ...]


def windows(counts: Mapping[int, Sequence[int]], begins: float, ends: float, length: float) -> Iterator[Slice]:
    """Sliding windows of `length` whole seconds, each one second later. A run that is shorter than a window is one window."""
    first, last = math.ceil(begins), math.ceil(ends)
    size = max(1, min(round(length), last - first))
    for at in range(first, last - size + 1):
        pairs = tuple((counts[second][0], counts[second][1]) for second in range(at, at + size) if second in counts)
        yield Slice(at, at + size, pairs)


def breaks(blocks: Blocks, objective: float, chance: float, *, spare: float) -> bool:
    """Whether an interval of seconds breaks the objective, by more than this chance explains.

    It does where its seconds agree (the upper bound by blocks lies below the objective). One accident of a second, however many
    requests it hits, is only one sample: it counts where it alone is more than all the bad ones that the whole run may have, `spare`.
    """
    good, total = sum(g for g, _ in blocks), sum(t for _, t in blocks)
    if not total or good >= total * objective:
        return False
    several = sum(total > 0 for _, total in blocks) >= _FEWEST
    if several and share(blocks, 1 - chance, 1 - chance).high < objective:
        return True
    return total - good > spare and intervals.at_most(good, total, objective) <= chance
