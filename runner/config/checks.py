"""One check of the file: its keys and its kind's settings, understood and ready to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from judge.observation import Check, Slo
from probes.core import Ask
from probes.probe import Probe
from probes.target import Target, plain_path
from runner.config import cron, secret_names
from runner.config.errors import Path, unknown
from runner.config.filling import STAND_IN, Sketch
from runner.config.measures import knows
from runner.config.nodes import Entry, Keys, Scalar, find
from runner.config.plan import Cron, Every, Planned
from runner.config.sections import CheckKeys, Defaults
from runner.config.targets import Named
from runner.config.validation import Part, Reading

COMMON = frozenset(CheckKeys.model_fields)


@dataclass(frozen=True, slots=True)
class Book:
    """What the checks of a file are read by."""

    reading: Reading
    kinds: Mapping[str, type[Probe]]
    defaults: Defaults
    targets: Named[Target]
    slos: Named[Slo]
    sketch: Sketch
    names: Collection[str]  # of all checks of the file


def planned(entry: Entry, book: Book) -> Planned | None:
    """The check, or None after a problem (or where, in a sketch, its values would be needed)."""
    reading, path = book.reading, ("checks", entry.key)
    if not isinstance(entry.node, Keys):
        reading.report(entry.node.at, path, "must be a mapping that begins with kind:")
        return None
    common, settings = _split(entry.node)
    kind = _kind(entry, common, book)
    common.entries.pop("kind", None)
    read = reading.validated(CheckKeys, Part(common, path, entry.at, "a check", COMMON), sketch=book.sketch, extra={"kind": kind or ""})
    if kind is None:
        return None
    context = {"targets": book.targets, "folder": reading.file.parent}
    part = Part(settings, path, entry.at, f"kind {kind}", COMMON)
    made = reading.validated(book.kinds[kind], part, sketch=book.sketch, context=context)
    keys = read[0] if read else _sound(entry, common, book)
    if keys is None:
        return None
    draft = _Draft(entry, keys, kind, book)
    schedule = draft.schedule()
    slos = draft.slos(made[0] if made else None)
    draft.judge_dependencies()
    if read is None or made is None or schedule is None:
        return None
    if book.sketch is None:
        reading.secrets |= set(secret_names.of_settings(made[0], reading.filled_in))
    draft.judge_asks(made[0])
    draft.judge_confirm(made[0])
    return draft.planned(made[0], made[1], schedule, slos)


def _sound(entry: Entry, common: Keys, book: Book) -> CheckKeys | None:
    """What is right of a check's keys, where something of them is wrong: so that the rest is judged all the same."""

    def read(entries: Mapping[str, Entry]) -> tuple[CheckKeys, object] | None:
        part = Part(Keys(common.at, dict(entries)), ("checks", entry.key), entry.at, "a check", COMMON)
        return book.reading.validated(CheckKeys, part, sketch=book.sketch, extra={"kind": ""})

    right = {key: one for key, one in common.entries.items() if read({key: one}) or key == "zone"}
    found = read(right)
    return found[0] if found else None


def _split(node: Keys) -> tuple[Keys, Keys]:
    """The keys that every check has, and those of its kind."""
    common = {key: entry for key, entry in node.entries.items() if key in COMMON}
    settings = {key: entry for key, entry in node.entries.items() if key not in COMMON}
    return Keys(node.at, common), Keys(node.at, settings)


def _kind(entry: Entry, common: Keys, book: Book) -> str | None:
    """The name of the check's kind, where there is such a kind; the reason why not is reported."""
    found = common.entries.get("kind")
    if found is None:
        hint = f"; the kinds are {', '.join(sorted(book.kinds))}"
        book.reading.report(entry.at, ("checks", entry.key, "kind"), f"is missing{hint}")
        return None
    node, path = found.node, ("checks", entry.key, "kind")
    if isinstance(node, Scalar) and node.text in book.kinds:
        return node.text
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        book.reading.report(node.at, path, "must be the name of a kind")
    elif "${" in node.text:
        book.reading.report(node.at, path, "can't come from a variable")
    else:
        book.reading.report(node.at, path, unknown(node.text, "kind", book.kinds))
    return None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A check whose own keys are read."""

    entry: Entry
    keys: CheckKeys
    kind: str
    book: Book

    def _report(self, path: Path, message: str) -> None:
        """At the value that `path` names inside the check, or at the check's name."""
        walked, at, node = find(self.entry.node, self.entry.at, path)
        self.book.reading.report(node.at if walked else at, ("checks", self.entry.key, *path), message)

    @property
    def timeout(self) -> float:
        return self.keys.timeout if self.keys.timeout is not None else self.book.defaults.timeout

    def schedule(self) -> tuple[Every | Cron, float] | None:
        """When it runs, and the shortest time between two runs in seconds."""
        found = self._every() if self.keys.cron is None else self._cron(self.keys.cron)
        if found is not None and self.timeout > found[1] and not self._stands_in("timeout", "interval", "cron"):
            where = "timeout" if self.keys.timeout is not None or self.keys.interval is None else "interval"
            self._report((where,), f"a timeout of {self.timeout:g}s is longer than the {found[1]:g}s between two runs")
            return None
        return found

    def _every(self) -> tuple[Every, float]:
        gap = self.keys.interval if self.keys.interval is not None else self.book.defaults.interval
        return Every(gap), gap

    def _cron(self, expression: str) -> tuple[Cron, float] | None:
        zone = self.keys.zone if self.keys.zone is not None else self.book.defaults.zone
        if self._stands_in("cron", "zone"):
            expression, zone = "@daily", "UTC"
        sound = [self._judged("zone", cron.zone, zone), self._judged("cron", cron.parse, expression)]
        return (Cron(expression, zone), cron.shortest_gap(expression)) if all(sound) else None

    def _judged(self, key: str, judge: Callable[[str], object], text: str) -> bool:
        try:
            judge(text)
        except ValueError as error:
            self._report((key,), str(error))
            return False
        return True

    def judge_dependencies(self) -> None:
        """Reports dependencies on checks that aren't there."""
        for index, name in enumerate(self.keys.depends_on):
            if name not in self.book.names and not (name == STAND_IN and self.book.sketch is not None):
                self._report(("depends_on", index), unknown(name, "check", self.book.names))

    def _stands_in(self, *keys: str) -> bool:
        """Whether this is a sketch, and one of these keys (or its default) is filled in from elsewhere."""
        defaults = self.book.reading.root.get("defaults")
        nodes = [part.get(key) for part in (self.entry.node, defaults) if isinstance(part, Keys) for key in keys]
        return self.book.sketch is not None and any(isinstance(node, Scalar) and "${" in node.text for node in nodes)

    def slos(self, probe: Probe | None) -> tuple[Slo, ...]:
        """The SLOs that it counts for; unknown names and measures that its kind can't fill are reported."""
        found = []
        for index, name in enumerate(self.keys.slos):
            if name == STAND_IN and self.book.sketch is not None:
                continue
            if name not in self.book.slos:
                self._report(("slos", index), unknown(name, "SLO", self.book.slos))
            elif slo := self.book.slos.touch(name):
                found.append(slo)
                if probe is not None and slo.measure and (complaint := knows(probe, slo.measure)):
                    self._report(("slos", index), f"{name} measures {slo.measure}, {complaint}")
        return tuple(found)

    def judge_confirm(self, probe: Probe) -> None:
        """Reports re-checks of what mustn't be sent twice."""
        if self.keys.confirm and not probe.repeatable():
            self._report(
                ("confirm",),
                f"repeats a failed run at once, but this {self.kind} check sends requests that must not be repeated: leave it out",
            )

    def judge_asks(self, probe: Probe) -> None:
        """Holds what it may send against its target's rules. A check with a url of its own sends its kind's request and nothing else."""
        target = getattr(probe, "target", None)
        if not isinstance(target, Target):
            return
        for ask in probe.asks():
            refused = self._refused(target, ask)
            if refused:
                line = self.book.targets.at(target.name).line
                self._report(ask.where, f"{refused} ({self.book.reading.file.name}:{line})")

    def _refused(self, target: Target, ask: Ask) -> str | None:
        try:
            if self.book.sketch is not None and STAND_IN in plain_path(ask.url):
                return None
            return target.refusal(ask.method, ask.url)
        except ValueError:
            return "is no address that can be asked"

    def planned(self, probe: Probe, data: Any, schedule: tuple[Every | Cron, float], slos: tuple[Slo, ...]) -> Planned:
        target = getattr(probe, "target", None)
        target = target if isinstance(target, Target) else None
        check = self._check(probe, target, schedule[1], slos)
        compares = probe.part_compares()
        own = replace(check, slos=(), depends_on=(), reports_as="", part_of=check.name)
        parts = tuple(replace(own, name=f"{check.name}/{part}", compare_with=compares.get(part, "")) for part in probe.part_names())
        told = (data, self.keys.confirm) if self.keys.confirm else data
        mark = _fingerprint(check, parts, schedule[0], told, target)
        return Planned(check, probe, schedule[0], self.timeout, mark, target, parts, self.keys.confirm)

    def _check(self, probe: Probe, target: Target | None, gap: float, slos: tuple[Slo, ...]) -> Check:
        keys, defaults = self.keys, self.book.defaults
        return Check(
            name=self.entry.key,
            kind=self.kind,
            line=self.entry.at.line,
            address=probe.address(),
            target=target.name if target else "",
            tags=keys.tags,
            slos=slos,
            alert=keys.alert or defaults.alert,
            required=(keys.gate or defaults.gate) == "required",
            runbook=keys.runbook,
            depends_on=keys.depends_on,
            reports_as=keys.reports_as,
            interval=gap,
            timeout=self.timeout,
        )


def _fingerprint(check: Check, parts: tuple[Check, ...], schedule: Every | Cron, data: Any, target: Target | None) -> str:
    """Changes with whatever the check's running depends on, and not with the place where it stands."""
    about = {
        "check": asdict(replace(check, line=0)),
        "parts": [asdict(replace(part, line=0)) for part in parts],
        "schedule": repr(schedule),
        "settings": data,
        "target": _revealed(target) if target else None,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _revealed(target: Target) -> dict[str, Any]:
    """A target's data with its headers' values: only for a hash."""
    headers = {name: value.get_secret_value() for name, value in target.headers.items()}
    return {
        "url": target.url,
        "headers": headers,
        "revision": str(target.revision),
        "rules": [str(target.limit), [str(r) for r in target.allow], [str(r) for r in target.deny]],
    }
