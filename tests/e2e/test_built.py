"""The committed checks.yaml against the application as it is built: what they say is exactly what is true of it, and no more.

The routes are pointed at it by environment variables alone. What a check says of the healthy application is a fault of
the application: each row repeats it unless its own fault comes first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from demo._world import Built
from demo.standin import StandIn
from tests.e2e.test_faults import API, EVERY_ROUTE, Row, everything, judge, seen_by

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
REPORT = {
    "api-report": "schema",  # Prometheus text in a JSON array, with status 200
    "api-metrics": "schema",  # two of the guide's families have samples
}
STORY = {"plan-a-trip": "status"}  # 500 for a standard user, always
TRUE_OF_IT = {
    # Everything works, as far as it can.
    "": Row(
        REPORT | STORY,
        {"api-report": "none of the declared parts", "plan-a-trip": "story: 500", "api-metrics": "13 of 18 families break the contract"},
    ),
    # /health/ and /api/tts/voices stay green: no query is asked for them. The login is a 500.
    "db-down": Row(
        REPORT | STORY | {"database": "refused", "ready": "body"},
        {"plan-a-trip": "login: 500, expected 2xx: Login failed", "ready": "not_ready"},
    ),
    # The synchronous driver holds up the one worker: whatever is asked meanwhile hangs with it.
    "db-frozen": Row(
        {"database": "timeout", "ready": "timeout", "plan-a-trip": "timeout"},
        {"ready": "database accepts but doesn't answer"},
        maybe={"api": "timeout", **dict.fromkeys(REPORT, "timeout|schema")},
    ),
    # There is no login without Redis, and no limit either.
    "redis-down": Row(REPORT | STORY | {"cache": "refused", "ready": "body"}, {"plan-a-trip": "login: 500, expected 2xx: Login failed"}),
    "redis-frozen": Row(
        {"cache": "timeout", "ready": "timeout", "api": "timeout", "plan-a-trip": "timeout|status"},
        {},
        maybe=dict.fromkeys(REPORT, "timeout|schema"),
    ),
    # Without the model a standard user's story is the same 500: the fallback can't be seen.
    "ai-down": Row(REPORT | STORY | {"story-model": "status"}, {"plan-a-trip": "story: 500"}),
    "metrics-crash": Row(REPORT | dict.fromkeys(API, "status"), {"api": "500"}),
    "api-throttled": Row(REPORT | dict.fromkeys(("api", "plan-a-trip"), "throttled"), {"api": "429"}),
    "address-locked": Row(REPORT | {"plan-a-trip": "auth"}, {"plan-a-trip": "login: 423"}),
    "https-redirect": Row(dict.fromkeys(EVERY_ROUTE, "redirect"), {"api": "https://"}),
    "login-refused": Row(REPORT | {"plan-a-trip": "auth"}, {"plan-a-trip": "4 attempts remaining"}),
}


@pytest.mark.parametrize("fault", TRUE_OF_IT)
async def test_says_what_is_true_of_the_application_as_built(fault: str, tmp_path: Path) -> None:
    """Exactly these checks are red, for these reasons, and it asks nothing that writes, books or harms."""
    async with StandIn(faults=(fault,) if fault else (), built=Built()) as standin, everything(standin, tmp_path) as checks:
        judge(TRUE_OF_IT[fault], await seen_by(checks))

    assert standin.world.forbidden == []
    assert standin.world.asked("outrider", path="/api/health/database/test-query") == 0
    assert standin.world.asked("outrider", path="/api/auth/me") == 0
    assert standin.world.asked("outrider", path="/api/auth/token") <= 1


@pytest.mark.parametrize(("built", "left"), [(None, 0), (Built(), 1)])
async def test_one_login_is_used_for_the_tokens_life(built: Built | None, left: int, tmp_path: Path) -> None:
    """R4: three rounds log in once. At the end the session is given back; as built the application lets go of none, and that is one."""
    async with StandIn(built=built) as standin:
        async with everything(standin, tmp_path) as checks:
            for _ in range(3):
                await seen_by(checks)
            assert standin.api.auth.sessions == 1
        assert standin.world.asked("outrider", path="/api/auth/token") == 1
        assert standin.world.asked("outrider", path="/api/auth/revoke") == 1
        assert standin.api.auth.sessions == left


async def test_a_wrong_password_stays_far_from_the_lock(tmp_path: Path) -> None:
    """The fifth wrong password locks the whole address: five rounds and a restart try one, and everybody else logs in."""
    async with StandIn(built=Built(), faults=("login-refused",)) as standin:
        for _ in range(2):
            async with everything(standin, tmp_path) as checks:
                for _ in range(5):
                    await seen_by(checks)
        assert standin.world.asked("outrider", path="/api/auth/token") == 1
        assert standin.api.auth.lockout.locked_for("address 127.0.0.1") == 0
