from __future__ import annotations

from dataclasses import replace

from judge.baseline import Before
from judge.verdict import Outcome
from probes.core import Reason, Verdict
from runner.config.windows import Covered, Maintained, Once, Span, Window
from runner.gate.settings import GateSettings
from tests.support.gating import P95, Reply, Road, gated, plan

BROKEN = Reply(verdict=Verdict.FAIL, reason=Reason.STATUS)


async def test_the_warm_up_is_shown_and_not_judged() -> None:
    """The first request after a deployment may fail or be slow."""
    road = Road(ran=lambda n, _: BROKEN if n == 0 else Reply())
    result = await gated(road, plan(), GateSettings(rounds=3))
    assert result.report.verdict is Outcome.PASS
    assert road.shown == [("api", False), *[("api", True)] * 3]


async def test_it_stops_when_nothing_can_change_the_verdict() -> None:
    """A functional failure of a required check is final: no round comes after it."""
    road = Road(ran=lambda n, _: BROKEN if n == 1 else Reply())
    result = await gated(road, plan(), GateSettings(rounds=50))
    assert (result.report.verdict, road.runs) == (Outcome.FAIL, 2)
    assert any("stopped after 1 round: 49 more could not change the verdict" in one.text for one in result.report.notes)


async def test_what_an_optional_check_says_stops_nothing() -> None:
    """Its failure colours no verdict, and a required one may still fail in the rounds to come; nor does a pass end anything."""
    required, optional = plan("api"), plan("extra", required=False)
    both = replace(required, checks=required.checks + optional.checks)
    road = Road(ran=lambda _, check: Reply() if check.required else BROKEN)
    result = await gated(road, both, GateSettings(rounds=5))
    assert (result.report.verdict, road.runs) == (Outcome.PASS, 2 * 6)
    assert [one.runs for one in result.report.checks] == [5, 5]


async def test_rounds_are_a_pace_apart() -> None:
    """From start to start; nothing is waited for after the last."""
    road = Road()
    await gated(road, plan(), GateSettings(rounds=4), pace=2.0)
    assert road.clock.monotonic() == 1000.0 + 3 * 2.0


async def test_for_a_span() -> None:
    """Two minutes are sixty rounds: enough to decide a p95."""
    road = Road()
    result = await gated(road, plan(slos=(P95,)), GateSettings.model_validate({"for": 120.0}))
    assert result.report.checks[0].runs == 60
    assert result.report.checks[0].slo is not None
    assert result.report.checks[0].slo["p95"].state == "met"


async def test_an_interrupted_gate_says_how_far_it_came() -> None:
    """Inconclusive, with what was judged; a run that was cut short is not judged."""
    road = Road()

    def answers(number: int, _: object) -> Reply:
        if number == 3:
            road.stop.set()
            return Reply(verdict=Verdict.UNKNOWN, reason=Reason.CANCELLED)
        return Reply()

    road.ran = answers
    result = await gated(road, plan(), GateSettings(rounds=10))
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert "interrupted after 2 of" in result.report.reasons[-1].text
    assert result.report.checks[0].unknown == 0


async def test_an_interrupted_gate_that_has_failed_has_failed() -> None:
    """Certain is certain."""
    road = Road()

    def answers(number: int, _: object) -> Reply:
        if number == 1:
            road.stop.set()
        return BROKEN

    road.ran = answers
    assert (await gated(road, plan(), GateSettings(rounds=10))).report.verdict is Outcome.FAIL


async def test_slower_than_before_is_told_and_fails_only_on_demand() -> None:
    """Thirty per cent slower inside the SLO."""
    before = Before({"api": (0.1, 0.101, 0.102, 0.103, 0.104)}, {}, "before.json")
    road = Road(ran=lambda n, _: Reply(seconds=0.14 + n / 1000))
    result = await gated(road, plan(), GateSettings(rounds=5), before)
    assert result.report.verdict is Outcome.PASS
    assert any("slower than before the deployment: api +" in one.text for one in result.report.notes)
    failing = await gated(Road(ran=road.ran), plan(), GateSettings(rounds=5, fail_on_slower=0.3), before)
    assert failing.report.verdict is Outcome.FAIL


async def test_what_can_not_be_proven_slower_is_no_pass() -> None:
    """U1: fourteen checks, five rounds, all a hundred times slower: said before anything is asked, and inconclusive at the end."""
    names = [f"check-{i}" for i in range(14)]
    before = Before({name: tuple(0.002 + i / 1e6 for i in range(5)) for name in names}, {}, "before.json")
    road = Road(ran=lambda n, _: Reply(seconds=0.2 + n / 1e6))
    result = await gated(road, plan(*names), GateSettings(rounds=5, fail_on_slower=0.3), before)
    assert road.said[0] == "14 checks compared by 5 rounds: none of them can be proven slower; --rounds 6 would do"
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert len(result.report.reasons) == 14
    assert all("too few to compare among 14 checks; --rounds 6 would do" in one.text for one in result.report.reasons)
    plain = await gated(Road(ran=road.ran), plan(*names), GateSettings(rounds=5), before)
    assert plain.report.verdict is Outcome.PASS
    assert sum("too few to compare among 14 checks" in one.text for one in plain.report.notes) == 14
    enough = Road(ran=road.ran)
    assert (await gated(enough, plan(*names), GateSettings(rounds=6, fail_on_slower=0.3), before)).report.verdict is Outcome.FAIL
    assert not enough.said[0].startswith("14 checks")


async def test_nothing_to_compare_with_is_no_pass_where_slower_should_fail() -> None:
    """U1: a runner that was just started has no runs from before, and a baseline may be of other checks."""
    for before in (Before({}, {}, "the runner's own runs"), Before({"other": (0.1,) * 5}, {}, "before.json")):
        result = await gated(Road(), plan(), GateSettings(rounds=5, fail_on_slower=0.3), before)
        assert result.report.verdict is Outcome.INCONCLUSIVE
        assert f"nothing can be compared; {before.source} has no runs of these checks" in result.report.reasons[0].text
        assert (await gated(Road(), plan(), GateSettings(rounds=5), before)).report.verdict is Outcome.PASS


async def test_what_was_not_measured_before_is_said() -> None:
    """A new check has nothing to be compared with."""
    result = await gated(Road(), plan("api", "fresh"), GateSettings(rounds=5), Before({"api": (0.1,) * 5}, {}, "before.json"))
    assert any("fresh: the baseline has no runs of it to compare with" in one.text for one in result.report.notes)


async def test_the_result_carries_what_a_later_gate_compares_with() -> None:
    """Seconds of passed runs by check, and what each target told."""
    result = await gated(Road(), plan(), GateSettings(rounds=2))
    assert (result.seconds, result.revisions) == ({"api": (0.1, 0.1)}, {"api": "new1234"})


async def test_what_another_release_took_is_no_baseline() -> None:
    """Passed runs that a foreign revision answered stay out of what a later gate compares with."""
    road = Road(ran=lambda n, _: Reply(revision="old1234", seconds=9.0) if n == 2 else Reply())
    result = await gated(road, plan(), GateSettings(rounds=3, expect_revision="new1234"))
    assert result.seconds == {"api": (0.1, 0.1)}


async def test_a_failure_that_passes_at_once_when_asked_again_is_flaky() -> None:
    """`confirm`: passed, and reported so; a check that fails again has failed, and one without it isn't asked again."""
    checks = plan()
    confirming = replace(checks, checks=tuple(replace(one, confirm=1) for one in checks.checks))
    flaky = await gated(Road(ran=lambda n, _: BROKEN if n == 1 else Reply()), confirming, GateSettings(rounds=3))
    assert flaky.report.verdict is Outcome.PASS
    assert any("api is flaky: 1 of 3 runs failed" in one.text for one in flaky.report.notes)
    assert len(flaky.report.checks[0].flaky) == 1
    failing = await gated(Road(ran=lambda n, _: BROKEN if n in (1, 2) else Reply()), confirming, GateSettings(rounds=3))
    assert failing.report.verdict is Outcome.FAIL
    once = await gated(Road(ran=lambda n, _: BROKEN if n == 1 else Reply()), checks, GateSettings(rounds=3))
    assert once.report.verdict is Outcome.FAIL


async def test_a_maintenance_window_changes_no_verdict() -> None:
    """It is named in the report, and a required check that fails in it fails the gate: no window makes a bad release pass."""
    window = Maintained(Window("disks", Once(0.0, 10.0), Covered(), by="ada"), Span(0.0, 1764075600.0))
    passing = await gated(Road(), plan(slos=(P95,)), GateSettings(rounds=3), window=window)
    failing = await gated(Road(ran=lambda *_: BROKEN), plan(), GateSettings(rounds=3), window=window)
    assert (passing.report.verdict, failing.report.verdict) == (Outcome.PASS, Outcome.FAIL)
    said = "api is in maintenance until 2025-11-25 13:00:00 UTC (disks, ada); its runs are judged all the same"
    for result in (passing, failing):
        assert said in [one.text for one in (*result.report.notes, *result.report.reasons)]
    assert passing.report.checks[0].slo
    assert passing.report.checks[0].slo["p95"].total == 3  # its runs count, else a slow release would go unseen
