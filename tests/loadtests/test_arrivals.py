"""Arrivals and shapes: when users come, whatever the target does."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.arrivals import arrivals, moments, share_of
from loadtests.histogram import LatencyHistogram
from loadtests.result import Stage
from loadtests.shapes import SHAPES, duration_of, expected, peak, stages

RATES = st.floats(0.5, 50)
MIX = {"browse": 3.0, "search": 1.0}


@given(st.sampled_from(SHAPES), RATES, st.floats(1, 30))
def test_a_shape_offers_what_it_says(shape: str, rate: float, duration: float) -> None:
    """Even arrivals are, to one, the area under the shape, in order and within its time."""
    made = stages(shape, rate, duration)
    due = list(moments(made, "even", 1))

    assert duration_of(made) == pytest.approx(duration)
    assert abs(len(due) - expected(made)) <= 1
    assert all(0 <= a <= b <= duration + 1e-6 for a, b in pairwise(due))
    assert peak(made) >= rate * 0.99


@given(st.integers(0, 10**6))
def test_the_same_seed_is_the_same_load(seed: int) -> None:
    """A run can be repeated to the arrival."""
    made = stages("constant", 20.0, 5.0)

    assert list(arrivals(made, MIX, kind="poisson", seed=seed)) == list(arrivals(made, MIX, kind="poisson", seed=seed))


@given(st.integers(1, 7), st.integers(0, 1000))
def test_workers_share_the_very_same_arrivals(workers: int, seed: int) -> None:
    """What all workers together are given is the whole load, once."""
    made = stages("constant", 30.0, 4.0)
    whole = list(arrivals(made, MIX, kind="poisson", seed=seed))
    shares = [list(share_of(arrivals(made, MIX, kind="poisson", seed=seed), index, workers)) for index in range(workers)]

    assert sorted((a for share in shares for a in share), key=lambda a: a.due) == whole


def test_poisson_gaps_vary_and_their_mean_is_the_rate() -> None:
    """A thousand a second for 20 s: the count within five standard deviations, the gaps far from even."""
    due = list(moments((Stage(20.0, 1000.0, 1000.0),), "poisson", 3))
    gaps = [b - a for a, b in islice(pairwise(due), 5000)]

    assert abs(len(due) - 20_000) < 5 * 20_000**0.5
    assert max(gaps) > 5 * min(gaps)


@given(st.lists(st.floats(0.0001, 60.0), max_size=60), st.lists(st.floats(0.0001, 60.0), max_size=60))
def test_histograms_merge_exactly(left: list[float], right: list[float]) -> None:
    """Two workers' histograms merged are one worker's of everything."""
    one, two, whole = LatencyHistogram(), LatencyHistogram(), LatencyHistogram()
    for values, histogram in ((left, one), (right, two), (left + right, whole)):
        for value in values:
            histogram.add(value)
    one.merge(two)

    assert (one.count, one.smallest, one.largest, one.cells) == (whole.count, whole.smallest, whole.largest, whole.cells)
    assert one.quantile(0.95) == whole.quantile(0.95)
