"""Which failures another check's alert already covers: those of checks that depend on a failing one (depends_on). No clock, no text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from judge.observation import Check, Observation
from probes.core import Verdict

_URGENCY = {"none": 0, "ticket": 1, "page": 2}  # by a check's `alert`


class Explained:
    """Follows the observations of a plan's checks, and says whose latest failure is explained, until that check's next run.

    A check explains the failures of all that depend on it, directly or through others, if it fails already or in its own next
    run: it may have been down before it was asked. Its own alert must be at least as urgent as theirs: a ticket must not silence
    a page, and a check without an alert calls nobody.
    """

    def __init__(self) -> None:
        self._below: dict[str, frozenset[str]] = {}  # by check: those that may explain its failure
        self._failing: set[str] = set()
        self._awaited: dict[str, set[str]] = {}  # by failing check: those below it that haven't been asked since
        self._waiting: dict[str, set[str]] = {}  # the same by the check below: those that wait for its run

    def plan(self, checks: Iterable[Check], changed: Collection[str] = ()) -> None:
        """Follows a load or reload; what is known of checks that are gone or `changed` is forgotten."""
        by_name = {check.name: check for check in checks}
        self._below = {name: below for name in by_name if (below := _alerting_below(name, by_name))}
        self._failing = (self._failing & by_name.keys()).difference(changed)
        known = self._below.keys() - set(changed)
        self._awaited = {name: awaited & self._below[name] for name, awaited in self._awaited.items() if name in known}
        self._waiting = {}
        for name, awaited in self._awaited.items():
            for other in awaited:
                self._waiting.setdefault(other, set()).add(name)

    def observed(self, seen: Observation) -> Mapping[str, bool]:
        """What an observation changes: for each check of which something new is known, whether its failure is explained."""
        name = seen.check.name
        if seen.verdict is Verdict.UNKNOWN:
            return {}
        failed = seen.verdict is Verdict.FAIL
        (self._failing.add if failed else self._failing.discard)(name)
        changed: dict[str, bool] = {}
        for check in sorted(self._waiting.get(name, ())):
            if failed:  # it explains the failures of those that still waited for its run
                changed[check] = True
                self._await(check, frozenset())
            else:
                self._await(check, self._awaited[check] - {name})
        if below := self._below.get(name):
            explained = failed and not below.isdisjoint(self._failing)
            self._await(name, below if failed and not explained else frozenset())
            changed[name] = explained
        return changed

    def _await(self, check: str, below: Collection[str]) -> None:
        """Notes which runs a failing check waits for."""
        for name in self._awaited.get(check, ()):
            self._waiting[name].discard(check)
        self._awaited[check] = set(below)
        for name in below:
            self._waiting.setdefault(name, set()).add(check)


def _alerting_below(name: str, by_name: Mapping[str, Check]) -> frozenset[str]:
    """All checks that this one depends on, directly or through others, and whose alert is at least as urgent as its own."""
    found: set[str] = set()
    queue = list(by_name[name].depends_on)
    while queue:
        below = queue.pop()
        if below in by_name and below not in found:
            found.add(below)
            queue += by_name[below].depends_on
    enough = max(_URGENCY[by_name[name].alert], _URGENCY["ticket"])
    return frozenset(below for below in found - {name} if _URGENCY[by_name[below].alert] >= enough)
