"""The families that every check has, whatever its kind, and those about the runner itself. Names are promises (HOUSE 5)."""

from __future__ import annotations

from collections.abc import Iterable

from judge.observation import Slo
from probes.families import Family
from runner.sinks.exposition import Head

DURATION = "probe_run_duration_seconds"

OF_CHECKS = (
    Head("probe_success", "1 when the latest run passed, 0 when it failed; absent while it can't be told."),
    Head("probe_unknown", "1 when the latest run can't tell how the target is, else 0; absent before the first run."),
    Head("probe_duration_seconds", "Seconds that the latest run took."),
    Head("probe_last_run_timestamp_seconds", "When the latest run started, in seconds since the epoch."),
    Head(
        "probe_next_run_timestamp_seconds",
        "When the run after the latest one is due, in seconds since the epoch; in the past where it did not come.",
    ),
    Head("probe_timeout_seconds", "Seconds after which a run is given up."),
    Head("probe_interval_seconds", "Seconds from one run to the next; of a cron expression the shortest."),
    Head("probe_maintenance", "1 when the latest run fell into a maintenance window: no SLO counter moves."),
    Head(
        "probe_check_info",
        "What a check is: where it asks from, and whom it wakes. Tags are joined by commas.",
        labels=("alert", "environment", "location", "required", "runbook", "service", "tags", "target"),
    ),
    Head(
        "probe_failure_explained",
        "1 when the latest run failed beside a check that it depends on, whose own alert calls as loudly, else 0; "
        "of checks that depend on others.",
    ),
    Head("probe_runs_total", "Runs by outcome.", "counter", ("outcome",)),
    Head("probe_failures_total", "Failed and unknown runs by reason; a reason appears when it first occurs.", "counter", ("reason",)),
    Head("probe_runs_suspect_total", "Runs during which our own loop stood still for 5 ms or more: their times may be ours.", "counter"),
    Head("probe_unconfirmed_failures_total", "Failures that a re-check didn't see again; they count as the run that passed.", "counter"),
    Head("probe_slo_events_total", "Runs that count for an SLO: passed and failed ones outside maintenance.", "counter", ("slo",)),
    Head(
        "probe_slo_good_events_total",
        "Of these, those that passed and took at most the SLO's threshold.",
        "counter",
        ("slo",),
    ),
    Head(DURATION, "Seconds that passed runs took.", "histogram"),
)

OF_THE_RUNNER = (
    Head("outrider_schedule_lag_seconds", "How late runs started, in seconds.", "histogram"),
    Head("outrider_runs_missed_total", "Scheduled runs that never started, by reason.", "counter", ("check", "kind", "reason")),
    Head("outrider_build_info", "Always 1; which Outrider and Python this is.", labels=("python", "version")),
    Head(
        "outrider_config_last_reload_successful",
        "1 when the latest checks.yaml was taken over, 0 when the one before it runs on.",
    ),
    Head("outrider_config_last_reload_success_timestamp_seconds", "When checks.yaml was last taken over, in seconds since the epoch."),
    Head(
        "deployment_info",
        "Always 1; the release that answers: what it says of itself, as version too where it is no commit.",
        labels=("revision", "version"),
    ),
    Head("deployment_timestamp_seconds", "When another release than before first answered, in seconds since the epoch."),
    Head("outrider_sink_errors_total", "Observations or lines that a sink failed to take.", "counter", ("sink",)),
    Head("log_entries_total", "Lines written to the journal, by level.", "counter", ("level",)),
)

OF_THE_PROCESS = (
    Head("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter"),
    Head("process_resident_memory_bytes", "Resident memory size in bytes."),
    Head("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    Head("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    Head("process_open_fds", "Number of open file descriptors."),
    Head("process_max_fds", "Maximum number of open file descriptors."),
)

LAG_EDGES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RUN_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)


def edges(slos: Iterable[Slo]) -> tuple[float, ...]:
    """The histogram's upper edges in seconds, the same for every check: an SLO's threshold is always one of them."""
    return tuple(sorted({*RUN_EDGES, *(slo.threshold for slo in slos if slo.threshold)}))


def head_of(family: Family) -> Head:
    """How a kind's own family is exposed: with `check` and `kind` beside its labels."""
    return Head(family.name, family.help, family.type, family.labels)
