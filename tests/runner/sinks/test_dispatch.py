"""The fan-out: every sink gets every observation, with what the others' latest ones say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from judge.observation import Check, DiagnosisFinding, Observation
from probes.core import Reason, Verdict
from runner.config.plan import Plan
from runner.sinks.dispatch import Emit
from tests.support.observations import made_plan
from tests.support.sinks import Calling, Kept

DATABASE = Check("database", "postgres", 1)
API = Check("api", "http", 2, target="api")
READY = Check("ready", "http", 3, target="api", depends_on=("database",))
REPORT = Check("api-report", "health_metrics", 4, target="api")
PART = Check("api-report/db_healthy", "health_metrics", 4, target="api", part_of="api-report", compare_with="database")


def seen(check: Check, reason: Reason | None = None, **phases: float) -> Observation:
    """A run that failed for this reason, or passed."""
    return Observation(check, Verdict.FAIL if reason else Verdict.PASS, reason, "", 0.0, 0.1, phases=phases)


DOWN = seen(DATABASE, Reason.REFUSED)


def planned(*checks: Check) -> Plan:
    """A plan of these checks; the report has its part."""
    return made_plan(*checks, parts={"api-report": (PART,)})


def test_the_fan_out_adds_the_finding() -> None:
    """Every sink gets the observation with what the others' latest ones say of it."""
    got = Kept()
    emit = Emit({"a": got}, failed=lambda _: None)
    emit(DOWN)
    emit(seen(READY, Reason.BODY))
    assert [o.finding for o in got.seen] == ["", "shares the failure of database"]


def test_a_removed_check_explains_nothing() -> None:
    """After a reload without the database its last failure isn't quoted any more."""
    got = Kept()
    emit = Emit({"a": got}, failed=lambda _: None)
    emit.plan(planned(DATABASE, REPORT, READY))
    emit(DOWN)
    emit(seen(PART, Reason.BODY))
    emit.plan(planned(REPORT, READY))
    emit(seen(READY, Reason.BODY))
    assert got.seen[-1].finding == ""
    assert set(emit.latest) == {"api-report/db_healthy", "ready"}


def test_a_sink_that_fails_stops_no_other() -> None:
    """The others get every observation in order; each failure is counted, the first and each hundredth later one is logged."""
    failed: list[str] = []
    logged: list[str] = []
    got = Kept()

    def broken(_: Observation) -> None:
        raise OSError("disk full")

    emit = Emit({"bad": Calling(broken), "good": got}, failed=failed.append, log=lambda _, text: logged.append(text))
    rows = [seen(DATABASE), seen(API)] * 75
    for row in rows:
        emit(row)
    assert got.seen == rows
    assert failed == ["bad"] * 150
    assert logged == ["sink bad failed (1 times so far): OSError: disk full", "sink bad failed (101 times so far): OSError: disk full"]


@pytest.mark.parametrize("reason", [None, Reason.STATUS])
def test_a_sink_that_breaks_on_a_run_still_learns_its_verdict(reason: Reason | None) -> None:
    """XM5: what a sink can't take reaches it bare: a failure as one, all else as unknown / internal, so that nothing looks as before."""
    got = Kept()

    def picky(observation: Observation) -> None:
        if observation.phases:
            raise TypeError("a number was expected")
        got(observation)

    failed: list[str] = []
    emit = Emit({"picky": Calling(picky)}, failed=failed.append, log=lambda *_: None)
    emit(seen(DATABASE, reason, connect=0.1))
    [told] = got.seen
    assert told.verdict is (Verdict.FAIL if reason else Verdict.UNKNOWN)
    assert told.reason is (reason or Reason.INTERNAL)
    assert "the sink picky can't take this run: TypeError" in told.message
    assert failed == ["picky"]


def test_a_finding_goes_to_whoever_takes_findings() -> None:
    """What a diagnosis found later is handed on as observations are: who fails stops no other, and is counted."""
    failed: list[str] = []
    got: list[DiagnosisFinding] = []

    def broken(_: DiagnosisFinding) -> None:
        raise OSError("disk full")

    emit = Emit({}, failed=failed.append, log=lambda _, __: None, finders={"bad": broken, "good": got.append})
    told = DiagnosisFinding(API, "4bf9", 0.0, "2 of 3 addresses refuse")
    emit.found(told)
    assert got == [told]
    assert failed == ["bad"]


def test_a_failure_that_was_not_confirmed_explains_nothing() -> None:
    """The next check isn't told that it shares a failure which a re-check didn't see."""
    got = Kept()
    emit = Emit({"a": got}, failed=lambda _: None)
    emit(replace(DOWN, confirmed=False))
    emit(seen(READY, Reason.BODY))
    assert got.seen[-1].finding == ""


def test_a_changed_check_explains_nothing_until_it_is_seen() -> None:
    """Its last failure was that of another check; an unchanged one's is still quoted."""
    got = Kept()
    emit = Emit({"a": got}, failed=lambda _: None)
    for database in (DATABASE, DATABASE, replace(DATABASE, address="elsewhere")):
        emit.plan(planned(database, READY))
        if not got.seen:
            emit(DOWN)
        emit(seen(READY, Reason.BODY))
    assert [o.finding for o in got.seen] == ["", "shares the failure of database", "shares the failure of database", ""]


def test_every_sink_follows_a_plan() -> None:
    """Whoever gets the observations is told of the plan: it is one list."""
    first, second = Kept(), Kept()
    emit = Emit({"a": first, "b": second}, failed=lambda _: None)
    plan = planned(DATABASE)
    emit.plan(plan)
    assert (first.plans, second.plans) == ([plan], [plan])


def test_a_plan_that_the_first_sink_refuses_changes_nothing() -> None:
    """No later sink is told of it, and the last runs of the checks that it would have removed still explain failures."""

    class Refusing(Kept):
        def plan(self, plan: Plan) -> None:
            if len(plan.checks) < 2:
                raise ValueError("refused")

    second = Kept()
    emit = Emit({"first": Refusing(), "second": second}, failed=lambda _: None)
    before = planned(DATABASE, READY)
    emit.plan(before)
    emit(DOWN)
    with pytest.raises(ValueError, match="refused"):
        emit.plan(planned(READY))
    assert second.plans == [before]
    assert set(emit.latest) == {"database"}
