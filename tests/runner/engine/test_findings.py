"""Where to look next: each sentence, and where none is said."""

from __future__ import annotations

import pytest

from probes._core import Reason, Verdict
from runner.engine.emit import Emit
from runner.engine.findings import finding
from runner.observation import Check, Observation

DATABASE = Check("database", "postgres", 1)
API = Check("api", "http", 2, target="api")
READY = Check("ready", "http", 3, target="api", depends_on=("database",))
PART = Check("api-report/db_healthy", "health_metrics", 4, target="api", part_of="api-report", compare_with="database")


def seen(check: Check, reason: Reason | None = None, **phases: float) -> Observation:
    """A run that failed for this reason, or passed."""
    return Observation(check, Verdict.FAIL if reason else Verdict.PASS, reason, "", 0.0, 0.1, phases=phases)


UP = seen(DATABASE)
DOWN = seen(DATABASE, Reason.REFUSED)
FROZEN = seen(DATABASE, Reason.TIMEOUT, connect=0.1, auth=4.9)
BLACK_HOLE = seen(DATABASE, Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("observation", "database", "said"),
    [
        (seen(READY, Reason.BODY), DOWN, "shares the failure of database"),
        (seen(READY, Reason.BODY), UP, ""),
        (seen(READY), DOWN, ""),
        (seen(API, Reason.BODY), DOWN, ""),
        (seen(READY, Reason.TIMEOUT), FROZEN, "database accepts but doesn't answer"),
        (seen(API, Reason.TIMEOUT), FROZEN, "database accepts but doesn't answer"),
        (seen(READY, Reason.TIMEOUT), BLACK_HOLE, "shares the failure of database"),
        (seen(PART, Reason.BODY), DOWN, "database fails too"),
        (seen(PART, Reason.BODY), UP, "disagrees with database, which passes"),
        (seen(PART), DOWN, "disagrees with database, which fails"),
        (seen(PART), UP, ""),
        (seen(PART, Reason.BODY), None, ""),
        (FROZEN, FROZEN, ""),
    ],
)
def test_what_the_database_says_of_it(observation: Observation, database: Observation | None, said: str) -> None:
    """A failed parent, a service that hangs, and the check that measures the same by itself."""
    latest = {"database": database} if database else {}
    assert finding(observation, latest) == said


def test_the_fan_out_adds_the_finding() -> None:
    """Every sink gets the observation with what the others' latest ones say of it."""
    got: list[Observation] = []
    emit = Emit({"a": got.append}, failed=lambda _: None)
    emit(DOWN)
    emit(seen(READY, Reason.BODY))
    assert [o.finding for o in got] == ["", "shares the failure of database"]


def test_a_removed_check_explains_nothing() -> None:
    """After a reload without the database its last failure isn't quoted any more."""
    got: list[Observation] = []
    emit = Emit({"a": got.append}, failed=lambda _: None)
    emit(DOWN)
    emit(seen(PART, Reason.BODY))
    emit.keep(frozenset({"api-report", "ready"}))
    emit(seen(READY, Reason.BODY))
    assert got[-1].finding == ""
    assert set(emit.latest) == {"api-report/db_healthy", "ready"}


def test_a_sink_that_fails_stops_no_other() -> None:
    """The others get every observation in order; each failure is counted, the first and each hundredth later one is logged."""
    failed: list[str] = []
    logged: list[str] = []
    got: list[Observation] = []

    def broken(_: Observation) -> None:
        raise OSError("disk full")

    emit = Emit({"bad": broken, "good": got.append}, failed=failed.append, log=lambda _, text: logged.append(text))
    rows = [seen(DATABASE), seen(API)] * 75
    for row in rows:
        emit(row)
    assert got == rows
    assert failed == ["bad"] * 150
    assert logged == ["sink bad failed (1 times so far): OSError: disk full", "sink bad failed (101 times so far): OSError: disk full"]
