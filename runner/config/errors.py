"""What is wrong with a configuration: every problem at once, each with its place in the file and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from judge.observation import beside

_LONGEST_WORD = 80  # characters of a key that are shown
_SHOWN = 100  # problems printed at most; the rest is counted


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1, as editors do. Line 0 is no place in it.

    `file` is an included file, relative to the folder of checks.yaml; "" for checks.yaml itself.
    """

    line: int
    column: int
    file: str = ""

    def named(self, name: str) -> str:
        """The file. `name` is checks.yaml, as the reader knows it."""
        return beside(name, self.file)

    def within(self, name: str) -> str:
        """`checks.yaml:14:13`, or the file's name alone where no line is to blame."""
        return f"{self.named(name)}:{self.line}:{self.column}" if self.line else self.named(name)


NOWHERE = Position(0, 0)
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `path` leads to it through the file's keys; items of lists count from 0.

    `option` takes the place of a line for what came by the command line (`--tag smok`).
    """

    at: Position
    path: Path
    message: str
    option: str = ""

    def place(self, name: str) -> str:
        """`checks.yaml:14:13`, the file's name alone where no line is to blame, or the option."""
        return self.option or self.at.within(name)

    def for_programs(self) -> dict[str, Any]:
        """Plain data: `key` leads through the file as a person says it, and `hint` is what to do; "" and 0 where there is none."""
        message, _, hint = self.message.partition("; ")
        key = self.option or spoken(self.path)
        return {"key": key, "line": self.at.line, "column": self.at.column, "message": message, "hint": hint}

    def words(self) -> str:
        """`checks.api.timeout: 5 has no unit; write 5s`."""
        return f"{spoken(self.path)}: {self.message}" if self.path else self.message


class PlanError(Exception):
    """checks.yaml can't be used. `problems` are sorted by place; str() is what a person reads, a line for each.

    `files` are those that were read, beside checks.yaml: when one of them changes, the problems may be gone.
    """

    def __init__(self, name: str, problems: Iterable[Problem], files: Iterable[FilePath] = ()) -> None:
        self.name, self.files = name, tuple(files)
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.at.file, p.at, p.option, p.words())))
        super().__init__(name)

    def __str__(self) -> str:
        return f"{self.listed()}; nothing was started"

    def listed(self) -> str:
        """The problems, a line for each, and how many there are: for a reader who goes on with what runs."""
        shown = self.problems[:_SHOWN]
        places = [problem.place(self.name) for problem in shown]
        width = max(map(len, places), default=0)
        lines = [f"{place:{width}}  {problem.words()}" for place, problem in zip(places, shown, strict=True)]
        if len(self.problems) > _SHOWN:
            lines.append(f"and {len(self.problems) - _SHOWN} more")
        count = len(self.problems)
        where = f" in {self.name}" if any(problem.option for problem in self.problems) else ""  # else each line names the file
        return "\n".join([*lines, f"{count} error{'' if count == 1 else 's'}{where}"])


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that was refused: the moment of the first of its refusals without a success between them, and the present errors."""

    since: float
    errors: tuple[str, ...]


def spoken(path: Path) -> str:
    """A path for a person: `checks.plan-a-trip, step 3, expect.within`; items count from 1."""
    pieces: list[str] = [""]
    for part in path:
        if isinstance(part, int):
            held, _, last = pieces[-1].rpartition(".")
            if last == "steps":
                pieces[-1] = held
            pieces += [f"{'step' if last == 'steps' else 'item'} {part + 1}", ""]
        else:
            word = part if len(part) <= _LONGEST_WORD else f"{part[:_LONGEST_WORD]}..."
            pieces[-1] += f".{word}" if pieces[-1] else word
    return ", ".join(piece for piece in pieces if piece)
