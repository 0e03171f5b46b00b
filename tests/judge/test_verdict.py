from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import Check, Observation, Slo
from judge.revision import brief, is_commit, same_revision
from judge.verdict import Decision, Finding, Outcome, Rules, Run, Runs, can_change, combined, decide
from probes.core import Reason
from tests.support.observations import AVAILABILITY, P95, failed, made_check, passed, unknown

API = made_check("api", slos=(P95,))
CACHE = made_check("cache", line=31)
OPTIONAL = made_check("booking", required=False)
OLD, NEW = "91be20d", "3f2c91a"


def runs(check: Check, *observations: Observation, remaining: int = 0, revision: str = "") -> Runs:
    """Runs of one attempt each."""
    return Runs(check, tuple(Run((o,), revision) for o in observations), remaining)


def texts(findings: tuple[Finding, ...]) -> list[str]:
    """What they say."""
    return [f.text for f in findings]


def test_exit_codes() -> None:
    """0, 1 and 3; callers that know two colours choose what inconclusive is to them."""
    assert [o.exit_code for o in (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)] == [0, 1, 3]
    assert [Outcome.INCONCLUSIVE.exit_code_as(o) for o in (None, Outcome.FAIL, Outcome.PASS)] == [3, 1, 0]
    assert Outcome.FAIL.exit_code_as(Outcome.PASS) == 1


def test_fail_comes_before_inconclusive_before_pass() -> None:
    """Of several outcomes the gravest; of none, inconclusive."""
    assert combined([Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]) is Outcome.FAIL
    assert combined([Outcome.PASS, Outcome.INCONCLUSIVE]) is Outcome.INCONCLUSIVE
    assert combined([Outcome.PASS]) is Outcome.PASS
    assert combined([]) is Outcome.INCONCLUSIVE


def test_a_good_release_passes_and_says_what_it_can_not_tell() -> None:
    """18 quick runs pass; that they don't decide the p95 is a note, and colours nothing."""
    decision = decide([runs(API, *[passed(API)] * 18), runs(CACHE, *[passed(CACHE)] * 3)])
    assert decision.outcome is Outcome.PASS
    assert decision.reasons == ()
    assert texts(decision.notes) == ["p95 of api: 18 of 18 within 500 ms; not decidable with fewer than 59 runs"]
    assert [(c.check.name, c.outcome, c.runs, c.passed) for c in decision.checks] == [("api", "pass", 18, 18), ("cache", "pass", 3, 3)]


def test_59_clean_runs_prove_it() -> None:
    """From 59 on the p95 holds, with the bound that is proven."""
    [note] = decide([runs(API, *[passed(API)] * 59)], Rules(require_slo=True)).notes
    assert note.text == "p95 of api: 59 of 59 within 500 ms (100.0 %, at least 95.0 % with 95 % confidence); met"


def test_a_functional_failure_fails_and_points_at_its_line() -> None:
    """One failure of a required check is enough, and names the check, its line, and what it saw."""
    decision = decide([runs(CACHE, passed(CACHE), failed(CACHE), passed(CACHE))])
    assert decision.outcome is Outcome.FAIL
    assert decision.reasons == (Finding(Outcome.FAIL, "cache: status: 503, expected 200", "cache", 31),)
    assert decision.checks[0].cause == failed(CACHE)


def test_an_optional_failure_is_reported_only() -> None:
    """gate: optional colours nothing, neither red nor inconclusive."""
    for observation, said in [(failed(OPTIONAL), "status: 503, expected 200"), (unknown(OPTIONAL), "starved: the runner was starved")]:
        decision = decide([runs(CACHE, passed(CACHE)), runs(OPTIONAL, observation)])
        assert decision.outcome is Outcome.PASS
        assert texts(decision.notes) == [f"booking: {said} (optional)"]


def test_the_failure_that_is_shown_is_one() -> None:
    """A confirmation that can't tell doesn't stand for the failure; and a run without any attempt is none."""
    assert decide([Runs(API, (Run((failed(API), unknown(API))),))]).checks[0].cause == failed(API)
    with pytest.raises(ValueError, match="at least one attempt"):
        Run(())


def test_a_confirmed_check_that_recovers_is_flaky() -> None:
    """Failed, then passed at once: passed, and reported; no SLO fails it by the back door. Failed twice: failed."""
    again = Run((failed(API), passed(API)))
    decision = decide([Runs(API, (again, Run((passed(API),))))])
    assert decision.outcome is Outcome.PASS
    assert "api is flaky: 1 of 2 runs failed, and passed on an immediate retry" in texts(decision.notes)
    assert decision.checks[0].proofs[0].good == 2
    strict = made_check("api", slos=(AVAILABILITY,))
    assert decide([Runs(strict, (Run((failed(strict), passed(strict))),))]).outcome is Outcome.PASS
    assert decide([Runs(API, (Run((failed(API), failed(API))),))]).outcome is Outcome.FAIL
    assert decide([Runs(API, (Run((failed(API), unknown(API))),))]).outcome is Outcome.FAIL
    assert decide([Runs(API, (Run((unknown(API), passed(API))),))]).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ([], "nothing was run"),
        ([Runs(CACHE)], "cache: was not run"),
        ([runs(CACHE, unknown(CACHE))], "cache: starved: the runner was starved"),
        ([runs(CACHE, passed(CACHE), unknown(CACHE, Reason.OFFLINE))], "cache: offline: the runner was starved"),
    ],
)
def test_what_can_not_tell_is_inconclusive(checks: list[Runs], said: str) -> None:
    """Nothing run, not run, a run that can't tell: never pass."""
    decision = decide(checks)
    assert decision.outcome is Outcome.INCONCLUSIVE
    assert said in texts(decision.reasons)


def test_another_revision_is_inconclusive() -> None:
    """An old instance that answers some runs: they are judged neither good nor bad, and nothing is proven."""
    old = [replace(failed(API), facts={"ip": "10.0.3.8"})] * 3
    decision = decide([Runs(API, tuple([Run((passed(API),), NEW)] * 15 + [Run((o,), OLD) for o in old]))], revision=NEW)
    assert decision.outcome is Outcome.INCONCLUSIVE
    assert texts(decision.reasons) == ["api: revision 91be20d answered 3 of 18 runs from 10.0.3.8"]
    assert (decision.checks[0].runs, decision.checks[0].strays) == (15, 3)


def test_a_failure_of_the_new_revision_comes_before_the_old_one() -> None:
    """The new revision's own failure fails, whoever else answered."""
    decision = decide([Runs(API, (Run((failed(API),), NEW), Run((passed(API),), OLD)))], revision=NEW)
    assert [f.outcome for f in decision.reasons] == [Outcome.FAIL, Outcome.INCONCLUSIVE]
    assert decision.outcome is Outcome.FAIL


def test_only_commits_may_be_shortened() -> None:
    """G1: seven hexadecimal digits are enough to know a commit again; six aren't; everything else must be equal."""
    full = "3f2c91a8d0e4b7c6a5f4e3d2c1b0a9f8e7d6c5b4"
    assert same_revision(full, "3F2C91A")
    assert same_revision("v1", "v1")
    assert not same_revision(full, "3f2c91")
    assert not same_revision(full, OLD)
    for one, other in [
        ("build-12", "build-123"),
        ("v1.10.1", "v1.10.12"),
        ("1.2.3-rc.1", "1.2.3-rc.10"),
        ("release", "release-2"),
        ("abc1234", "abc1234-dirty"),
        ("v1.2.3-gabc1234", "v1.2.3-gabc12345"),
        ("V1", "v1"),
        ("a" * 7, "a" * 65),
        ("1234567", "12345678"),
        ("20261130", "2026113012"),
        ("20261130", "20261130a"),
    ]:
        assert not same_revision(one, other), (one, other)
        assert not same_revision(other, one), (one, other)


@given(st.text(max_size=80), st.text(min_size=1, max_size=10))
def test_what_is_no_commit_is_never_shortened(revision: str, more: str) -> None:
    """G1: whatever a target reports, a longer text is another revision, unless both are 7 to 64 hexadecimal digits, with a letter."""
    both = is_commit(revision) and is_commit(revision + more) and not revision.strip().isdecimal()
    assert same_revision(revision, revision)
    assert same_revision(revision, revision + more) == (both or revision.strip() == (revision + more).strip())


@given(st.text("0123456789abcdef", min_size=7, max_size=64), st.integers(7, 64))
def test_a_commit_is_known_again_however_it_is_shortened(commit: str, length: int) -> None:
    """G1: in capitals too, and from both sides; digits alone only where the other one is a whole commit."""
    short = commit[:length]
    same = not short.isdecimal() or short == commit or len(commit) in {40, 64}
    assert same_revision(commit, short.upper()) == same
    assert same_revision(short.upper(), f" {commit} ") == same


@pytest.mark.parametrize(
    ("revision", "shown"),
    [
        ("3f2c91a8d0e4b7c6a5f4e3d2c1b0a9f8e7d6c5b4", "3f2c91a8d0e4"),
        ("3f2c91a8d0e4b7", "3f2c91a8d0e4"),
        ("202611301415", "202611301415"),
        ("2026113014153", "2026113014153"),
        ("1.2.3-rc.100", "1.2.3-rc.100"),
        ("shop-2026.11.30-rc.10", "shop-2026.11.30-rc.10"),
    ],
)
def test_only_a_commit_is_shown_in_brief(revision: str, shown: str) -> None:
    """G1: the end of a version or of a build number is what tells it from the one before."""
    assert brief(revision) == shown


def test_an_optional_check_alone_is_no_pass() -> None:
    """G8: it passed or failed, and nothing that is required was judged: inconclusive, and its result is a note."""
    for observation in (passed(OPTIONAL), failed(OPTIONAL)):
        decision = decide([runs(OPTIONAL, *[observation] * 3)])
        assert decision.outcome is Outcome.INCONCLUSIVE
        assert texts(decision.reasons) == ["no required check was judged; every selected check is gate: optional"]
    other = decide([Runs(CACHE), runs(OPTIONAL, passed(OPTIONAL))])
    assert texts(other.reasons) == ["cache: was not run", "no required check was judged"]


def test_slos_that_so_few_runs_can_not_decide_take_one_line() -> None:
    """U21: without a miss all of them stand in one line with the runs that it takes; one with a miss has a line of its own."""
    checks = [made_check(name, slos=(AVAILABILITY, P95)) for name in ("api", "ready", "web")]
    decision = decide([runs(one, *[passed(one)] * 5) for one in checks])
    assert texts(decision.notes) == [
        (
            "all good so far, but not decidable with so few runs: "
            "availability of api, ready and web (2,995 runs needed), p95 of api, ready and web (59 runs needed)"
        )
    ]
    missed = decide([runs(checks[0], *[passed(checks[0])] * 5), runs(checks[1], passed(checks[1], 0.6), *[passed(checks[1])] * 4)])
    assert [text.partition(":")[0] for text in texts(missed.notes)] == [
        "p95 of ready",
        "all good so far, but not decidable with so few runs",
    ]


def test_several_revisions_by_turns_are_told() -> None:
    """GM10: where none is expected, that two releases answered is a note, with how many runs each; one in two lengths is one."""
    api = replace(API, slos=(), target="api")
    turns = decide([Runs(api, tuple(Run((passed(api),), one) for one in (NEW, OLD, NEW, NEW, "none")))])
    assert turns.outcome is Outcome.PASS
    assert texts(turns.notes) == [
        f"api responded with 3 revisions by turns: {NEW} (3 runs), {OLD} (1 run), none (1 run); --expect-revision would judge one of them"
    ]
    assert decide([Runs(api, (Run((passed(api),), NEW), Run((passed(api),), f"{NEW}8d0")))]).notes == ()
    assert decide([Runs(api, (Run((passed(api),), ""),))]).notes == ()


def test_slow_runs_fail_only_where_the_breach_is_proven() -> None:
    """Two slow of 18 could be chance (p = 0.23); four could not (p = 0.011)."""
    slow, quick = passed(API, 0.6), passed(API, 0.4)
    undecided = decide([runs(API, *[slow] * 2, *[quick] * 16)])
    assert undecided.outcome is Outcome.PASS
    assert texts(undecided.notes) == ["p95 of api: 16 of 18 within 500 ms; not decidable with fewer than 124 runs, at most 2 of them bad"]
    broken = decide([runs(API, *[slow] * 4, *[quick] * 14)])
    assert broken.outcome is Outcome.FAIL
    assert texts(broken.reasons) == [
        "p95 of api: 14 of 18 within 500 ms (77.8 %, at most 92.1 % with 95 % confidence); breached: 95 % needed"
    ]


def test_the_more_slos_are_judged_the_more_it_takes() -> None:
    """What proves a breach alone (p = 0.043) is not enough among eight."""
    slow, quick = passed(API, 0.6), passed(API, 0.4)
    edge = runs(API, *[slow] * 3, *[quick] * 13)
    others = [runs(made_check(f"other-{i}", slos=(P95,)), *[quick] * 16) for i in range(7)]
    assert decide([edge]).outcome is Outcome.FAIL
    assert decide([edge, *others]).outcome is Outcome.PASS


def test_require_slo_colours_what_is_not_proven() -> None:
    """With --require-slo 18 runs aren't enough, and the verdict says how many are."""
    decision = decide([runs(API, *[passed(API)] * 18)], Rules(require_slo=True))
    assert decision.outcome is Outcome.INCONCLUSIVE
    assert texts(decision.reasons) == ["p95 of api: 18 of 18 within 500 ms; not decidable with fewer than 59 runs"]
    whole = made_check("api", slos=(Slo("all", Decimal(1), 60.0),))
    assert texts(decide([runs(whole, passed(whole))]).notes) == ["all of api: 1 of 1 good; no number of runs can prove 100 %"]
    assert decide([runs(whole, passed(whole))]).outcome is Outcome.PASS


def test_interrupted_is_inconclusive_unless_a_failure_is_certain() -> None:
    """Ctrl-C: inconclusive with what was done; a failure that was seen stays one."""
    decision = decide([runs(CACHE, passed(CACHE), remaining=2)], interrupted=True)
    assert decision.outcome is Outcome.INCONCLUSIVE
    assert texts(decision.reasons) == ["interrupted after 1 of 3 runs"]
    assert decide([runs(CACHE, failed(CACHE), remaining=2)], interrupted=True).outcome is Outcome.FAIL


def test_findings_made_elsewhere_count() -> None:
    """Never ready fails, cut off is inconclusive, a slower release is a note: whoever found it says so."""
    good = [runs(CACHE, passed(CACHE))]
    never = Finding(Outcome.FAIL, "api never answered within 5m")
    slower = Finding(Outcome.PASS, "plan-a-trip +31 % (p = 0.004)")
    assert decide(good, also=[never]).reasons == (never,)
    decision = decide(good, also=[slower, Finding(Outcome.INCONCLUSIVE, "the runner was cut off")])
    assert (decision.outcome, decision.notes) == (Outcome.INCONCLUSIVE, (slower,))


def test_it_stops_early_only_when_nothing_can_change() -> None:
    """A functional failure is final, a proven breach only if the rest can't mend it; a pass never is while runs remain."""
    slow, quick = passed(API, 0.6), passed(API, 0.4)
    assert can_change([runs(API, quick, remaining=1)])
    assert not can_change([runs(API, quick)])
    assert not can_change([runs(CACHE, failed(CACHE), remaining=9)])
    assert can_change([runs(CACHE, unknown(CACHE), remaining=9)])
    assert can_change([runs(API, *[slow] * 4, *[quick] * 10, remaining=100)])
    assert not can_change([runs(API, *[slow] * 9, remaining=9)])
    assert not can_change([runs(CACHE, passed(CACHE)), runs(OPTIONAL, passed(OPTIONAL), remaining=9)])
    assert can_change([runs(OPTIONAL, failed(OPTIONAL), remaining=9), runs(CACHE, passed(CACHE), remaining=9)])
    aside = made_check("aside", slos=(P95,), required=False)
    assert can_change([runs(aside, *[passed(aside, 0.6)] * 9, remaining=9), runs(CACHE, passed(CACHE), remaining=9)])
    assert can_change([Runs(CACHE, (Run((failed(CACHE),), OLD),), 9)], revision=NEW)


def test_what_was_never_judged_has_not_passed() -> None:
    """G8: also where all that was to run is optional: nothing is known, and that is said."""
    decision = decide([runs(OPTIONAL), runs(made_check("second", required=False))])
    assert (decision.outcome, texts(decision.reasons)) == (
        Outcome.INCONCLUSIVE,
        ["no required check was judged; every selected check is gate: optional"],
    )
    assert texts(decide([]).reasons) == ["nothing was run"]


def test_another_revision_is_told_before_a_run_that_nobody_knows_of() -> None:
    """Both make it inconclusive; that the old release answers is what to act on."""
    stray, lost = Run((passed(CACHE),), OLD), Run((unknown(CACHE),), NEW)
    decision = decide([Runs(CACHE, (lost, stray))], revision=NEW)
    assert (decision.outcome, texts(decision.reasons)) == (Outcome.INCONCLUSIVE, [f"cache: revision {OLD} answered 1 of 2 runs"])


drawn = st.lists(st.sampled_from(["quick", "slow", "slow", "fail", "unknown", "stray"]), min_size=1, max_size=14)


def made(check: Check, word: str) -> Run:
    """A run as its word says."""
    observation = {"slow": passed(check, 0.9), "fail": failed(check), "unknown": unknown(check)}.get(word, passed(check, 0.1))
    return Run((observation,), OLD if word == "stray" else NEW)


@given(drawn, drawn, st.integers(0, 14), st.booleans())
@settings(max_examples=120, deadline=None)
def test_what_can_not_change_does_not(first: list[str], second: list[str], done: int, required: bool) -> None:  # noqa: FBT001 - drawn
    """Wherever a gate may stop, the verdict then is the verdict after all runs."""
    checks = [(API, first), (made_check("second", slos=(P95, AVAILABILITY), required=required), second)]
    partial = [Runs(c, tuple(made(c, w) for w in words[:done]), max(0, len(words) - done)) for c, words in checks]
    if not can_change(partial, revision=NEW) and all(p.runs for p in partial if p.check.required):
        whole = [Runs(c, tuple(made(c, w) for w in words)) for c, words in checks]
        assert decide(partial, revision=NEW).outcome is decide(whole, revision=NEW).outcome


def edge_gate(rng: random.Random) -> Decision:
    """A gate of six checks whose latency lies just at its SLO: exactly 95 % of their runs are within 500 ms, in truth."""
    rounds = rng.choice([3, 10, 18, 40])
    checks = [made_check(f"check-{i}", slos=(P95,)) for i in range(6)]
    spread = 0.5
    middle = 0.5 / 2.718281828459045 ** (1.6448536269514722 * spread)  # so that the 95th percentile is 500 ms
    return decide([runs(c, *(passed(c, middle * rng.lognormvariate(0, spread)) for _ in range(rounds))) for c in checks])


@pytest.mark.slow
def test_false_fails_stay_under_the_stated_confidence() -> None:
    """Of a thousand gates on releases that just meet their SLO, no more than 5 % fail."""
    rng = random.Random(20261124)  # noqa: S311 - seeded, to be drawn alike each time
    outcomes = [edge_gate(rng).outcome for _ in range(1000)]
    assert outcomes.count(Outcome.FAIL) <= 50
    assert outcomes.count(Outcome.INCONCLUSIVE) == 0


def test_real_breaches_are_found() -> None:
    """Of fifty releases whose p95 is 800 ms where 500 ms are allowed, nearly all fail within 40 rounds."""
    rng = random.Random(7)  # noqa: S311 - seeded, to be drawn alike each time
    found = [decide([runs(API, *(passed(API, rng.lognormvariate(-1.0, 0.5)) for _ in range(40)))]).outcome for _ in range(50)]
    assert found.count(Outcome.FAIL) >= 45
