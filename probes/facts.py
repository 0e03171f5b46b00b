"""The names of the facts and phases that others than their writers read: no name is spelt twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IP = "ip"  # the address that was connected to
IP_PROTOCOL = "ip_protocol"  # 4 or 6
DNS_LOOKUP = "dns_lookup"  # seconds that resolving took
STATUS_CODE = "status_code"
TLS_VERSION = "tls_version"
REVISION = "revision"  # which build answered, where its target tells; several are joined by ", "
NO_REVISION = "none"  # the revision of a response that tells none, where its target's responses should
LOOP_LAG = "loop_lag"  # seconds for which the runner's loop stood still during the run
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
