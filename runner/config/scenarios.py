"""The load section: the scenarios, held against the targets and SLOs of the file, and what their requests cost others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from judge.observation import Slo
from probes.fields import Rate
from probes.target import Rule
from probes.text import unknown
from runner.config.checks import BuildContext
from runner.config.errors import Path
from runner.config.nodes import Entry, Keys, Scalar, find
from runner.config.placeholders import Source
from runner.config.plan import Cost, LoadRules, Planned, Scenario, Switch
from runner.config.sections import LimitKeys, LoadKeys, ScenarioKeys
from runner.config.targets import targets
from runner.config.validation import ConfigPart, Reading, Valid

_OFF = frozenset({"false", "no", "off", "n", "f", "0"})  # as pydantic reads it
_LIKE_A_RATE = re.compile(r"\s*[\d.]+\s*/|.*/\s*\d*(?:ms|s|m|h|d)\s*\Z")


def load_section(reading: Reading, source: Source) -> LoadSection | None:
    """The load section; None where there is none, or after a problem.

    Where its values are needed, the targets that say load: true are looked for. One whose values are wrong or not set here can't be
    meant, and nothing is reported of it.
    """
    found = reading.section("load", LoadKeys, source)
    if found is None:
        return None
    loadable: tuple[str, ...] = ()
    if not source.dry:
        aside = targets(Reading(reading.file, reading.root, reading.environ), source)
        loadable = tuple(name for name in aside if (target := aside.use(name)) is not None and target.load)
    return LoadSection(reading, reading.root.entries["load"], found, source, loadable)


@dataclass(frozen=True, slots=True)
class LoadSection:
    """The load section as it is written, and the targets that a scenario without one of its own may mean."""

    reading: Reading
    entry: Entry
    keys: Valid[LoadKeys]
    source: Source
    loadable: tuple[str, ...]

    def target_of(self, scenario: str) -> str:
        """The target of a scenario; "" where there is no such scenario, or where it isn't clear which one is meant."""
        found = self.keys.model.scenarios.get(scenario)
        if found is None:
            return ""
        return found.target or (self.loadable[0] if len(self.loadable) == 1 else "")

    def mix_of(self, scenario: str) -> frozenset[str]:
        """The tasks of a scenario; none where there is no such scenario."""
        found = self.keys.model.scenarios.get(scenario)
        return frozenset(found.mix) if found else frozenset()

    def rules(
        self, wanted: BuildContext, others: BuildContext, checks: Mapping[str, Planned | None], *, sure: Collection[Path], scenario: str
    ) -> LoadRules:
        """The rules, with the SLOs of each scenario. Values of the one that is named are needed, of the others none.

        What `outrider load` would refuse of a scenario is reported, beside a target whose load: is false: that is a switch. `checks` and
        `sure` are as mixes.unplayable has them.
        """
        keys = self.keys.model
        found = {}
        for name, one in keys.scenarios.items():
            where = find(self.entry.node, self.entry.at, ("scenarios", name))[1]
            slos = tuple(self._slos(name, one, wanted, others, needed=name == scenario))
            if one.target and one.target not in wanted.targets and ("scenarios", name, "target") not in self.keys.missing:
                self._report(("scenarios", name, "target"), unknown(one.target, "target", wanted.targets))
            found[name] = made = Scenario(name, where.line, dict(one.mix), one.count, slos, one.target or self.target_of(name), where.file)
            if len(slos) == len(one.slos):
                self._judge(made, wanted, others, checks, sure)
        ceiling = keys.ceiling
        rate, costs = ceiling.rate.amount / ceiling.rate.window, tuple(self.costs())
        return LoadRules(rate, ceiling.duration, costs, found, self.loadable, self._switches())

    def _switches(self) -> dict[str, Switch]:
        """By target, where its load: is set, or its name where it has none, and what is written there."""
        section = self.reading.root.get("targets")
        found = {}
        for target, entry in section.entries.items() if isinstance(section, Keys) else ():
            walked, at, node = find(entry.node, entry.at, ("load",))
            found[target] = Switch(at.line, node.text if walked and isinstance(node, Scalar) else "", at.file)
        return found

    def _judge(
        self, scenario: Scenario, wanted: BuildContext, others: BuildContext, checks: Mapping[str, Planned | None], sure: Collection[Path]
    ) -> None:
        """Reports what `outrider load` would refuse of a scenario, whatever the environment says."""
        base: Path = ("scenarios", scenario.name)
        if (*base, "target") in self.keys.missing:
            return
        switches = self._switches()
        may = [name for name, switch in switches.items() if switch.written and switch.written.lower() not in _OFF]
        name = scenario.target or (may[0] if len(may) == 1 else "")
        if name and name in switches and not switches[name].written:
            self._report((*base, "target"), f"target {name} does not set load: true, so that no load may be sent to it")
        elif not name and not any(switch.written for switch in switches.values()):
            self._report(base, "no target sets load: true; add it to the target that load tests may use")
        elif not name and may and not any("${" in switches[one].written for one in may):
            self._report(base, f"{', '.join(may)} all set load: true; choose one with target:")
        targets = (others if name in wanted.targets.unused() else wanted).targets
        target = targets.use(name) if name in targets else None
        if target is not None:
            from runner.config.mixes import unplayable  # noqa: PLC0415 - imports the load generator's room: only for a scenario

            for path, why in unplayable(scenario, target, checks, sure=sure):
                self._report((*base, *path), why)

    def _slos(self, name: str, keys: ScenarioKeys, wanted: BuildContext, others: BuildContext, *, needed: bool) -> Iterator[Slo]:
        """The SLOs of a scenario by their names; unknown ones are reported."""
        for index, slo_name in enumerate(keys.slos):
            path = ("scenarios", name, "slos", index)
            if path in self.keys.missing:
                continue
            if slo_name not in wanted.slos:
                self._report(path, unknown(slo_name, "SLO", wanted.slos))
                continue
            context = wanted if needed or slo_name not in wanted.slos.unused() else others
            if slo := context.slos.use(slo_name):
                yield slo

    def costs(self) -> Iterator[Cost]:
        """The costs in the file's order; a rule, an amount or a target that is wrong is reported where it stands."""
        for rule, payers in self.keys.model.most.items():
            try:
                parsed = Rule.parse(rule)
            except ValueError as error:
                self._report(("most", rule), str(error))
                continue
            several = isinstance(payers, tuple)
            for index, payer in enumerate(payers if isinstance(payers, tuple) else (payers,)):
                path: Path = ("most", rule, index) if several else ("most", rule)
                if path not in self.keys.missing and (cost := self._cost(parsed, payer, path)):
                    yield cost

    def _cost(self, rule: Rule, payer: str, path: Path) -> Cost | None:
        """A number in a period is a quota of this rule's own, a name is a target's limit, shared with all that asks that target."""
        if _LIKE_A_RATE.match(payer):
            try:
                rate = Rate.parse(payer)
            except ValueError as error:
                self._report(path, str(error))
                return None
            return Cost(rule, "", rate.amount, rate.window)
        section = self.reading.root.get("targets")
        entries = section.entries if isinstance(section, Keys) else {}
        if payer not in entries:
            self._report(path, unknown(payer, "target", entries) + "; or write a number in a period, such as 2000/1d")
            return None
        entry, node = entries[payer], entries[payer].node
        if not isinstance(node, Keys) or "limit" not in node.entries:
            self._report(path, f"target {payer} has no limit; give it one, or write a number in a period here")
            return None
        alone = Keys(node.at, {"limit": node.entries["limit"]})  # the target's address and its secrets are not needed here
        found = self.reading.validated(LimitKeys, ConfigPart(alone, ("targets", payer), entry.at, "a target"), self.source)
        limit = found.model.limit if found else None
        return Cost(rule, payer, limit.amount, limit.window) if limit else None

    def _report(self, path: Path, message: str) -> None:
        self.reading.report_inside(self.entry, ("load",), path, message)
