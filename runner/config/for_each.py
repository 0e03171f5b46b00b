"""`for_each`: one check for each element of a list or a mapping. What differs is written `${each.key}` and `${each.value}`.

Elements are put in before anything else is read, as if each check had been written out: a placeholder in a value is filled in later,
by the field that it ends up in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from probes.text import did_you_mean
from runner.config.errors import Path, PlanError, Position
from runner.config.names import LONGEST_NAME, NAME_RULE, is_name
from runner.config.nodes import Entry, Items, Keys, Node, Scalar
from runner.config.target_files import TargetElement
from runner.config.validation import Reading

MOST = 1_000  # elements of one check
MOST_MADE = 10_000  # checks that all of them make
_FORMS = "write a list of texts, or a mapping of names to values"
_EACH = re.compile(r"(\$?)\$\{each\.([^}:]*)(?::-([^}]*))?\}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Element:
    """One element; `values` is what `each.` knows of it. `at` is where it is written."""

    key: str
    at: Position
    values: Keys

    @classmethod
    def of(cls, key: str, at: Position, **values: Node) -> Element:
        """With its key among its values."""
        entries: dict[str, Node] = {"key": Scalar(at, key, plain=False), **values}
        return cls(key, at, Keys(at, {name: Entry(name, at, node) for name, node in entries.items()}))


@dataclass(slots=True, eq=False)
class Made(Entry):
    """A check that was made for an element. `at` is where the check is written."""

    element: Position = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Expanded:
    """All checks by name. `names` are the names by which checks may be meant: their own, and that of a for_each for all that it made."""

    entries: Mapping[str, Entry]
    names: Mapping[str, tuple[str, ...]]


def expand(reading: Reading, written: Mapping[str, Entry]) -> Expanded:
    """Makes the checks of each `for_each`. What is wrong with its elements is reported, and no check is made of such an element."""
    entries: dict[str, Entry] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, entry in written.items():
        if not isinstance(entry.node, Keys) or "for_each" not in entry.node.entries:
            entries[name], names[name] = entry, (name,)
            continue
        node = Keys(entry.node.at, {key: one for key, one in entry.node.entries.items() if key != "for_each"})
        made: dict[str, Entry] = {}
        for element in _elements(reading, entry.node.entries["for_each"], ("checks", name, "for_each")):
            own = f"{name}-{element.key}"
            other = written.get(own) or made.get(own) or entries.get(own)
            if not is_name(own):
                reading.report(element.at, ("checks", name, "for_each"), f"makes the name {own[:LONGEST_NAME]}...; {NAME_RULE}")
            elif other:
                at = other.element if isinstance(other, Made) else other.at
                text = f"makes {own}, which is written twice; the first is at {at.within(reading.file.name)}"
                reading.report(element.at, ("checks", name, "for_each"), text)
            else:
                known = len(reading.problems)
                filled = _Filling(reading, element).node(node, ("checks", own))
                reading.made[own] = name
                names[own] = (own,)
                if len(reading.problems) == known:
                    made[own] = Made(own, entry.at, filled, element=element.at)
        if len(reading.made) > MOST_MADE:
            reading.report(entry.at, ("checks", name), f"for_each makes more than {MOST_MADE:,} checks in all")
            return Expanded(entries, names)
        entries |= made
        names[name] = tuple(made)
    return Expanded(entries, names)


def _elements(reading: Reading, entry: Entry, path: Path) -> Iterator[Element]:
    """The elements that are written."""
    node = entry.node
    if isinstance(node, Keys) and node.entries.keys() == {"file_sd"}:
        yield from _from_files(reading, node.entries["file_sd"], (*path, "file_sd"))
        return
    number = len(node.entries) if isinstance(node, Keys) else len(node.items) if isinstance(node, Items) else 0
    if not number:
        reading.report(node.at, path, f"must be a list or a mapping; {_FORMS}")
    elif number > MOST:
        reading.report(entry.at, path, f"has {number:,} elements, and may have {MOST:,}")
    elif isinstance(node, Keys):
        for key, one in node.entries.items():
            if is_name(key):
                yield Element.of(key, one.at, value=one.node)
            else:
                reading.report(one.at, (*path, key[:LONGEST_NAME]), NAME_RULE)
    elif isinstance(node, Items):
        for index, item in enumerate(node.items):
            if not isinstance(item, Scalar) or "${" in item.text or not key_of(item.text):
                text = "has no name by itself; write a mapping of names to values, such as {eu: ..., us: ...}"
                reading.report(item.at, (*path, index), text)
            else:
                yield Element.of(key_of(item.text), item.at, value=item)


def _from_files(reading: Reading, entry: Entry, path: Path) -> Iterator[Element]:
    """The targets that files list, in the order of the files."""
    written = entry.node.items if isinstance(entry.node, Items) else [entry.node]
    found: dict[str, TargetElement] = {}
    for node in written:
        if not isinstance(node, Scalar) or not node.text or "${" in node.text:
            reading.report(node.at, path, "must be the path of a file, or a list of paths; write one such as targets/*.json")
            continue
        try:
            for one in reading.targets.find(reading.file.parent, node.text):
                if (there := found.setdefault(one.address, one)).labels != one.labels:
                    places = f"{one.at.within('')} than in {there.at.within('')}"
                    reading.report(node.at, path, f"{one.address} has other labels in {places}")
        except ValueError as error:
            reading.report(node.at, path, str(error))
        except PlanError as error:
            reading.problems += error.problems
    if len(found) > MOST:
        reading.report(entry.node.at, path, f"names {len(found):,} targets, and may name {MOST:,}")
        return
    for one in found.values():
        if key := key_of(one.address):
            yield Element.of(key, one.at if one.at.line else entry.at, **one.values())
        else:
            reading.report(entry.node.at, path, f"a target of {one.at.file} has no letter and no digit")


def key_of(text: str) -> str:
    """The key of an element of a list: `https://eu.example.com:8443/` is eu-example-com-8443."""
    return re.sub(r"[^a-z0-9]+", "-", _SCHEME.sub("", text, count=1).lower()).strip("-")


@dataclass(frozen=True, slots=True)
class _Filling:
    """Puts one element into the settings of its check."""

    reading: Reading
    element: Element

    def node(self, node: Node, path: Path) -> Node:
        """The tree with every `${each....}` replaced; a part without one is shared by all elements."""
        if isinstance(node, Keys):
            entries = {key: self.node(one.node, (*path, key)) for key, one in node.entries.items()}
            if all(entries[key] is one.node for key, one in node.entries.items()):
                return node
            return Keys(node.at, {key: Entry(key, one.at, entries[key]) for key, one in node.entries.items()}, node.weight)
        if isinstance(node, Items):
            items = [self.node(item, (*path, index)) for index, item in enumerate(node.items)]
            return node if all(new is old for new, old in zip(items, node.items, strict=True)) else Items(node.at, items, node.weight)
        return self._scalar(node, path) if "${each." in node.text else node

    def _scalar(self, node: Scalar, path: Path) -> Node:
        """A value alone keeps its type, a mapping or a list too; within a longer text it must be a single one."""
        whole = _EACH.fullmatch(node.text)
        if whole and not whole[1] and (value := self._value(whole[2])) is not None:
            return value

        def filled(found: re.Match[str]) -> str:
            if found[1]:
                return found[0]  # $${ is a literal ${
            value = self._value(found[2])
            if isinstance(value, Scalar):
                return value.text
            if value is not None:
                known = ", ".join(f"each.{found[2]}.{key}" for key in value.entries) if isinstance(value, Keys) else ""
                self.reading.report(node.at, path, f"each.{found[2]} is no single value{'; there are ' if known else ''}{known}")
            elif found[3] is None:
                there = list(self._known(self.element.values))
                hint = did_you_mean(found[2], there) or f" (there are {', '.join(f'each.{one}' for one in there)})"
                text = f"{self.element.key} has no each.{found[2]}{hint}, or write ${{each.{found[2]}:-default}}"
                self.reading.report(node.at, path, text)
            return found[3] or ""

        return Scalar(node.at, _EACH.sub(filled, node.text), plain=False)

    def _value(self, dotted: str) -> Node | None:
        node: Node | None = self.element.values
        for word in dotted.split("."):
            node = node.get(word) if isinstance(node, Keys) else None
        return node

    def _known(self, keys: Keys, before: str = "") -> Iterator[str]:
        for key, entry in keys.entries.items():
            yield before + key
            if isinstance(entry.node, Keys):
                yield from self._known(entry.node, f"{before}{key}.")
