"""A page of metrics against a contract, sample by sample, so that nothing of a large page is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from probes import Reason
from probes.expect.metric_contract import FamilyContract, ValueRule
from probes.expect.metric_names import breaches_of_convention
from probes.kinds.metrics.page import Family, Sample
from probes.text import count, listed

Fault = tuple[Reason, str]
_MOST = 3  # faults of one rule that are told
_OF_THE_FORMAT = frozenset({"le", "quantile"})


@dataclass(slots=True)
class _Rule:
    """A rule for values, and what was seen of it."""

    rule: ValueRule
    selected: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        kind, name = sample.family.type, sample.family.name
        part = self.rule.sample or ("count" if kind == "histogram" else "")
        if sample.name != (f"{name}_{part}" if part else name) or not self.rule.concerns(sample.labels):
            return
        self.selected += 1
        if len(self.faults) < _MOST:
            value = int(sample.value) if math.isfinite(sample.value) and sample.value.is_integer() else sample.value
            self.faults += [(self.rule.reason or reason, f"{sample} is {fault}") for reason, fault in self.rule.faults(value)]

    def found(self, name: str) -> Iterator[Fault]:
        yield from self.faults
        if self.rule.count is not None:
            for reason, fault in self.rule.count.faults(self.selected):
                yield self.rule.reason or reason, f"the samples of {name}{_where(self.rule)} are {fault}"
        elif not self.selected and not self.rule.may_be_absent:
            yield self.rule.reason or Reason.SCHEMA, f"{name} has no sample{_where(self.rule)}, expected {self.rule.expected()}"


class FamilyJudge:
    """A family that the contract names, under one of its names, and what was seen of it."""

    def __init__(self, contract: FamilyContract, now: float) -> None:
        self._contract = contract
        self._rules = [_Rule(rule.at(now)) for rule in contract.values]
        self._missing: dict[str, str] = {}  # label, the first sample without it
        self._extra: dict[str, str] = {}
        self._edges: set[float] = set()

    def add(self, sample: Sample) -> None:
        """Judges a sample."""
        contract, labels = self._contract, sample.labels
        for label in contract.labels:
            if label not in labels:
                self._missing.setdefault(label, str(sample))
        if not contract.more_labels:
            for label in labels.keys() - set(contract.labels) - _OF_THE_FORMAT:
                self._extra.setdefault(label, str(sample))
        if contract.buckets and "le" in labels:
            try:
                self._edges.add(float(labels["le"]))
            except ValueError:
                self._edges.add(math.nan)
        for rule in self._rules:
            rule.add(sample)

    def faults(self, family: Family) -> Iterator[Fault]:
        """What is wrong with the family, now that the page is read."""
        contract, name = self._contract, family.name
        if contract.type and not _same_type(contract.type, family):
            yield Reason.SCHEMA, f"{name} is of type {family.type}, expected {contract.type}"
        if not family.series:
            if contract.samples:
                yield Reason.SCHEMA, f"{name} has no sample"
            return
        for label, where in self._missing.items():
            yield Reason.SCHEMA, f"{where} has no label {label}"
        for label, where in self._extra.items():
            yield Reason.SCHEMA, f"{where} has the label {label}, which the contract doesn't name"
        if contract.series is not None and family.series > contract.series:
            yield Reason.SIZE, f"{name} has {count(family.series, 'series', 'series')}, expected at most {contract.series:,}"
        if absent := [f"{edge:g}" for edge in contract.buckets if edge not in self._edges]:
            yield Reason.SCHEMA, f"{name} has no bucket {listed(absent)}"
        for rule in self._rules:
            yield from rule.found(name)


class PageJudge:
    """Every family of a contract, each under its name and its aliases until the page shows which one is there."""

    def __init__(self, families: Mapping[str, FamilyContract], aliases: Mapping[str, str], now: float) -> None:
        self._families = families
        self._names = {name: ((aliases[name],) if name in aliases else (name, *contract.aliases)) for name, contract in families.items()}
        self._judges = {name: {other: FamilyJudge(families[name], now) for other in names} for name, names in self._names.items()}
        self._by_family: dict[str, list[FamilyJudge]] = {}
        for judges in self._judges.values():
            for other, judge in judges.items():
                self._by_family.setdefault(other, []).append(judge)
        self.may_fall = {other for name in families for other in self._names[name] if families[name].may_fall}

    def add(self, sample: Sample) -> None:
        """Judges a sample, if its family is in the contract."""
        for judge in self._by_family.get(sample.family.name, ()):
            judge.add(sample)

    def found(self, page: Mapping[str, Family]) -> dict[str, Family]:
        """The families of the contract that the page has, by their names in the contract."""
        present = {name: next((page[other] for other in names if other in page), None) for name, names in self._names.items()}
        return {name: family for name, family in present.items() if family is not None}

    def faults(self, page: Mapping[str, Family], *, conventions: bool) -> dict[str, list[Fault]]:
        """What breaks the contract, by the family's name in it. With `conventions`, unusual names too."""
        found, faults = self.found(page), {}
        for name, contract in self._families.items():
            if name in found:
                faults[name] = [*self._judges[name][found[name].name].faults(found[name])]
                if conventions and not contract.unconventional:
                    faults[name] += unusual_names({found[name].name: found[name]})
            elif contract.required:
                others = self._names[name]
                also = f" (looked for as {listed(others)})" if others != (name,) else ""
                faults[name] = [(Reason.SCHEMA, f"{name} is absent{also}")]
        return {name: those for name, those in faults.items() if those}


def unusual_names(families: Mapping[str, Family]) -> list[Fault]:
    """The names that break the conventions."""
    return [
        (Reason.SCHEMA, f"the name {name} {breach}")
        for name, family in families.items()
        for breach in breaches_of_convention(name, family.type)
    ]


def _same_type(wanted: str, family: Family) -> bool:
    """The text format has no types `info` and `stateset`: there they are gauges."""
    return wanted == family.type or {wanted, family.type} in ({"gauge", "info"}, {"gauge", "stateset"})


def _where(rule: ValueRule) -> str:
    named = [f"{name} {condition.expected()}" for name, condition in rule.labels.items()]
    return f" with {listed(named)}" if named else ""
