"""Whose fault a slow answer was: pure. What our own loop's stalls explain is no failure of the target.

A heartbeat measures how long our loop stood still during a run (see lag.py). A timeout is ours where the loop stood still
for at least half of the run: with its full time the target might well have answered. Slowness is ours where the stall was at
least a fifth of the run, and no mere flicker: a bound that was missed by more than that would have been missed anyway.
"""

from __future__ import annotations

from dataclasses import replace

from probes._core import Reason, Result, Verdict

TIMEOUT_SHARE = 0.5
LATENCY_SHARE = 0.2
FLICKER = 0.05  # seconds: shorter stalls excuse nothing


def blamed(result: Result, seconds: float, stalled: float) -> Result:
    """The same result; or unknown / starved where `stalled` of the run's `seconds` explain its failure."""
    share = {Reason.TIMEOUT: TIMEOUT_SHARE, Reason.LATENCY: LATENCY_SHARE}.get(result.reason) if result.reason else None
    if result.verdict is not Verdict.FAIL or share is None or stalled < max(FLICKER, share * seconds):
        return result
    message = f"{result.message}, but the runner itself stood still for {stalled:.2f} of {seconds:.2f} s"
    return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.STARVED, message=message)
