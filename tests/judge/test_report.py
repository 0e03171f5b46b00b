"""The record of a gate, made from a decision and its runs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from judge.observation import Check, Observation, Slo
from judge.report import could_not_run, report
from judge.verdict import NOT_RUN, Outcome, Run, Runs, decide
from probes.core import Reason, Verdict

P95 = Slo("p95", Decimal("0.95"), 2592000.0, threshold=0.5)
API = Check("api", "http", 29, slos=(P95,))


def once(seconds: float = 0.1, verdict: Verdict = Verdict.PASS, reason: Reason | None = None, revision: str = "") -> Run:
    """A run of one attempt."""
    message = "200" if verdict is Verdict.PASS else "503, expected 200"
    return Run((Observation(API, verdict, reason, message, 0.0, seconds, finding="look at the cache"),), revision)


def test_a_failure_has_its_reason_and_its_message_apart() -> None:
    """A program reads the reason, a person the message; where to look next stands beside them."""
    judged = (Runs(API, (once(), once(verdict=Verdict.FAIL, reason=Reason.STATUS))),)
    (row,) = report(decide(judged), judged, started=0.0, finished=1.0).checks
    assert (row.verdict, row.reason, row.message, row.finding) == (Outcome.FAIL, "status", "503, expected 200", "look at the cache")
    assert (row.runs, row.passed, round(row.seconds, 3)) == (2, 1, 0.2)


def test_a_row_refers_to_its_run_whatever_the_run_says() -> None:
    """Two runs with the same words are two: the finding and the trace are those of the run that decided, and a silent one keeps its own."""
    for verdict, message in ((Verdict.FAIL, "fail"), (Verdict.UNKNOWN, "unknown")):
        silent = Observation(API, verdict, None, "", 0.0, 0.1, finding="look at the cache", trace_id="4bf9")
        judged = (Runs(API, (once(), Run((silent,)), Run((replace(silent, finding="another", trace_id="5cf0"),)))),)
        (row,) = report(decide(judged), judged, started=0.0, finished=1.0).checks
        assert (row.reason, row.message, row.finding, row.trace_id) == ("", message, "look at the cache", "4bf9")


def test_a_proven_breach_is_told_by_its_numbers() -> None:
    """No run has failed: the message is the SLO's sentence, and no run's reason stands beside it."""
    judged = (Runs(API, tuple(once(2.0) for _ in range(20))),)
    told = report(decide(judged), judged, started=0.0, finished=1.0)
    (row,) = told.checks
    assert (told.verdict, row.reason, row.finding) == (Outcome.FAIL, "", "")
    assert row.message.startswith("p95 of api: 0 of 20 within 500 ms")
    assert row.slo is not None
    assert (row.slo["p95"].state, row.slo["p95"].good, row.slo["p95"].total) == ("breached", 0, 20)


def test_too_few_runs_say_how_many_it_takes() -> None:
    """18 clean runs of the 59 that prove 95 %: undecided, and no failure."""
    judged = (Runs(API, tuple(once() for _ in range(18))),)
    told = report(decide(judged), judged, started=0.0, finished=11.0)
    assert told.checks[0].slo is not None
    slo = told.checks[0].slo["p95"]
    assert (told.verdict, slo.state, slo.needed, slo.threshold) == (Outcome.PASS, "undecided", 59, 0.5)
    assert told.headline == "smoke gate: 1 check, 18 runs in 11 s"


def test_another_revision_is_told_by_who_answered() -> None:
    """Runs of the old release are no runs of this one; they are counted beside them."""
    judged = (Runs(API, (once(revision="3f2c91a"), once(revision="91be20d"))),)
    told = report(decide(judged, revision="3f2c91a"), judged, started=0.0, finished=1.0, revision="3f2c91a")
    (row,) = told.checks
    assert (told.verdict, row.runs, row.strays, row.reason) == (Outcome.INCONCLUSIVE, 1, 1, "")
    assert row.message == "revision 91be20d answered 1 of 2 runs"
    assert told.headline == "smoke gate of 3f2c91a: 1 check, 2 runs in 1 s"


def test_a_check_that_never_ran_says_so() -> None:
    """Nothing run is inconclusive, and every number is nought."""
    judged = (Runs(API),)
    (row,) = report(decide(judged), judged, started=0.0, finished=0.0).checks
    assert (row.verdict, row.message, row.runs, row.passed) == (Outcome.INCONCLUSIVE, NOT_RUN, 0, 0)


def test_a_broken_probe_is_another_thing_than_a_starved_runner() -> None:
    """Only `internal` means that the check itself could not run."""
    for reason, broke in ((Reason.INTERNAL, True), (Reason.STARVED, False)):
        judged = (Runs(API, (once(verdict=Verdict.UNKNOWN, reason=reason),)),)
        (row,) = report(decide(judged), judged, started=0.0, finished=1.0).checks
        assert (row.verdict, row.reason, could_not_run(row)) == (Outcome.INCONCLUSIVE, str(reason), broke)
