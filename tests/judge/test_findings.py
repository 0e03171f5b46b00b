"""Where to look next: each sentence, and where none is said."""

from __future__ import annotations

import pytest

from judge.findings import finding
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
