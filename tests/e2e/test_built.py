"""The committed checks.yaml against the application as it is built: what they say is exactly what is true of it, and no more.

The routes are pointed at it by environment variables alone. What a check says of the healthy application is a fault of
the application: each row repeats it unless its own fault comes first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from demo._world import Built
from demo.standin import StandIn
from tests.e2e.test_faults import Row, everything, judge, seen_by

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
REPORT = {"api-report": "schema"}  # Prometheus text in a JSON array, with status 200
STORY = {"plan-a-trip": "status"}  # 500 for a standard user, always
TRUE_OF_IT = {
    # Everything works, as far as it can.
    "": Row(
        REPORT | STORY,
        {"api-report": "none of the declared parts", "plan-a-trip": "its clean-up failed: leave: 400, expected 2xx: Invalid token"},
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
        maybe={"api": "timeout", "api-report": "timeout|schema"},
    ),
    # There is no login without Redis, and no limit either.
    "redis-down": Row(REPORT | STORY | {"cache": "refused", "ready": "body"}, {"plan-a-trip": "login: 500, expected 2xx: Login failed"}),
    "redis-frozen": Row(
        {"cache": "timeout", "ready": "timeout", "api": "timeout", "plan-a-trip": "timeout|status"},
        {},
        maybe={"api-report": "timeout|schema"},
    ),
    # Without the model a standard user's story is the same 500: the fallback can't be seen.
    "ai-down": Row(REPORT | STORY | {"story-model": "status"}, {"plan-a-trip": "story: 500"}),
    "metrics-crash": Row(dict.fromkeys(("api", "ready", "api-report", "plan-a-trip"), "status"), {"api": "500"}),
    "api-throttled": Row(REPORT | dict.fromkeys(("api", "plan-a-trip"), "throttled"), {"api": "429"}),
    "address-locked": Row(REPORT | {"plan-a-trip": "auth"}, {"plan-a-trip": "login: 423"}),
    "https-redirect": Row(dict.fromkeys(("api", "ready", "api-report", "plan-a-trip"), "redirect"), {"api": "https://"}),
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
