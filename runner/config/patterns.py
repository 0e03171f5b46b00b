"""The files that a path, a folder or a pattern of checks.yaml means. Paths are relative to the folder of checks.yaml, with slashes."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import join

from probes.text import did_you_mean

MOST_FOLDERS = 1_000  # that one pattern searches
MOST_MATCHES = 1_000


class Search:
    """Finds files below `folder`. `searched` are the folders in which another file may appear.

    Hidden names never match a pattern: a ConfigMap keeps its old and new files in hidden folders, and links to them. A link of a
    pattern's match may lead to any place inside the folder that is written before its first `*`, and to none outside.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.searched: dict[Path, None] = {}

    def find(self, written: str, endings: Collection[str], *, none_is_right: bool = False) -> Sequence[str]:
        """The files that are meant, sorted. Of a folder these are the ones that end so. Raises ValueError with what is wrong.

        A folder or a pattern without a file is an error unless `none_is_right`.
        """
        parts = written.split("/")
        wild = next((index for index, part in enumerate(parts) if any(sign in part for sign in "*?[")), None)
        try:
            path = self._folder / written
            if wild is not None:
                base = "/".join(parts[:wild]) or ("/" if written.startswith("/") else "")
                found = dict.fromkeys(self._below(base, parts[wild:], set()))
            elif path.is_dir():
                base, found = written, {one: None for one in self._below(written, ["*"], set()) if one.endswith(tuple(endings))}
            elif path.exists():
                return [written]
            else:
                self.searched[path.parent] = None
                beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
                raise ValueError(f"there is no such file: {written}{did_you_mean(path.name, beside)}")
            self._stays_inside(base, found)
        except OSError as error:
            raise ValueError(f"{written} can't be read: {error.strerror or error}") from None
        if not found and not none_is_right:
            raise ValueError(f"no file is at {written}")
        return sorted(found)

    def _stays_inside(self, base: str, found: Collection[str]) -> None:
        real = os.path.realpath(self._folder / base)
        for one in found:
            there = os.path.realpath(self._folder / one)
            if os.path.commonpath((real, there)) != real:
                raise ValueError(f"{one} is a link out of {base or 'its folder'}, to {there}; write that path if it is meant")

    def _below(self, folder: str, parts: Sequence[str], seen: set[tuple[str, int]]) -> Iterator[str]:
        """What the parts of a pattern mean below a folder. `seen` are real folders with the number of parts that were left there."""
        path, (head, *rest) = self._folder / folder, parts
        here = (os.path.realpath(path), len(parts))
        if here in seen:
            return
        seen.add(here)
        self.searched[path] = None
        if len(seen) > MOST_FOLDERS:
            raise ValueError(f"searches more than {MOST_FOLDERS:,} folders; name one that is nearer")
        if head == "**":
            yield from self._below(folder, rest or ["*"], seen)
        for one in sorted(path.iterdir()):
            if one.name.startswith("."):
                continue
            if one.is_dir():
                if head == "**" or (rest and fnmatchcase(one.name, head)):
                    yield from self._below(join(folder, one.name), parts if head == "**" else rest, seen)
            elif not rest and head != "**" and fnmatchcase(one.name, head):
                yield join(folder, one.name)


def content(path: Path, most: int) -> bytes:
    """The bytes of a regular file, at most `most` and one. Raises ValueError: a pipe or a device could hold the reader for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("is no regular file")
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror or error}") from None
