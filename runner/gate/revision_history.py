"""Which revisions each target has answered with, as an always-on runner sees it; and what was before a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from judge.baseline import Before, durations
from judge.observation import Observation
from judge.verdict import same_revision
from probes.facts import NO_REVISION
from probes.target import Target
from runner.config.plan import Plan

_GONE = 600.0  # seconds after which a revision that comes back is a change of its own: a rollback, not an old instance's last answer


@dataclass(frozen=True, slots=True)
class Change:
    """Another revision answers than before. `at` in seconds since the epoch; `before` is "" where none was known."""

    target: str
    before: str
    after: str
    at: float


@dataclass(slots=True)
class _Seen:
    first: float
    last: float


def source(target: Target) -> tuple[str, str]:
    """Where a target's revision comes from: its address, and the place in the response."""
    return target.url, str(target.revision)


class RevisionHistory:
    """A sink. `changed` is called with each change of a target's revision."""

    def __init__(self, changed: Callable[[Change], None]) -> None:
        self._changed = changed
        self._revisions: dict[str, dict[str, _Seen]] = {}  # by target
        self._asked: dict[str, tuple[str, str]] = {}  # the source by target

    def __call__(self, seen: Observation) -> None:
        """Takes an observation: of a check, not of its parts."""
        if seen.check.part_of or not seen.check.target:
            return
        for revision in str(seen.facts.get("revision", "")).split(", "):
            if revision not in ("", NO_REVISION):
                self.saw(seen.check.target, revision, seen.at)

    def saw(self, target: str, revision: str, at: float) -> None:
        """A target answered with a revision."""
        known = self._revisions.setdefault(target, {})
        here = known.get(revision)
        latest = max(known, key=lambda one: known[one].last, default="")
        if here is None or (at - here.last > _GONE and latest != revision):
            known[revision] = _Seen(at, at)
            self._changed(Change(target, latest, revision, at))
        else:
            here.last = at

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: the revisions of a target that is gone, or that has another `source` now, are forgotten.

        What such a target answers next is no change of release. For the same reason a restart restores nothing: a release that
        changed while no runner looked would be annotated at a moment that nobody knows.
        """
        before, self._asked = self._asked, {name: source(target) for name, target in plan.targets.items()}
        same = {name for name, asked in self._asked.items() if before.get(name) == asked}
        self._revisions = {name: known for name, known in self._revisions.items() if name in same}

    def latest(self) -> tuple[str, float | None]:
        """Of all targets the revision that appeared last ("" where none is known), and when one last took the place of another."""
        appeared = {revision: one.first for known in self._revisions.values() for revision, one in known.items()}
        changes = [max(one.first for one in known.values()) for known in self._revisions.values() if len(known) > 1]
        return max(appeared, key=appeared.__getitem__, default=""), max(changes, default=None)

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
