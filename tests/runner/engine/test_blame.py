"""Thresholds of blame: a table."""

from __future__ import annotations

import pytest

from probes.core import Reason, Result, Verdict
from runner.engine.blame import blame_stall

ROWS = [
    ("silent target, calm loop", Reason.TIMEOUT, 5.0, 0.0, Verdict.FAIL),
    ("silent target, a stall that was given again", Reason.TIMEOUT, 6.0, 1.0, Verdict.FAIL),
    ("a stall while it was given again", Reason.TIMEOUT, 6.0, 1.5, Verdict.UNKNOWN),
    ("a flicker", Reason.TIMEOUT, 5.0, 0.04, Verdict.FAIL),
    ("a bound inside, mostly ours", Reason.TIMEOUT, 2.0, 0.5, Verdict.UNKNOWN),
    ("a bound inside, mostly the target's", Reason.TIMEOUT, 2.0, 0.3, Verdict.FAIL),
    ("slow, and a fifth of it ours", Reason.LATENCY, 2.5, 0.5, Verdict.UNKNOWN),
    ("slow by itself", Reason.LATENCY, 2.5, 0.4, Verdict.FAIL),
    ("no matter of time", Reason.STATUS, 2.5, 2.4, Verdict.FAIL),
]


@pytest.mark.parametrize(("reason", "seconds", "stalled", "verdict"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_slowness_is_ours_only_where_our_stalls_explain_it(reason: Reason, seconds: float, stalled: float, verdict: Verdict) -> None:
    """With a timeout of 5 s: ours becomes unknown / starved and says so; the target's stays as it was."""
    before = Result.failed(reason, "slow")
    after = blame_stall(before, seconds=seconds, stalled=stalled, timeout=5.0)
    assert after.verdict is verdict
    if verdict is Verdict.FAIL:
        assert after is before
    else:
        assert after.reason is Reason.STARVED
        assert f"{stalled:.2f} of {seconds:.2f} s" in after.message


def test_a_pass_stays_a_pass() -> None:
    """A stall excuses nothing that needs no excuse."""
    assert blame_stall(Result.passed("ok"), seconds=4.0, stalled=3.0, timeout=5.0) == Result.passed("ok")
