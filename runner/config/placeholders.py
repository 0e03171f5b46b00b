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
    values: tuple[str, ...] = ()  # of those variables and files
    queried: tuple[str, ...] = ()  # those of the values that stand behind a question mark


class Source(Protocol):
    """Where values come from. In a dry run a value that isn't there is no problem."""

    @property
    def dry(self) -> bool: ...

    def variable(self, name: str) -> str | None:
        """The value of a variable; None where it isn't set."""
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
    if not found and text.startswith("each.", start):
        raise Unfilled(hole, "each is known in a check with for_each only")
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
    values: list[str] = []
    queried: list[str] = []
    for piece in template:
        if isinstance(piece, str):
            text.append(piece)
            continue
        if isinstance(piece, File):
            path = fill(piece.path, source)
            value = source.file(path.text, piece.hole)
            part = Filled(value, path.secrets | {value}, (*path.names, f"{FROM_FILE}{path.text}"), (value,))
        elif not (read := source.variable(piece.name)) and piece.default is not None:
            part = fill(piece.default, source)
        elif read is None:
            raise Unfilled(piece.hole, f"{piece.name} is not set; export it, or write ${{{piece.name}:-default}}")
        else:
            part = Filled(read, frozenset({read} if is_secret_name(piece.name) else ()), (piece.name,), (read,))
        queried += part.values if any("?" in before for before in text) else part.queried
        text.append(part.text)
        secrets |= part.secrets
        names += part.names
        values += part.values
    return Filled("".join(text), frozenset(secrets), tuple(names), tuple(values), tuple(queried))


class Environment:
    """The process's environment, and files relative to the folder of checks.yaml; each file is read once."""

    dry = False

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ, self._folder = environ, folder
        self._files: dict[str, str] = {}

    def variable(self, name: str) -> str | None:
        """From the environment."""
        return self._environ.get(name)

    def file(self, path: str, hole: int) -> str:
        """From the file, without its last newline. Raises Unfilled."""
        if path not in self._files:
            self._files[path] = _content(self._folder / path, hole)
        return self._files[path]

    def files(self) -> tuple[Path, ...]:
        """Those that were read."""
        return tuple(self._folder / path for path in self._files)


class DryRun:
    """For what must be read without its values: these variables are used where they are set, and no file is read."""

    dry = True

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def variable(self, name: str) -> str | None:
        """From the environment."""
        return self._environ.get(name)

    def file(self, path: str, hole: int) -> str:
        """Raises Unfilled."""
        raise Unfilled(hole, f"{path} is not read in a dry run")


def outline(template: Template, word: str) -> str:
    """The text of a template with a word in place of every value that has no default."""
    return "".join(
        piece if isinstance(piece, str) else outline(piece.default, word) if isinstance(piece, Variable) and piece.default else word
        for piece in template
    )


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
