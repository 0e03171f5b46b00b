"""Which revisions each target has answered with, as an always-on runner sees it; and what was before a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from judge.baseline import Before, durations
from judge.observation import Observation
from judge.revision import same_revision
from probes.facts import NO_REVISION
from probes.target import Revision, Target
from runner.config.plan import Plan

_GONE = 600.0  # seconds after which a revision that comes back is a change of its own, and not an old instance's last response
_MOST = 50  # revisions of a target that are remembered
_QUIET, _IN_A_ROW = 120.0, 10  # seconds and responses of another known revision without one of the current: the current one is gone


@dataclass(frozen=True, slots=True)
class Change:
    """Another revision answers than before. `at` in seconds since the epoch; `before` is "" where none was known."""

    target: str
    before: str
    after: str
    at: float


@dataclass(slots=True)
class _Seen:
    """When a revision took the place of another, and when it was last seen. Since the current one was: since when, and how often."""

    first: float
    last: float
    since: float = 0.0
    in_a_row: int = 0


@dataclass(slots=True)
class _Target:
    """The revisions of one target, and which of them is the current release."""

    current: str = ""
    known: dict[str, _Seen] = field(default_factory=dict)


def source(target: Target) -> tuple[str, Revision | None]:
    """Where a target's revision comes from: its address, and the place in the response."""
    return target.url, target.revision


class RevisionHistory:
    """A sink. `changed` is called with each change of a target's revision."""

    def __init__(self, changed: Callable[[Change], None]) -> None:
        self._changed = changed
        self._targets: dict[str, _Target] = {}
        self._sources: dict[str, tuple[str, Revision | None]] = {}  # by target

    def __call__(self, seen: Observation) -> None:
        """Takes an observation: of a check, not of its parts."""
        if seen.check.part_of or not seen.check.target:
            return
        for revision in str(seen.facts.get("revision", "")).split(", "):
            if revision not in ("", NO_REVISION):
                self.saw(seen.check.target, revision, seen.at)

    def saw(self, name: str, revision: str, at: float) -> None:
        """A target responded with a revision.

        One that was never seen is a change at once, and so is one that comes back after ten minutes. Between known revisions, which
        respond by turns while a release is rolled out, the change is that the current one responds no more: a rollback. Its moment is
        that of the first response without the current one.
        """
        target = self._targets.setdefault(name, _Target())
        revision = next((one for one in target.known if same_revision(one, revision)), revision)
        seen, current = target.known.get(revision), target.known.get(target.current)
        if seen is None or (revision != target.current and at - seen.last > _GONE):
            self._change(name, target, revision, at, at)
            return
        seen.last = max(seen.last, at)
        if revision == target.current or current is None:
            for other in target.known.values():
                other.in_a_row = 0
            return
        seen.since, seen.in_a_row = (seen.since, seen.in_a_row + 1) if seen.in_a_row else (at, 1)
        quiet = at - current.last
        if (quiet >= _QUIET and seen.in_a_row >= _IN_A_ROW) or (quiet > _GONE and seen.in_a_row > 1):
            self._change(name, target, revision, seen.since, at)

    def _change(self, name: str, target: _Target, revision: str, at: float, last: float) -> None:
        before, target.current = target.current, revision
        for other in target.known.values():
            other.in_a_row = 0
        target.known[revision] = _Seen(at, last)
        if len(target.known) > _MOST:
            del target.known[min((one for one in target.known if one != revision), key=lambda one: target.known[one].last)]
        self._changed(Change(name, before, revision, at))

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: the revisions of a target that is gone, or that has another `source` now, are forgotten.

        What such a target responds next is no change of release. For the same reason a restart restores nothing: a release that
        changed while no runner looked would be annotated at a moment that nobody knows.
        """
        before, self._sources = self._sources, {name: source(target) for name, target in plan.targets.items()}
        same = {name for name, now in self._sources.items() if before.get(name) == now}
        self._targets = {name: target for name, target in self._targets.items() if name in same}

    def current(self) -> dict[str, tuple[str, float | None]]:
        """The release of each target, and since when: None where no other was seen before it."""
        return {name: (one.current, one.known[one.current].first if len(one.known) > 1 else None) for name, one in self._targets.items()}

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
        last = {name: max(one.known, key=lambda revision: one.known[revision].last) for name, one in self._targets.items()}
        return Before(earlier, last, "the runner's own runs before the deployment")

    def _left(self, target: str, expect: str) -> float:
        """When the release before was last seen alone: for a target that tells nothing, when any target changed."""
        if target not in self._targets:
            return min((self._left(other, expect) for other in self._targets), default=float("inf"))
        known = self._targets[target].known
        arrived = [one.first for revision, one in known.items() if same_revision(revision, expect)]
        others = [one.last for revision, one in known.items() if not same_revision(revision, expect)]
        return min([*arrived, *([max(others)] if others else [])], default=float("inf"))
