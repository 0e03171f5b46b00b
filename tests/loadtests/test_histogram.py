from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from loadtests.histogram import SMALLEST, LatencyHistogram, edges_of, merged
from loadtests.record import Record, as_message, from_message

LATENCIES = st.lists(st.floats(min_value=1e-6, max_value=600.0), min_size=1, max_size=60)


def filled(latencies: list[float]) -> LatencyHistogram:
    """One worker's."""
    histogram = LatencyHistogram()
    for seconds in latencies:
        histogram.add(seconds)
    return histogram


@given(st.floats(min_value=SMALLEST * 1.001, max_value=1e5))
def test_every_latency_lies_in_its_cell_and_cells_are_narrow(seconds: float) -> None:
    """A cell is at most 0.8 % wide, and holds what it says."""
    ((cell, count),) = filled([seconds]).cells.items()
    low, high = edges_of(cell)
    assert low <= seconds * (1 + 1e-12)
    assert seconds <= high * (1 + 1e-12)
    assert high / low <= 1 + 1 / 128 + 1e-9
    assert count == 1


@given(LATENCIES, st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_is_the_ranked_latency_within_a_cell(latencies: list[float], share: float) -> None:
    """Never below the value at that rank, and less than 0.8 % above it."""
    found = filled(latencies).quantile(share)
    exact = sorted(latencies)[math.ceil(share * len(latencies) - 1e-9) - 1]
    assert found is not None
    assert exact * (1 - 1e-12) <= found <= exact * (1 + 1 / 128 + 1e-9)


@given(st.lists(LATENCIES, min_size=1, max_size=4))
def test_merging_is_counting_all_in_one(parts: list[list[float]]) -> None:
    """However the latencies are spread over workers, the counts, extremes and quantiles are those of one worker."""
    together = merged(filled(part) for part in parts)
    alone = filled([seconds for part in parts for seconds in part])
    assert (together.cells, together.count) == (alone.cells, alone.count)
    assert (together.smallest, together.largest) == (alone.smallest, alone.largest)
    assert together.quantile(0.95) == alone.quantile(0.95)


def test_nothing_has_no_quantile_and_survives_the_wire() -> None:
    """Of nothing there is no percentile; and what a worker sends arrives as it was."""
    assert LatencyHistogram().quantile(0.95) is None
    assert LatencyHistogram().mean is None
    histogram = filled([0.0, 0.25, 3.0])
    sent = json.loads(json.dumps(as_message(Record(lags=histogram))))
    assert from_message(sent).lags == histogram
    assert [count for *_, count in histogram.bars()] == [1, 1, 1]
