"""Compares before and after: is it slower than it was? By ranks, with a floor below which a difference doesn't matter.

Latencies are skewed and have long tails, so that means and their tests mislead; ranks don't. A rank test alone would call a
difference of 0.3 % real once there are enough runs, though the same binary differs by as much from one minute to the next:
so it takes both, an unlikely order and a ratio above the floor. Everything is counted, nothing drawn: the same samples
always give the same answer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median

from judge.intervals import holm
from judge.observation import Observation
from judge.verdict import Finding, Outcome
from probes.core import Verdict
from probes.text import count, listed

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

    `p` is the chance of an order at least as unfavourable if nothing had changed (adjusted for the `family` of checks that were
    compared); `enough` says whether so few samples of so many checks could have shown anything at all.
    """

    name: str
    before: int
    after: int
    ratio: float
    p: float
    enough: bool
    slower: bool
    family: int = 1

    def sentence(self) -> str:
        """For a person: `plan-a-trip +31 % (p = 0.004)`, or how many rounds it would take."""
        change = f"{(self.ratio - 1) * 100:+,.0f} %"
        if self.enough:
            return f"{self.name} {change} (p {'< 0.001' if self.p < 0.001 else f'= {self.p:.3f}'})"  # noqa: PLR2004 - what is printed
        among = f" among {self.family} checks" if self.family > 1 else ""
        few = f"{count(self.before, 'run')} before and {self.after:,} after are too few to compare{among}"
        return f"{self.name} {change}, not proven: {few}; {rounds_advice(self.before, self.family)}"


def findings(
    compared: Iterable[Comparison], lines: Mapping[str, int], *, fail_on_slower: float | None = None, optional: Collection[str] = ()
) -> tuple[Finding, ...]:
    """The gate's findings: a note for each check that is slower or can't be compared.

    From `fail_on_slower` on (a share) it is a failure, and inconclusive where it can't be proven; of an `optional` check it stays a
    note. `lines` are those of checks.yaml by the check's name.
    """
    found = []
    for one in compared:
        if one.enough and not one.slower:
            continue
        text = f"slower than before the deployment: {one.sentence()}" if one.slower else one.sentence()
        outcome = Outcome.PASS
        if fail_on_slower is not None and one.ratio >= 1.0 + fail_on_slower and one.name not in optional:
            outcome = Outcome.FAIL if one.slower else Outcome.INCONCLUSIVE
        found.append(Finding(outcome, text + (" (optional)" if one.name in optional else ""), one.name, lines.get(one.name, 0)))
    return tuple(found)


def durations(observations: Iterable[Observation]) -> tuple[float, ...]:
    """Seconds of the runs that passed outside of maintenance. The duration of a failure says nothing about speed."""
    return tuple(o.seconds for o in observations if o.verdict is Verdict.PASS and not o.maintenance)


def compare_all(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]], *, floor: float = FLOOR, alpha: float = ALPHA
) -> tuple[Comparison, ...]:
    """Compares every check that was measured before and after, in the order of `after`; p is adjusted by Holm's method.

    `floor` is a share: 0.3 for "30 % slower". A comparison is `enough` if the most unfavourable order of its samples would be
    significant beside the others as they were measured.
    """
    names = [name for name in after if name in before]
    could = [name for name in names if could_tell(len(before[name]), len(after[name]), alpha=alpha)]
    chances = [chance_slower(before[name], after[name]) for name in could]
    adjusted = dict(zip(could, holm(chances), strict=True))
    compared = []
    for name in names:
        p, ratio, sizes = adjusted.get(name), pairwise_ratio(before[name], after[name]), (len(before[name]), len(after[name]))
        enough = p is not None and p <= alpha
        if p is not None and not enough:
            place = could.index(name)
            enough = holm([*chances[:place], _least_chance(*sizes), *chances[place + 1 :]])[place] <= alpha
        slower = p is not None and p <= alpha and ratio >= 1.0 + floor
        family = len(could) if p is not None else 1
        compared.append(Comparison(name, *sizes, ratio, 1.0 if p is None else p, enough=enough, slower=slower, family=family))
    return tuple(compared)


def could_tell(before: int, after: int, family: int = 1, *, alpha: float = ALPHA) -> bool:
    """Whether so many samples can show anything when so many checks are compared: of one, at 5 %, three against three just can."""
    return before > 0 and after > 0 and _least_chance(before, after) * family <= alpha


def _least_chance(before: int, after: int) -> float:
    """The p-value where every sample after is slower than every one before; below 1e-20 where both are many, which is all the same."""
    return 1.0 / math.comb(before + after, min(before, after, _COUNTED))


def rounds_advice(before: int, family: int) -> str:
    """How many rounds would do to compare so many checks: after the deployment alone where that is in reach, else on both sides."""
    both = next(rounds for rounds in itertools.count(1) if could_tell(rounds, rounds, family))
    after = next((rounds for rounds in range(1, 2 * both + 1) if could_tell(before, rounds, family)), None)
    return f"--rounds {after} would do" if after is not None else f"--rounds {both} before and after the deployment would do"


def too_few(before: Mapping[str, int], rounds: int) -> str:
    """What so many rounds after the deployment can't decide, said before they are run; "" where they can.

    `before` are the numbers of runs before it by check.
    """
    compared = {name: runs for name, runs in before.items() if runs}
    few = [name for name, runs in compared.items() if not could_tell(runs, rounds, len(compared))]
    if not few:
        return ""
    named = listed(few, 4) if len(few) < len(compared) else "none of them" if len(few) > 1 else few[0]
    advice = rounds_advice(min(compared[name] for name in few), len(compared))
    can = "can" if named.startswith("none") else "can't"
    return f"{count(len(compared), 'check')} compared by {count(rounds, 'round')}: {named} {can} be proven slower; {advice}"


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
            for total, choices in counts[size - 1].items():
                into[total + rank] = into.get(total + rank, 0) + choices
    return sum(choices for total, choices in counts[chosen].items() if total >= rank_sum) / math.comb(len(doubled), chosen)


def _approximated(doubled: Sequence[int], chosen: int, rank_sum: int) -> float:
    everybody = len(doubled)
    mean = chosen * (everybody + 1) / 2.0
    squares = sum((rank / 2.0 - (everybody + 1) / 2.0) ** 2 for rank in doubled)
    spread = math.sqrt(chosen * (everybody - chosen) * squares / (everybody * (everybody - 1)))
    if spread == 0.0:
        return 1.0
    return NormalDist().cdf(-(rank_sum / 2.0 - mean - 0.5) / spread)
