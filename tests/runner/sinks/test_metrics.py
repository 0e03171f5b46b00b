"""What /metrics says of observations."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from probes.core import Reason
from probes.families import Family, fact_family
from runner.config.plan import Cron, Server
from runner.config.slots import slots
from runner.sinks.dispatch import Emit
from runner.sinks.registry import OPENMETRICS
from tests.support.metrics import Counted
from tests.support.observations import AVAILABILITY, NOON, P95, TRACE, Hands, Made, failed, made_check, made_plan, passed, unknown

API = made_check(slos=(AVAILABILITY, P95), tags=("smoke", "api"))
CACHE = made_check("cache")


class Clashing(Made):
    """A kind that declares a family of every check's otherwise."""

    families: ClassVar[tuple[Family, ...]] = (fact_family("probe_success", "Successes.", "successes", "counter"),)


def fresh(*checks: object) -> Counted:
    """Metrics that follow a plan of these checks."""
    metrics = Counted()
    metrics.count_errors_of(("journal",))
    metrics.plan(made_plan(*(checks or (API, CACHE))))  # type: ignore[arg-type]
    return metrics


def values(metrics: Counted, name: str, **labels: str) -> list[float]:
    """The values of the samples of this name whose labels include these."""
    text = metrics.page().decode()
    return [s.value for f in parse_text(text) for s in f.samples if s.name == name and labels.items() <= s.labels.items()]


def test_what_slos_count_exists_at_nought_from_the_start() -> None:
    """rate() needs a first sample before the first failure: runs, SLO events and sink errors start at 0; reasons don't."""
    metrics = fresh()
    assert values(metrics, "probe_runs_total", check="api") == [0, 0, 0]
    assert values(metrics, "probe_slo_events_total", slo="p95") == [0]
    assert values(metrics, "probe_slo_good_events_total", slo="p95") == [0]
    assert values(metrics, "probe_run_duration_seconds_count", check="cache") == [0]
    assert set(values(metrics, "outrider_sink_errors_total")) == set(values(metrics, "outrider_schedule_missed_total")) == {0}
    assert values(metrics, "outrider_schedule_suspect_total") == values(metrics, "outrider_schedule_unconfirmed_total") == [0]
    assert values(metrics, "probe_failures_total") == values(metrics, "probe_success") == values(metrics, "probe_unknown") == []


def test_a_failure_that_another_check_explains_says_so() -> None:
    """Until its next run; a check that depends on nothing has no such series."""
    trip = made_check("trip", depends_on=("api",))
    metrics = fresh(API, trip)
    assert values(metrics, "probe_failure_explained") == []
    metrics(failed(trip))
    assert values(metrics, "probe_failure_explained", check="trip") == [0]
    metrics(failed(API))
    assert values(metrics, "probe_failure_explained") == [1]
    metrics(passed(trip, 0.5))
    assert values(metrics, "probe_failure_explained") == [0]


def test_each_verdict_moves_what_the_table_says() -> None:
    """HOUSE's table: pass counts and may be good, fail counts, unknown leaves probe_success absent and counts nothing."""
    metrics = fresh()
    metrics(passed(API, 0.5))
    assert values(metrics, "probe_success", check="api") == [1]
    metrics(failed(API))
    assert values(metrics, "probe_success", check="api") == [0]
    metrics(unknown(API))
    assert values(metrics, "probe_success", check="api") == []
    assert values(metrics, "probe_unknown", check="api") == [1]
    assert [values(metrics, "probe_runs_total", check="api", outcome=o) for o in ("pass", "fail", "unknown")] == [[1], [1], [1]]
    assert values(metrics, "probe_slo_events_total", slo="p95") == [2]
    assert values(metrics, "probe_slo_good_events_total", slo="p95") == [1]
    assert values(metrics, "probe_failures_total", reason="status") == values(metrics, "probe_failures_total", reason="starved") == [1]


def test_a_blip_is_counted_apart() -> None:
    """An unconfirmed failure moves its own counter and that of all checks, which is there from the start, and nothing else."""
    metrics = fresh()
    metrics(passed(API, 0.5))
    before = metrics.page().decode()
    metrics(failed(API, confirmed=False))
    after = metrics.page().decode()
    assert values(metrics, "probe_unconfirmed_failures_total", check="api") == [1]
    changed = {line for line in set(after.splitlines()) - set(before.splitlines()) if not line.startswith("#")}
    assert {re.split(r"[{ ]", line)[0] for line in changed} == {"probe_unconfirmed_failures_total", "outrider_schedule_unconfirmed_total"}


def test_a_run_that_our_own_loop_may_have_falsified_is_marked() -> None:
    """From 5 ms of standing still on; a check that had no such run has no such series, and the runner's own counts all of them."""
    metrics = fresh()
    for lag in (0.0, 0.004, 0.005, 2.0):
        metrics(passed(API, facts={"loop_lag": lag}))
    assert values(metrics, "probe_runs_suspect_total", check="api") == [2]
    assert values(metrics, "probe_runs_suspect_total", check="cache") == []
    assert values(metrics, "outrider_schedule_suspect_total") == [2]


def test_maintenance_moves_the_gauges_and_no_slo_counter() -> None:
    """In a window the gauges stay as they are, probe_maintenance is 1 and the budget is not spent."""
    metrics = fresh()
    metrics(failed(API, maintenance=True))
    assert values(metrics, "probe_success", check="api") == [0]
    assert values(metrics, "probe_maintenance", check="api") == [1]
    assert values(metrics, "probe_slo_events_total", slo="availability") == [0]


def test_what_the_latest_run_did_not_measure_is_absent() -> None:
    """An old status code beside a new timeout would lie."""
    metrics = fresh()
    metrics(passed(API, phases={"connect": 0.01, "processing": 0.2}, facts={"status_code": 200}))
    assert values(metrics, "probe_made_status_code", check="api") == [200]
    metrics(failed(API, Reason.TIMEOUT, phases={"connect": 0.02}))
    assert values(metrics, "probe_made_status_code", check="api") == []
    assert values(metrics, "probe_made_duration_seconds", check="api") == [0.02]


def test_a_kinds_counter_adds_up_and_stays() -> None:
    """A counter among a kind's own families is the sum over runs, and a run without it takes nothing away."""
    metrics = fresh()
    metrics(passed(API, facts={"tokens": 12}))
    metrics(failed(API))
    metrics(passed(API, facts={"tokens": 5}))
    assert values(metrics, "probe_made_tokens_total", check="api") == [17]


def test_the_histogram_holds_passed_runs_with_the_thresholds_among_its_edges() -> None:
    """Every check has the same edges, and a run exactly at the SLO's threshold falls under it."""
    odd = replace(P95, threshold=0.3)
    metrics = fresh(replace(API, slos=(odd,)), CACHE)
    metrics(passed(API, 0.3))
    metrics(replace(failed(API), seconds=0.001))
    assert values(metrics, "probe_run_duration_seconds_bucket", check="api") == [1, 1]
    assert values(metrics, "probe_run_duration_seconds_bucket", check="api", le="0.3") == [1]
    assert values(metrics, "probe_run_duration_seconds_bucket", check="cache", le="0.3") == [0]


def test_checks_yaml_adds_buckets_to_the_thresholds() -> None:
    """`server: {buckets: ...}`: its edges and those of the SLOs, each once; without both the histogram has its sum and count alone."""
    metrics = fresh(CACHE)
    metrics(passed(CACHE, 0.3))
    assert values(metrics, "probe_run_duration_seconds_bucket", check="cache") == [1]
    assert values(metrics, "probe_run_duration_seconds_sum", check="cache") == [0.3]
    metrics.plan(replace(made_plan(API, CACHE), server=Server(buckets=(0.1, 0.5, 2.0))))
    metrics(passed(CACHE, 0.3))
    assert values(metrics, "probe_run_duration_seconds_bucket", check="cache") == [0, 1, 1, 1]
    assert values(metrics, "probe_run_duration_seconds_bucket", check="cache", le="0.5") == [1]


def test_what_is_rare_appears_with_its_first() -> None:
    """And stays, at 0 where it is a gauge that has fallen again; a missed run is counted by check and for all of them."""
    metrics = fresh(CACHE)
    metrics(passed(CACHE))
    rare = (
        "probe_unknown",
        "probe_maintenance",
        "probe_runs_suspect_total",
        "probe_unconfirmed_failures_total",
        "outrider_runs_missed_total",
    )
    assert [values(metrics, name) for name in rare] == [[]] * 5
    metrics.missed(CACHE, "cap")
    metrics(unknown(CACHE, maintenance=True))
    assert values(metrics, "probe_unknown") == values(metrics, "probe_maintenance") == [1]
    assert values(metrics, "outrider_runs_missed_total", check="cache", reason="cap") == [1]
    assert values(metrics, "outrider_schedule_missed_total", reason="cap") == [1]
    metrics(passed(CACHE))
    assert values(metrics, "probe_unknown") == values(metrics, "probe_maintenance") == [0]


def test_counters_survive_a_reload_and_a_removed_check_goes() -> None:
    """A reload keeps an unchanged check's numbers whole; a removed check's series don't stay green for ever."""
    metrics = fresh()
    metrics(passed(API))
    metrics(passed(CACHE, facts={"status_code": 200}))
    metrics.missed(CACHE, "overlap")
    metrics.plan(made_plan(API))
    assert values(metrics, "probe_runs_total", check="api", outcome="pass") == [1]
    assert values(metrics, "probe_success", check="api") == [1]
    metrics(passed(CACHE))  # a run that was under way when its check was removed
    assert b"cache" not in metrics.page()
    metrics.plan(made_plan(API, CACHE))
    assert values(metrics, "probe_runs_total", check="cache", outcome="pass") == [0]


def test_a_changed_check_keeps_its_counters_and_loses_its_latest_run() -> None:
    """What another address answered says nothing of the new one."""
    metrics = fresh()
    metrics(passed(API, facts={"status_code": 200, "tokens": 3}))
    metrics.plan(made_plan(replace(API, address="elsewhere", slos=(AVAILABILITY,)), CACHE))
    assert (
        values(metrics, "probe_success")
        == values(metrics, "probe_made_status_code")
        == values(metrics, "probe_slo_events_total", slo="p95")
        == []
    )
    assert values(metrics, "probe_runs_total", check="api", outcome="pass") == values(metrics, "probe_slo_events_total", check="api") == [1]
    assert values(metrics, "probe_made_tokens_total") == [3]


def test_what_a_check_is_follows_the_plan() -> None:
    """A label that changes makes another series, although its value is the same; the old one is gone."""
    metrics = fresh()
    assert values(metrics, "probe_check_info", check="api", tags="smoke,api") == [1]
    metrics.plan(made_plan(replace(API, tags=("nightly",)), CACHE))
    assert values(metrics, "probe_check_info", check="api") == values(metrics, "probe_check_info", check="api", tags="nightly") == [1]


def test_the_next_run_is_told_and_stays_in_the_past_where_it_does_not_come() -> None:
    """By the check's own slots: due at the next one, before the first run too; only a run of its own moves it."""
    clock, part = Hands(NOON + 4), made_check("api/db_healthy", part_of="api")
    metrics = Counted(clock)
    due = slots(made_plan(API).checks[0])
    metrics.plan(made_plan(API, CACHE, parts={"api": (part,)}))
    assert values(metrics, "probe_next_run_timestamp_seconds", check="api") == [due(NOON + 4)]
    metrics(failed(API, confirmed=False))
    clock.now += 100
    metrics.missed(API, "quota")
    metrics.plan(made_plan(API, CACHE, parts={"api": (part,)}))
    assert values(metrics, "probe_next_run_timestamp_seconds", check="api") == [due(NOON + 4)]
    metrics(unknown(API))
    metrics(passed(part))
    assert values(metrics, "probe_next_run_timestamp_seconds", check="api") == [due(NOON)]
    assert values(metrics, "probe_next_run_timestamp_seconds", check="api/db_healthy") == []
    metrics.plan(made_plan(replace(API, address="elsewhere")))
    assert values(metrics, "probe_next_run_timestamp_seconds") == [due(NOON + 104)]


def test_a_cron_expression_that_pauses_at_night_is_due_in_the_morning() -> None:
    """What says that a check has stopped must not take a pause for it."""
    planned = replace(made_plan(API).checks[0], schedule=Cron("*/5 8-18 * * *"))
    metrics = Counted()
    metrics.plan(replace(made_plan(API), checks=(planned,)))
    assert values(metrics, "probe_next_run_timestamp_seconds") == [NOON + 300]
    metrics(passed(API, at=NOON + 6 * 3600 + 55 * 60))
    assert values(metrics, "probe_next_run_timestamp_seconds") == [NOON + 20 * 3600]


def test_new_edges_start_the_histogram_anew() -> None:
    """Old runs can't be sorted into new buckets: a reset is what rate() understands."""
    metrics = fresh()
    metrics(passed(API))
    metrics.plan(made_plan(replace(API, slos=(AVAILABILITY, replace(P95, threshold=0.3))), CACHE))
    assert values(metrics, "probe_run_duration_seconds_count", check="api") == [0]
    assert values(metrics, "probe_runs_total", check="api", outcome="pass") == [1]


def test_parts_are_checks_without_their_parents_families() -> None:
    """A part has its own verdict; what its parent's run measured is told once, at the parent."""
    part = made_check("api/db_healthy", part_of="api")
    metrics = Counted()
    metrics.plan(made_plan(API, parts={"api": (part,)}))
    metrics(failed(part, facts={"status_code": 200}))
    assert values(metrics, "probe_success", check="api/db_healthy") == [0]
    assert values(metrics, "probe_made_status_code") == []


def test_the_runner_tells_of_itself() -> None:
    """Lag, missed runs, reloads, the journal's lines, sinks that failed, and which build this is."""
    metrics = fresh()
    metrics.lagged(0.003)
    metrics.missed(API, "overlap")
    metrics.logged("roadtrip", "ERROR")
    metrics.sink_failed("journal")
    metrics.reloaded(ok=True)
    metrics.reloaded(ok=False)
    assert values(metrics, "outrider_schedule_lag_seconds_bucket", le="0.005") == [1]
    assert values(metrics, "outrider_runs_missed_total", check="api", reason="overlap") == [1]
    assert values(metrics, "log_entries_total", service="roadtrip", level="ERROR") == [1]
    assert values(metrics, "outrider_sink_errors_total", sink="journal") == [1]
    assert values(metrics, "outrider_config_last_reload_successful") == [0]
    assert values(metrics, "outrider_config_last_reload_success_timestamp_seconds") == [Hands().time()]
    assert values(metrics, "outrider_build_info", version="0.1.0") == [1]


def test_openmetrics_carries_the_trace_of_a_run() -> None:
    """The bucket's exemplar and the reason's lead to the run in the journal; plain text has none, and no _created."""
    metrics = fresh()
    metrics(passed(API, 0.5, trace_id=TRACE))
    metrics(failed(API, trace_id=TRACE))
    families = list(parse_openmetrics(metrics.page(OPENMETRICS).decode()))  # type: ignore[no-untyped-call]
    found = {(s.name, s.labels.get("le") or s.labels.get("reason")): s.exemplar for f in families for s in f.samples if s.exemplar}
    assert set(found) == {("probe_run_duration_seconds_bucket", "0.5"), ("probe_failures_total", "status")}
    assert found["probe_run_duration_seconds_bucket", "0.5"].labels == {"trace_id": TRACE}
    assert TRACE.encode() not in metrics.page()
    assert b"_created" not in metrics.page(OPENMETRICS)


def test_a_trace_id_longer_than_the_standard_allows_is_left_out() -> None:
    """An exemplar's labels are at most 128 characters, the name among them."""
    for length, there in ((120, True), (121, False), (200, False)):
        metrics = fresh()
        metrics(passed(API, trace_id="a" * length))
        assert (b"trace_id" in metrics.page(OPENMETRICS)) is there


def test_families_that_contradict_each_other_are_refused_whole() -> None:
    """Two kinds that declare one family differently: an error before anything changed."""
    metrics = fresh()
    before = metrics.page()
    plan = made_plan(API)
    other = replace(plan.checks[0], probe=Clashing())
    with pytest.raises(ValueError, match="probe_success is declared twice"):
        metrics.plan(replace(plan, checks=(other,)))
    assert metrics.page() == before


def test_a_changed_check_explains_no_failure_until_it_has_failed_itself() -> None:
    """What failed before the reload was another check by the same name."""
    trip = made_check("trip", depends_on=("api",))
    metrics = fresh(API, trip)
    metrics(failed(API))
    metrics.plan(made_plan(replace(API, address="elsewhere"), trip))
    metrics(failed(trip))
    assert values(metrics, "probe_failure_explained", check="trip") == [0]


def test_errors_of_a_sink_are_told_from_the_start() -> None:
    """Of each that is registered, and of any other from its first on; what was counted before stays."""
    metrics = fresh()
    metrics.sink_failed("outages")
    metrics.count_errors_of(("outages", "health"))
    assert [values(metrics, "outrider_sink_errors_total", sink=name) for name in ("journal", "health", "outages")] == [[0], [0], [1]]


def test_a_release_that_is_forgotten_leaves_no_series() -> None:
    """Where no target tells a revision any more, an old one doesn't stay for ever."""
    metrics = fresh()
    metrics.deployed("api", "3f2c91a", NOON)
    assert values(metrics, "deployment_info", revision="3f2c91a") == [1]
    metrics.forget_deployments()
    assert values(metrics, "deployment_info") == values(metrics, "deployment_timestamp_seconds") == []


def test_a_release_is_told_by_its_latest_name() -> None:
    """One at a time for each target; a version where it is no commit; and what is no Unicode in it breaks no page."""
    metrics = fresh()
    assert values(metrics, "deployment_info") == values(metrics, "deployment_timestamp_seconds") == []
    metrics.deployed("api", "3f2c91a", None)
    assert values(metrics, "deployment_info", revision="3f2c91a", version="") == [1]
    assert values(metrics, "deployment_timestamp_seconds") == []
    metrics.deployed("api", "v2\udc80", at=NOON)
    assert values(metrics, "deployment_info") == values(metrics, "deployment_info", revision="v2?", version="v2?") == [1]
    assert values(metrics, "deployment_timestamp_seconds") == [NOON]


def test_each_target_has_a_release_of_its_own() -> None:
    """G3b: two targets that report a revision both stand there, each with its own moment; a new release replaces its target's alone."""
    metrics = fresh()
    metrics.deployed("api", "aaaaaaa1", NOON)
    metrics.deployed("web", "ccccccc1", None)
    metrics.deployed("api", "bbbbbbb1", NOON + 60)
    assert values(metrics, "deployment_info") == [1, 1]
    assert values(metrics, "deployment_info", target="api", revision="bbbbbbb1") == [1]
    assert values(metrics, "deployment_info", target="web", revision="ccccccc1") == [1]
    assert values(metrics, "deployment_timestamp_seconds", target="api") == [NOON + 60]


def test_a_scrape_sees_an_observation_whole() -> None:
    """While a run is taken in nobody else collects: an SLO's events and its good ones move together."""
    metrics, found = Counted(), []

    def read(_phases: Mapping[str, float], _facts: Mapping[str, Any]) -> list[tuple[tuple[str, ...], float]]:
        other = threading.Thread(target=lambda: found.append(metrics._checks.lock.acquire(blocking=False)))
        other.start()
        other.join()
        return []

    class Watched(Made):
        families: ClassVar[tuple[Family, ...]] = (Family("probe_made_watched", "Nothing.", read),)

    plan = made_plan(API)
    metrics.plan(replace(plan, checks=(replace(plan.checks[0], probe=Watched()),)))
    metrics(passed(API))
    assert found == [False]
    assert values(metrics, "probe_slo_good_events_total", slo="p95") == [1]


def test_a_value_that_is_no_number_counts_no_run_and_the_bare_verdict_is_shown() -> None:
    """XM5: a pass whose fact can't be shown is unknown afterwards, and one run, not two: a check that doesn't report isn't green."""
    metrics = fresh(API)
    emit = Emit({"metrics": metrics}, failed=lambda _: None, log=lambda *_: None)
    emit(passed(API))
    emit(passed(API, facts={"status_code": "two hundred"}))
    assert values(metrics, "probe_success", check="api") == []
    assert values(metrics, "probe_unknown", check="api") == [1]
    assert values(metrics, "probe_runs_total", check="api", outcome="pass") == [1]
    assert values(metrics, "probe_runs_total", check="api", outcome="unknown") == [1]


def test_a_long_revision_is_cut() -> None:
    """m7: a revision of 5,000 characters is cut at 128 in deployment_info."""
    metrics = fresh(API)
    metrics.deployed("api", "r" * 5000, None)
    [release] = [s for f in parse_text(metrics.page().decode()) for s in f.samples if s.name == "deployment_info"]
    assert len(release.labels["revision"]) == 128
