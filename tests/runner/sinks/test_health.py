"""The state of every check, and /health/metrics in the guide's form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from judge.observation import DiagnosisFinding, Observation
from probes.core import Reason
from runner.config.plan import Cron
from runner.sinks.health import Health, all_of
from runner.web.headline import headline
from tests.support.observations import AVAILABILITY, NOON, P95, Hands, failed, made_check, made_plan, passed, unknown

DATABASE = made_check("database", reports_as="db_healthy", slos=(AVAILABILITY, P95))
OPENTABLE = made_check("opentable", reports_as="booking_providers_healthy")
VIATOR = made_check("viator", reports_as="booking_providers_healthy")
API = made_check()


def after(*seen: Observation, clock: Hands | None = None) -> Health:
    """The health after these runs of four checks."""
    health = Health(made_plan(DATABASE, OPENTABLE, VIATOR, API), clock or Hands())
    for one in seen:
        health(one)
    return health


def test_all_well_is_200_and_flat() -> None:
    """U22: the guide's flags stand at the top, true or false; one that no check reports isn't there."""
    status, body = after(*(passed(check) for check in (DATABASE, OPENTABLE, VIATOR, API))).report()
    assert status == 200
    assert {flag: value for flag, value in body.items() if flag.endswith("_healthy")} == {
        "db_healthy": True,
        "booking_providers_healthy": True,
    }
    assert (body["status"], body["service"], body["timestamp"]) == ("healthy", "roadtrip", "2026-11-24T12:00:00.000Z")
    assert body["checks"]["database"]["verdict"] == "pass"


def test_the_status_code_never_contradicts_the_body() -> None:
    """A flag that is false makes 503; 200 with an unhealthy body is the lie that Outrider finds in others."""
    status, body = after(failed(DATABASE, Reason.TIMEOUT, "no answer within 5s"), passed(OPENTABLE), passed(VIATOR)).report()
    assert (status, body["db_healthy"], body["status"]) == (503, False, "unhealthy")
    assert body["checks"]["database"] | {"since": "", "last_run": ""} == {
        "healthy": False,
        "kind": "made",
        "stale": False,
        "verdict": "fail",
        "reason": "timeout",
        "message": "no answer within 5s",
        "since": "",
        "last_run": "",
        "seconds": 0.25,
        "maintenance": False,
    }


def test_several_checks_behind_one_flag_must_all_pass() -> None:
    """One partner that fails is a partner that fails; one that can't be told leaves the flag unsaid."""
    assert after(passed(OPENTABLE), failed(VIATOR)).report()[1]["booking_providers_healthy"] is False
    assert after(passed(OPENTABLE), unknown(VIATOR)).report()[1]["booking_providers_healthy"] is None
    assert after(passed(OPENTABLE)).report()[1]["booking_providers_healthy"] is None


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), ([True, None], None), ([None, False], False), ([True, True], True), ([True, False], False)]
)
def test_false_comes_before_unsaid_before_true(values: list[bool | None], expected: bool | None) -> None:  # noqa: FBT001 - what is expected
    """Of several: a failure is certain; else what can't be said hides whether all is well."""
    assert all_of(values) is expected


def test_what_is_not_known_is_not_healthy() -> None:
    """Before the first runs, and while the runner can't tell, the flags are null and the answer 503: unknown proves nothing."""
    assert after().report()[0] == 503
    status, body = after(unknown(DATABASE), passed(OPENTABLE), passed(VIATOR)).report()
    assert (status, body["status"], body["db_healthy"]) == (503, "unknown", None)


def test_a_pass_of_long_ago_is_stale() -> None:
    """Three intervals and a timeout after its end a pass says nothing any more: null, never true."""
    clock = Hands()
    health = after(passed(DATABASE, 0.25), passed(OPENTABLE), passed(VIATOR), clock=clock)
    clock.now = NOON + 0.25 + 3 * 15 + 5
    assert health.report()[1]["db_healthy"] is True
    clock.now += 0.01
    status, body = health.report()
    assert (status, body["db_healthy"], body["checks"]["database"]["stale"]) == (503, None, True)


def test_the_pause_of_a_cron_expression_makes_nothing_stale() -> None:
    """By night nothing is asked, and nothing is old: what should have run since, and didn't, is."""
    clock = Hands()
    plan = made_plan(DATABASE)
    health = Health(replace(plan, checks=(replace(plan.checks[0], schedule=Cron("0 20 * * *")),)), clock)
    health(passed(DATABASE, 0.25))
    clock.now = NOON + 8 * 3600
    assert health.report()[1]["db_healthy"] is True
    clock.now += 2 * 15 + 5 + 0.01
    assert health.report()[1]["db_healthy"] is None


def test_a_check_that_waits_for_its_hour_decides_nothing() -> None:
    """G9: a nightly check doesn't run at the start; until its hour the others decide, and a run that is missing then counts."""
    clock = Hands()
    nightly = made_check("nightly", address="nightly")
    plan = made_plan(API, nightly)
    plan = replace(plan, checks=(plan.checks[0], replace(plan.checks[1], schedule=Cron("0 20 * * *"))))
    health = Health(plan, clock)
    assert health.report()[1]["status"] == "unknown"
    health(passed(API))
    status, body = health.report()
    assert (status, body["status"], body["checks"]["nightly"]["healthy"]) == (200, "healthy", None)
    assert headline(health.states(), clock.now).text == "1 of 2 checks is up."
    assert headline(health.states(), clock.now).more == "Pending: nightly."
    clock.now = NOON + 8 * 3600 + nightly.timeout
    health(passed(API, at=clock.now))
    assert health.report()[0] == 503
    assert headline(health.states(), clock.now).text == "Starting: 1 of 2 checks has not run yet."
    health(failed(nightly, at=clock.now))
    assert health.report()[1]["status"] == "unhealthy"


def test_a_check_that_keeps_its_rhythm_over_a_restart_decides_nothing_until_then() -> None:
    """G9: every three hours, and the process before ran it lately: after the first seconds the others decide."""
    clock = Hands()
    rare = made_check("rare", address="rare", interval=10_800.0)
    health = Health(made_plan(API, rare), clock)
    health(passed(API))
    assert health.report()[0] == 503
    clock.now += 10 + rare.timeout
    health(passed(API, at=clock.now))
    assert health.report()[0] == 200


def test_without_flags_all_checks_decide() -> None:
    """A configuration that uses no `reports_as` still gets an honest status."""
    health = Health(made_plan(API), Hands())
    assert health.report()[0] == 503
    health(passed(API))
    assert health.report()[0] == 200
    health(failed(API))
    assert health.report()[0] == 503


def test_since_is_when_the_verdict_began() -> None:
    """More of the same moves nothing; another verdict starts anew."""
    health = after(passed(API, at=NOON), passed(API, at=NOON + 15))
    assert (state := health.state("api")) is not None
    assert state.since == NOON
    for at in (NOON + 30, NOON + 45):
        health(failed(API, at=at))
    assert (state := health.state("api")) is not None
    assert state.since == NOON + 30
    assert [seen.at for seen in state.recent] == [NOON, NOON + 15, NOON + 30, NOON + 45]


def test_slo_events_are_counted_as_the_judge_says() -> None:
    """The page's counts and the metrics' come from one rule."""
    health = after(passed(DATABASE, 0.5), passed(DATABASE, 0.6), failed(DATABASE), unknown(DATABASE), passed(DATABASE, maintenance=True))
    assert (state := health.state("database")) is not None
    assert state.slos == {"availability": (3, 2), "p95": (3, 1)}


def test_memory_is_bounded() -> None:
    """Only so many recent runs are kept, and none of their evidence."""
    health = Health(made_plan(API), Hands(), keep=3)
    for number in range(10):
        health(failed(API, at=NOON + number, evidence={"response": "x" * 1000}))
    assert (state := health.state("api")) is not None
    assert [seen.at - NOON for seen in state.recent] == [7, 8, 9]
    assert all(not seen.evidence for seen in state.recent)


def test_a_reload_keeps_what_did_not_change() -> None:
    """An unchanged check goes on; a changed or removed one is forgotten; a late run of a removed one is let go."""
    health = after(passed(DATABASE), passed(API), passed(VIATOR))
    health.plan(made_plan(DATABASE, replace(API, address="elsewhere")))
    health(passed(VIATOR))
    latest = {state.check.name: state.latest for state in health.states()}
    assert latest["database"] is not None
    assert latest["api"] is None
    assert set(latest) == {"database", "api"}


def test_a_failure_that_was_not_confirmed_changes_nothing() -> None:
    """The re-check passed: the check is as healthy as before, and the blip isn't among its recent runs."""
    state = after(passed(API), failed(API, confirmed=False)).state("api")
    assert state is not None
    assert state.latest == passed(API)
    assert len(state.recent) == 1


@pytest.mark.parametrize("between", [passed(API), unknown(API)], ids=["pass", "unknown"])
def test_a_finding_is_of_the_failure_that_lasts(between: Observation) -> None:
    """What a diagnosis found goes with the failure: a later one isn't explained by it, nor is one by a finding that came too late."""
    found = DiagnosisFinding(API, "4bf9", NOON, "both addresses refuse", {})
    health = after(failed(API))
    health.found(found)
    assert [state.latest.finding for state in health.states() if state.latest] == ["both addresses refuse"]
    health(between)
    health.found(found)
    health(failed(API))
    assert [state.latest.finding for state in health.states() if state.latest] == [""]


def test_a_changed_check_starts_from_nothing() -> None:
    """Neither its recent runs nor what a diagnosis found are those of the check that had its name before."""
    moved = replace(API, address="elsewhere")
    health = after(passed(API), failed(API))
    health.found(DiagnosisFinding(API, "4bf9", NOON, "both addresses refuse", {}))
    health.plan(made_plan(moved))
    health(failed(moved))
    state = health.state("api")
    assert state is not None
    assert state.latest is not None
    assert (state.latest.finding, len(state.recent)) == ("", 1)


def test_a_check_with_a_new_schedule_is_stale_by_the_new_one() -> None:
    """By cron it had a pause of eight hours; now it runs every 15 s, and what was seen three intervals ago says nothing."""
    clock = Hands()
    plan = made_plan(DATABASE)
    health = Health(replace(plan, checks=(replace(plan.checks[0], schedule=Cron("0 20 * * *"), fingerprint="cron"),)), clock)
    health.plan(plan)
    health(passed(DATABASE, 0.25))
    clock.now = NOON + 0.25 + 3 * 15 + 5 + 0.01
    assert health.report()[1]["db_healthy"] is None


@pytest.mark.parametrize(("count", "kept"), [(2, 60), (100, 60), (500, 19), (2000, 10)])
def test_the_memory_of_very_many_checks_is_bounded(count: int, kept: int) -> None:
    """XM14: recent runs are bounded in bytes, here 1 MiB together; ten of a check are always kept, and a reload keeps to it too."""
    checks = [made_check(f"c{number}") for number in range(count)]
    health = Health(made_plan(*checks), Hands(), most_bytes=2**20)
    for number in range(70):
        health(passed(checks[0], at=NOON + number))
    state = health.state("c0")
    assert state is not None
    assert [seen.at - NOON for seen in state.recent] == list(range(70 - kept, 70))
    assert len({id(seen.message) for seen in state.recent}) == 1
    health.plan(made_plan(checks[0]))
    assert health._recent["c0"].keep == 60
