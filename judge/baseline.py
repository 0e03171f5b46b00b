"""Compares before and after: is it slower than it was? By ranks, with a floor below which a difference doesn't matter.

Latencies are skewed and have long tails, so that means and their tests mislead; ranks don't. A rank test alone would call a
difference of 0.3 % real once there are enough runs, though the same binary differs by as much from one minute to the next:
so it takes both, an unlikely order and a ratio above the floor. Everything is counted, nothing drawn: the same samples
always give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median

from judge.intervals import holm
from judge.observation import Observation
from judge.verdict import Finding, Outcome
from probes.core import Verdict

FLOOR = 0.10  # a share: 10 % slower
ALPHA = 0.05
_COUNTED = 40  # samples in all up to which the distribution is counted out; beyond, the normal one is within 0.001 of it
_PAIRED = 300  # samples of a side that the pairwise ratio is taken of; of more, so many evenly spaced quantiles
_SHORTEST = 1e-9  # seconds: a duration of zero has no ratio


@dataclass(frozen=True, slots=True)
class Before:
    """What was measured before the deployment: seconds of passed runs by check, and the revision of each target."""

    durations: Mapping[str, Sequence[float]] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    source: str = ""  # where it comes from, for a person


@dataclass(frozen=True, slots=True)
class Comparison:
    """One check before and after. `ratio` is the median of all pairwise ratios: 1.31 is 31 % slower, 1.0 where one side is empty.

    `p` is the chance of an order at least as unfavourable if nothing had changed (adjusted where several were compared);
    `enough` says whether so few samples could have shown anything at all.
    """

    name: str
    before: int
    after: int
    ratio: float
    p: float
    enough: bool
    slower: bool

    def sentence(self) -> str:
        """For a person: `plan-a-trip +31 % (p = 0.004)`."""
        if not self.enough:
            return f"{self.name}: {self.before} runs before and {self.after} after are too few to compare"
        change = f"{(self.ratio - 1) * 100:+.0f} %"
        return f"{self.name} {change} (p {'< 0.001' if self.p < 0.001 else f'= {self.p:.3f}'})"  # noqa: PLR2004 - what is printed


def findings(compared: Iterable[Comparison], lines: Mapping[str, int], *, fail_on_slower: float | None = None) -> tuple[Finding, ...]:
    """The gate's findings: a note for each that is slower or can't be compared; a failure from `fail_on_slower` on (a share).

    `lines` are those of checks.yaml by the check's name.
    """
    found = []
    for one in compared:
        fails = one.slower and fail_on_slower is not None and one.ratio >= 1.0 + fail_on_slower
        text = f"slower than before the deployment: {one.sentence()}" if one.slower else one.sentence()
        if one.slower or not one.enough:
            found.append(Finding(Outcome.FAIL if fails else Outcome.PASS, text, one.name, lines.get(one.name, 0)))
    return tuple(found)


def durations(observations: Iterable[Observation]) -> tuple[float, ...]:
    """Seconds of the runs that passed outside of maintenance. The duration of a failure says nothing about speed."""
    return tuple(o.seconds for o in observations if o.verdict is Verdict.PASS and not o.maintenance)


def compare_all(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]], *, floor: float = FLOOR, alpha: float = ALPHA
) -> tuple[Comparison, ...]:
    """Compares every check that was measured before and after, in the order of `after`; p is adjusted by Holm's method.

    `floor` is a share: 0.3 for "30 % slower".
    """
    names = [name for name in after if name in before]
    could = [name for name in names if could_tell(len(before[name]), len(after[name]), alpha)]
    adjusted = dict(zip(could, holm([chance_slower(before[name], after[name]) for name in could]), strict=True))
    compared = []
    for name in names:
        p, ratio = adjusted.get(name), pairwise_ratio(before[name], after[name])
        slower = p is not None and p <= alpha and ratio >= 1.0 + floor
        counts = len(before[name]), len(after[name])
        compared.append(Comparison(name, *counts, ratio, 1.0 if p is None else p, enough=p is not None, slower=slower))
    return tuple(compared)


def could_tell(before: int, after: int, alpha: float = ALPHA) -> bool:
    """Whether this many samples can show anything at all: at 5 %, three against three are just enough."""
    return before > 0 and after > 0 and math.comb(before + after, after) >= 1.0 / alpha


def pairwise_ratio(before: Sequence[float], after: Sequence[float]) -> float:
    """The median of after / before over all pairs (Hodges and Lehmann's estimate, of the logarithms)."""
    if not before or not after:
        return 1.0
    return median(max(b, _SHORTEST) / max(a, _SHORTEST) for a in _thinned(before) for b in _thinned(after))


def _thinned(values: Sequence[float]) -> Sequence[float]:
    """At most _PAIRED of them, evenly spaced in their order, so that thousands of runs don't make millions of pairs."""
    if len(values) <= _PAIRED:
        return values
    ordered = sorted(values)
    return [ordered[(2 * i + 1) * len(ordered) // (2 * _PAIRED)] for i in range(_PAIRED)]


def chance_slower(before: Sequence[float], after: Sequence[float]) -> float:
    """The one-sided p-value of Mann and Whitney's test that `after` is slower: ties share their mean rank.

    Up to _COUNTED samples in all it is exact, counted over all ways in which the ranks could have fallen, ties included;
    beyond, by the normal distribution with the corrections for ties and continuity.
    """
    if not before or not after:
        return 1.0
    doubled = _doubled_ranks([*before, *after])
    rank_sum = sum(doubled[len(before) :])
    if len(doubled) <= _COUNTED:
        return _counted(doubled, len(after), rank_sum)
    return _approximated(doubled, len(after), rank_sum)


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, so that the mean rank of ties is a whole number too."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranks = [0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for index in order[start : end + 1]:
            ranks[index] = start + end + 2
        start = end + 1
    return ranks


def _counted(doubled: Sequence[int], chosen: int, rank_sum: int) -> float:
    """The share of all choices of `chosen` ranks whose sum is at least `rank_sum`: counts[k][s] counts those of k ranks with sum s."""
    counts: list[dict[int, int]] = [{0: 1}, *({} for _ in range(chosen))]
    for rank in doubled:
        for size in range(chosen, 0, -1):
            into = counts[size]
            for total, count in counts[size - 1].items():
                into[total + rank] = into.get(total + rank, 0) + count
    return sum(count for total, count in counts[chosen].items() if total >= rank_sum) / math.comb(len(doubled), chosen)


def _approximated(doubled: Sequence[int], chosen: int, rank_sum: int) -> float:
    everybody = len(doubled)
    mean = chosen * (everybody + 1) / 2.0
    squares = sum((rank / 2.0 - (everybody + 1) / 2.0) ** 2 for rank in doubled)
    spread = math.sqrt(chosen * (everybody - chosen) * squares / (everybody * (everybody - 1)))
    if spread == 0.0:
        return 1.0
    return NormalDist().cdf(-(rank_sum / 2.0 - mean - 0.5) / spread)
