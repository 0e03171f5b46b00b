"""Which checks of the file a plan holds: the enabled ones, or those among them that were asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from probes.text import did_you_mean, unknown
from runner.config.checks import BuildContext
from runner.config.errors import NOWHERE
from runner.config.nodes import Entry, Keys, Scalar
from runner.config.sections import CheckKeys, Section
from runner.config.validation import ConfigPart


class _EarlyKeys(Section):
    """What is read before all else of a check: whether it runs, and what it is selected by."""

    enabled: bool = CheckKeys.model_fields["enabled"].default
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Names of checks whose values are needed, and of those that would be selected if they were enabled, in the file's order."""

    names: frozenset[str]
    off: tuple[str, ...] = ()


def select(
    context: BuildContext, entries: Mapping[str, Entry], *, tags: Collection[str], names: Collection[str], of_the_gate: bool
) -> Selection:
    """The enabled checks that carry one of the tags or have one of the names; all where neither is given.

    `of_the_gate`: the tags are those of the gate section, which one check must carry at least; nobody typed them.
    Reports a tag that no enabled check carries, a check that isn't there, and one that is asked for and not enabled.
    """
    reading, early = context.reading, _early(context, entries)
    enabled = {name: found.tags for name, found in early.items() if found is not None and found.enabled}
    off = {name: found.tags for name, found in early.items() if found is not None and not found.enabled}
    if not tags and not names:
        return Selection(frozenset(enabled), tuple(off))
    carried = {tag for found in enabled.values() for tag in found}
    if of_the_gate and carried.isdisjoint(tags):
        section = reading.root.entries.get("gate")
        which = f"tagged {' or '.join(tags)} (gate.tags)"
        text = f"outrider gate runs the enabled checks {which}, and there is none; add tags: [{next(iter(tags))}] to a check, "
        reading.report(section.at if section else NOWHERE, ("gate", "tags"), text + "or choose checks with --tag or --check")
    for tag in () if of_the_gate else tags:
        if tag not in carried:
            idle = any(tag in found.tags for found in early.values() if found is not None)
            text = f"no enabled check carries the tag {tag}" if idle else f"no check carries the tag {tag}{did_you_mean(tag, carried)}"
            reading.report(NOWHERE, (), text, option=f"--tag {tag}")
    meant: set[str] = set()
    for name in names:
        own = context.names.get(name, ())
        meant.update(own)
        if name not in context.names:
            reading.report(NOWHERE, (), unknown(name, "check", context.names), option=name)
        elif own and set(own) <= off.keys():
            text = "this check is not enabled" if own == (name,) else "none of its checks is enabled"
            reading.report(NOWHERE, (), text, option=name)
    chosen = frozenset(name for name, own in enabled.items() if name in meant or not set(tags).isdisjoint(own))
    return Selection(chosen, tuple(name for name, own in off.items() if name in meant or not set(tags).isdisjoint(own)))


def select_scripted(context: BuildContext, entries: Mapping[str, Entry], *, target: str, mix: Collection[str]) -> Selection:
    """The enabled checks of this target that a load plays, and those whose scripts may log its users in.

    No value of any other check is needed.
    """
    kinds, early = context.kinds, _early(context, entries)
    if target in context.targets:
        context.targets.use(target)
    found = []
    for name, entry in entries.items():
        kind, goes_to = (entry.node.get(key) if isinstance(entry.node, Keys) else None for key in ("kind", "target"))
        known = kinds.get(kind.text) if isinstance(kind, Scalar) else None
        scripted = known is not None and (known.captures or (known.scripted and name in mix))
        there = isinstance(goes_to, Scalar) and (goes_to.text == target or "${" in goes_to.text)
        if scripted and there and (keys := early[name]) is not None and keys.enabled:
            found.append(name)
    return Selection(frozenset(found))


def _early(context: BuildContext, entries: Mapping[str, Entry]) -> dict[str, _EarlyKeys | None]:
    """Of each check; None where it can't be known: that is reported, here or where the whole check is read."""
    found: dict[str, _EarlyKeys | None] = {}
    for entry in entries.values():
        valid = None
        if isinstance(entry.node, Keys):
            node = Keys(entry.node.at, {key: entry.node.entries[key] for key in _EarlyKeys.model_fields if key in entry.node.entries})
            part = ConfigPart(node, ("checks", entry.key), entry.at, "a check")
            valid = context.reading.validated(_EarlyKeys, part, context.source)
        found[entry.key] = valid.model if valid else None
    return found
