"""What a number of good runs proves: exact binomial bounds, sample sizes, and the correction for many questions at once.

Everything is exact (Clopper-Pearson) and one-sided: a gate asks two questions of an SLO, each with an answer of its own. Is a
breach proven (the objective lies above the upper bound)? Is the objective proven (it lies below the lower bound)? With 59
clean runs of 59 the lower bound at 95 % first reaches an objective of 95 %. The normal approximation is no use here: the
samples are small and the shares lie near 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

_STEPS = 300  # of the continued fraction, and 20 * sqrt(max(a, b)) more: it needs far fewer, and a load of ten thousand million still ends
_CLOSE = 1e-15
_TINY = 1e-300
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_HALVINGS = 54  # down to what a float can tell apart


def beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), for a, b > 0 and x in 0..1.

    By the continued fraction of DLMF 8.17.22, evaluated with Lentz's method on the side where it converges quickly. Raises
    ArithmeticError where it doesn't converge, which no number of runs that anybody counts comes to.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Lentz's evaluation of the continued fraction: d_2m and d_2m+1 of DLMF 8.17.23, one pair a step."""
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _STEPS + int(20 * math.sqrt(max(a, b)))):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _CLOSE * 10:
            return value
    raise ArithmeticError(f"the incomplete beta function of {a:g} and {b:g} at {x:g} did not converge")


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def at_most(good: int, total: int, share: float) -> float:
    """The probability of at most `good` good runs of `total`, where each is good with probability `share`."""
    _counts(good, total)
    if good >= total:
        return 1.0
    return beta(1.0 - share, total - good, good + 1.0)


def at_least(good: int, total: int, share: float) -> float:
    """The probability of at least `good` good runs of `total`, where each is good with probability `share`."""
    _counts(good, total)
    if good <= 0:
        return 1.0
    return beta(share, good, total - good + 1.0)


def lower_bound(good: int, total: int, confidence: float = 0.95) -> float:
    """The share that the truth exceeds with this confidence: 0.0 of nothing."""
    if good <= 0 or total <= 0:
        _counts(good, total)
        return 0.0
    return _root(lambda share: at_least(good, total, share) - (1.0 - confidence))


def upper_bound(good: int, total: int, confidence: float = 0.95) -> float:
    """The share that the truth stays below with this confidence: 1.0 of nothing, and where all were good."""
    _counts(good, total)
    if good >= total:
        return 1.0
    return _root(lambda share: (1.0 - confidence) - at_most(good, total, share))


def interval(good: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided Clopper-Pearson interval: half of the error on either side."""
    aside = (1.0 + confidence) / 2.0
    return lower_bound(good, total, aside), upper_bound(good, total, aside)


def _counts(good: int, total: int) -> None:
    if not 0 <= good <= total:
        raise ValueError(f"{good} good of {total} is no count")


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of a share crosses zero, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if rising(middle) < 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def runs_needed(objective: Decimal | float, confidence: float = 0.95, bad: int = 0) -> int | None:
    """The fewest runs, `bad` of them bad, that prove the objective: 59 for 95 % at 95 %; None where no number does (100 %).

    As many clean runs n as make objective^n at most 1 - confidence; with bad ones, by search.
    """
    share = float(objective)
    if share >= 1.0:
        return None
    if share <= 0.0:
        return bad + 1
    clean = math.ceil(math.log(1.0 - confidence) / math.log(share) - _CLOSE)
    if bad == 0:
        return clean
    proves: Callable[[int], bool] = lambda n: at_least(n - bad, n, share) <= 1.0 - confidence  # noqa: E731 - a name for the search
    low, high = bad, clean + bad
    while not proves(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return high


def unseen(responses: int, instances: int) -> float:
    """The probability that one old instance among `instances` has not answered any of `answers` requests in a row.

    Each answer comes from any of the instances alike, independently: fresh connections through a balancer come near to that.
    """
    return (1.0 - 1.0 / instances) ** responses if instances > 0 else 1.0


def responses_needed(instances: int, confidence: float = 0.95) -> int:
    """How many answers in a row show one old instance among `instances` with this confidence: 11 for four at 95 %."""
    if instances <= 1:
        return 1
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-1.0 / instances) - _CLOSE)


def instances_excluded(responses: int, confidence: float = 0.95) -> int:
    """Among how many instances a single old one would have shown with this confidence: 4 for 11 answers, 1 for fewer than 5."""
    found = 1
    while responses_needed(found + 1, confidence) <= responses:
        found += 1
    return found


def old_instance_sentence(responses: int, confidence: float = 0.95) -> str:
    """For a person: `11 answers in a row: one old instance among four would have shown with 95 %`.

    Where they are too few for two instances: the confidence with which one of two would have shown, rounded down.
    """
    instances = max(2, instances_excluded(responses, confidence))
    sure = min(confidence, 1.0 - unseen(responses, instances))
    row = "1 response" if responses == 1 else f"{responses} responses in a row"
    among = _WORDS[instances] if instances < len(_WORDS) else str(instances)
    return f"{row}: one old instance among {among} would have shown with {math.floor(sure * 1000 + _CLOSE * 1e6) / 10:.10g} % confidence"


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """The p-values of a family, adjusted by Holm's step-down method, in the order in which they came.

    Rejecting those at most alpha keeps the chance of even one false rejection at alpha, whatever hangs together in the family
    (two SLOs of one check do). It rejects all that Bonferroni's correction does, and more: so Holm.
    """
    adjusted = [1.0] * len(chances)
    reached = 0.0
    for rank, index in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        reached = max(reached, min(1.0, (len(chances) - rank) * chances[index]))
        adjusted[index] = reached
    return tuple(adjusted)
