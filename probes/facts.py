"""The names of the facts that other modules than their writers read, so that no name is spelt twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IP = "ip"  # the address that was connected to
IP_PROTOCOL = "ip_protocol"  # 4 or 6
DNS_LOOKUP = "dns_lookup"  # seconds that resolving took
STATUS_CODE = "status_code"
TLS_VERSION = "tls_version"
REVISION = "revision"  # the build that sent the response, where its target reports it; several are joined by ", "
NO_REVISION = "none"  # the revision of a response without one, where its target's responses should have one
CONNECTION_REUSED = "connection_reused"  # how many requests went over a connection that was there already
LOOP_LAG = "loop_lag"  # the longest time in seconds for which the runner's loop was blocked during the run
LOGIN_HELD = "login_held"  # true where no login was tried, since one was refused before
USER_ID = "user_id"

_STEP = "step."


def step(name: str) -> str:
    """The fact that holds the seconds of a step."""
    return _STEP + name


def step_of(fact: str) -> str:
    """The step whose seconds a fact holds; "" where it holds something else."""
    return fact.removeprefix(_STEP) if fact.startswith(_STEP) else ""


def steps(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that hold the seconds of steps, by the step's name, in the order in which they were played."""
    return {name: value for fact, value in facts.items() if (name := step_of(fact))}
