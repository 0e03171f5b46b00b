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

import click
from locust import events

from loadtests.order import Order, order_from
from loadtests.users import ClosedUser, WorkerState

__all__ = ["ClosedUser"]  # Locust runs the users that it finds here


def resolved(scenario: str, duration: str) -> Order:
    """The scenario as `outrider load` would send it, from a process of its own, which says why where it may not be sent: exit 2 then."""
    most = ["--requests", os.environ.get("OUTRIDER_REQUESTS", "0"), "--duration", duration]
    words = ["load", scenario, "--order", "--arrivals", "closed", "--users", "1", *most]
    asked = subprocess.run([sys.executable, "-m", "runner.cli", *words], check=False, stdout=subprocess.PIPE)  # noqa: S603 - ourselves
    if asked.returncode:
        raise SystemExit(2)
    return order_from(asked.stdout)


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust has no types
def prepare(environment: Any, **_: Any) -> None:
    """Resolves the scenario once, for every user of this process, with Locust's own --run-time and --host."""
    options = environment.parsed_options
    seconds = options.run_time  # None without --run-time: the test ends by hand, or when OUTRIDER_DURATION is over
    duration = f"{seconds}s" if seconds else os.environ.get("OUTRIDER_DURATION", "10m")
    order = resolved(os.environ.get("OUTRIDER_SCENARIO", "roadtrip"), duration)
    url = order.target.url.rstrip("/")
    if environment.host and environment.host.rstrip("/") != url:
        click.echo(
            f"--host {environment.host} is not the address of target {order.target.name}, which is {url}. A load is sent only to a target "
            "of checks.yaml that sets load: true: change its url there, or leave out --host. Nothing was sent.",
            err=True,
        )
        raise SystemExit(2)
    environment.host = url  # Locust's page and statistics show it
    state = WorkerState(order, on_request=environment.events.request.fire)
    if order.login is not None:
        state.users.token = state.users.log_in(order.login)
    environment.outrider = state
    environment.events.test_start.add_listener(lambda **_: state.start_at(time.time()))
