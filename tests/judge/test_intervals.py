from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge import intervals

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def exactly_at_most(good: int, total: int, share: Fraction) -> Fraction:
    """The same probability by its definition, in whole numbers."""
    return sum((math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(good + 1)), Fraction(0))


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),  # two-sided at 95 %: the tables of Clopper and Pearson
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (15, 20, 0.5090, 0.9134),
        (81, 263, 0.2527, 0.3676),  # Newcombe 1998, table I
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_the_interval_is_that_of_the_tables(good: int, total: int, low: float, high: float) -> None:
    """Published intervals come out to four digits."""
    assert intervals.interval(good, total) == pytest.approx((low, high), abs=6e-5)


@given(counts, st.integers(1, 999))
@settings(max_examples=60, deadline=None)
def test_the_tails_are_those_of_the_definition(count: tuple[int, int], thousandths: int) -> None:
    """The continued fraction agrees with the exact sum of binomial terms, and the two tails share one term."""
    good, total = count
    share = Fraction(thousandths, 1000)
    found = intervals.at_most(good, total, float(share))
    assert found == pytest.approx(float(exactly_at_most(good, total, share)), rel=1e-8, abs=1e-13)
    above = intervals.at_least(good + 1, total, float(share)) if good < total else 0.0
    assert found + above == pytest.approx(1.0)


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_the_bounds_enclose_what_was_seen(count: tuple[int, int], confidence: float) -> None:
    """Lower, seen, upper, in this order; and each bound is where its tail is as unlikely as was asked."""
    good, total = count
    low, high = intervals.lower_bound(good, total, confidence), intervals.upper_bound(good, total, confidence)
    assert 0.0 <= low <= good / total <= high <= 1.0
    if good:
        assert intervals.at_least(good, total, low) == pytest.approx(1 - confidence, rel=1e-6)
    if good < total:
        assert intervals.at_most(good, total, high) == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize("total", [10**8, 10**10])
@pytest.mark.parametrize("share", [0.5, 0.95, 0.99999])
def test_no_load_is_too_long(total: int, share: float) -> None:
    """Far beyond what anybody counts, both bounds are found, and lie close around what was seen."""
    good = int(total * share)
    assert intervals.lower_bound(good, total) < good / total < intervals.upper_bound(good, total)
    assert intervals.upper_bound(good, total) - intervals.lower_bound(good, total) < 0.0002


def test_large_samples_converge() -> None:
    """A load run of two million requests is judged as well: within a hair of the normal approximation."""
    low = intervals.lower_bound(1_998_000, 2_000_000)
    assert low == pytest.approx(0.999 - 1.6449 * math.sqrt(0.999 * 0.001 / 2_000_000), abs=1e-6)


@pytest.mark.parametrize(
    ("objective", "confidence", "runs"),
    [("0.95", 0.95, 59), ("0.99", 0.95, 299), ("0.999", 0.95, 2995), ("0.9", 0.95, 29), ("0.95", 0.99, 90), ("0.5", 0.95, 5)],
)
def test_clean_runs_needed(objective: str, confidence: float, runs: int) -> None:
    """59 clean runs prove 95 % with 95 % confidence, 2,995 prove 99.9 %: the fewest that do."""
    assert intervals.runs_needed(Decimal(objective), confidence) == runs
    assert intervals.lower_bound(runs, runs, confidence) >= float(objective) > intervals.lower_bound(runs - 1, runs - 1, confidence)


@given(st.integers(0, 6), st.sampled_from(["0.5", "0.9", "0.95", "0.99"]))
@settings(max_examples=30, deadline=None)
def test_runs_needed_with_bad_ones(bad: int, objective: str) -> None:
    """With some bad runs it takes more, and again the number is the fewest."""
    needed = intervals.runs_needed(Decimal(objective), 0.95, bad)
    assert needed is not None
    assert intervals.lower_bound(needed - bad, needed) >= float(objective) - 1e-12
    assert intervals.lower_bound(needed - bad - 1, needed - 1) < float(objective)


def test_all_can_not_be_proven() -> None:
    """No number of runs proves 100 %; one proves 0 %."""
    assert intervals.runs_needed(Decimal(1)) is None
    assert intervals.runs_needed(Decimal(0)) == 1


def test_answers_in_a_row() -> None:
    """11 answers in a row: one old instance among four would have shown with 95 %; 5 say so of two, 4 of none."""
    assert intervals.responses_needed(4) == 11
    assert intervals.instances_excluded(11) == 4
    assert [intervals.instances_excluded(k) for k in (1, 4, 5, 7, 8, 10)] == [1, 1, 2, 2, 3, 3]
    assert intervals.unseen(11, 4) == pytest.approx(0.75**11)
    assert intervals.unseen(11, 4) <= 0.05 < intervals.unseen(10, 4)
    assert intervals.unseen(1, 1) == 0.0


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (11, "11 responses in a row: one old instance among four would have shown with 95 % confidence"),
        (5, "5 responses in a row: one old instance among two would have shown with 95 % confidence"),
        (4, "4 responses in a row: one old instance among two would have shown with 93.7 % confidence"),
        (1, "1 response: one old instance among two would have shown with 50 % confidence"),
        (60, "60 responses in a row: one old instance among 20 would have shown with 95 % confidence"),
    ],
)
def test_old_instance_sentence_in_a_sentence(answers: int, said: str) -> None:
    """No more is promised than so many answers prove."""
    assert intervals.old_instance_sentence(answers) == said


def test_holm_steps_down() -> None:
    """Holm's own example by hand: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert intervals.holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_none_and_bonferroni(chances: list[float]) -> None:
    """Never below the raw chance, never above Bonferroni's, and in the same order."""
    adjusted = intervals.holm(chances)
    assert all(raw <= a <= min(1.0, raw * len(chances)) or a == max(adjusted) for raw, a in zip(chances, adjusted, strict=True))
    by_raw = [a for _, a in sorted(zip(chances, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


def test_no_count_is_refused() -> None:
    """More good than there are is no count."""
    with pytest.raises(ValueError, match="3 good of 2 is no count"):
        intervals.lower_bound(3, 2)
