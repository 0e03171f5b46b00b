"""The load section: what no load run may exceed, and the scenarios, held against the targets and SLOs of the file."""

from __future__ import annotations

from collections.abc import Iterator

from judge.observation import Slo
from runner.config.checks import Book
from runner.config.costs import costs_of
from runner.config.errors import Path, unknown
from runner.config.filling import STAND_IN, Sketch
from runner.config.nodes import Entry, Keys, find
from runner.config.plan import LoadRules, Scenario
from runner.config.sections import LoadKeys, ScenarioKeys
from runner.config.validation import Part, Reading


def load_rules(reading: Reading, books: tuple[Book, Book], *, sketch: Sketch, loading: str | None) -> LoadRules:
    """The rules, with the SLOs of each scenario; a target that is `loading` is read with its values.

    Which tasks there are only loadtests/ knows: `outrider load` says it. `books` read what is wanted and what isn't.
    """
    entry = reading.root.entries.get("load")
    if loading:
        books[0].targets.touch(loading)
    if entry is None:
        return LoadRules()
    found = reading.validated(LoadKeys, Part(entry.node, ("load",), entry.at, "load"), sketch=sketch if loading else {})
    if found is None:
        return LoadRules()
    keys = found[0]
    scenarios = {name: _scenario(_Draft(reading, entry, name, books, bool(loading)), one) for name, one in keys.scenarios.items()}
    costs = tuple(costs_of(reading, entry, keys.most, sketch=sketch if loading else {}))
    return LoadRules(keys.ceiling.rate.amount / keys.ceiling.rate.window, keys.ceiling.duration, costs, scenarios)


class _Draft:
    """A scenario whose keys are read."""

    def __init__(self, reading: Reading, section: Entry, name: str, books: tuple[Book, Book], wanted: bool) -> None:  # noqa: FBT001 - as it was asked
        self._reading, self._section, self.name, self._books, self._wanted = reading, section, name, books, wanted

    @property
    def line(self) -> int:
        """Of the file."""
        scenarios = self._section.node.entries["scenarios"].node if isinstance(self._section.node, Keys) else None
        return scenarios.entries[self.name].at.line if isinstance(scenarios, Keys) else self._section.at.line

    def report(self, path: Path, message: str) -> None:
        """At the value that `path` names inside the scenario."""
        whole = ("scenarios", self.name, *path)
        _, _, node = find(self._section.node, self._section.at, whole)
        self._reading.report(node.at, ("load", *whole), message)

    def slos(self, names: tuple[str, ...]) -> Iterator[Slo]:
        """The SLOs by their names; unknown ones are reported."""
        real, other = self._books
        for index, name in enumerate(names):
            if name == STAND_IN:
                continue
            if name not in real.slos:
                self.report(("slos", index), unknown(name, "SLO", real.slos))
                continue
            book = real if self._wanted or name not in real.slos.unused() else other
            if slo := book.slos.touch(name):
                yield slo

    def judge_target(self, name: str) -> None:
        """Reports a target that isn't there."""
        targets = self._books[0].targets
        if name not in ("", STAND_IN) and name not in targets:
            self.report(("target",), unknown(name, "target", targets))


def _scenario(draft: _Draft, keys: ScenarioKeys) -> Scenario:
    draft.judge_target(keys.target)
    return Scenario(draft.name, draft.line, dict(keys.mix), keys.count, tuple(draft.slos(keys.slos)), keys.target)
