from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.baseline import Comparison, chance_slower, compare_all, could_tell, durations, findings, pairwise_ratio, too_few
from judge.verdict import Finding, Outcome
from tests.support.observations import failed, made_check, passed, unknown

few = st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5]), min_size=1, max_size=5)


def compare(name: str, before: list[float], after: list[float]) -> Comparison:
    """One check alone."""
    return compare_all({name: before}, {name: after})[0]


def by_hand(before: list[float], after: list[float]) -> float:
    """The share of all ways to choose the later ones whose count of wins (half for ties) is at least what was seen."""
    everything = before + after

    def wins(later: tuple[int, ...]) -> float:
        earlier = [i for i in range(len(everything)) if i not in later]
        return sum((everything[i] > everything[j]) + 0.5 * (everything[i] == everything[j]) for i in later for j in earlier)

    seen = wins(tuple(range(len(before), len(everything))))
    ways = list(combinations(range(len(everything)), len(after)))
    return sum(wins(way) >= seen for way in ways) / len(ways)


@given(few, few)
@settings(max_examples=60, deadline=None)
def test_small_samples_are_counted_out(before: list[float], after: list[float]) -> None:
    """With ties and without, p is the share of all orders that are at least as unfavourable."""
    assert chance_slower(before, after) == pytest.approx(by_hand(before, after))


def test_p_is_that_of_the_tables() -> None:
    """U = 2 for 4 against 5 (one-sided 0.0317 = 4/126); clearly apart, 5 against 5 is 1/252."""
    assert chance_slower([1, 2, 3, 6], [4, 5, 7, 8, 9]) == pytest.approx(4 / 126)
    assert chance_slower([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(1 / 252)


def test_the_approximation_meets_the_count() -> None:
    """Where counting ends the normal distribution takes over without a jump."""
    rng = random.Random(5)  # noqa: S311 - seeded, to be drawn alike each time
    before, after = [rng.gauss(10, 1) for _ in range(20)], [rng.gauss(10.5, 1) for _ in range(20)]
    counted = chance_slower(before, after)
    assert chance_slower([*before, 10.0], after) == pytest.approx(counted, abs=0.02)


def test_a_third_slower_is_seen_and_a_hair_is_not() -> None:
    """+31 % shows within twelve runs; +2 % doesn't matter, however sure one is of it."""
    before = [0.100 + 0.001 * i for i in range(12)]
    slower = compare("plan-a-trip", before, [b * 1.31 for b in before])
    assert slower.slower
    assert slower.ratio == pytest.approx(1.31, abs=0.01)
    assert slower.sentence() == "plan-a-trip +31 % (p < 0.001)"
    many = [0.1 + 0.00001 * i for i in range(300)]
    hair = compare("api", many, [b * 1.02 for b in many])
    assert hair.p < 0.01
    assert not hair.slower


def test_what_the_gate_says_of_it() -> None:
    """Slower is a note at its line; from the share on that is asked for, a failure; what is as quick as before isn't mentioned."""
    before = {name: [0.100 + 0.001 * i for i in range(12)] for name in ("trip", "api", "few")} | {"few": [0.1]}
    after = {"trip": [b * 1.31 for b in before["trip"]], "api": before["api"], "few": [0.1]}
    compared = compare_all(before, after)
    few = "few +0 %, not proven: 1 run before and 1 after are too few to compare; --rounds 3 before and after the deployment would do"
    too_few = Finding(Outcome.PASS, few, "few", 0)
    said = "slower than before the deployment: trip +31 % (p < 0.001)"
    assert findings(compared, {"trip": 44}) == (Finding(Outcome.PASS, said, "trip", 44), too_few)
    assert findings(compared, {"trip": 44}, fail_on_slower=0.3)[0].outcome is Outcome.FAIL
    assert findings(compared, {"trip": 44}, fail_on_slower=0.4)[0].outcome is Outcome.PASS


def test_too_few_runs_say_so() -> None:
    """Two against two can't be unlikely enough, whatever they are; nothing is called slower."""
    assert not could_tell(2, 2)
    assert could_tell(3, 3)
    found = compare("api", [0.1, 0.1], [9.0, 9.0])
    assert (found.enough, found.slower, found.p) == (False, False, 1.0)
    said = "api +8,900 %, not proven: 2 runs before and 2 after are too few to compare; --rounds 5 would do"
    assert found.sentence() == said
    empty = compare("api", [], [])
    assert (empty.enough, empty.ratio) == (False, 1.0)


def test_a_comparison_that_the_correction_makes_undecidable_is_told() -> None:
    """U1: fourteen checks a hundred times slower by five rounds: each is told with its ratio and the rounds that would do.

    Whoever asked to fail on slower gets no pass; with the rounds that it proposes, it is decided.
    """
    before = {f"check-{i}": [0.002 + i / 1e6 + j / 1e7 for j in range(5)] for i in range(14)}
    slow = {name: [value * 100 for value in values] for name, values in before.items()}
    compared = compare_all(before, slow)
    assert not any(one.enough or one.slower for one in compared)
    found = findings(compared, {}, fail_on_slower=0.3)
    assert [one.check for one in found] == list(before)
    assert {one.outcome for one in found} == {Outcome.INCONCLUSIVE}
    assert found[0].text.endswith("not proven: 5 runs before and 5 after are too few to compare among 14 checks; --rounds 6 would do")
    assert {one.outcome for one in findings(compared, {})} == {Outcome.PASS}
    six = {name: [*values, 0.3] for name, values in slow.items()}
    assert {one.outcome for one in findings(compare_all(before, six), {}, fail_on_slower=0.3)} == {Outcome.FAIL}


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_the_rounds_that_are_proposed_would_do(before: int, after: int, family: int) -> None:
    """U1: as many as it says can tell, and one fewer can't; what is foretold is what the comparison then says."""
    names = [f"check-{i}" for i in range(family)]
    told = too_few(dict.fromkeys(names, before), after)
    one_slower = {name: [float(i) for i in range(after)] for name in names} | {names[0]: [100.0 + i for i in range(after)]}
    compared = compare_all({name: [float(i) for i in range(before)] for name in names}, one_slower)[0]
    if could_tell(before, after):
        assert bool(told) == (not compared.enough) == (not compared.slower)
    if told:
        rounds = int(told.partition("--rounds ")[2].split()[0])
        first = rounds if "before and after" in told else before
        assert could_tell(first, rounds, family)
        assert not could_tell(min(first, rounds - 1) if first == rounds else first, rounds - 1, family)


def test_a_check_among_many_of_which_others_are_certain_is_decided() -> None:
    """U1: what the step-down method can decide is not called undecidable: the others' certainty leaves a smaller correction."""
    many, few = [float(i) for i in range(1, 31)], [1.0, 2.0, 3.0, 4.0, 5.0]
    before = {f"check-{i}": many for i in range(13)} | {"few": few}
    after = {f"check-{i}": [100 * value for value in many] for i in range(13)} | {"few": [100 * value for value in few]}
    assert all(one.enough and one.slower for one in compare_all(before, after))


def test_an_optional_check_that_is_slower_is_a_note() -> None:
    """It is reported and decides nothing, proven or not."""
    before, after = {"api": [0.1 + i / 1e4 for i in range(9)], "few": [0.1]}, {"api": [0.2] * 9, "few": [0.9]}
    found = findings(compare_all(before, after), {}, fail_on_slower=0.1, optional={"api", "few"})
    assert [(one.outcome, one.text.endswith("(optional)")) for one in found] == [(Outcome.PASS, True)] * 2


def test_several_checks_are_corrected() -> None:
    """One of ten that looks slower at p = 0.05 isn't called so; and only checks on both sides are compared."""
    even = [0.1, 0.1, 0.1]
    before: dict[str, list[float]] = {f"check-{i}": even for i in range(10)} | {"old": even}
    after: dict[str, list[float]] = {f"check-{i}": even for i in range(10)} | {"check-0": [0.2, 0.2, 0.2], "new": even}
    found = compare_all(before, after)
    assert [c.name for c in found] == [f"check-{i}" for i in range(10)]
    assert not any(c.slower for c in found)
    assert compare("check-0", even, [0.2, 0.2, 0.2]).slower


def test_thousands_of_runs_are_compared_at_once() -> None:
    """Many samples are thinned for their ratio, which stays what it is."""
    rng = random.Random(1)  # noqa: S311 - seeded, to be drawn alike each time
    before = [rng.lognormvariate(-2, 0.4) for _ in range(5000)]
    assert pairwise_ratio(before, [b * 1.5 for b in before]) == pytest.approx(1.5, abs=0.02)
    assert compare("api", before, [b * 1.5 for b in before]).slower


def test_no_difference_is_seldom_called_one() -> None:
    """Of a thousand comparisons of the same distribution at most one in twenty is called slower; all ties never are."""
    rng = random.Random(20261124)  # noqa: S311 - seeded, to be drawn alike each time
    draws = [([rng.lognormvariate(-2, 0.5) for _ in range(9)], [rng.lognormvariate(-2, 0.5) for _ in range(9)]) for _ in range(1000)]
    assert sum(compare("api", before, after).slower for before, after in draws) <= 50
    assert compare("api", [0.2] * 50, [0.2] * 50).p == 1.0


def test_only_passes_are_compared() -> None:
    """A failed, unknown or maintained run has no duration to compare."""
    check = made_check()
    assert durations([passed(check, 0.3), failed(check), unknown(check), passed(check, 0.4, maintenance=True)]) == (0.3,)
