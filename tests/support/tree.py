"""The project's own code, parsed: what the rules of the house are held against."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Module:
    """A Python file: its path below the root, its text, its tree, and all nodes of that, from the top."""

    path: str
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    @property
    def name(self) -> str:
        """Its dotted name; that of its folder for an __init__.py."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def modules(root: Path, room: str) -> tuple[Module, ...]:
    """Every module of a room; read and walked once."""
    return tuple(_parsed(root, file) for file in sorted((root / room).rglob("*.py")))


def _parsed(root: Path, file: Path) -> Module:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    return Module(str(file.relative_to(root)), text, tree, tuple(ast.walk(tree)))


def build(root: Path, files: dict[str, str]) -> Path:
    """Writes a small tree, for a rule to find its breach in."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root
