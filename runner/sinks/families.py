"""The families that every check has, whatever its kind. Names are promises (HOUSE 5)."""

from __future__ import annotations

from collections.abc import Iterable

from judge.observation import Slo
from probes.families import Family
from runner.sinks.exposition import Head

MAINTENANCE = "probe_maintenance"
DURATION = "probe_run_duration_seconds"

OF_CHECKS = (
    Head("probe_success", "1 when the latest run passed, 0 when it failed; absent while the result is unknown."),
    Head("probe_unknown", "1 when the result of the latest run is unknown, else 0; absent until the first one."),
    Head("probe_duration_seconds", "Seconds that the latest run took."),
    Head("probe_last_run_timestamp_seconds", "When the latest run started, in seconds since the epoch."),
    Head(
        "probe_next_run_timestamp_seconds",
        "When the run after the latest one is due, in seconds since the epoch; in the past when that run is overdue.",
    ),
    Head("probe_timeout_seconds", "Seconds after which a run is cancelled."),
    Head("probe_interval_seconds", "Seconds from one run to the next; for a cron expression the shortest."),
    Head(
        MAINTENANCE,
        "1 while a maintenance window is open, or when the latest run was in one, in which no SLO counter moves, else 0; "
        "absent until the first one.",
    ),
    Head(
        "probe_check_info",
        "Properties of a check: its target, the severity of its alert, and where it runs. Tags are joined by commas.",
        labels=("alert", "environment", "location", "required", "runbook", "service", "tags", "target"),
    ),
    Head(
        "probe_failure_explained",
        "1 when the latest run failed together with a check that it depends on, whose alert is at least as severe, else 0; "
        "only for checks that depend on others.",
    ),
    Head("probe_runs_total", "Runs by outcome.", "counter", ("outcome",)),
    Head("probe_failures_total", "Failed and unknown runs by reason; a reason appears when it first occurs.", "counter", ("reason",)),
    Head(
        "probe_runs_suspect_total",
        "Runs during which the runner was busy for 5 ms or more, so that their times may be too high; absent until the first one.",
        "counter",
    ),
    Head(
        "probe_unconfirmed_failures_total",
        "Failures that a re-check didn't confirm; such a run counts as passed; absent until the first one.",
        "counter",
    ),
    Head("probe_slo_events_total", "Runs that count for an SLO: passed and failed ones outside maintenance.", "counter", ("slo",)),
    Head(
        "probe_slo_good_events_total",
        "Good runs for an SLO: passed ones that took at most its threshold.",
        "counter",
        ("slo",),
    ),
    Head(DURATION, "Seconds that passed runs took.", "histogram"),
)

MISSED_RUNS = Head(
    "outrider_runs_missed_total",
    "Scheduled runs that never started, by reason; a reason appears when it first occurs.",
    "counter",
    ("reason",),
)

# What is rare is counted for all checks together as well, from 0 on: rate() and increase() can't see the first value of a series.
RARE = (
    "probe_unknown",
    "probe_maintenance",
    "probe_runs_suspect_total",
    "probe_unconfirmed_failures_total",
)  # they appear with their first
OF_ALL_CHECKS = (
    Head("outrider_schedule_missed_total", "Scheduled runs that never started, of all checks, by reason.", "counter", ("reason",)),
    Head("outrider_schedule_suspect_total", "Runs of all checks during which the runner was busy for 5 ms or more.", "counter"),
    Head("outrider_schedule_unconfirmed_total", "Failures of all checks that a re-check didn't confirm.", "counter"),
)
MISSED = ("late", "overlap", "cap", "quota", "held", "state")  # reasons that are counted from 0; others appear with their first

LAG_EDGES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def edges(slos: Iterable[Slo], buckets: Iterable[float] = ()) -> tuple[float, ...]:
    """The histogram's upper edges in seconds, the same for every check: the thresholds of SLOs, and the buckets of checks.yaml."""
    return tuple(sorted({*buckets, *(slo.threshold for slo in slos if slo.threshold)}))


def head_of(family: Family) -> Head:
    """How a kind's own family is exposed: with `check` and `kind` beside its labels."""
    return Head(family.name, family.help, family.type, family.labels)
