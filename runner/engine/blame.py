"""Whose fault a slow answer was: pure. What our own loop's stalls explain is no failure of the target.

A heartbeat measures for how long our loop stood still during a run (lag.py), and execute gives a run that much more time. So a
run that reached its deadline is the target's failure only where the loop was well for the whole of the check's timeout. Where a
bound inside the run was missed (`within`, a time to resolve), it is ours if we stood still for at least a fifth of the run: what
was missed by more than that would have been missed anyway.
"""

from __future__ import annotations

from dataclasses import replace

from probes._core import Reason, Result, Verdict

SHARE = 0.2
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
    message = f"{result.message}, but the runner itself stood still for {stalled:.2f} of {seconds:.2f} s"
    return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.STARVED, message=message)
