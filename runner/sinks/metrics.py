"""The metrics of the checks and of the runner itself, counted from observations.

Call all methods in the loop's thread, except `logged` and `sink_failed`, which any thread may call.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable
from functools import cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from judge.explained import Explained
from judge.observation import Check, Observation
from judge.revision import is_commit
from probes.core import Clock
from probes.families import Family
from runner.config.plan import After, Plan, Planned
from runner.config.slots import slots
from runner.log import LEVELS, written_level
from runner.sinks.exposition import Exposition, clean
from runner.sinks.families import LAG_EDGES, MISSED, MISSED_RUNS, OF_ALL_CHECKS, OF_CHECKS, edges, head_of
from runner.sinks.tally import LABEL, Change, Surroundings, Tally

_EXPLAINED = "probe_failure_explained"
_NEXT = "probe_next_run_timestamp_seconds"


class Metrics:
    """A sink that counts observations of the plan's checks and notes what they change; a scrape makes the text.

    It registers in `registry` the collector of the checks, and the runner's own metrics.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock, version: str) -> None:
        self._registry = registry
        self._clock = clock
        self._after: dict[str, After] = {}
        self._tallies: dict[str, Tally] = {}
        self._maintained: set[str] = set()  # the checks for which a maintenance window is open
        self._families: dict[str, tuple[Family, ...]] = {}  # by check
        self._explained = Explained()
        self._deployed: dict[str, tuple[str, str, str]] = {}  # by target: target, revision, version
        self._checks = Exposition(registry)
        self._checks.declare((*OF_CHECKS, MISSED_RUNS))
        self._lag = Histogram("outrider_schedule_lag_seconds", "How late runs started, in seconds.", buckets=LAG_EDGES, registry=registry)
        self._missed, self._suspect, self._unconfirmed = (
            Counter(head.name, head.help, head.labels, registry=registry) for head in OF_ALL_CHECKS
        )
        for reason in MISSED:
            self._missed.labels(reason)
        self._errors = Counter(
            "outrider_sink_errors_total", "Observations or lines that a sink failed to take.", ["sink"], registry=registry
        )
        refused = "Requests that this runner refused, by reason."
        self._refused = Counter("outrider_requests_refused_total", refused, ["reason"], registry=registry)
        self._lines = Counter("log_entries_total", "Lines written to the journal, by level.", ["service", "level"], registry=registry)
        what = "1 while limits, budgets and held logins are written to the state folder, 0 while they are in memory only."
        self._durable = Gauge("outrider_state_durable", what, registry=registry)
        what = "1 while checks.yaml changes server.listen or the state folder, which only a restart can change, else 0."
        self._restart = Gauge("outrider_restart_needed", what, registry=registry)
        what = "1 if every file with targets (file_sd) can be used, 0 while the last good list of one stays in use."
        self._target_files = Gauge("outrider_target_files_last_read_successful", what, registry=registry)
        self._target_files.set(1)
        build = Gauge("outrider_build_info", "Always 1; the versions of Outrider and Python.", ["version", "python"], registry=registry)
        build.labels(version, platform.python_version()).set(1)

    def __call__(self, seen: Observation) -> None:
        """Takes an observation. One of a check that the plan no longer has is ignored: its series must not come back."""
        tally = self._tallies.get(seen.check.name)
        if tally is None or tally.check.kind != seen.check.kind:
            return
        families = () if seen.check.part_of else self._families[seen.check.name]  # a part shares its parent's run, which is counted once
        with self._checks.lock:
            self._show(tally, tally.observed(seen, families))
            if not seen.confirmed:
                self._unconfirmed.inc()
            else:
                if seen.suspect:
                    self._suspect.inc()
                for name, explained in self._explained.observed(seen).items():
                    self._show_one(name, _EXPLAINED, explained)
                self._show_next(seen.check, seen.at)

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: counters of new checks begin at 0, series of removed checks go, all other counters go on.

        A changed check keeps its counters, and loses the gauges of its latest run. A restart restores nothing: counters begin at 0, by
        which Prometheus recognises a new process. Raises ValueError, having changed nothing, if two kinds declare one family
        differently.
        """
        of_kinds = {planned.check.kind: type(planned.probe).families for planned in plan.checks}
        published = {planned.check.name: planned.probe.published_families() for planned in plan.checks}
        self._checks.declare(head_of(family) for families in (*of_kinds.values(), *published.values()) for family in families)
        self._checks.label({"location": plan.location} if plan.locations else {})
        self._families = {planned.check.name: of_kinds[planned.check.kind] + published[planned.check.name] for planned in plan.checks}
        for level in LEVELS:
            self._lines.labels(plan.service, written_level(level))
        around = Surroundings(plan.service, plan.environment, plan.location)
        fitting = edges((*plan.slos, *(slo for planned in plan.checks for slo in planned.check.slos)), plan.server.buckets)
        wanted = {check.name: (check, planned.fingerprint) for planned in plan.checks for check in (planned.check, *planned.parts)}
        changed = {name for name, tally in self._tallies.items() if name in wanted and wanted[name][1] != tally.fingerprint}
        with self._checks.lock:
            for name in [name for name, tally in self._tallies.items() if name not in wanted or wanted[name][0].kind != tally.check.kind]:
                del self._tallies[name]
                self._checks.drop(name)
                self._after.pop(name, None)
            self._explained.plan((check for check, _ in wanted.values()), changed)
            for check, fingerprint in wanted.values():
                self._take_over(check, fingerprint, around, fitting)
            for planned in plan.checks:
                self._expect(planned)

    def _expect(self, planned: Planned) -> None:
        """A new or changed check runs at its next slot, and CheckStale must notice where it doesn't: so that slot is shown at once."""
        if planned.check.name not in self._after:
            self._after[planned.check.name] = slots(planned)
            self._show_next(planned.check, self._clock.time())

    def _show_next(self, check: Check, moment: float) -> None:
        """Shows when a check runs next; a part has no slots of its own."""
        if after := self._after.get(check.name):
            self._show_one(check.name, _NEXT, after(moment))

    def _show_one(self, check: str, family: str, value: float) -> None:
        tally = self._tallies[check]
        self._show(tally, [tally.single(family, value)])

    def _show(self, tally: Tally, changes: Iterable[Change]) -> None:
        for family, samples, exemplars in changes:
            self._checks.put(family, tally.check.name, samples, exemplars)

    def _take_over(self, check: Check, fingerprint: str, around: Surroundings, fitting: tuple[float, ...]) -> None:
        tally = self._tallies.setdefault(check.name, Tally(check, fitting))
        if tally.fingerprint != fingerprint:
            self._checks.drop(check.name)
            self._after.pop(check.name, None)
            tally.fingerprint = fingerprint
            tally.forget_run()
        self._show(tally, tally.planned(check, around, fitting))

    def missed(self, check: Check, reason: str) -> None:
        """Counts a scheduled run that never started."""
        if tally := self._tallies.get(check.name):
            self._missed.labels(reason).inc()
            self._show(tally, [tally.missed(reason)])

    def in_maintenance(self, names: Collection[str]) -> None:
        """Notes for which checks a maintenance window is open now; of the others none is."""
        for name in self._maintained.union(names):
            if (tally := self._tallies.get(name)) and tally.window is not (name in names):
                self._show(tally, [tally.maintained(name in names)])
        self._maintained = set(names)

    def lagged(self, seconds: float) -> None:
        """Notes how late a run started."""
        self._lag.observe(seconds)

    def reloaded(self, ok: bool) -> None:  # noqa: FBT001 - its only argument
        """Notes a load of checks.yaml, and whether its plan runs now or the previous one goes on."""
        self._reload_successful.set(ok)
        if ok:
            self._reload_time.set(self._clock.time())

    def target_files_read(self, ok: bool) -> None:  # noqa: FBT001 - its only argument
        """Notes whether every file with targets can be used."""
        self._target_files.set(ok)

    def deployed(self, target: str, revision: str, at: float | None) -> None:
        """Notes which release a target reports, and since when: seconds since the epoch, None if it did before this runner looked."""
        shown = clean(revision)[:LABEL]
        release = (target, shown, "" if is_commit(revision) else shown)
        if (before := self._deployed.get(target)) is not None:
            self._deployment.remove(*before)
        self._deployed[target] = release
        self._deployment.labels(*release).set(1)
        if at is not None:
            self._deployment_time.labels(target).set(at)

    def state_durable(self, durable: bool) -> None:  # noqa: FBT001 - its only argument
        """Notes whether the state is written to its folder; from any thread."""
        self._durable.set(durable)

    def restart_needed(self, needed: bool) -> None:  # noqa: FBT001 - its only argument
        """Notes whether checks.yaml changes something that only a restart can change."""
        self._restart.set(needed)

    def forget_deployments(self) -> None:
        """Removes the metrics of the releases: none is known."""
        self._deployed.clear()
        for name in ("_deployment", "_deployment_time"):
            if gauge := self.__dict__.pop(name, None):
                self._registry.unregister(gauge)

    def logged(self, service: str, level: str) -> None:
        """Counts a line of the journal; from any thread."""
        self._lines.labels(service, level).inc()

    def count_errors_of(self, sinks: Iterable[str]) -> None:
        """Shows the errors of these sinks from now on, beginning with 0."""
        for name in sinks:
            self._errors.labels(name)

    def count_refusals(self, reasons: Iterable[str]) -> None:
        """Shows the refusals of these reasons from now on, beginning with 0."""
        for reason in reasons:
            self._refused.labels(reason)

    def refused(self, reason: str) -> None:
        """Counts a request that the web refused."""
        self._refused.labels(reason).inc()

    def sink_failed(self, name: str) -> None:
        """Counts an observation or line that a sink failed to take; from any thread."""
        self._errors.labels(name).inc()

    # A registered gauge shows 0 until it is set. These have no value at first, so they are registered when they are first set.

    @cached_property
    def _reload_successful(self) -> Gauge:
        what = "1 when the latest checks.yaml was loaded, 0 when it was refused and the one before it stays in use."
        return Gauge("outrider_config_last_reload_successful", what, registry=self._registry)

    @cached_property
    def _reload_time(self) -> Gauge:
        what = "When checks.yaml was last loaded, in seconds since the epoch."
        return Gauge("outrider_config_last_reload_success_timestamp_seconds", what, registry=self._registry)

    @cached_property
    def _deployment(self) -> Gauge:
        what = "Always 1; the release that the target reports; it is the version too if it is not a commit."
        return Gauge("deployment_info", what, ["target", "revision", "version"], registry=self._registry)

    @cached_property
    def _deployment_time(self) -> Gauge:
        what = "When the target first reported this release, in seconds since the epoch."
        return Gauge("deployment_timestamp_seconds", what, ["target"], registry=self._registry)
