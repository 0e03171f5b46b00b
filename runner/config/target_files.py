"""Elements of a `for_each` from files that other programs write, in the form of Prometheus' file_sd.

A file is a list of groups, in JSON or YAML: `[{targets: [10.0.0.1:9100], labels: {env: prod}}]`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.config import document, patterns
from runner.config.errors import PlanError, Position, Problem
from runner.config.nodes import Entry, Items, Keys, Node, Scalar

LARGEST = 4_000_000  # bytes of a file
LONGEST = 1_000  # characters of a target or of a label's value
MOST_LABELS = 64
_SHOWN = 3  # problems of a file that its warning tells
ENDINGS = (".json", ".yaml", ".yml")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_FORM = "write a list of {targets: [...], labels: {...}}"
_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True)
class TargetElement:
    """A target and its labels. `at` is its place; line 0 in a file of JSON."""

    address: str
    labels: Mapping[str, str]
    at: Position

    def values(self) -> dict[str, Node]:
        """What `each.` knows of it: value, labels, and host and port where the address has them."""
        found = {"value": self.address}
        try:
            split = urlsplit(self.address if "://" in self.address else f"//{self.address}")
            host, port = split.hostname or "", split.port
        except ValueError:
            host, port = "", None
        if host:
            found["host"] = host
        if port is not None:
            found["port"] = str(port)
        nodes: dict[str, Node] = {name: Scalar(self.at, text, plain=False) for name, text in found.items()}
        labels = {name: Entry(name, self.at, Scalar(self.at, text, plain=False)) for name, text in self.labels.items()}
        return {**nodes, "labels": Keys(self.at, labels)}


@dataclass(frozen=True, slots=True)
class _List:
    digest: str
    elements: tuple[TargetElement, ...]


class TargetFiles:
    """Reads them. With `keep` a file that is wrong is no error: what it listed when it was last right stays, and `wrong` says why.

    A reading of checks.yaml is between `begin` and `accept`. `hold_back` is for files that have the right form and make a check that
    can't be run: until the next `begin` what they listed before is used.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.wrong: dict[str, str] = {}
        self.paths: dict[Path, None] = {}  # the files, and the folders in which others may appear
        self._keep = keep
        self._good: dict[str, _List] = {}
        self._fresh: dict[str, _List] = {}
        self._held: dict[str, str] = {}

    def begin(self) -> None:
        """Before checks.yaml is read."""
        self.wrong, self.paths, self._fresh, self._held = {}, {}, {}, {}

    def accept(self) -> None:
        """After a reading whose plan is used."""
        self._good |= self._fresh

    def hold_back(self, error: PlanError) -> bool:
        """Goes back to the lists before, where one has changed since; False where none has, so that the error is not theirs."""
        changed = [name for name, found in self._fresh.items() if name not in self._good or self._good[name].digest != found.digest]
        first = error.problems[0]
        why = f"with it {first.words()} ({first.place(Path(error.name).name)})"
        self.wrong, self._fresh, self._held = {}, {}, dict.fromkeys(changed, why)
        return self._keep and bool(changed)

    def find(self, folder: Path, written: str) -> Iterator[TargetElement]:
        """The targets of a path, a folder or a pattern. Raises ValueError or PlanError, unless what was wrong is kept in `wrong`.

        A pattern may mean no file: then there is no target. A file that is gone from a pattern takes its targets with it.
        """
        search = patterns.Search(folder)
        try:
            names = list(search.find(written, ENDINGS, none_is_right=True))
        except ValueError as error:
            if not self._keep:
                raise
            self.wrong[written] = str(error)
            names = [written] if written in self._good else []
        self.paths |= search.searched
        for name in names:
            self.paths[folder / name] = None
            yield from self._list(folder, name)

    def _list(self, folder: Path, name: str) -> tuple[TargetElement, ...]:
        before = self._good.get(name)
        if name in self._held:
            self.wrong[name] = self._held[name]
        elif name not in self.wrong:
            try:
                found = self._fresh[name] = _read(folder / name, name)
            except (ValueError, PlanError) as error:
                if not self._keep:
                    raise error if isinstance(error, PlanError) else ValueError(f"{name} {error}") from None
                found_wrong = error.problems if isinstance(error, PlanError) else ()
                self.wrong[name] = "; ".join(f"{one.at.within('')} {one.words()}" for one in found_wrong[:_SHOWN]) or str(error)
            else:
                return found.elements
        return before.elements if before else ()

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each file that can't be used."""
        return tuple(
            f"{name} can't be used, so that its last good list stays ({len(self._good[name].elements)} targets): {why}"
            if name in self._good
            else f"{name} can't be used, and no target of it is known: {why}"
            for name, why in self.wrong.items()
        )


def _read(path: Path, name: str) -> _List:
    data = patterns.content(path, LARGEST)
    if len(data) > LARGEST:
        raise ValueError(f"is larger than {LARGEST // 1_000_000} MB")
    node = None
    if data.strip():
        node = _json(data, name) if name.endswith(".json") else document.tree(data, name, name)
    if node is None:
        raise ValueError("is empty; an empty list is []")  # a file that is being written
    problems: list[Problem] = []
    elements = tuple(_elements(node, problems))
    if problems:
        raise PlanError(name, problems)
    return _List(hashlib.sha256(data).hexdigest(), elements)


def _json(data: bytes, name: str) -> Node:
    """JSON as a tree, in which nothing knows its line."""
    try:
        return _node(json.loads(data), Position(0, 0, name))
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except json.JSONDecodeError as error:
        raise PlanError(
            name, [Problem(Position(error.lineno, error.colno, name), (), f"is no JSON: {error.msg.removesuffix(' at')}")]
        ) from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def _node(value: Any, at: Position) -> Node:
    if isinstance(value, dict):
        return Keys(at, {key: Entry(key, at, _node(one, at)) for key, one in value.items()})
    if isinstance(value, list):
        return Items(at, [_node(one, at) for one in value])
    return Scalar(at, value if isinstance(value, str) else json.dumps(value), plain=not isinstance(value, str))


def _elements(root: Node, problems: list[Problem]) -> Iterator[TargetElement]:
    if not isinstance(root, Items):
        problems.append(Problem(root.at, (), f"must be a list; {_FORM}"))
        return
    for index, group in enumerate(root.items):
        entries = group.entries if isinstance(group, Keys) else {}
        targets, labels = (entries[key].node if key in entries else None for key in ("targets", "labels"))
        named = labels.entries if isinstance(labels, Keys) else {}
        formed = isinstance(targets, Items) and isinstance(labels, Keys | None) and entries.keys() <= {"targets", "labels"}
        if not formed or not isinstance(targets, Items):
            problems.append(Problem(group.at, (index,), f"is no group of targets; {_FORM}"))
        elif len(named) > MOST_LABELS or not all(map(_LABEL.match, named)):
            problems.append(Problem(group.at, (index, "labels"), f"has a label that is no name, or more than {MOST_LABELS} labels"))
        elif wrong := next((node for node in (*targets.items, *(one.node for one in named.values())) if not _is_text(node)), None):
            text = f"must be a text of at most {LONGEST:,} characters, without {{, control characters and a $ at its end"
            problems.append(Problem(wrong.at, (index,), text))
        else:
            values = {name: one.node.text for name, one in named.items() if isinstance(one.node, Scalar)}
            yield from (TargetElement(node.text, values, node.at) for node in targets.items if isinstance(node, Scalar))


def _is_text(node: Node) -> bool:
    """Whoever writes such a file names targets: it can't have a variable, a secret's file or a captured value filled in."""
    if not isinstance(node, Scalar) or (node.plain and not isinstance(node.value, str)):
        return False
    text = node.text
    return len(text) <= LONGEST and text.isprintable() and "{" not in text and not text.endswith("$")
