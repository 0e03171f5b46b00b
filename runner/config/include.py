"""`include:`: checks.yaml and the files that it includes, read into one tree in which every node knows its file.

The entries of `checks`, `targets` and `slos`, and the items of lists, are put together: those of a file come before those of the
files that it includes. Any other key may stand in one file alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, dirname, join, normpath

from runner.config import document, patterns
from runner.config.errors import PlanError, Position, Problem
from runner.config.nodes import Entry, Items, Keys, Node, Scalar

MOST_FILES = 1_000
LARGEST = 64_000_000  # bytes of all files
DEEPEST = 10  # files that include one another
NAMED = ("checks", "targets", "logins", "slos")  # the sections that hold entries by name
_FORMS = "write the path of a file or a folder, or a pattern such as checks.d/*.yaml"


@dataclass(frozen=True, slots=True)
class Tree:
    """The whole configuration. `files` are the included files, and the folders in which others may appear."""

    root: Keys
    files: tuple[Path, ...] = ()


def read(path: Path) -> Tree:
    """The tree of checks.yaml and of all that it includes. Raises PlanError, with the problems of all files. It blocks."""
    first = document.read(path)
    gathering = _Gathering(path, Keys(first.at))
    gathering.add(first, "", (os.path.realpath(path),))
    files = (*gathering.files, *gathering.search.searched)
    if gathering.problems:
        raise PlanError(str(path), gathering.problems, files)
    return Tree(gathering.root, files)


class _Gathering:
    """The tree so far. Files are named as in errors.Position: relative to the folder of checks.yaml."""

    def __init__(self, path: Path, root: Keys) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.files: list[Path] = []
        self.search = patterns.Search(path.parent)
        self._main = path
        self._read: set[str] = set()
        self._bytes = 0

    def add(self, found: Keys, name: str, chain: tuple[str, ...]) -> None:
        """Adds what a file holds, and then what it includes. `chain` are the real paths of the files that led here, itself the last."""
        for key, entry in found.entries.items():
            if key not in self.root.entries:
                self.root.entries[key] = Entry(key, entry.at, _copied(entry.node))
            elif not key.startswith("x-") and key != "include":
                self._merge(key, entry, self.root.entries[key])
        include = found.entries.get("include")
        for scalar in self._texts(include.node) if include else ():
            written = normpath(join(dirname(name), scalar.text))
            try:
                matches: Sequence[str] = self.search.find(written, (".yaml", ".yml"))
            except ValueError as error:
                self._report(scalar.at, str(error))
                continue
            for one in matches:
                self._include(one, scalar.at, chain, written=one == written)

    def _merge(self, key: str, entry: Entry, there: Entry) -> None:
        node = entry.node
        if key == "version":
            if not isinstance(node, Scalar) or node.value != 1:
                self.problems.append(Problem(node.at, ("version",), "must be 1, as in checks.yaml"))
        elif key in NAMED and isinstance(node, Keys) and isinstance(there.node, Keys):
            for name, one in node.entries.items():
                if name in there.node.entries:
                    self._twice((key, name), one.at, there.node.entries[name].at)
                else:
                    there.node.entries[name] = one
        elif isinstance(node, Items) and isinstance(there.node, Items):
            there.node.items += node.items
        else:
            self._twice((key,), entry.at, there.at)

    def _twice(self, path: tuple[str, ...], at: Position, first: Position) -> None:
        self.problems.append(Problem(at, path, f"is written twice; the first is at {first.within(self._main.name)}"))

    def _texts(self, node: Node) -> Iterator[Scalar]:
        for one in node.items if isinstance(node, Items) else [node]:
            if not isinstance(one, Scalar) or not isinstance(one.value, str) or not one.text.strip("/\0 "):
                self._report(one.at, f"must be a path, or a list of paths; {_FORMS}")
            elif "${" in one.text or "\0" in one.text:
                self._report(one.at, f"can't come from a variable; {_FORMS}")
            else:
                yield one

    def _include(self, name: str, at: Position, chain: tuple[str, ...], *, written: bool) -> None:
        """Reads a file, once, whoever includes it. A pattern passes over the files that led to it; a path that names one is wrong."""
        path = self._main.parent / name
        real = os.path.realpath(path)
        if real in chain:
            if written:
                ring = (*chain[chain.index(real) :], real)
                self._report(at, f"includes itself: {' -> '.join(map(basename, ring))}")
            return
        if real in self._read:
            return
        self._read.add(real)
        self.files.append(path)
        try:
            if len(chain) > DEEPEST:
                raise ValueError(f"is included by files that include one another more than {DEEPEST} deep")
            if len(self._read) > MOST_FILES:
                raise ValueError(f"is one too many: {MOST_FILES:,} files may be included")
            data = patterns.content(path, document.LARGEST_FILE)
            self._bytes += len(data)
            if self._bytes > LARGEST:
                raise ValueError(f"makes all files together larger than {LARGEST // 1_000_000} MB")
            found = document.parse(data, str(self._main), name)
        except ValueError as error:
            self._report(at, f"{name} {error}")
        except PlanError as error:
            self.problems += error.problems
        else:
            self.add(found, name, (*chain, real))

    def _report(self, at: Position, message: str) -> None:
        self.problems.append(Problem(at, ("include",), message))


def _copied(node: Node) -> Node:
    """One to which what other files hold can be added. Their values are shared."""
    if isinstance(node, Keys):
        return Keys(node.at, dict(node.entries), node.weight)
    return Items(node.at, list(node.items), node.weight) if isinstance(node, Items) else node
