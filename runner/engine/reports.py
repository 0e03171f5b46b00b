"""What others report to a check: a heartbeat of a job. It is kept before the sender is answered, and the check runs at once."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from probes.core import REPORTS, Clock
from runner.config.plan import Plan
from runner.state import StateLedger


class WrongTokenError(Exception):
    """There is no such check, or this isn't its token: a stranger isn't told which."""


class Reports:
    """Takes the reports for the checks of the plan. `run_now` runs a check soon, so that its page shows what was reported."""

    def __init__(self, plan: Callable[[], Plan], ledger: StateLedger, clock: Clock, run_now: Callable[[str], object]) -> None:
        self._plan = plan
        self._ledger = ledger
        self._clock = clock
        self._run_now = run_now

    async def take(self, name: str, token: str, report: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps a report, which is read where the token is right. Raises WrongTokenError, and ValueError for a report with an error."""
        probe = next((planned.probe for planned in self._plan().checks if planned.check.name == name), None)
        wanted = probe.report_token() if probe else None
        right = hmac.compare_digest(token.encode(), (wanted.get_secret_value() if wanted else "").encode())
        if probe is None or wanted is None or not right:
            raise WrongTokenError
        found, at = report(), self._clock.time()
        await self._ledger.amend(REPORTS, name, lambda known: probe.reported(known, found, at))
        self._run_now(name)
