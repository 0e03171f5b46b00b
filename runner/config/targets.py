"""The targets, logins and SLOs of the file by name, each read when a check first uses it: values of the others are never needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from judge.observation import Slo
from probes.fields import split_url
from probes.journeys.login import Login
from probes.target import Target
from runner.config import secret_names
from runner.config.errors import Position
from runner.config.filling import UNFILLED
from runner.config.nodes import Entry, Keys, Node
from runner.config.placeholders import DryRun, Source
from runner.config.sections import SloKeys
from runner.config.validation import ALREADY_REPORTED, ConfigPart, Reading

T = TypeVar("T")


class TargetKeys(Target):
    """A target as it is written: its address is one that can be asked."""

    @field_validator("url")
    @classmethod
    def _can_be_asked(cls, url: str) -> str:
        split = split_url(url)
        if split.query or split.fragment:
            raise ValueError("ends before the query; a check adds its own")
        return url


class NamedEntries(Mapping[str, T], Generic[T]):
    """A section's entries by name, made at their first use. One that is wrong is reported once, where it stands."""

    def __init__(self, section: Node | None, make: Callable[[Entry], T | None]) -> None:
        self._entries = section.entries if isinstance(section, Keys) else {}
        self._make = make
        self._made: dict[str, T | None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> T:
        entry = self._entries[name]
        if name not in self._made:
            self._made[name] = self._make(entry)
        made = self._made[name]
        if made is None:
            raise PydanticCustomError(ALREADY_REPORTED, "is wrong where it is defined")
        return made

    def use(self, name: str) -> T | None:
        """The entry, or None where it is wrong (and reported)."""
        try:
            return self[name]
        except PydanticCustomError:
            return None

    def used(self) -> dict[str, T]:
        """Those that were used, in the file's order."""
        return {name: made for name in self._entries if (made := self._made.get(name)) is not None}

    def unused(self) -> list[str]:
        """Those that nothing used."""
        return [name for name in self._entries if name not in self._made]

    def at(self, name: str) -> Position:
        """Where its name stands."""
        return self._entries[name].at


def targets(reading: Reading, source: Source) -> NamedEntries[Target]:
    """The targets of the file, with values from `source`."""

    def make(entry: Entry) -> Target | None:
        path = ("targets", entry.key)
        if isinstance(entry.node, Keys) and "name" in entry.node.entries:
            reading.report(entry.node.entries["name"].at, (*path, "name"), "no such setting of a target; its name is the key above")
            return None
        found = reading.validated(TargetKeys, ConfigPart(entry.node, path, entry.at, "a target"), source, extra={"name": entry.key})
        if found is None:
            return None
        if not source.dry:
            reading.secrets |= set(secret_names.of_settings(found.model, reading.filled_in))
        return found.model

    return NamedEntries(reading.root.get("targets"), make)


def logins(reading: Reading, source: Source, known: NamedEntries[Target]) -> NamedEntries[Login]:
    """The logins of the file, with values from `source`, at the targets that it knows. What they send is held against those's rules."""

    def make(entry: Entry) -> Login | None:
        path = ("logins", entry.key)
        if isinstance(entry.node, Keys) and "name" in entry.node.entries:
            reading.report(entry.node.entries["name"].at, (*path, "name"), "no such setting of a login; its name is the key above")
            return None
        part = ConfigPart(entry.node, path, entry.at, "a login")
        found = reading.validated(Login, part, source, context={"targets": known}, extra={"name": entry.key})
        if found is None:
            return None
        if not source.dry:
            reading.secrets |= set(secret_names.of_settings(found.model, reading.filled_in))
        before = len(reading.problems)
        for ask in found.model.asks():
            target = known[ask.target] if ask.target else found.model.target
            if source.dry and UNFILLED in ask.url:
                continue
            refused = target.refusal(ask.method, ask.url) if ask.known else target.refusal_of_all(ask.method)
            if refused:
                at = known.at(target.name)
                reading.report_inside(entry, path, ask.where, f"{refused} ({at.named(reading.file.name)}:{at.line})")
        return found.model if len(reading.problems) == before else None

    return NamedEntries(reading.root.get("logins"), make)


def unused_targets(reading: Reading, used: Mapping[str, Target]) -> dict[str, Target]:
    """The targets of the file that no selected check uses, by name: a redirect may lead to them, whichever checks are selected.

    They are read without their headers and without an error of their own; one whose address or rules are not known is left out.
    """
    quiet = Reading(reading.file, reading.root, reading.environ)
    found: dict[str, Target] = {}
    section = reading.root.get("targets")
    for key, entry in section.entries.items() if isinstance(section, Keys) else ():
        if key in used or not isinstance(entry.node, Keys):
            continue
        rules = Keys(entry.node.at, {name: one for name, one in entry.node.entries.items() if name not in ("headers", "revision")})
        part = ConfigPart(rules, ("targets", key), entry.at, "a target")
        read = quiet.validated(TargetKeys, part, DryRun(reading.environ), extra={"name": key})
        if read is not None and not read.missing:
            found[key] = read.model
    return found


def slos(reading: Reading, source: Source) -> NamedEntries[Slo]:
    """The SLOs of the file, with values from `source`."""

    def make(entry: Entry) -> Slo | None:
        found = reading.validated(SloKeys, ConfigPart(entry.node, ("slos", entry.key), entry.at, "an SLO"), source)
        keys = found.model if found else None
        return Slo(entry.key, keys.objective, keys.window, keys.threshold, keys.measure) if keys else None

    return NamedEntries(reading.root.get("slos"), make)
