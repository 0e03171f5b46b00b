"""Which checks of the file this plan holds: the enabled ones, or those among them that were asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runner.config.errors import NOWHERE, did_you_mean
from runner.config.filling import Sketch
from runner.config.nodes import Entry, Keys
from runner.config.sections import CheckKeys, Section
from runner.config.validation import Part, Reading


class _Early(Section):
    """What is read before all else of a check: whether it runs, and what it is selected by."""

    enabled: bool = CheckKeys.model_fields["enabled"].default
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Names of checks that are planned for real, and of those that would be if they were enabled, in the file's order."""

    chosen: frozenset[str]
    off: tuple[str, ...] = ()


def choose(reading: Reading, entries: Keys | None, *, tags: Collection[str], names: Collection[str], sketch: Sketch) -> Choice:
    """The enabled checks that carry one of the tags or have one of the names; all where neither is given.

    Reports a tag that no enabled check carries, a check that isn't there, and one that is asked for and not enabled.
    """
    early = {entry.key: _early(reading, entry, sketch=sketch) for entry in (entries.entries.values() if entries else ())}
    enabled = {name: found.tags for name, found in early.items() if found is not None and found.enabled}
    off = {name: found.tags for name, found in early.items() if found is not None and not found.enabled}
    if not tags and not names:
        return Choice(frozenset(enabled), tuple(off))
    carried = {tag for found in enabled.values() for tag in found}
    for tag in tags:
        if tag not in carried:
            idle = any(tag in found.tags for found in early.values() if found is not None)
            said = f"no enabled check carries the tag {tag}" if idle else f"no check carries the tag {tag}{did_you_mean(tag, carried)}"
            reading.report(NOWHERE, (), said, option=f"--tag {tag}")
    for name in names:
        if name not in early:
            reading.report(NOWHERE, (), f"there is no check {name}{did_you_mean(name, early)}", option=f"--check {name}")
        elif (found := early[name]) is not None and not found.enabled:
            reading.report(NOWHERE, (), f"check {name} is not enabled", option=f"--check {name}")
    chosen = frozenset(name for name, own in enabled.items() if name in names or not set(tags).isdisjoint(own))
    return Choice(chosen, tuple(name for name, own in off.items() if not set(tags).isdisjoint(own)))


def _early(reading: Reading, entry: Entry, *, sketch: Sketch) -> _Early | None:
    """None where it can't be told: that is reported, here or where the whole check is read."""
    if not isinstance(entry.node, Keys):
        return None
    node = Keys(entry.node.at, {key: entry.node.entries[key] for key in _Early.model_fields if key in entry.node.entries})
    found = reading.validated(_Early, Part(node, ("checks", entry.key), entry.at, "a check"), sketch=sketch)
    return found[0] if found else None
