"""/metrics: what every observation says, in the Prometheus text format and in OpenMetrics.

All methods belong to the loop's thread, except `logged` and `sink_failed`, which count from any thread.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from judge.explained import Explained
from judge.observation import Check, Observation
from probes.core import Clock
from probes.families import Family
from probes.probe import Probe
from runner.config.plan import After, Plan, Planned
from runner.sinks import process
from runner.sinks.exposition import OPENMETRICS, TEXT, Exposition, Piece, line, wants_openmetrics
from runner.sinks.families import LAG_EDGES, OF_CHECKS, OF_THE_RUNNER, edges, head_of
from runner.sinks.histogram import Histogram
from runner.sinks.tally import Surroundings, Tally

LEVELS = ("debug", "info", "warning", "error", "critical")
MISSED = ("late", "overlap", "cap", "quota")  # reasons that are counted from 0; others appear with their first
_LAG = "outrider_schedule_lag_seconds"
_EXPLAINED = "probe_failure_explained"
_MISSED = "outrider_runs_missed_total"
_NEXT = "probe_next_run_timestamp_seconds"


class Metrics:
    """A sink that counts observations of the plan's checks and renders them at once, so that a scrape only joins text.

    `slots` says when a check is due; without it nothing is told of runs to come.
    """

    def __init__(self, clock: Clock, version: str, slots: Callable[[Planned], After] | None = None) -> None:
        self._clock = clock
        self._slots = slots
        self._after: dict[str, After] = {}
        self._tallies: dict[str, Tally] = {}
        self._families: dict[str, tuple[Family, ...]] = {}  # by kind
        self._page = Exposition()
        self._page.declare(OF_CHECKS + OF_THE_RUNNER)
        self._lag = Histogram(_LAG, {}, LAG_EDGES)
        self._explained = Explained()
        self._missed: dict[str, Counter[str]] = {}  # reasons by check
        self._errors: Counter[str] = Counter()  # by sink
        self._logged = Counter(dict.fromkeys(LEVELS, 0))
        self._lock = Lock()
        self._page.put(_LAG, "", self._lag.piece())
        self._own("outrider_build_info", 1, {"version": version, "python": platform.python_version()})

    def __call__(self, seen: Observation) -> None:
        """Takes an observation. One of a check that the plan no longer has is let go: its series must not come back."""
        tally = self._tallies.get(seen.check.name)
        if tally is None or tally.check.kind != seen.check.kind:
            return
        families = () if seen.check.part_of else self._families[seen.check.kind]  # a part shares its parent's run: told once
        for family, piece in tally.observed(seen, families):
            self._page.put(family, seen.check.name, piece)
        if seen.confirmed:
            self._explain(seen)
            self._show_next(seen.check, seen.at)

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: new checks' counters at 0, removed checks' series gone, all others' counters go on.

        A check whose settings changed keeps its counters, and loses what its latest run said. A restart restores nothing: counters
        begin at 0, which is how Prometheus knows a new process. Raises ValueError, having changed nothing, where two kinds declare
        one family differently.
        """
        self._declare({planned.check.kind: type(planned.probe) for planned in plan.checks})
        around = Surroundings(plan.service, plan.environment, plan.location)
        fitting = edges((*plan.slos, *(slo for planned in plan.checks for slo in planned.check.slos)))
        wanted = {check.name: (check, planned.fingerprint) for planned in plan.checks for check in (planned.check, *planned.parts)}
        changed = {name for name, tally in self._tallies.items() if name in wanted and wanted[name][1] != tally.fingerprint}
        for name in [name for name, tally in self._tallies.items() if name not in wanted or wanted[name][0].kind != tally.check.kind]:
            self._forget(name)
        self._explained.plan((check for check, _ in wanted.values()), changed)
        for check, fingerprint in wanted.values():
            self._take_over(check, fingerprint, around, fitting)
        for planned in plan.checks:
            self._expect(planned)

    def _explain(self, seen: Observation) -> None:
        for name, explained in self._explained.observed(seen).items():
            labels = {"check": name, "kind": self._tallies[name].check.kind}
            self._page.put(_EXPLAINED, name, Piece(line(_EXPLAINED, labels, explained)))

    def _expect(self, planned: Planned) -> None:
        """One that is new or changed runs by its next slot: until then nobody has seen it, and it must not stay so unnoticed."""
        if self._slots and planned.check.name not in self._after:
            self._after[planned.check.name] = self._slots(planned)
            self._show_next(planned.check, self._clock.time())

    def _show_next(self, check: Check, moment: float) -> None:
        """Of whole checks: a part runs with its own."""
        if after := self._after.get(check.name):
            self._page.put(_NEXT, check.name, Piece(line(_NEXT, {"check": check.name, "kind": check.kind}, after(moment))))

    def _declare(self, kinds: Mapping[str, type[Probe]]) -> None:
        heads = [head_of(family) for kind in kinds.values() for family in kind.families]
        trial = Exposition(dict(self._page.heads))
        trial.declare(heads)
        self._page.declare(heads)
        self._families = {kind: probe.families for kind, probe in kinds.items()}

    def _take_over(self, check: Check, fingerprint: str, around: Surroundings, fitting: tuple[float, ...]) -> None:
        tally = self._tallies.setdefault(check.name, Tally(check, fitting))
        if tally.fingerprint != fingerprint:
            self._page.drop(check.name)
            self._after.pop(check.name, None)
            tally.fingerprint = fingerprint
        for family, piece in tally.planned(check, around, fitting):
            self._page.put(family, check.name, piece)
        self._show_missed(check)

    def _forget(self, name: str) -> None:
        del self._tallies[name]
        self._missed.pop(name, None)
        self._after.pop(name, None)
        self._page.drop(name)

    def missed(self, check: Check, reason: str) -> None:
        """Counts a scheduled run that never started."""
        if check.name in self._tallies:
            self._missed[check.name][reason] += 1
            self._show_missed(check)

    def _show_missed(self, check: Check) -> None:
        counts = self._missed.setdefault(check.name, Counter(dict.fromkeys(MISSED, 0)))
        labels = {"check": check.name, "kind": check.kind}
        text = "".join(line(_MISSED, {**labels, "reason": reason}, n) for reason, n in counts.items())
        self._page.put(_MISSED, check.name, Piece(text))

    def lagged(self, seconds: float) -> None:
        """Notes how late a run started."""
        self._lag.add(seconds)
        self._page.put(_LAG, "", self._lag.piece())

    def reloaded(self, ok: bool) -> None:  # noqa: FBT001 - the one thing that there is to say
        """Notes a load of checks.yaml: taken over, or refused with the old plan running on."""
        self._own("outrider_config_last_reload_successful", float(ok), {})
        if ok:
            self._own("outrider_config_last_reload_success_timestamp_seconds", self._clock.time(), {})

    def deployed(self, revision: str, at: float | None) -> None:
        """Notes which release answers, and since when (epoch seconds; None where it did before this runner looked)."""
        commit = re.fullmatch(r"[0-9a-f]{7,64}", revision, re.IGNORECASE) is not None
        labels = {"revision": revision, "version": "" if commit else revision}
        self._own("deployment_info", 1, labels)
        if at is not None:
            self._own("deployment_timestamp_seconds", at, {})

    def forget_deployments(self) -> None:
        """No release is known to answer."""
        for family in ("deployment_info", "deployment_timestamp_seconds"):
            self._page.put(family, "", None)

    def logged(self, level: str) -> None:
        """Counts a line of the journal; from any thread."""
        with self._lock:
            self._logged[level] += 1

    def count_errors_of(self, sinks: Iterable[str]) -> None:
        """From now on the errors of these sinks are told, from 0."""
        with self._lock:
            for name in sinks:
                self._errors.setdefault(name, 0)

    def sink_failed(self, name: str) -> None:
        """Counts an observation or line that a sink failed to take; from any thread."""
        with self._lock:
            self._errors[name] += 1

    def scrape(self, accept: str = "", process_values: Mapping[str, float] | None = None) -> tuple[bytes, str]:
        """The page and its content type, OpenMetrics where `accept` asks for it; `process_values` come from process.sample()."""
        openmetrics = wants_openmetrics(accept)
        with self._lock:
            self._counted("log_entries_total", "level", self._logged)
            self._counted("outrider_sink_errors_total", "sink", self._errors)
        text = self._page.render(openmetrics=openmetrics) + process.render(process_values or {}, openmetrics=openmetrics)
        return (f"{text}# EOF\n".encode(), OPENMETRICS) if openmetrics else (text.encode(), TEXT)

    def _own(self, family: str, value: float, labels: Mapping[str, str]) -> None:
        self._page.put(family, "", Piece(line(family, labels, value)))

    def _counted(self, family: str, label: str, counts: Mapping[str, int]) -> None:
        self._page.put(family, "", Piece("".join(line(family, {label: name}, n) for name, n in counts.items())))
