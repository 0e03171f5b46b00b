"""The state of every check: its latest run, since when it has that verdict, and its recent runs. For /health/metrics and the page.

/health/metrics is the guide's flat form, with more below it:

    {"db_healthy": true, "redis_healthy": true, "ai_service_healthy": null, "booking_providers_healthy": false,
     "status": "unhealthy", "timestamp": "2026-11-24T12:00:00.000Z", "service": "roadtrip", "checks": {"database": {...}, ...}}

A flag is there when some check reports it (`reports_as`). It is true when every such check has passed, and is not stale; false when
one of them has failed; else null: a check has not run, is unknown, or is stale (its latest run ended more than three intervals ago,
without the pauses of a cron expression). A check that waits for its first slot, such as a nightly one after a restart, decides nothing
beside others. The status code never contradicts the body: 200 when every flag is true, else 503. (If no
check reports a flag, all checks decide.) It describes the targets, not the runner: for a container's health use /-/healthy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from judge.findings import finding, hangs
from judge.observation import Check, DiagnosisFinding, Observation
from judge.slo import count_events
from probes.core import Clock, Verdict
from probes.text import iso
from runner.config.plan import After, Cron, Plan
from runner.config.slots import slots, soon
from runner.config.windows import Maintained
from runner.sinks.recent import Forms, Recent

_STALE_AFTER = 3  # intervals
_RECORD = 110  # bytes of a recent run, about
_LEAST = 10  # recent runs of a check that are kept, however many checks there are


@dataclass(frozen=True, slots=True)
class State:
    """One check as it is now. `since` is when its verdict began, as far as this process has seen; `recent` is oldest first.

    `due` is the slot after the latest run: a cron expression may pause for a night. Without a run it is the first slot, and until
    `starting` the run may come sooner.
    """

    check: Check
    latest: Observation | None = None
    since: float | None = None
    due: float = 0.0
    starting: float = math.inf
    recent: Sequence[Observation] = ()
    window: Maintained | None = None  # the maintenance window that is open now
    slos: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # events and good ones, since this process started

    @property
    def maintenance(self) -> bool:
        """Whether a maintenance window is open, or the latest run fell into one: what it found calls nobody."""
        return self.window is not None or (self.latest is not None and self.latest.maintenance)

    def stale(self, now: float) -> bool:
        """Whether the latest run is too old to describe the target now; never for a check whose interval isn't known."""
        if self.latest is None or not self.check.interval:
            return False
        last = max(self.latest.at + self.latest.seconds, self.due - self.check.interval)
        return now - last > _STALE_AFTER * self.check.interval + self.check.timeout

    def waits(self, now: float) -> bool:
        """Whether it has not run only because its first slot lies ahead: a cron expression's hour, or its rhythm over a restart."""
        return self.latest is None and self.starting <= now < self.due + self.check.timeout

    def healthy(self, now: float) -> bool | None:
        """Whether the latest run passed; None if it is unknown or stale, or there was none."""
        if self.latest is None or self.latest.verdict is Verdict.UNKNOWN or self.stale(now):
            return None
        return self.latest.verdict is Verdict.PASS


class Health:
    """A sink that remembers the latest and the `keep` recent runs of each of the plan's checks, or fewer of very many checks.

    All recent runs together take about `most_bytes`, but ten of a check are always kept. The latest run is kept without its evidence,
    the recent ones only with the facts that hold the seconds of their steps. `covering` returns the maintenance window in which a check
    is now.
    """

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        covering: Callable[[Check], Maintained | None] = lambda _: None,
        keep: int = 60,
        most_bytes: int = 64 * 2**20,
    ) -> None:
        self._clock = clock
        self._covering = covering
        self._keep = keep
        self._most = most_bytes
        self._after: dict[str, After] = {}
        self._states: dict[str, State] = {}
        self._forms = Forms()
        self._recent: dict[str, Recent] = {}
        self._prints: dict[str, str] = {}
        self._found: dict[str, str] = {}  # findings of diagnoses of the checks that fail now
        self._service = ""
        self.version = 0  # rises with everything that this sink takes, so that what was shown of it can be kept until then
        self.plan(plan)

    def plan(self, plan: Plan) -> None:
        """Follows a reload: removed checks and the states of changed checks are forgotten.

        A restart restores nothing: a check is pending until its first run, which comes soon after the start or, if the
        state knows of a recent run, at its own slot.
        """
        self.version += 1
        wanted = {check.name: (check, planned.fingerprint) for planned in plan.checks for check in (planned.check, *planned.parts)}
        kept = {name: state for name, state in self._states.items() if name in wanted and self._prints[name] == wanted[name][1]}
        keep = min(self._keep, max(_LEAST, self._most // (_RECORD * max(1, len(wanted)))))
        self._recent = {name: self._recent[name] if name in kept else Recent(self._forms, keep) for name in wanted}
        for recent in self._recent.values():
            recent.resize(keep)
        self._prints = {name: fingerprint for name, (_, fingerprint) in wanted.items()}
        self._found = {name: text for name, text in self._found.items() if name in kept}
        self._service = plan.service
        self._after = {}
        self._states, now = {}, self._clock.time()
        for planned in plan.checks:
            after = slots(planned)
            starting = now if isinstance(planned.schedule, Cron) else now + soon(len(plan.checks)) + planned.check.timeout
            for check in (planned.check, *planned.parts):
                self._after[check.name] = after
                before = kept.get(check.name, State(check, due=after(now), starting=starting))
                self._states[check.name] = replace(before, check=check)

    def __call__(self, seen: Observation) -> None:
        """Takes an observation. One of a check that the plan no longer has is ignored."""
        self.version += 1
        before = self._states.get(seen.check.name)
        if before is None or not seen.confirmed:
            return
        if seen.verdict is not Verdict.FAIL:
            self._found.pop(seen.check.name, None)
        same = before.latest is not None and before.latest.verdict is seen.verdict
        slim = replace(seen, evidence={}, spans=())
        self._recent[seen.check.name].append(slim)
        since = before.since if same else seen.at
        due = self._after[seen.check.name](seen.at)
        slos = count_events(seen, before.check.slos, before.slos)
        self._states[seen.check.name] = replace(before, latest=slim, since=since, due=due, slos=slos)

    def found(self, diagnosis: DiagnosisFinding) -> None:
        """Takes the finding of a diagnosis, which is shown while its check goes on failing."""
        self.version += 1
        state = self._states.get(diagnosis.check.name)
        if state and state.latest and state.latest.verdict is Verdict.FAIL:
            self._found[diagnosis.check.name] = diagnosis.text

    def states(self) -> tuple[State, ...]:
        """Every check of the plan in its order, each followed by its parts, with findings from the latest runs of all checks."""
        latest = self._latest()
        hanging = dict.fromkeys(name for name, seen in latest.items() if hangs(seen))
        return tuple(self._with_findings(state, latest, hanging) for state in self._states.values())

    def state(self, name: str) -> State | None:
        """One check, or None if the plan has no such check."""
        state = self._states.get(name)
        return self._with_findings(state, self._latest()) if state else None

    def _latest(self) -> dict[str, Observation]:
        return {name: state.latest for name, state in self._states.items() if state.latest}

    def _with_findings(self, state: State, latest: Mapping[str, Observation], hanging: Collection[str] | None = None) -> State:
        """The state with its findings. They depend on the latest runs of other checks, so they are made when they are read."""
        name, seen = state.check.name, state.latest
        if seen is not None:
            text = "; ".join(filter(None, (self._found.get(name), finding(seen, latest, hanging))))
            seen = replace(seen, finding=text)
        return replace(state, latest=seen, recent=self._recent[name].of(state.check), window=self._covering(state.check))

    def progress(self) -> tuple[int, int]:
        """How many of the checks have run since the start or since they changed, and how many there are; parts aren't counted."""
        states = [state for state in self._states.values() if not state.check.part_of]
        return sum(state.latest is not None for state in states), len(states)

    def report(self) -> tuple[int, dict[str, Any]]:
        """The status code and the body of /health/metrics, as described at the top of this file."""
        now = self._clock.time()
        by_flag: dict[str, list[bool | None]] = {}
        for state in self._states.values():
            if state.check.reports_as:
                values = by_flag.setdefault(state.check.reports_as, [])
                values += [] if state.waits(now) else [state.healthy(now)]
        flags = {flag: all_of(values) for flag, values in by_flag.items()}
        healthy = all_of(flags.values() or [state.healthy(now) for state in self._states.values() if not state.waits(now)])
        status = {True: "healthy", False: "unhealthy", None: "unknown"}[healthy]
        checks = {name: _row(replace(state, window=self._covering(state.check)), now) for name, state in self._states.items()}
        body = {**flags, "status": status, "timestamp": iso(now), "service": self._service, "checks": checks}
        return (200 if status == "healthy" else 503), body


def all_of(values: Iterable[bool | None]) -> bool | None:
    """False if one value is False, else None if one is None or there is none, else True."""
    found = set(values)
    return False if False in found else None if None in found or not found else True


def _row(state: State, now: float) -> dict[str, Any]:
    seen = state.latest
    row: dict[str, Any] = {"healthy": state.healthy(now), "kind": state.check.kind, "stale": state.stale(now)}
    if seen is None or state.since is None:
        return row | {"verdict": None}
    row |= {"verdict": seen.verdict.value, "reason": seen.reason.value if seen.reason else None, "message": seen.message}
    return row | {"since": iso(state.since), "last_run": iso(seen.at), "seconds": seen.seconds, "maintenance": state.maintenance}
