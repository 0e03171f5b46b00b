"""Where to look next: each sentence, and where none is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from judge.findings import TrialOutcome, Trials, diagnosis, finding
from judge.observation import Check, Observation
from probes.core import Reason, Verdict

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


def test_a_shared_outage_is_told_with_three_names_and_a_count() -> None:
    """XM13: of ten thousand checks that hang a sentence names three, not the check itself, and says how many more there are."""
    latest = {name: seen(Check(name, "redis", 1), Reason.TIMEOUT, connect=0.1, ping=1.0) for name in (f"c{n}" for n in range(10_000))}
    assert finding(latest["c1"], latest) == "c0, c2, c3 and 9,996 more accept but don't answer"
    assert finding(seen(API, Reason.TIMEOUT), latest) == "c0, c1, c2 and 9,997 more accept but don't answer"


def test_few_are_all_named() -> None:
    """XM13: two or three are named, and a check that hangs alone says nothing of itself."""
    latest = {name: seen(Check(name, "redis", 1), Reason.TIMEOUT, connect=0.1) for name in "abc"}
    assert finding(seen(API, Reason.TIMEOUT), latest) == "a, b and c accept but don't answer"
    assert finding(latest["a"], latest) == "b and c accept but don't answer"
    assert finding(latest["a"], {"a": latest["a"]}) == ""


def test_many_failing_parents_are_three_and_a_count() -> None:
    """XM13: a check that depends on many names three of those that fail."""
    many = tuple(f"p{n}" for n in range(20))
    latest = {name: seen(Check(name, "redis", 1), Reason.REFUSED) for name in many}
    text = finding(seen(Check("x", "http", 1, depends_on=many), Reason.BODY), latest)
    assert text == "shares the failure of p0, p1, p2 and 17 more"


SPOKE = [
    seen(DATABASE, Reason.TIMEOUT, connect=0.1, auth=0.1, query=1.9),
    replace(seen(DATABASE, Reason.TIMEOUT, connect=0.1, auth=4.9), responded=True),
    seen(DATABASE, Reason.TIMEOUT, connect=0.1, tls=0.1, processing=1.8),
]


@pytest.mark.parametrize("spoke", SPOKE)
def test_a_service_that_had_spoken_is_not_called_silent(spoke: Observation) -> None:
    """S4a: a timeout after the server has spoken (a lock, a slow query) isn't "accepts but doesn't answer" for anybody."""
    assert finding(seen(API, Reason.TIMEOUT), {"database": spoke}) == ""
    told = diagnosis(spoke, Trials(connected={"10.0.0.7": TrialOutcome()}), {})
    assert told.startswith("10.0.0.7 accepts connections, and had responded in this run")
    told = diagnosis(spoke, Trials(connected={"10.0.0.7": TrialOutcome(), "10.0.0.8": TrialOutcome()}), {})
    assert told.startswith("both addresses accept connections, and the one that was asked had responded in this run")


def test_what_stood_is_said() -> None:
    """S4a: which phases worked, and where it stopped."""
    spoke = replace(seen(DATABASE, Reason.TIMEOUT, resolve=0.1, connect=0.1, auth=0.1, query=1.9), responded=True, halted_in="query")
    told = diagnosis(spoke, Trials(connected={"10.0.0.7": TrialOutcome()}), {})
    assert told == "10.0.0.7 accepts connections, and had responded in this run: connect and auth worked, and it stopped in query"


def test_a_silent_service_is_still_called_silent() -> None:
    """S4a: nothing came back after connect, in tls or in the first phase of the protocol."""
    for phase in ("tls", "processing", "auth", "dialogue"):
        silent = seen(DATABASE, Reason.TIMEOUT, connect=0.1, **{phase: 4.9})
        assert diagnosis(silent, Trials(connected={"10.0.0.7": TrialOutcome()}), {}) == "10.0.0.7 accepts connections but doesn't respond"
