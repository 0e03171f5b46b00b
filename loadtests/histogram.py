"""Latencies counted so that the counts of many workers add up exactly: no percentile is ever averaged.

A value falls into a cell of a fixed grid, 128 cells to each doubling: every worker's grid is the same, so that merging is
adding, and a percentile that is read from it for a person is at most 0.8 % off. What decides a verdict is not read from here
but counted at the exact threshold (loadtests.record).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_frexp = math.frexp
CELLS = 128  # to each doubling
_TWICE = 2 * CELLS
SMALLEST = 1e-6  # seconds; what is quicker falls into the first cell


def edges_of(cell: int) -> tuple[float, float]:
    """The lower and the upper edge of a cell, in seconds."""
    octave, part = divmod(cell, CELLS)
    width = SMALLEST * 2.0**octave / CELLS
    low = SMALLEST * 2.0**octave + part * width
    return low, low + width


@dataclass(slots=True)
class LatencyHistogram:
    """Counts by cell, with the exact number, sum and extremes (seconds). Adding two is exact."""

    cells: dict[int, int] = field(default_factory=dict)
    count: int = 0
    total: float = 0.0
    smallest: float | None = None
    largest: float | None = None

    def add(self, seconds: float) -> None:
        """Counts one latency, in the cell whose edges it lies between. Each request comes here several times."""
        if seconds <= SMALLEST:
            cell = 0
        else:
            mantissa, exponent = _frexp(seconds / SMALLEST)  # mantissa in 0.5..1
            cell = (exponent - 1) * CELLS + int((mantissa - 0.5) * _TWICE)
        cells = self.cells
        cells[cell] = cells.get(cell, 0) + 1
        self.count += 1
        self.total += seconds
        if self.largest is None or seconds > self.largest:
            self.largest = seconds
        if self.smallest is None or seconds < self.smallest:
            self.smallest = seconds

    def merge(self, other: LatencyHistogram) -> None:
        """Adds what another one has counted."""
        for cell, count in other.cells.items():
            self.cells[cell] = self.cells.get(cell, 0) + count
        self.count += other.count
        self.total += other.total
        self.smallest = min((v for v in (self.smallest, other.smallest) if v is not None), default=None)
        self.largest = max((v for v in (self.largest, other.largest) if v is not None), default=None)

    def quantile(self, share: float) -> float | None:
        """The latency in seconds that this share stays at or below, 0.8 % too large at most; None of nothing."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count - 1e-9))
        seen = 0
        for cell in sorted(self.cells):
            seen += self.cells[cell]
            if seen >= rank:
                return min(edges_of(cell)[1], self.largest) if self.largest is not None else edges_of(cell)[1]
        return self.largest

    @property
    def mean(self) -> float | None:
        """Seconds; None of nothing."""
        return self.total / self.count if self.count else None

    def bars(self) -> Iterator[tuple[float, float, int]]:
        """Lower edge, upper edge (seconds) and count of each cell that holds something, in order: for a plot."""
        for cell in sorted(self.cells):
            yield (*edges_of(cell), self.cells[cell])


def merged(histograms: Iterable[LatencyHistogram]) -> LatencyHistogram:
    """All of them added up, in a new one."""
    whole = LatencyHistogram()
    for one in histograms:
        whole.merge(one)
    return whole
