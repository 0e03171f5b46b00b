"""The metrics of one check: its counters, which outlive a reload, and the gauges of its latest run."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from prometheus_client.samples import Exemplar

from judge.observation import Check, Observation
from judge.slo import event
from probes.core import Verdict
from probes.families import Family
from runner.sinks.exposition import NO_EXEMPLARS, Exemplars, Samples, Series, exemplar, number
from runner.sinks.families import DURATION, MAINTENANCE, MISSED_RUNS, RARE

LABEL = 128  # characters of a label's value that a target names
SERIES = 200  # of one family of a check, in one run
_RUNS = "probe_runs_total"
_FAILURES = "probe_failures_total"
_SUSPECT = "probe_runs_suspect_total"
_UNCONFIRMED = "probe_unconfirmed_failures_total"
_EVENTS = "probe_slo_events_total"
_GOOD = "probe_slo_good_events_total"
Change = tuple[str, Samples, Exemplars]  # a family, and its samples of the check; none where it has none at present


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The labels of probe_check_info that all checks of a plan share."""

    service: str
    environment: str
    location: str


class Tally:
    """Counts one check's observations, and yields the samples of each family that they may have changed. It has no clock."""

    def __init__(self, check: Check, edges: tuple[float, ...]) -> None:
        self.check = check
        self.fingerprint = ""
        self._whose = check.name, check.kind
        self._runs: dict[Series, int] = {self._series(_RUNS, verdict.value): 0 for verdict in Verdict}
        self._missed: dict[Series, int] = {}  # by reason
        self._occurred: tuple[str, ...] = ()  # the rare families that have appeared
        self._failures: dict[Series, int] = {}  # by reason
        self._traces: dict[Series, Exemplar] = {}  # of the latest failure by reason
        self._events: dict[Series, int] = {}  # by SLO
        self._good: dict[Series, int] = {}
        self._sums: dict[str, dict[Series, float]] = {}  # the counters among the kind's own families
        self._suspect = self._unconfirmed = 0
        self.window = False  # whether a maintenance window is open
        self._in_window: bool | None = None  # whether the latest run fell into one; None before any run
        self._durations = _Durations(self._series, edges)

    def planned(self, check: Check, around: Surroundings, edges: tuple[float, ...]) -> Iterator[Change]:
        """Takes over the check from a plan, and yields the families that have samples before any run.

        Counters go on. The histogram begins again if its edges have changed: old values can't be sorted into new buckets.
        """
        self.check = check
        self._events = {self._series(_EVENTS, slo.name): self._events.get(self._series(_EVENTS, slo.name), 0) for slo in check.slos}
        self._good = {self._series(_GOOD, slo.name): self._good.get(self._series(_GOOD, slo.name), 0) for slo in check.slos}
        if self._durations.edges != edges:
            self._durations = _Durations(self._series, edges)
        yield self.single("probe_timeout_seconds", check.timeout)
        yield self.single("probe_interval_seconds", check.interval or None)
        yield "probe_check_info", {self._series("probe_check_info", *self._info(around)): 1.0}, NO_EXEMPLARS
        yield self._durations.change()
        yield from self._counters()
        yield self.single(_SUSPECT, self._suspect)
        yield self.single(_UNCONFIRMED, self._unconfirmed)
        yield self.maintained(self.window)
        yield MISSED_RUNS.name, self._missed, NO_EXEMPLARS
        for family, sums in self._sums.items():
            yield family, sums, NO_EXEMPLARS

    def observed(self, seen: Observation, families: tuple[Family, ...]) -> Iterator[Change]:
        """Counts one observation and yields every family that it may have changed."""
        if not seen.confirmed:
            self._unconfirmed += 1
            yield self.single(_UNCONFIRMED, self._unconfirmed)
            return
        measured = [self._measured(family, seen) for family in families]  # first: what breaks on a value counts no run
        self._count(seen)
        yield from self._counters()
        if seen.suspect:
            self._suspect += 1
            yield self.single(_SUSPECT, self._suspect)
        if seen.verdict is Verdict.PASS:
            self._durations.add(seen)
            yield self._durations.change()
        yield from self._latest(seen)
        yield from measured

    def maintained(self, window: bool) -> Change:  # noqa: FBT001 - its only argument
        """Notes whether a maintenance window is open now."""
        self.window = window
        return self.single(MAINTENANCE, (window or self._in_window) if window or self._in_window is not None else None)

    def forget_run(self) -> None:
        """Forgets the latest run: the check has changed."""
        self._in_window = None

    def missed(self, reason: str) -> Change:
        """Counts a scheduled run that never started."""
        key = self._series(MISSED_RUNS.name, reason)
        self._missed[key] = self._missed.get(key, 0) + 1
        return MISSED_RUNS.name, self._missed, NO_EXEMPLARS

    def single(self, family: str, value: float | None) -> Change:
        """A family with one sample, or with none at present; a rare one has none until its first value that is not 0."""
        if family in RARE and family not in self._occurred:
            if value:
                self._occurred += (family,)
            else:
                value = None
        return family, {} if value is None else {self._series(family): float(value)}, NO_EXEMPLARS

    def _series(self, name: str, *values: str) -> Series:
        return name, *self._whose, *values

    def _count(self, seen: Observation) -> None:
        self._runs[self._series(_RUNS, seen.verdict.value)] += 1
        if seen.reason is not None:
            key = self._series(_FAILURES, seen.reason.value)
            self._failures[key] = self._failures.get(key, 0) + 1
            if trace := exemplar(seen.trace_id, 1.0, seen.at):
                self._traces[key] = trace
        for slo in self.check.slos:
            if (good := event(seen, slo)) is not None:
                self._events[self._series(_EVENTS, slo.name)] += 1
                self._good[self._series(_GOOD, slo.name)] += good

    def _latest(self, seen: Observation) -> Iterator[Change]:
        unknown = seen.verdict is Verdict.UNKNOWN
        yield self.single("probe_success", None if unknown else seen.verdict is Verdict.PASS)
        yield self.single("probe_unknown", unknown)
        yield self.single("probe_duration_seconds", seen.seconds)
        yield self.single("probe_last_run_timestamp_seconds", seen.at)
        self._in_window = seen.maintenance
        yield self.maintained(self.window)

    def _counters(self) -> Iterator[Change]:
        yield _RUNS, self._runs, NO_EXEMPLARS
        yield _FAILURES, self._failures, self._traces
        yield _EVENTS, self._events, NO_EXEMPLARS
        yield _GOOD, self._good, NO_EXEMPLARS

    def _measured(self, family: Family, seen: Observation) -> Change:
        samples: dict[Series, float] = {
            self._series(family.name, *(str(text)[:LABEL] for text in values)): float(value)
            for values, value in islice(family.read(seen.phases, seen.facts), SERIES)
        }
        if family.type == "counter":
            sums = self._sums.setdefault(family.name, {})
            for series, value in samples.items():
                sums[series] = sums.get(series, 0.0) + value
            samples = sums
        return family.name, samples, NO_EXEMPLARS

    def _info(self, around: Surroundings) -> tuple[str, ...]:
        """The values of probe_check_info's labels, in their order."""
        check, required, tags = self.check, str(self.check.required).lower(), ",".join(self.check.tags)
        return check.alert, around.environment, around.location, required, check.runbook, around.service, tags, check.target


class _Durations:
    """The histogram of passed runs, by upper edge (`le`, inclusive). Its edges never change: other edges are another histogram.

    prometheus-client's Histogram would date the exemplars by the wall clock instead of by the run.
    """

    def __init__(self, series: Callable[..., Series], edges: tuple[float, ...]) -> None:
        self.edges = edges
        self._buckets = [series(f"{DURATION}_bucket", number(edge)) for edge in (*edges, float("inf"))]
        self._count, self._sum = series(f"{DURATION}_count"), series(f"{DURATION}_sum")
        self._counts = [0] * len(self._buckets)
        self._seconds = 0.0
        self._traces: dict[Series, Exemplar] = {}

    def add(self, seen: Observation) -> None:
        bucket = bisect_left(self.edges, seen.seconds)
        self._counts[bucket] += 1
        self._seconds += seen.seconds
        if trace := exemplar(seen.trace_id, seen.seconds, seen.at):
            self._traces[self._buckets[bucket]] = trace

    def change(self) -> Change:
        totals = [*accumulate(self._counts)]
        return DURATION, {**dict(zip(self._buckets, totals, strict=True)), self._count: totals[-1], self._sum: self._seconds}, self._traces
