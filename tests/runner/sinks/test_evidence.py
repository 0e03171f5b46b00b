"""The failures that are kept, and how much of them."""

from __future__ import annotations

from dataclasses import replace

from judge.observation import DiagnosisFinding
from probes.core import Verdict
from runner.sinks.evidence import Evidence
from tests.support.observations import NOON, failed, made_check, made_plan, passed, unknown

API, CACHE = made_check(), made_check("cache")


def test_no_success_pushes_a_failure_out() -> None:
    """After a thousand passes the failure of last night is still there, and the latest pass to hold it against."""
    kept = Evidence(keep=2)
    kept(failed(API, evidence={"response": "503"}))
    for number in range(1000):
        kept(passed(API, at=NOON + number))
    assert [seen.evidence["response"] for seen in kept.failures("api")] == ["503"]
    latest = kept.latest("api", Verdict.PASS)
    assert latest is not None
    assert latest.at == NOON + 999


def test_the_newest_failures_come_first_and_the_oldest_go() -> None:
    """So many of each check; runs that can't tell are no failures."""
    kept = Evidence(keep=3)
    for number in range(5):
        kept(failed(API, at=NOON + number))
    kept(unknown(API))
    assert [seen.at - NOON for seen in kept.failures("api")] == [4, 3, 2]
    assert kept.failures("cache") == ()
    assert kept.latest("api", Verdict.UNKNOWN) is not None


def test_a_noisy_check_gives_up_its_own() -> None:
    """All evidence together stays within its bytes, at the cost of the check that holds most of it."""
    kept = Evidence(keep=1000, most_bytes=100_000)
    kept(failed(CACHE, evidence={"response": "y" * 1000}))
    for number in range(50):
        kept(failed(API, at=NOON + number, evidence={"response": "x" * 5000}))
    assert len(kept.failures("cache")) == 1
    assert 10 < len(kept.failures("api")) < 20
    assert kept.failures("api")[0].at == NOON + 49
    assert sum(kept._sizes.values()) <= 100_000


def test_one_failure_too_large_is_cut_and_says_so() -> None:
    """A body of a megabyte keeps its beginning; what can't be made small enough leaves a word behind."""
    kept = Evidence(most_bytes=80_000)
    kept(failed(API, evidence={"response": "x" * 1_000_000}))
    assert kept.failures("api")[0].evidence["response"].endswith("(1000000 characters)")
    kept(failed(API, message="m" * 1_000_000, facts={"ids": list(range(10_000))}))
    newest = kept.failures("api")[0]
    assert "too much to keep" in newest.evidence["cut"]
    assert newest.facts == {}
    assert newest.message.endswith("(1000000 characters)")


def test_a_removed_checks_evidence_goes() -> None:
    """A reload frees what nobody can ask for any more."""
    kept = Evidence()
    for check in (API, CACHE):
        kept(failed(check))
        kept(passed(check))
    kept.plan(made_plan(API))
    assert len(kept.failures("api")) == 1
    assert kept.failures("cache") == ()
    assert kept.latest("cache", Verdict.PASS) is None
    kept(replace(failed(API), at=NOON + 1))
    assert len(kept.failures("api")) == 2


def test_a_removed_checks_evidence_leaves_its_room_to_the_others() -> None:
    """What a reload freed counts no more: the check that stays may fill the room that two had."""
    kept = Evidence(keep=1000, most_bytes=100_000)
    for check, failures in ((CACHE, 12), (API, 15)):
        for number in range(failures):
            kept(failed(check, at=NOON + number, evidence={"response": "x" * 5000}))
        kept.plan(made_plan(API))
    assert len(kept.failures("api")) == 15


def test_a_finding_joins_the_failure_that_it_is_about() -> None:
    """By the run's trace; the others stay as they were, and a run that is no longer kept takes nothing."""
    kept = Evidence(keep=2)
    for trace in ("one", "two"):
        kept(failed(API, trace_id=trace, evidence={"response": "503"}, finding="shares the failure of cache"))
    kept.found(DiagnosisFinding(API, "one", NOON, "both addresses refuse", {"connect to 10.0.3.7": "refused"}))
    kept.found(DiagnosisFinding(API, "three", NOON, "nobody's", {}))
    newest, oldest = kept.failures("api")
    assert oldest.finding == "both addresses refuse; shares the failure of cache"
    assert oldest.evidence == {"response": "503", "diagnosis": {"connect to 10.0.3.7": "refused"}}
    assert (newest.finding, newest.evidence) == ("shares the failure of cache", {"response": "503"})


def test_a_changed_check_keeps_its_failures_and_not_what_they_are_held_against() -> None:
    """Who mends a check while it fails needs its failures; a pass of the check before the change compares with nothing."""
    kept = Evidence()
    kept.plan(made_plan(API, CACHE))
    for check in (API, CACHE):
        kept(failed(check))
        kept(passed(check))
    kept.plan(made_plan(replace(API, address="elsewhere"), CACHE))
    assert [len(kept.failures(name)) for name in ("api", "cache")] == [1, 1]
    assert kept.latest("api", Verdict.PASS) is None
    assert kept.latest("cache", Verdict.PASS) is not None


def test_the_bytes_of_findings_count_too() -> None:
    """However much the diagnoses noted, all evidence together stays within its bytes."""
    kept = Evidence(keep=1000, most_bytes=100_000)
    for number in range(50):
        kept(failed(API, trace_id=str(number)))
        kept.found(DiagnosisFinding(API, str(number), NOON, "refused", {"connect": "x" * 5000}))
    assert 10 < len(kept.failures("api")) < 20
