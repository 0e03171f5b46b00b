from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.proof import Slice, blocks_between, breaks, design_effect, pooled, share, windows

BLOCKS = st.lists(st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), max_size=40)


@given(BLOCKS)
def test_bounds_hold_what_was_observed(blocks: list[tuple[int, int]]) -> None:
    """Low, observed, high stand in this order, whatever the counts."""
    found = share(blocks, 0.95)
    assert 0.0 <= found.low <= found.high <= 1.0
    if found.observed is not None:
        assert found.low <= found.observed + 1e-9
        assert found.high >= found.observed - 1e-9


def test_independent_requests_have_no_design_effect_to_speak_of() -> None:
    """Failures that fall anywhere are worth what they are: the effect is near 1."""
    rng = random.Random(7)  # noqa: S311 - a made-up run
    blocks = [(sum(rng.random() > 0.1 for _ in range(50)), 50) for _ in range(200)]
    assert design_effect(blocks) == pytest.approx(1.0, abs=0.35)


def test_failures_of_one_second_are_worth_one_accident() -> None:
    """Fifty failures in one second of sixty are no fifty independent samples: the effect is large, and the bounds wide."""
    clumped = [(50, 50)] * 59 + [(0, 50)]
    spread = [(49, 50)] * 50 + [(50, 50)] * 10
    assert design_effect(clumped) > 30
    assert share(clumped, 0.95).high > share(spread, 0.95).high
    assert share(clumped, 0.95).low < share(spread, 0.95).low


def test_clean_samples_prove_what_the_table_says() -> None:
    """59 clean ones prove 95 %, 58 don't; 2,995 prove 99.9 %."""
    assert share([(59, 59)], 0.95).low >= 0.95
    assert share([(58, 58)], 0.95).low < 0.95
    assert share([(599, 599)] * 5, 0.95).low >= 0.999


def test_the_steady_part_is_whole_seconds() -> None:
    """A second that warm-up cuts into isn't judged; one that the end cuts into is."""
    counts = {0: [1, 1], 1: [2, 2], 2: [3, 3], 3: [4, 4]}
    assert blocks_between(counts, 0.6, 3.4) == [(2, 2), (3, 3), (4, 4)]


def test_windows_slide_by_a_second_and_keep_their_length() -> None:
    """Ten seconds, windows of four: seven of them, each with its own counts."""
    counts = {second: [1, 2] for second in range(10)}
    found = list(windows(counts, 0, 10, 4))
    assert [w.begins for w in found] == list(range(7))
    assert {w.pairs for w in found} == {((1, 2),) * 4}
    assert list(windows(counts, 2, 7, 30)) == [Slice(2, 7, ((1, 2),) * 5)]


def test_a_breach_needs_more_than_bad_luck() -> None:
    """3 bad of 50 at 95 % happen; two of five in each second don't; none of none is no breach."""
    assert not breaks([(5, 5)] * 7 + [(4, 5)] * 3, 0.95, 0.001, spare=0.0)
    assert breaks([(3, 5)] * 10, 0.95, 0.001, spare=1000.0)
    assert not breaks([], 0.95, 0.001, spare=0.0)


def test_one_accident_is_a_breach_where_it_uses_up_the_whole_runs_budget() -> None:
    """Five failures in one second, of a run that may have thirteen, are none; fifty of one that may have four are."""
    assert not breaks([(50, 50)] * 9 + [(45, 50)], 0.999, 0.001, spare=13.5)
    assert breaks([(50, 50)] * 7 + [(0, 50)], 0.99, 0.001, spare=4.0)
    assert not breaks([(0, 50)], 0.99, 0.001, spare=60.0)


def test_pooling_adds_by_second() -> None:
    """Two routes that share their SLOs are added second by second."""
    assert pooled([{1: [1, 2]}, {1: [3, 3], 2: [0, 1]}]) == {1: [4, 5], 2: [0, 1]}
