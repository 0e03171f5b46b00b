"""What an always-on runner sees by itself: which revision each target answers with, and outages from first failure to recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from judge.baseline import Before, durations
from judge.observation import Observation
from judge.verdict import same_revision
from probes.core import Verdict
from probes.http.session import UNTOLD

_GONE = 600.0  # seconds after which a revision that comes back is a change of its own: a rollback, not an old instance's last answer
_FAILURES = 2  # runs in a row that make an outage: a single one may be a blip of the runner's own


@dataclass(frozen=True, slots=True)
class Change:
    """Another revision answers than before. `at` in seconds since the epoch; `before` is "" where none was known."""

    target: str
    before: str
    after: str
    at: float


@dataclass(frozen=True, slots=True)
class Outage:
    """A check's failure from its first run on; `ended` is its first pass after it, None while it lasts."""

    check: str
    began: float
    why: str
    ended: float | None = None


@dataclass(slots=True)
class _Seen:
    first: float
    last: float


@dataclass(slots=True)
class _Failing:
    began: float
    why: str
    runs: int = 1


@dataclass(slots=True)
class Watch:
    """A sink. `changed` and `outage` are told what to mark."""

    changed: Callable[[Change], None]
    outage: Callable[[Outage], None]
    _revisions: dict[str, dict[str, _Seen]] = field(default_factory=dict)
    _failing: dict[str, _Failing] = field(default_factory=dict)

    def __call__(self, seen: Observation) -> None:
        """Takes an observation: of a check, not of its parts."""
        if seen.check.part_of:
            return
        for revision in str(seen.facts.get("revision", "")).split(", "):
            if revision not in ("", UNTOLD) and seen.check.target:
                self.told(seen.check.target, revision, seen.at)
        self._judge(seen)

    def told(self, target: str, revision: str, at: float) -> None:
        """A target answered with a revision."""
        known = self._revisions.setdefault(target, {})
        here = known.get(revision)
        latest = max(known, key=lambda one: known[one].last, default="")
        if here is None or (at - here.last > _GONE and latest != revision):
            known[revision] = _Seen(at, at)
            self.changed(Change(target, latest, revision, at))
        else:
            here.last = at

    def _judge(self, seen: Observation) -> None:
        name = seen.check.name
        failing = self._failing.get(name)
        if seen.verdict is Verdict.PASS and failing is not None:
            del self._failing[name]
            if failing.runs >= _FAILURES:
                self.outage(Outage(name, failing.began, failing.why, seen.at))
        if seen.verdict is not Verdict.FAIL or seen.maintenance or not seen.confirmed:
            return
        if failing is None:
            self._failing[name] = _Failing(seen.at, f"{seen.reason or ''}: {seen.message}")
            return
        failing.runs += 1
        if failing.runs == _FAILURES:
            self.outage(Outage(name, failing.began, failing.why))

    def before(
        self, recent: Mapping[str, Iterable[Observation]], *, target_of: Mapping[str, str], expect: str, now: float, since: float | None
    ) -> Before:
        """What was seen before the deployment: by the caller's word, by the last answer of another revision, or before the gate began.

        `recent` are observations by check, `target_of` the targets of the checks.
        """
        cuts = dict.fromkeys(recent, now if since is None else since)
        if since is None and expect:
            cuts = {name: min(now, self._left(target_of.get(name, ""), expect)) for name in recent}
        earlier = {name: durations(o for o in seen if o.at <= cuts[name]) for name, seen in recent.items()}
        last = {target: max(known, key=lambda one: known[one].last) for target, known in self._revisions.items()}
        return Before(earlier, last, "the runner's own runs before the deployment")

    def _left(self, target: str, expect: str) -> float:
        """When the release before was last seen alone: for a target that tells nothing, when any target changed."""
        known = self._revisions.get(target)
        if known is None:
            return min((self._left(other, expect) for other in self._revisions), default=float("inf"))
        arrived = [one.first for revision, one in known.items() if same_revision(revision, expect)]
        others = [one.last for revision, one in known.items() if not same_revision(revision, expect)]
        return min([*arrived, *([max(others)] if others else [])], default=float("inf"))
