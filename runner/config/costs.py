"""What a load's requests cost others (load: most:): so many in a time of its own, or the limits of the partners that they reach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from probes.fields import Rate
from probes.target import Rule
from runner.config.errors import Path, unknown
from runner.config.filling import STAND_IN, Sketch
from runner.config.nodes import Entry, Keys, find
from runner.config.plan import Cost
from runner.config.sections import LimitKeys
from runner.config.validation import Part, Reading

_LIKE_A_RATE = re.compile(r"\s*[\d.]+\s*/|.*/\s*\d*(?:ms|s|m|h|d)\s*\Z")


def costs_of(reading: Reading, section: Entry, most: Mapping[str, str | tuple[str, ...]], *, sketch: Sketch) -> Iterator[Cost]:
    """The costs in the file's order; a rule, an amount or a target that is wrong is reported where it stands."""
    for rule, payers in most.items():
        place = _Place(reading, section, rule, sketch)
        try:
            parsed = Rule.parse(rule)
        except ValueError as error:
            place.report((), str(error))
            continue
        listed = enumerate(payers) if isinstance(payers, tuple) else [(None, payers)]
        for index, payer in listed:
            if payer != STAND_IN and (cost := place.cost(parsed, payer, () if index is None else (index,))):
                yield cost


@dataclass(frozen=True, slots=True)
class _Place:
    """One rule under load: most:, and where it stands."""

    reading: Reading
    section: Entry
    rule: str
    sketch: Sketch

    def report(self, path: Path, message: str) -> None:
        whole = ("most", self.rule, *path)
        _, _, node = find(self.section.node, self.section.at, whole)
        self.reading.report(node.at, ("load", *whole), message)

    def cost(self, rule: Rule, payer: str, path: Path) -> Cost | None:
        """A number in a time is a purse of this rule's own, a name is a target's limit, shared with all that asks that target."""
        if _LIKE_A_RATE.match(payer):
            return self._own(rule, payer, path)
        targets = self.reading.root.get("targets")
        entries = targets.entries if isinstance(targets, Keys) else {}
        if payer not in entries:
            self.report(path, unknown(payer, "target", entries) + "; or write a number in a period, such as 2000/1d")
            return None
        target = entries[payer].node
        if not isinstance(target, Keys) or "limit" not in target.entries:
            self.report(path, f"target {payer} has no limit; give it one, or write a number in a period here")
            return None
        limit = self._limit(entries[payer], target)
        return Cost(rule, payer, limit.amount, limit.window) if limit else None

    def _own(self, rule: Rule, text: str, path: Path) -> Cost | None:
        try:
            rate = Rate.parse(text)
        except ValueError as error:
            self.report(path, str(error))
            return None
        return Cost(rule, "", rate.amount, rate.window)

    def _limit(self, entry: Entry, target: Keys) -> Rate | None:
        """A target's limit alone: its address and its secrets are not needed here."""
        limit = Keys(target.at, {"limit": target.entries["limit"]})
        found = self.reading.validated(LimitKeys, Part(limit, ("targets", entry.key), entry.at, "a target"), sketch=self.sketch)
        return found[0].limit if found else None
