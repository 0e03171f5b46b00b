"""Burn rates: how fast an error budget is used, and from how many failed runs on somebody is told. Exact, by Decimal.

The windows are those of the SRE Workbook, "Alerting on SLOs" (table 5-8): a share of the budget within a long window, as long as the
last twelfth of that window is as bad. They are stated for a period of 30 days, and scale with the period of an SLO.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import floor

from judge.observation import Slo

LEAST = 3  # failed runs, below which nobody is told: one or two may be a blip, whatever share of a young series they are
RUNS = 4  # intervals of a check that a short window holds at least: a window that holds one run is as bad as that run
PERIOD = 30 * 86400
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Burn:
    """One condition: of the events of both windows more than `ratio` are bad; in the long one also of the planned ones, and LEAST.

    Of the planned ones: the first runs of a new check, and the first ones after a gap, are few, and two bad ones a large share of them.
    `rate` is how many times faster than allowed the budget is used, `share` how much of it is gone by then. Windows in seconds.
    """

    page: bool
    share: Decimal
    long: int
    short: int
    rate: Decimal
    ratio: Decimal

    def failures(self, interval: float) -> int | None:
        """From how many failed runs in a row on it holds, whatever came before them; None where it can't."""
        needed = max(LEAST, *(floor(self.ratio * window / Decimal(str(interval))) + 1 for window in (self.long, self.short)))
        return needed if needed * interval <= self.long else None


@dataclass(frozen=True, slots=True)
class IntervalRange:
    """The checks whose interval is above `above` and at most `most` seconds: one set of windows serves them."""

    above: float
    most: float


_WORKBOOK = (  # page, share of the budget, long window, short window, for a period of 30 days
    (True, Decimal("0.02"), HOUR, 5 * MINUTE),
    (True, Decimal("0.05"), 6 * HOUR, 30 * MINUTE),
    (False, Decimal("0.10"), DAY, 2 * HOUR),
    (False, Decimal("0.10"), 3 * DAY, 6 * HOUR),
)


def interval_ranges(slo: Slo) -> tuple[IntervalRange, ...]:
    """Checks by their intervals, divided where a short window of this SLO becomes too short for them; each has conditions of its own.

    A check above the last range runs too seldom for any window: only its own failures are told.
    """
    ends = [short / RUNS for short in _shorts(slo)]
    last_of_each = [end for end, later in pairwise([*ends, ends[-1] + 1]) if burns(slo, end) != burns(slo, later)]
    return tuple(IntervalRange(above, most) for above, most in pairwise([0.0, *last_of_each]))


def burns(slo: Slo, interval: float) -> tuple[Burn, ...]:
    """The conditions for checks with this interval (or a shorter one of the same range), pages first.

    A short window holds at least RUNS intervals. What can't hold is left out: a ratio of 1 or more (an objective of 90 % can't be
    missed by 14.4 times its budget), a short window longer than half of its long one (a check that runs every three hours).
    """
    budget = 1 - slo.objective
    found = []
    for page, share, standard, _ in _WORKBOOK:
        long = _scaled(standard, slo)
        wide_enough = [short for short in _shorts(slo) if short >= max(_scaled_short(standard, slo), RUNS * interval)]
        rate = share * Decimal(slo.window) / long
        if rate * budget < 1 and wide_enough and 2 * wide_enough[0] <= long:
            found.append(Burn(page, share, long, wide_enough[0], rate, rate * budget))
    return tuple(found)


def windows(slo: Slo) -> tuple[int, ...]:
    """All windows in seconds that the conditions of an SLO look at, and its period."""
    longs = {_scaled(long, slo) for _, _, long, _ in _WORKBOOK}
    return tuple(sorted(longs | set(_shorts(slo)) | {round(slo.window)}))


def _shorts(slo: Slo) -> list[int]:
    """The short windows from which a check gets the first that is long enough for its interval."""
    return sorted({*(_scaled_short(long, slo) for _, _, long, _ in _WORKBOOK), _scaled(DAY, slo)})


def _scaled_short(long: int, slo: Slo) -> int:
    return next(_scaled(short, slo) for _, _, one, short in _WORKBOOK if one == long)


def _scaled(seconds: int, slo: Slo) -> int:
    """A window of the table for this period: whole minutes, at least one."""
    return max(1, round(seconds * slo.window / PERIOD / MINUTE)) * MINUTE
