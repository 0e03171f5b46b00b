"""One check of the file: its keys and its kind's settings, understood and ready to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from judge.observation import Check, Slo
from probes.journeys.login import Login
from probes.probe import Probe
from probes.target import Target, plain_path
from probes.text import did_you_mean, unknown
from runner.config import cron, secret_names
from runner.config.errors import Path
from runner.config.filling import UNFILLED
from runner.config.for_each import Made
from runner.config.measures import why_unmeasured
from runner.config.messages import KINDS_ELSEWHERE
from runner.config.nodes import Entry, Keys, Scalar
from runner.config.placeholders import Source
from runner.config.plan import Cron, Every, Planned
from runner.config.sections import CheckKeys, Defaults
from runner.config.targets import NamedEntries, logins, slos, targets
from runner.config.validation import ConfigPart, Reading, Valid

_LASTING = tuple(each.name for each in fields(Check) if each.name not in ("line", "file"))
COMMON = frozenset(CheckKeys.model_fields)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What the checks of a file are built with. `source` says where their values come from, or that none is needed."""

    reading: Reading
    kinds: Mapping[str, type[Probe]]
    source: Source
    defaults: Valid[Defaults]
    targets: NamedEntries[Target]
    logins: NamedEntries[Login]
    slos: NamedEntries[Slo]
    names: Mapping[str, tuple[str, ...]]  # by which checks of the file may be meant, and which they are

    @classmethod
    def of(cls, reading: Reading, source: Source, kinds: Mapping[str, type[Probe]], names: Mapping[str, tuple[str, ...]]) -> BuildContext:
        """Reads the defaults; targets, logins and SLOs are read as they are used."""
        defaults = reading.section("defaults", Defaults, source) or Valid(Defaults(), {}, frozenset())
        known = targets(reading, source)
        return cls(reading, kinds, source, defaults, known, logins(reading, source, known), slos(reading, source), names)

    def awaits_values(self, entry: Entry) -> bool:
        """Whether nothing but values that aren't there can keep a check from being read: the target that it names is not wrong."""
        name = entry.node.get("target") if isinstance(entry.node, Keys) else None
        return not isinstance(name, Scalar) or name.text not in self.targets or self.targets.use(name.text) is not None

    def use_what_is_unused(self, other: BuildContext) -> None:
        """Reads the targets, logins and SLOs that nothing uses of another context: they may hold mistakes of the file."""
        for name in other.targets.unused():
            self.targets.use(name)
        for name in other.logins.unused():
            self.logins.use(name)
        for name in other.slos.unused():
            self.slos.use(name)


def build_check(entry: Entry, context: BuildContext) -> Planned | None:
    """The check, or None after a problem (or where, in a dry run, its values would be needed)."""
    reading, path = context.reading, ("checks", entry.key)
    if not isinstance(entry.node, Keys):
        reading.report(entry.node.at, path, "must be a mapping that begins with kind:")
        return None
    common = Keys(entry.node.at, {key: one for key, one in entry.node.entries.items() if key in COMMON and key != "kind"})
    settings = Keys(entry.node.at, {key: one for key, one in entry.node.entries.items() if key not in COMMON})
    kind = _kind(entry, entry.node, context)
    keys = _check_keys(entry, common, kind or "", context)
    if kind is None:
        return None
    part = ConfigPart(settings, path, entry.at, f"kind {kind}", COMMON)
    values = {"targets": context.targets, "logins": context.logins, "folder": reading.file.parent, "files": not context.source.dry}
    probe = reading.validated(context.kinds[kind], part, context.source, context=values)
    sound = keys or _sound_keys(entry, common, context)
    if sound is None:
        return None
    builder = _CheckBuilder(entry, sound.model, sound.missing, kind, context)
    schedule = builder.schedule()
    slos = builder.slos(probe.model if probe else None)
    builder.judge_dependencies()
    if keys is None or probe is None or schedule is None:
        return None
    if not context.source.dry:
        reading.secrets |= set(secret_names.of_settings(probe.model, reading.filled_in))
    builder.judge_asks(probe.model)
    if keys.model.confirm and not probe.model.repeatable():
        builder.report(
            ("confirm",), f"repeats a failed run at once, but this {kind} check sends requests that must not be repeated: leave it out"
        )
    return builder.build(probe.model, probe.data, schedule, slos)


def _kind(entry: Entry, node: Keys, context: BuildContext) -> str | None:
    """The name of the check's kind, where there is such a kind; the reason why not is reported."""
    report, path, found = context.reading.report, ("checks", entry.key, "kind"), node.get("kind")
    if found is None:
        report(entry.at, path, f"is missing; the kinds are {', '.join(sorted(context.kinds))}")
    elif not isinstance(found, Scalar) or not isinstance(found.value, str):
        report(found.at, path, "must be the name of a kind")
    elif found.text in context.kinds:
        return found.text
    elif "${" in found.text:
        report(found.at, path, "can't come from a variable")
    else:
        report(
            found.at,
            path,
            f"no such kind: {found.text}{did_you_mean(found.text, context.kinds)} (there are {', '.join(sorted(context.kinds))})"
            + (f"; write {KINDS_ELSEWHERE[found.text.lower()]}" if found.text.lower() in KINDS_ELSEWHERE else ""),
        )
    return None


def _check_keys(entry: Entry, common: Keys, kind: str, context: BuildContext) -> Valid[CheckKeys] | None:
    part = ConfigPart(common, ("checks", entry.key), entry.at, "a check", COMMON)
    return context.reading.validated(CheckKeys, part, context.source, extra={"kind": kind})


def _sound_keys(entry: Entry, common: Keys, context: BuildContext) -> Valid[CheckKeys] | None:
    """What is right of a check's keys, where something of them is wrong: so that the rest is judged all the same."""
    alone = {key: Keys(common.at, {key: one}) for key, one in common.entries.items()}
    right = {key: common.entries[key] for key, node in alone.items() if _check_keys(entry, node, "", context) or key == "zone"}
    return _check_keys(entry, Keys(common.at, right), "", context)


@dataclass(frozen=True, slots=True)
class _CheckBuilder:
    """Builds a check whose own keys are read. `missing` are the places among them whose values aren't there."""

    entry: Entry
    keys: CheckKeys
    missing: frozenset[Path]
    kind: str
    context: BuildContext

    def report(self, path: Path, message: str) -> None:
        """At the value that `path` names inside the check, or at the check's name."""
        self.context.reading.report_inside(self.entry, ("checks", self.entry.key), path, message)

    @property
    def timeout(self) -> float:
        return self.keys.timeout if self.keys.timeout is not None else self.context.defaults.model.timeout

    def schedule(self) -> tuple[Every | Cron, float] | None:
        """When it runs, and the shortest time between two runs in seconds."""
        keys, defaults = self.keys, self.context.defaults
        if keys.cron is None:
            gap = keys.interval if keys.interval is not None else defaults.model.interval
            found: Every | Cron = Every(gap)
        else:
            zone = keys.zone if keys.zone is not None else defaults.model.zone
            sound = [self._sound("zone", cron.zone, zone), self._sound("cron", cron.parse, keys.cron)]
            if not all(sound):
                return None
            found, gap = Cron(keys.cron, zone), cron.shortest_gap(keys.cron)
        rhythm = {key: getattr(keys, key) for key in ("timeout", "interval", "cron")}
        known = not any((key,) in (self.missing if value is not None else defaults.missing) for key, value in rhythm.items())
        if known and self.timeout > gap:
            where = "timeout" if keys.timeout is not None or keys.interval is None else "interval"
            self.report((where,), f"a timeout of {self.timeout:g}s is longer than the {gap:g}s between two runs")
            return None
        return found, gap

    def _sound(self, key: str, judge: Callable[[str], object], text: str) -> bool:
        try:
            judge(text)
        except ValueError as error:
            self.report((key,), str(error))
            return False
        return True

    def judge_dependencies(self) -> None:
        """Reports dependencies on checks that aren't there."""
        for index, name in enumerate(self.keys.depends_on):
            if name not in self.context.names and ("depends_on", index) not in self.missing:
                self.report(("depends_on", index), unknown(name, "check", self.context.names))

    def slos(self, probe: Probe | None) -> tuple[Slo, ...]:
        """The SLOs that it counts for; unknown names and measures that its kind can't fill are reported."""
        found, known = [], self.context.slos
        for index, name in enumerate(self.keys.slos):
            if ("slos", index) in self.missing:
                continue
            if name not in known:
                self.report(("slos", index), unknown(name, "SLO", known))
            elif slo := known.use(name):
                found.append(slo)
                if probe is None or slo.measure is None or UNFILLED in slo.measure:
                    continue
                if complaint := why_unmeasured(probe, slo.measure):
                    self.report(("slos", index), f"{name} measures {slo.measure}, {complaint}")
        return tuple(found)

    def judge_asks(self, probe: Probe) -> None:
        """Holds what it may send against its target's rules. A check with a url of its own sends its kind's request and nothing else."""
        reported = set()
        for ask in probe.asks():
            target = self.context.targets.use(ask.target) if ask.target else probe.goes_to()
            if target is None or ask.where in reported:
                continue
            try:
                if self.context.source.dry and UNFILLED in plain_path(ask.url):
                    continue
                refused = target.refusal(ask.method, ask.url) if ask.known else target.refusal_of_all(ask.method)
            except ValueError:
                refused = "is no address that can be asked"
            if refused:
                reported.add(ask.where)
                at = self.context.targets.at(target.name)
                self.report(ask.where, f"{refused} ({at.named(self.context.reading.file.name)}:{at.line})")

    def build(self, probe: Probe, data: Any, schedule: tuple[Every | Cron, float], slos: tuple[Slo, ...]) -> Planned:
        """The check as the plan has it."""
        keys, defaults, target = self.keys, self.context.defaults.model, probe.goes_to()
        place = self.entry.element if isinstance(self.entry, Made) and self.entry.element.line else self.entry.at
        check = Check(
            name=self.entry.key,
            kind=self.kind,
            line=place.line,
            file=place.file,
            address=probe.address(),
            target=target.name if target else "",
            tags=keys.tags,
            slos=slos,
            alert=keys.alert or defaults.alert,
            required=(keys.gate or defaults.gate) == "required",
            runbook=keys.runbook,
            depends_on=tuple(dict.fromkeys(one for name in keys.depends_on for one in self.context.names.get(name, (name,)))),
            reports_as=keys.reports_as,
            interval=schedule[1],
            timeout=self.timeout,
        )
        compares = probe.part_compares()
        own = replace(check, slos=(), depends_on=(), reports_as="", part_of=check.name)
        parts = tuple(replace(own, name=f"{check.name}/{part}", compare_with=compares.get(part, "")) for part in probe.part_names())
        settings = (data, keys.confirm) if keys.confirm else data
        if not self.context.source.dry and (files := probe.files()):
            settings = (settings, [hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
        settings = (settings, probe.further_settings()) if probe.further_settings() else settings
        fingerprint = _fingerprint(check, parts, schedule[0], settings, target, probe.further_targets())
        return Planned(check, probe, schedule[0], self.timeout, fingerprint, target=target, parts=parts, confirm=keys.confirm)


def _fingerprint(
    check: Check, parts: tuple[Check, ...], schedule: Every | Cron, settings: Any, target: Target | None, further: tuple[Target, ...]
) -> str:
    """Changes with whatever the check's running depends on, a secret too, and not with the place where it stands."""
    about: dict[str, Any] = {
        "check": _lasting(check),
        "parts": [_lasting(part) for part in parts],
        "schedule": repr(schedule),
        "settings": settings,
        "target": _about(target) if target else None,
    }
    if further:
        about["further"] = [_about(each) for each in further]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _lasting(check: Check) -> list[Any]:
    """What a check is, without the place where it stands."""
    return [getattr(check, name) for name in _LASTING]


def _about(target: Target) -> dict[str, Any]:
    return {
        "url": target.url,
        "headers": {name: value.get_secret_value() for name, value in target.headers.items()},
        "revision": str(target.revision),
        "rules": [str(target.limit), [str(r) for r in target.allow], [str(r) for r in target.deny]],
    }
