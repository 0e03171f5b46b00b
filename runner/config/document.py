"""Reads a YAML file into nodes with positions, and refuses what is easily misread. Linear in the file's size."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from runner.config.errors import NOWHERE, PlanError, Position, Problem
from runner.config.nodes import LONGEST_NUMBER, Entry, Items, Keys, Node, Scalar

LARGEST_FILE = 16_000_000  # bytes
MOST_NODES = 100_000  # values that aliases add: those that are written are bounded by the file's size
DEEPEST = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is 20 times as fast; both read alike
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # line breaks of YAML 1.1 among them
_HOLE_OR_LINE = re.compile(r"\$?\$\{|\n")
_TAGS = {"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def read(path: Path) -> Keys:
    """The mapping that a file holds. Raises PlanError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        hint = "there is no such file; name yours with --config FILE or OUTRIDER_CONFIG, or write a first one with outrider init"
        raise _fault(str(path), NOWHERE, hint) from None
    except OSError as error:
        raise _fault(str(path), NOWHERE, f"can't be read: {error.strerror or error}") from None
    return parse(data, str(path))


def parse(data: bytes, name: str, file: str = "") -> Keys:
    """As `read`, for the bytes of a file. `file` is the place of an included one (errors.Position). Raises PlanError."""
    root = tree(data, name, file)
    if root is None:
        hint = "write checks: into it, or include it no more" if file else "outrider init writes a first one"
        raise _fault(name, Position(0, 0, file), f"is empty; {hint}")
    if not isinstance(root, Keys):
        raise _fault(name, root.at, "must be a mapping that begins with version: 1")
    return root


def tree(data: bytes, name: str, file: str = "") -> Node | None:
    """As `parse`, for a file that holds anything; None where it holds nothing. Raises PlanError."""
    if len(data) > LARGEST_FILE:
        raise _fault(name, Position(0, 0, file), "larger than 16 MB; a file of checks is never that large")
    text = _decoded(data, name, file)
    builder = _Builder(text, file)
    try:
        builder.build(yaml.parse(text, Loader=_LOADER))
    except _Halt as halt:
        builder.problems.append(Problem(halt.at, (), halt.message))
    except yaml.MarkedYAMLError as error:
        found = _syntax(error, text)
        builder.problems.append(replace(found, at=replace(found.at, file=file)))
    if builder.problems:
        raise PlanError(name, builder.problems)
    return builder.root


def _decoded(data: bytes, name: str, file: str) -> str:
    """The text of a file: UTF-8 without control characters. Each of YAML's line breaks is a line feed in it."""
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        position = Position(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1, file)
        raise _fault(name, position, "is not UTF-8; save the file as UTF-8") from None
    if found := _FORBIDDEN.search(text):
        line_start = text.rfind("\n", 0, found.start()) + 1
        position = Position(text.count("\n", 0, found.start()) + 1, found.start() - line_start + 1, file)
        raise _fault(name, position, f"a control character (U+{ord(found[0]):04X}); remove it")
    return text


def _fault(name: str, at: Position, message: str) -> PlanError:
    return PlanError(name, [Problem(at, (), message)])


class _Halt(Exception):  # noqa: N818 - no accident: reading on makes no sense
    def __init__(self, at: Position, message: str) -> None:
        super().__init__(message)
        self.at, self.message = at, message


@dataclass(slots=True)
class _Open:
    """A mapping or a list that is being read."""

    node: Keys | Items
    anchor: str | None
    key: Scalar | None = None
    merges: list[tuple[Position, Node]] = field(default_factory=list)


class _Builder:
    """Builds the tree from the parser's events with a stack of its own, so that no depth of nesting overflows Python's."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self._file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}  # None while what it names is still being read
        self._copied = 0  # values that aliases have added
        self._documents = 0

    def build(self, events: Iterable[Any]) -> None:
        for event in events:
            at = Position(event.start_mark.line + 1, event.start_mark.column + 1, self._file)
            match event:
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise _Halt(at, "a second document begins, but a file may have only one")
                case yaml.AliasEvent():
                    if event.anchor not in self._anchors:
                        raise _Halt(at, f"*{event.anchor} names no anchor above it; write &{event.anchor} where the value first appears")
                    named = self._anchors[event.anchor]
                    if named is None:
                        raise _Halt(at, f"*{event.anchor} is inside the value that it names")
                    self._attach(named, at, copied=named.weight)
                case yaml.ScalarEvent():
                    self._tag(event, at)
                    self._done(self._scalar(event, at), event.anchor, at)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._tag(event, at)
                    self._begin(event, at)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end()

    def _tag(self, event: Any, at: Position) -> None:
        if event.tag is not None and event.tag not in _TAGS:
            self.problems.append(Problem(at, (), f"tag {event.tag.replace('tag:yaml.org,2002:', '!!')} is not supported; remove it"))

    def _scalar(self, event: Any, at: Position) -> Scalar:
        """A value with the places of every `${` in it."""
        start, end = event.start_mark.index, event.end_mark.index
        holes, line, line_start = [], at.line, start - at.column + 1
        for found in _HOLE_OR_LINE.finditer(self.text, start, end) if "${" in event.value else ():
            if found[0] == "\n":
                line, line_start = line + 1, found.end()
            else:
                holes.append(Position(line, found.start() - line_start + 1, self._file))
        node = Scalar(at, event.value, not event.style and event.tag is None, tuple(holes))
        if node.plain and len(node.text) > LONGEST_NUMBER and node.text.isdigit():
            self.problems.append(Problem(at, (), f"a number of {len(node.text)} digits; put it in quotes"))
        return node

    def _begin(self, event: Any, at: Position) -> None:
        if len(self._stack) >= DEEPEST:
            raise _Halt(at, f"nested more than {DEEPEST} deep")
        if event.anchor:
            self._anchors[event.anchor] = None
        node: Keys | Items = Keys(at) if isinstance(event, yaml.MappingStartEvent) else Items(at)
        self._stack.append(_Open(node, event.anchor))

    def _end(self) -> None:
        here = self._stack.pop()
        for at, node in here.merges:
            self._merge(here.node, node, at)
        self._done(here.node, here.anchor, here.node.at)

    def _done(self, node: Node, anchor: str | None, at: Position) -> None:
        if anchor:
            self._anchors[anchor] = node
        self._attach(node, at)

    def _attach(self, node: Node, at: Position, *, copied: int = 0) -> None:
        self._copied += copied
        if self._copied > MOST_NODES:
            raise _Halt(at, f"aliases add more than {MOST_NODES:,} values")
        if not self._stack:
            self.root = node
            return
        here = self._stack[-1]
        if isinstance(here.node, Items):
            here.node.items.append(node)
            here.node.weight += node.weight
        elif here.key is None:
            here.key = self._key(node, at)
        else:
            self._pair(here, here.node, here.key, node)
            here.key = None

    def _key(self, node: Node, at: Position) -> Scalar:
        if not isinstance(node, Scalar):
            raise _Halt(at, "a key must be a word, not a list or a mapping")
        if not isinstance(node.value, str) and node.text != "null":  # the operator of a condition, too
            what = f"; put {node.text[:80]} in quotes" if node.text else ""
            self.problems.append(Problem(at, (), f"a key must be a word{what}"))
        return Scalar(at, node.text, node.plain)  # the place where an alias stands, not its anchor's

    def _pair(self, here: _Open, keys: Keys, key: Scalar, node: Node) -> None:
        keys.weight += node.weight
        if key.plain and key.text == "<<":
            here.merges.append((key.at, node))
        elif key.text in keys.entries:
            first = keys.entries[key.text].at
            self.problems.append(Problem(key.at, (), f"{key.text[:80]} is written twice; the first is in line {first.line}"))
        else:
            keys.entries[key.text] = Entry(key.text, key.at, node)

    def _merge(self, into: Keys | Items, node: Node, at: Position) -> None:
        """`<<`: what the mapping writes itself wins, then the first of several."""
        sources = node.items if isinstance(node, Items) else [node]
        for source in sources:
            if not isinstance(source, Keys) or not isinstance(into, Keys):
                self.problems.append(Problem(at, (), "<< takes a mapping or a list of mappings, such as *name"))
                return
            for key, entry in source.entries.items():
                into.entries.setdefault(key, entry)


_WORDS = (
    ("mapping values are not allowed", "a second colon in one line; put the text in quotes, or fix the indentation"),
    ("end of stream", "a quote that is never closed"),
    ("sequence entries are not allowed", "a list begins on a line of its own"),
    ("unknown escape", "no such escape in double quotes; write \\\\ for a backslash, or use single quotes"),
    ("document start", "nothing goes on after the end of a document (...)"),
    ("nesting depth", f"nested more than {DEEPEST} deep"),
    ("expected key", "doesn't fit the lines above it: fix the indentation, or add the missing colon"),
    ("block end", "doesn't fit the lines above it: fix the indentation, or add the missing colon"),
    ("block mapping", "doesn't fit the lines above it: fix the indentation, or add the missing colon"),
    ("expected ':'", "doesn't fit the lines above it: fix the indentation, or add the missing colon"),
)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Problem:
    """A scanner's complaint in words that help. A tab before the place is what is wrong in most files."""
    problem = error.problem or "it ends too early"
    position = error.context_mark if "end of stream" in problem and error.context_mark else error.problem_mark or error.context_mark
    at = Position(position.line + 1, position.column + 1) if position else NOWHERE
    line = [*text.split("\n"), ""][at.line - 1]
    if (tab := line.find("\t", 0, at.column)) >= 0 and not line[:tab].strip():
        return Problem(Position(at.line, tab + 1), (), "a tab; indent with spaces")
    if "cannot start any token" in problem:
        return Problem(at, (), f"a value may not begin with {line[at.column - 1 : at.column]}; put the text in quotes")
    if "expected ',' or" in problem:
        hint = "; between braces ${...} needs quotes" if "${" in line else ""
        return Problem(at, (), f"a comma or the closing bracket is missing{hint}")
    text = next((words for part, words in _WORDS if part in problem), f"can't be read as YAML: {problem}")
    return Problem(at, (), text)
