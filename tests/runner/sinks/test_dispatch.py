"""The fan-out: every sink gets every observation, with what the others' latest ones say of it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from judge.observation import Check, DiagnosisFinding, Observation
from probes.core import Reason, Verdict
from runner.config.plan import Plan
from runner.sinks.dispatch import Emit
from runner.sinks.evidence import Evidence
from runner.sinks.health import Health
from tests.support.metrics import Counted
from tests.support.observations import Hands, made_plan
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


def hung(number: int) -> Observation:
    """A check that accepts and is silent."""
    return seen(Check(f"c{number}", "redis", 1), Reason.TIMEOUT, connect=0.1, ping=2.0)


def test_a_shared_outage_keeps_its_texts_short() -> None:
    """XM13: a thousand checks hang: each observation names three others and a count, and one that recovers isn't named any more."""
    got = Kept()
    emit = Emit({"a": got}, failed=lambda _: None)
    for number in range(1000):
        emit(hung(number))
    assert max(len(one.finding) for one in got.seen) < 100
    assert got.seen[-1].finding == "c0, c1, c2 and 996 more accept but don't answer"
    emit(seen(Check("c1", "redis", 1)))
    emit(hung(5))
    assert got.seen[-1].finding == "c0, c2, c3 and 995 more accept but don't answer"


@pytest.mark.slow
@pytest.mark.alone
def test_work_per_failure_does_not_grow_with_the_failures() -> None:
    """XM13: of 10,000 checks that hang each costs about what it costs among 1,000: sinks, findings, evidence and what explains it."""

    def cost(count: int) -> float:
        plan = made_plan(*(Check(f"c{number}", "made", 1, depends_on=("c0",)) for number in range(count)))
        metrics, health, evidence = Counted(), Health(plan, Hands()), Evidence(most_bytes=count * 600)
        emit = Emit({"metrics": metrics, "health": health, "evidence": evidence}, failed=lambda _: None)
        emit.plan(plan)
        rows = [replace(hung(number), check=planned.check) for number, planned in enumerate(plan.checks)]
        for row in (*rows, *rows):
            emit(row)
        began = time.thread_time()
        for row in rows[:500]:
            emit(row)
        return time.thread_time() - began

    assert min(cost(10_000), cost(10_000)) < 3 * cost(1000)
