"""A histogram that is rendered as lines: cumulative buckets, count and sum, and an exemplar a bucket."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate

from runner.sinks.exposition import Piece, exemplar, labelled, number


class Histogram:
    """Counts values by upper edge (`le`, inclusive). Its edges never change: other edges are another histogram."""

    def __init__(self, name: str, labels: Mapping[str, str], edges: tuple[float, ...]) -> None:
        self.edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._sum = 0.0
        self._exemplars = [""] * (len(edges) + 1)
        self._starts = [f"{name}_bucket{labelled({**labels, 'le': number(le)})} " for le in (*edges, float("inf"))]
        self._count_start, self._sum_start = (f"{name}{suffix}{labelled(labels)} " for suffix in ("_count", "_sum"))

    def add(self, value: float, trace_id: str = "", at: float = 0.0) -> None:
        """Counts one value; the trace id, where there is one, becomes its bucket's exemplar."""
        bucket = bisect_left(self.edges, value)
        self._counts[bucket] += 1
        self._sum += value
        self._exemplars[bucket] = exemplar(trace_id, value, at) or self._exemplars[bucket]

    def piece(self) -> Piece:
        """The lines of both formats."""
        totals = [number(total) for total in accumulate(self._counts)]
        tail = f"{self._count_start}{totals[-1]}\n{self._sum_start}{number(self._sum)}\n"
        plain = "".join(f"{start}{total}\n" for start, total in zip(self._starts, totals, strict=True))
        shown = "".join(f"{start}{total}{mark}\n" for start, total, mark in zip(self._starts, totals, self._exemplars, strict=True))
        return Piece(plain + tail, shown + tail)
