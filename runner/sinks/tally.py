"""What the metrics know of one check: its counters, which outlive a reload, and its latest run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from judge.observation import Check, Observation, Slo
from judge.slo import event
from probes.core import Verdict
from probes.families import Family
from runner.sinks.exposition import Piece, exemplar, labelled, line, number
from runner.sinks.families import DURATION
from runner.sinks.histogram import Histogram

_UNCONFIRMED = "probe_unconfirmed_failures_total"
Lines = Iterator[tuple[str, Piece | None]]  # family, its lines; None where the family has none at present


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all checks of a plan share in probe_check_info."""

    service: str
    environment: str
    location: str


class Tally:
    """Counts one check's observations and renders each family that changed. It holds no clock and no text of others."""

    def __init__(self, check: Check, edges: tuple[float, ...]) -> None:
        self.check = check
        self.fingerprint = ""
        self._base = {"check": check.name, "kind": check.kind}
        self._label = labelled(self._base)
        self._runs = dict.fromkeys(Verdict, 0)
        self._failures: dict[str, tuple[int, str]] = {}  # count and latest exemplar by reason
        self._slos: dict[str, tuple[int, int]] = {}  # events and good ones by name
        self._sums: dict[Family, dict[tuple[str, ...], float]] = {}  # the counters among the kind's own families
        self._suspect = self._unconfirmed = 0
        self._durations = Histogram(DURATION, self._base, edges)
        self._starts: dict[tuple[str, ...], str] = {}

    def planned(self, check: Check, around: Surroundings, edges: tuple[float, ...]) -> Lines:
        """Takes over the check as the plan has it now, and yields what is there before any run.

        Counters go on. The histogram starts anew when its edges changed: old values can't be sorted into new buckets.
        """
        self.check = check
        self._slos = {slo.name: self._slos.get(slo.name, (0, 0)) for slo in check.slos}
        if self._durations.edges != edges:
            self._durations = Histogram(DURATION, self._base, edges)
        yield "probe_timeout_seconds", self._plain("probe_timeout_seconds", check.timeout)
        yield "probe_interval_seconds", self._plain("probe_interval_seconds", check.interval) if check.interval else None
        yield "probe_check_info", self._info(around)
        yield DURATION, self._durations.piece()
        yield from self._counters()
        yield _UNCONFIRMED, self._plain(_UNCONFIRMED, self._unconfirmed)
        for family, sums in self._sums.items():
            yield family.name, self._samples(family, sums)

    def observed(self, seen: Observation, families: tuple[Family, ...]) -> Lines:
        """Counts one observation and yields every family that it may have changed."""
        if not seen.confirmed:
            self._unconfirmed += 1
            yield _UNCONFIRMED, self._plain(_UNCONFIRMED, self._unconfirmed)
            return
        self._count(seen)
        if seen.verdict is Verdict.PASS:
            self._durations.add(seen.seconds, seen.trace_id, seen.at)
            yield DURATION, self._durations.piece()
        yield from self._counters()
        yield from self._latest(seen)
        for family in families:
            yield family.name, self._own(family, seen)

    def _count(self, seen: Observation) -> None:
        self._runs[seen.verdict] += 1
        self._suspect += seen.suspect
        if seen.reason is not None:
            count, _ = self._failures.get(seen.reason, (0, ""))
            self._failures[seen.reason] = count + 1, exemplar(seen.trace_id, 1.0, seen.at)
        for slo in self.check.slos:
            self._count_event(slo, seen)

    def _count_event(self, slo: Slo, seen: Observation) -> None:
        if (good := event(seen, slo)) is not None:
            events, goods = self._slos.get(slo.name, (0, 0))
            self._slos[slo.name] = events + 1, goods + good

    def _latest(self, seen: Observation) -> Lines:
        unknown = seen.verdict is Verdict.UNKNOWN
        success = None if unknown else self._plain("probe_success", seen.verdict is Verdict.PASS)
        yield "probe_success", success
        yield "probe_unknown", self._plain("probe_unknown", unknown)
        yield "probe_duration_seconds", self._plain("probe_duration_seconds", seen.seconds)
        yield "probe_last_run_timestamp_seconds", self._plain("probe_last_run_timestamp_seconds", seen.at)
        yield "probe_maintenance", self._plain("probe_maintenance", seen.maintenance)

    def _counters(self) -> Lines:
        yield "probe_runs_total", Piece("".join(self._line("probe_runs_total", n, outcome=v.value) for v, n in self._runs.items()))
        yield "probe_failures_total", self._reasons()
        yield "probe_runs_suspect_total", self._plain("probe_runs_suspect_total", self._suspect)
        for family, which in (("probe_slo_events_total", 0), ("probe_slo_good_events_total", 1)):
            yield family, Piece("".join(self._line(family, counts[which], slo=slo) for slo, counts in self._slos.items()))

    def _reasons(self) -> Piece:
        lines = [(self._line("probe_failures_total", n, reason=reason), mark) for reason, (n, mark) in self._failures.items()]
        return Piece("".join(text for text, _ in lines), "".join(f"{text[:-1]}{mark}\n" for text, mark in lines))

    def _own(self, family: Family, seen: Observation) -> Piece:
        samples = {values: float(value) for values, value in family.read(seen.phases, seen.facts)}
        if family.type == "counter":
            sums = self._sums.setdefault(family, {})
            for values, value in samples.items():
                sums[values] = sums.get(values, 0.0) + value
            samples = sums
        return self._samples(family, samples)

    def _samples(self, family: Family, samples: Mapping[tuple[str, ...], float]) -> Piece:
        named = ((dict(zip(family.labels, values, strict=True)), n) for values, n in samples.items())
        return Piece("".join(line(family.name, self._base | labels, n) for labels, n in named))

    def _info(self, around: Surroundings) -> Piece:
        check = self.check
        labels = {"service": around.service, "environment": around.environment, "location": around.location, "target": check.target}
        labels |= {"tags": ",".join(check.tags), "alert": check.alert, "runbook": check.runbook, "required": str(check.required).lower()}
        return Piece(line("probe_check_info", self._base | labels, 1))

    def _plain(self, family: str, value: float) -> Piece:
        return Piece(f"{family}{self._label} {number(value)}\n")

    def _line(self, family: str, value: float, **labels: str) -> str:
        """A line whose labels have few values, so that what stands before the number is worth keeping."""
        key = family, *labels.values()
        if (start := self._starts.get(key)) is None:
            start = self._starts[key] = f"{family}{labelled(self._base | labels)} "
        return f"{start}{number(value)}\n"
