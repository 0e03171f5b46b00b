"""`${NAME}`, `${NAME:-default}`, `${file:/path}`: what stands in a text until the file is read.

A value is text and never YAML: the field that it fills gives it a type. `$${` is a literal `${`.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.config.secret_names import is_secret_name

LARGEST_SECRET = 1_000_000  # bytes of a file that ${file:...} names
FROM_FILE = "file:"  # among the names that a text was filled in from: no variable is called so
_DEEPEST = 20
_FORMS = "write ${NAME}, ${NAME:-default} or ${file:/path} ($${ is a literal ${)"
_OPEN = f"${{ is never closed; {_FORMS}"
_SIGN = re.compile(r"\$?\$\{|\}")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\}|:-)|(file:)")


class Unfilled(Exception):  # noqa: N818 - a state of the configuration
    """A placeholder that can't be filled in; `hole` counts the `${` of the text from 0."""

    def __init__(self, hole: int, message: str) -> None:
        super().__init__(message)
        self.hole, self.message = hole, message


@dataclass(frozen=True, slots=True)
class Variable:
    """`${NAME}` or `${NAME:-default}`; like a shell's, the default also stands in for an empty value."""

    name: str
    default: Template | None
    hole: int


@dataclass(frozen=True, slots=True)
class File:
    """`${file:/run/secrets/x}`."""

    path: Template
    hole: int


Template = tuple[str | Variable | File, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """A text with its values. `secrets` are those that came from a file or from a variable named like a secret."""

    text: str
    secrets: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()  # the variables and files that it was filled in from


class Source(Protocol):
    """Where values come from: the environment and files, or what stands in for them."""

    def variable(self, variable: Variable) -> str | None:
        """Its value; None where it isn't set."""
        ...

    def file(self, path: str, hole: int) -> str:
        """The text of a file. Raises Unfilled."""
        ...


def parse(text: str) -> Template:
    """Takes a text apart, in one pass. Raises Unfilled where a `${` is none of the three forms."""
    template, end = _sequence(text, 0, [0], 0)
    assert end == len(text)  # noqa: S101 - only a nested sequence ends before its text does
    return template


def _sequence(text: str, start: int, holes: list[int], depth: int) -> tuple[Template, int]:
    """The pieces from `start` up to the `}` that closes it (depth > 0), else up to the end; and the index behind."""
    pieces: list[str | Variable | File] = []
    at = start
    while found := _SIGN.search(text, at):
        literal = text[at : found.start()]
        if found[0] == "}" and depth:
            return (*pieces, literal), found.end()
        if found[0] == "}":
            pieces.append(literal + "}")
            at = found.end()
            continue
        hole, holes[0] = holes[0], holes[0] + 1
        if found[0] == "$${":
            pieces.append(literal + "${")
            at = found.end()
            continue
        piece, at = _placeholder(text, found.end(), holes, depth, hole)
        pieces += [literal, piece]
    if depth:
        raise Unfilled(holes[0] - 1, _OPEN)
    return (*pieces, text[at:]), len(text)


def _placeholder(text: str, start: int, holes: list[int], depth: int, hole: int) -> tuple[Variable | File, int]:
    if depth >= _DEEPEST:
        raise Unfilled(hole, f"${{ nested more than {_DEEPEST} deep")
    found = _INSIDE.match(text, start)
    if not found:
        raise Unfilled(hole, _FORMS if "}" in text[start:] else _OPEN)
    if found[2] == "}":
        return Variable(found[1], None, hole), found.end()
    inner, end = _sequence(text, found.end(), holes, depth + 1)
    return (File(inner, hole) if found[3] else Variable(found[1], inner, hole)), end


def fill(template: Template, source: Source) -> Filled:
    """The text of a template. Raises Unfilled."""
    text: list[str] = []
    secrets: set[str] = set()
    names: list[str] = []
    for piece in template:
        if isinstance(piece, str):
            text.append(piece)
            continue
        part = _fill_file(piece, source) if isinstance(piece, File) else _fill_variable(piece, source)
        text.append(part.text)
        secrets |= part.secrets
        names += part.names
    return Filled("".join(text), frozenset(secrets), tuple(names))


def _fill_variable(piece: Variable, source: Source) -> Filled:
    value = source.variable(piece)
    if piece.default is not None and not value:
        return fill(piece.default, source)
    if value is None:
        raise Unfilled(piece.hole, f"{piece.name} is not set; export it, or write ${{{piece.name}:-default}}")
    secret = frozenset({value}) if is_secret_name(piece.name) else frozenset[str]()
    return Filled(value, secret, (piece.name,))


def _fill_file(piece: File, source: Source) -> Filled:
    path = fill(piece.path, source)
    value = source.file(path.text, piece.hole)
    return Filled(value, path.secrets | {value}, (*path.names, FROM_FILE))


class Real:
    """The process's environment, and files relative to the folder of checks.yaml; each file is read once."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ, self._folder = environ, folder
        self._files: dict[str, str] = {}

    def variable(self, variable: Variable) -> str | None:
        """From the environment."""
        return self._environ.get(variable.name)

    def file(self, path: str, hole: int) -> str:
        """From the file, without its last newline. Raises Unfilled."""
        if path not in self._files:
            self._files[path] = _content(self._folder / path, hole)
        return self._files[path]

    def files(self) -> tuple[Path, ...]:
        """Those that were read."""
        return tuple(self._folder / path for path in self._files)


def _content(path: Path, hole: int) -> str:
    """A file's text without its last newline. Only regular files: a pipe or a device could hold the load for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfilled(hole, f"{path} is no regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST_SECRET + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise Unfilled(hole, f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > LARGEST_SECRET:
        raise Unfilled(hole, f"{path} is larger than 1 MB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Unfilled(hole, f"{path} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


class StandIns:
    """For `--no-secrets` and for checks that don't run: what is set is used, and a text stands in for all the rest."""

    def __init__(self, environ: Mapping[str, str], text: str) -> None:
        self._environ, self._text = environ, text
        self.used = False

    def variable(self, variable: Variable) -> str | None:
        """From the environment, or the stand-in where there is neither a value nor a default."""
        value = self._environ.get(variable.name)
        if value is None and variable.default is None:
            self.used = True
            return self._text
        return value

    def file(self, path: str, hole: int) -> str:
        """The stand-in."""
        del path, hole
        self.used = True
        return self._text
