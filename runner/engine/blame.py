"""Whose fault a failure was: pure. A failure that the runner's own stalls or its own lost network explain is not the target's.

A heartbeat measures for how long the runner's loop was busy during a run (lag.py), and execute gives a run that much more time. So
a run that reached its deadline is the target's failure only if the loop was free for the whole of the check's timeout. A run that
missed a bound inside it (`within`, a time to resolve) is the runner's failure if the loop was busy for at least a fifth of the run:
what was missed by more than that would have been missed anyway. What kept the loop busy must be something else than the run itself: a
target that floods the runner is the target's failure. So is a timeout that the target reports itself.

A run that failed by the network is the runner's failure if the references, which should always respond, are gone as well
(references.py), unless something shows that the way to the target was there: the run had connected, the target refuses while no
reference does, or another check passes through the same way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from probes.core import Measurements, Reason, Result, Verdict
from probes.facts import CONNECTION_REUSED, IP

SHARE = 0.2
NETWORK = frozenset({Reason.DNS, Reason.REFUSED, Reason.UNREACHABLE, Reason.TIMEOUT, Reason.RESET})  # a lost network's reasons
FLICKER = 0.05  # seconds; a shorter stall excuses nothing
AFTER_CONNECT = frozenset(
    {"proxy", "tls", "handshake", "processing", "transfer", "auth", "query", "ping", "round_trip", "dialogue", "close"}
)  # phases of a connection that stands


def blame_stall(result: Result, *, seconds: float, stalled: float, timeout: float) -> Result:
    """The result; or unknown / starved if the run failed by being slow and `stalled` of its `seconds` explain that."""
    slow = result.verdict is Verdict.FAIL and result.reason in (Reason.TIMEOUT, Reason.LATENCY)
    if not slow or result.answered or stalled < FLICKER:
        return result
    at_the_deadline = result.reason is Reason.TIMEOUT and seconds >= timeout
    of_the_runner = seconds - stalled < timeout - FLICKER if at_the_deadline else stalled >= SHARE * seconds
    if not of_the_runner:
        return result
    message = f"{result.message}, but the runner itself was busy for {stalled:.2f} of {seconds:.2f} s"
    return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.STARVED, message=message)


def had_connected(result: Result, measured: Measurements) -> bool:
    """Whether a failed run shows by itself that the way to its target was there: it ended on a connection that it had made.

    A connection that an earlier run had made shows nothing of the present.
    """
    if result.answered:
        return True
    if result.reason not in (Reason.TIMEOUT, Reason.RESET) or measured.halted_in not in AFTER_CONNECT:
        return False
    return CONNECTION_REUSED not in measured.facts or any(span.name == "connect" for span in measured.spans)


def route(measured: Measurements) -> str:
    """The way that a run went: within this machine, within private networks, or to the rest of the world; "" where it isn't known."""
    addresses = [measured.facts[IP]] if IP in measured.facts else list(measured.evidence.get("addresses", ()))
    routes = [_route_to(str(one)) for one in addresses]
    return routes[0] if routes and all(routes) else ""


@lru_cache(maxsize=4096)  # as probes.wire.addresses: most checks ask the same few addresses all day
def _route_to(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return "machine" if found.is_loopback else "private" if found.is_private else "world"


@dataclass(frozen=True, slots=True)
class ReferenceResponse:
    """The outcome of one request to a reference."""

    host: str
    responded: bool
    named: bool  # by a name, not by an address: the request needed the runner's resolver too
    refused: bool = False  # its connection was refused


def blame_network(result: Result, responses: Sequence[ReferenceResponse], *, useless: bool = False) -> Result:
    """The result of a failure by the network; or unknown / offline if every reference that can judge it is gone.

    Only references with names can judge a name that doesn't resolve: if an address still responds, the resolver alone is gone.
    `useless` means that no reference ever responded while checks passed, so that their silence proves nothing (a firewall, a wrong
    address).
    """
    judging = [one for one in responses if one.named] if result.reason is Reason.DNS else list(responses)
    if useless or not judging or any(one.responded for one in judging):
        return result
    if result.reason is Reason.REFUSED and not any(one.refused for one in judging):  # a refusal is a response of the target's host
        return result
    if any(one.responded for one in responses):
        words = "the names of the references don't resolve either, so the runner's own resolver is down"
    else:
        words = f"the {'reference doesn' if len(judging) == 1 else 'references don'}'t respond either, so the runner's own network is down"
    return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.OFFLINE, message=f"{result.message}; {words}")
