"""For plain Locust: `OUTRIDER_SCENARIO=roadtrip locust -f loadtests/locustfile.py`.

Its users are a closed loop over the scenario's own tasks and journeys, as checks.yaml has them now. Nothing is judged: Locust
prints its own statistics. `outrider load` judges, and offers an open load.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from locust import events

from loadtests.order import Order, order_from
from loadtests.users import ClosedUser, WorkerState

__all__ = ["ClosedUser"]  # Locust runs the users that it finds here


def resolved(scenario: str) -> Order:
    """The scenario as `outrider load` would send it, from a process of its own. Raises CalledProcessError where it may not be sent."""
    most = ["--requests", os.environ.get("OUTRIDER_REQUESTS", "0"), "--duration", os.environ.get("OUTRIDER_DURATION", "10m")]
    words = ["load", scenario, "--order", "--arrivals", "closed", "--users", "1", *most]
    command = [sys.executable, "-m", "runner.cli", *words]
    return order_from(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603 - ourselves


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust has no types
def prepare(environment: Any, **_: Any) -> None:
    """Resolves the scenario once, for every user of this process."""
    state = WorkerState(resolved(os.environ.get("OUTRIDER_SCENARIO", "roadtrip")), on_request=environment.events.request.fire)
    if state.order.login is not None:
        state.users.token = state.users.log_in(state.order.login)
    state.start_at(time.time())
    environment.outrider = state
