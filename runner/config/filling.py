"""Fills the placeholders of one part of the tree, and lets texts stand in for values that aren't there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from runner.config import placeholders, secret_names
from runner.config.errors import Path
from runner.config.nodes import Items, Keys, Node, Scalar

Sketch = Mapping[str, str] | None
"""How a part is read: None for real; in a sketch the variables that count, while texts stand in for all other placeholders."""

if TYPE_CHECKING:
    from runner.config.validation import Reading

# What may stand in for a value that isn't there, tried in turn until the field takes it.
STAND_IN = "stand-in"
_STAND_INS = (STAND_IN, "1", "true", "1s", "1/1h", "1%", "1KiB", "http://stand-in.invalid",
              "redis://stand-in.invalid", "postgresql://stand-in@stand-in.invalid/stand-in", "stand-in.invalid:1")  # fmt: skip
_FIRST_ADDRESS = _STAND_INS.index("http://stand-in.invalid")
_ADDRESSES = frozenset({"url", "dsn"})
ROUNDS = 3 * len(_STAND_INS)


class Filling:
    """The values of one part of the tree. `standing` are the scalars whose value isn't there, with the stand-in they have."""

    def __init__(self, reading: Reading, path: Path, *, sketch: Sketch) -> None:
        self._reading, self._path, self._sketch = reading, path, sketch
        self.filled: dict[int, placeholders.Filled] = {}
        self.standing: dict[int, int] = {}
        self._addresses: set[int] = set()

    def data(self, node: Node, path: Path = ()) -> Any:
        """The plain data of a tree, placeholders filled in."""
        if isinstance(node, Keys):
            self._judge_keys(node, path)
            return {key: self.data(entry.node, (*path, key)) for key, entry in node.entries.items()}
        if isinstance(node, Items):
            return [self.data(item, (*path, index)) for index, item in enumerate(node.items)]
        return self._scalar(node, path) if "${" in node.text else node.value

    def _judge_keys(self, node: Keys, path: Path) -> None:
        for key, entry in node.entries.items():
            if "${" in key:
                self._reading.report(entry.at, (*self._path, *path, key), "a key can't come from a variable")

    def _scalar(self, node: Scalar, path: Path) -> str:
        if id(node) in self.standing:
            return self._stand_in(node)
        try:
            source = self._reading.real if self._sketch is None else placeholders.StandIns(self._sketch, "")
            filled = placeholders.fill(placeholders.parse(node.text), source)
        except placeholders.Unfilled as problem:
            at = node.holes[problem.hole] if problem.hole < len(node.holes) else node.at
            self._reading.report(at, self._path + path, problem.message)
            return self._stand(node, path)
        if isinstance(source, placeholders.StandIns) and source.used:
            return self._stand(node, path)
        self.filled[id(node)] = filled
        self._reading.secrets |= filled.secrets | set(secret_names.of_url(filled.text))
        self._reading.filled_in.add(filled.text)
        return filled.text

    def _stand(self, node: Scalar, path: Path) -> str:
        is_address = path[-1:] and path[-1] in _ADDRESSES
        if is_address:
            self._addresses.add(id(node))
        self.standing[id(node)] = _FIRST_ADDRESS if is_address else 0
        return self._stand_in(node)

    def _stand_in(self, node: Scalar) -> str:
        text = _STAND_INS[self.standing[id(node)] % len(_STAND_INS)]
        try:
            return placeholders.fill(placeholders.parse(node.text), placeholders.StandIns(self._sketch or {}, text)).text
        except placeholders.Unfilled:
            return text

    def advance(self, nodes: Collection[int]) -> None:
        """Gives each of these the next stand-in: of several the addresses, since a whole section complains of those."""
        for node in (self._addresses & set(nodes)) or nodes:
            self.standing[node] += 1
