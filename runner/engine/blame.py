"""Whose fault a failure was: pure. What our own loop's stalls or our own lost network explain is no failure of the target.

A heartbeat measures for how long our loop stood still during a run (lag.py), and execute gives a run that much more time. So a
run that reached its deadline is the target's failure only where the loop was well for the whole of the check's timeout. Where a
bound inside the run was missed (`within`, a time to resolve), it is ours if we stood still for at least a fifth of the run: what
was missed by more than that would have been missed anyway.

A run that failed by the network is ours where the references, which should always answer, are gone as well (references.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from probes.core import Reason, Result, Verdict

SHARE = 0.2
NETWORK = frozenset({Reason.DNS, Reason.REFUSED, Reason.UNREACHABLE, Reason.TIMEOUT, Reason.RESET})  # what a lost network looks like
FLICKER = 0.05  # seconds: shorter stalls excuse nothing


def blamed(result: Result, *, seconds: float, stalled: float, timeout: float) -> Result:
    """The same result; or unknown / starved where `stalled` of the run's `seconds` explain that it failed by being slow."""
    slow = result.verdict is Verdict.FAIL and result.reason in (Reason.TIMEOUT, Reason.LATENCY)
    if not slow or stalled < FLICKER:
        return result
    at_the_deadline = result.reason is Reason.TIMEOUT and seconds >= timeout
    ours = seconds - stalled < timeout - FLICKER if at_the_deadline else stalled >= SHARE * seconds
    if not ours:
        return result
    message = f"{result.message}, but the runner itself was busy for {stalled:.2f} of {seconds:.2f} s"
    return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.STARVED, message=message)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of asking one reference."""

    host: str
    there: bool
    named: bool  # by a name, not by an address: it needs our resolver, too


def cut_off(result: Result, heard: Sequence[Heard], *, useless: bool = False) -> Result:
    """A failure by the network, as the references judge it: the same, or unknown / offline where all that can speak of it are gone.

    Of names that don't resolve only references with names can speak: where an address still answers, the resolver alone is gone.
    `useless`: no reference ever answered while checks passed, so that their silence says nothing (a firewall, a wrong address).
    """
    speaking = [one for one in heard if one.named] if result.reason is Reason.DNS else list(heard)
    if useless or not speaking or any(one.there for one in speaking):
        return result
    if any(one.there for one in heard):
        words = "the names of the references don't resolve either, so the runner's own resolver is down"
    else:
        words = f"the {'reference doesn' if len(speaking) == 1 else 'references don'}'t respond either, so the runner's own network is down"
    return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.OFFLINE, message=f"{result.message}; {words}")
