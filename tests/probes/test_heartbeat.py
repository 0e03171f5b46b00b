"""Kind `heartbeat`: what a job reports, and when its silence is a failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from probes.core import REPORTS, Reason, Result, Verdict
from probes.kinds.heartbeat import Heartbeat
from probes.wire.wire import Wire
from tests.support.clock import NOON, FakeClock
from tests.support.context import LedgerInMemory, make_context

DAY, HOUR = 86400.0, 3600.0
TOKEN = "a-secret-of-the-job"


class Job:
    """A check and its job, whose time passes by hand."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.ledger = LedgerInMemory(self.clock)
        self.probe = Heartbeat.model_validate({"every": "1d", "grace": "2h", "token": TOKEN, **settings})
        self.context = make_context(Wire(), clock=self.clock, ledger=self.ledger, check="backup")

    def report(self, **report: Any) -> None:
        """The job reports now."""
        known = self.ledger.reports.get((REPORTS, "backup"))
        made = self.probe.reported(known, report, self.clock.time())
        self.ledger.reports[REPORTS, "backup"] = json.loads(json.dumps(made))  # as the state keeps it

    async def judged(self, later: float = 0.0) -> Result:
        """A run of the check, so many seconds later."""
        self.clock.advance(later)
        self.context = make_context(Wire(), clock=self.clock, ledger=self.ledger, check="backup")
        return await self.probe.run(self.context)


def outcome(result: Result) -> tuple[Verdict, Reason | None]:
    """What readers decide by."""
    return result.verdict, result.reason


async def test_silence_past_every_and_grace_is_stale() -> None:
    """A job that ended well is up for `every` and `grace` to the second, and stale then."""
    job = Job()
    job.report()
    assert outcome(await job.judged(DAY + 2 * HOUR)) == (Verdict.PASS, None)
    silent = await job.judged(1.0)
    assert outcome(silent) == (Verdict.FAIL, Reason.STALE)
    assert silent.message == "the last heartbeat came 1 d 2 h ago; one is due every 1 d, and 2 h later at most"


async def test_before_the_first_heartbeat_nothing_is_known() -> None:
    """It is unknown, and no green light that isn't true, until the first one should have come; then it is stale."""
    job = Job()
    first = await job.judged()
    assert outcome(first) == (Verdict.UNKNOWN, Reason.STALE)
    assert first.message == "no heartbeat has come yet; it is a failure if none comes until 2025-11-26 14:00:00 UTC"
    assert outcome(await job.judged(DAY + 2 * HOUR)) == (Verdict.UNKNOWN, Reason.STALE)
    assert outcome(await job.judged(1.0)) == (Verdict.FAIL, Reason.STALE)
    job.report(state="start")
    assert outcome(await job.judged()) == (Verdict.FAIL, Reason.STALE)
    job.report()
    assert outcome(await job.judged()) == (Verdict.PASS, None)


async def test_a_failure_that_the_job_reports_stands_until_it_ends_well() -> None:
    """Its exit code and message are told. That it begins again proves nothing yet."""
    job = Job()
    job.report(exit=3, message="disk\nfull")
    told = await job.judged(60.0)
    assert outcome(told) == (Verdict.FAIL, Reason.STATUS)
    assert told.message == "the job reported exit code 3 at 2025-11-25 12:00:00 UTC: disk full"
    job.report(state="start")
    assert outcome(await job.judged()) == (Verdict.FAIL, Reason.STATUS)
    job.report(exit=0)
    assert outcome(await job.judged()) == (Verdict.PASS, None)


async def test_a_run_has_its_bounds() -> None:
    """Too short and too long are failures of their own, by the start and end that came, or by the time that the job says."""
    job = Job(shortest="1m", longest="1h")
    for seconds, expected, text in (
        (59.0, Reason.LATENCY, "the run took 59 s, and at least 1 min was expected"),
        (60.0, None, "the job ended well after 1 min, 0 s ago"),
        (3600.0, None, "the job ended well after 1 h, 0 s ago"),
        (3700.0, Reason.LATENCY, "the run took 1 h 1 min, and at most 1 h was expected"),
    ):
        job.report(state="start", run="a")
        job.clock.advance(seconds)
        job.report(run="a")
        told = await job.judged()
        assert (told.reason, told.message) == (expected, text)
    job.report(seconds=5.0)
    assert (await job.judged()).reason is Reason.LATENCY


async def test_a_run_that_does_not_end_is_a_timeout() -> None:
    """It is down as soon as `longest` has passed, however long the next heartbeat may take."""
    job = Job(longest="1h")
    job.report()
    job.report(state="start")
    assert (await job.judged(HOUR)).reason is None
    hanging = await job.judged(1.0)
    assert outcome(hanging) == (Verdict.FAIL, Reason.TIMEOUT)
    assert hanging.message == "the run that began at 2025-11-25 12:00:00 UTC hasn't ended after 1 h; it may take 1 h"


async def test_runs_that_overlap_are_told_apart() -> None:
    """The end of an earlier run isn't taken for the end of the one that began after it."""
    job = Job(longest="1h")
    job.report(state="start", run="a")
    job.report(state="start", run="b")
    job.report(run="a")
    assert (await job.judged(HOUR + 1)).reason is Reason.TIMEOUT  # b goes on
    job.report(run="b")
    assert (await job.judged()).reason is Reason.LATENCY


async def test_its_facts_are_metrics() -> None:
    """When the job ended, how long it took and its exit code are families of the kind."""
    job = Job()
    job.report(seconds=90, exit=2, message="x" * 1500)
    await job.judged()
    assert job.context.facts == {"ended": NOON, "exit_code": 2, "job_seconds": 90.0}
    samples = {family.name: list(family.read({}, job.context.facts)) for family in Heartbeat.families}
    assert samples["probe_heartbeat_exit_code"] == [((), 2.0)]
    assert samples["probe_heartbeat_run_duration_seconds"] == [((), 90.0)]
    assert job.context.evidence["message"] == "x" * 1500


@given(
    st.dictionaries(
        st.sampled_from(["state", "exit", "message", "seconds", "run", "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["start", "end"]) | st.just([{}]),
    )
)
def test_a_report_is_kept_whole_or_refused(report: Mapping[str, Any]) -> None:
    """Whatever is sent is a ValueError, or a record that JSON can hold and the next report goes on from."""
    probe = Job().probe
    try:
        made = probe.reported(None, report, NOON)
    except ValueError:
        return
    assert probe.reported(json.loads(json.dumps(made, allow_nan=False)), {}, NOON + 1)["ended"] == NOON + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": "short"}, "has fewer than 16 characters; make one, such as by openssl rand -hex 16"),
        ({"shortest": "2h", "longest": "1h"}, "shortest isn't shorter than longest"),
        ({"every": "1"}, "has no unit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, str], message: str) -> None:
    """With what to write instead; the token isn't repeated."""
    with pytest.raises(ValidationError) as refused:
        Job(**settings)
    assert message in str(refused.value)
    assert "short'" not in str(refused.value)
