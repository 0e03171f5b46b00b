"""The file as a tree whose every key and value knows where it stands."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from runner.config.errors import Path, Position

Value = None | bool | int | float | str

_WORDS: dict[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
LONGEST_NUMBER = 100  # characters; anything longer is read as text


@dataclass(slots=True, eq=False)
class Scalar:
    """A single value. `text` is what was written, quotes and escapes undone; `holes` the places of its `${`."""

    at: Position
    text: str
    plain: bool  # written without quotes: its look gives it a type
    holes: tuple[Position, ...] = ()
    weight: int = 1

    @property
    def value(self) -> Value:
        """By the core schema of YAML 1.2: null, true, 5, 0x1f, 1.5 and .inf are what they look like, all else is text."""
        return core(self.text) if self.plain else self.text


@dataclass(slots=True, eq=False)
class Items:
    """A list."""

    at: Position
    items: list[Node] = field(default_factory=list)
    weight: int = 1


@dataclass(slots=True, eq=False)
class Entry:
    """A key with its value; `at` is the key's place."""

    key: str
    at: Position
    node: Node


@dataclass(slots=True, eq=False)
class Keys:
    """A mapping, in the file's order."""

    at: Position
    entries: dict[str, Entry] = field(default_factory=dict)
    weight: int = 1

    def get(self, key: str) -> Node | None:
        """The value of a key, or None."""
        entry = self.entries.get(key)
        return entry.node if entry else None


Node = Scalar | Items | Keys


def has_holes(node: Node) -> bool:
    """Whether a `${` stands anywhere in it."""
    if isinstance(node, Scalar):
        return "${" in node.text
    inner = node.items if isinstance(node, Items) else [entry.node for entry in node.entries.values()]
    return any(map(has_holes, inner))


def plain(node: Node) -> Any:
    """The plain data of a tree, its placeholders as they are written."""
    if isinstance(node, Keys):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, Items) else node.value


def core(text: str) -> Value:
    """The value that a plain scalar names in YAML 1.2's core schema: `no`, `on`, 1:30 and dates are text."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > LONGEST_NUMBER:
        return text
    if _INTEGER.match(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text) if _FLOAT.match(text) else text


def find(node: Node, at: Position, path: Path) -> tuple[Path, Position, Node]:
    """Walks as far along `path` as the tree goes: the path walked, the key's (or item's) place, and the node there.

    Words that the tree doesn't have (pydantic names the branches of a union so) are stepped over.
    """
    walked: list[str | int] = []
    for part in path:
        if isinstance(node, Keys) and part in node.entries:
            entry = node.entries[str(part)]
            node, at = entry.node, entry.at
        elif isinstance(node, Items) and isinstance(part, int) and 0 <= part < len(node.items):
            node = node.items[part]
            at = node.at
        else:
            continue
        walked.append(part)
    return tuple(walked), at, node
