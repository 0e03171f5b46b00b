"""Reads checks.yaml again when it has changed. A file with errors is logged, and the plan that runs keeps running."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.config.errors import PlanError, RefusedFile
from runner.config.plan import Plan
from runner.log import Log

_OF_THE_RUNNER = frozenset(f"unreadable: {os.strerror(number)}" for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM))
Content = Mapping[Path, str]  # a fingerprint of each file's content


@dataclass(frozen=True, slots=True)
class Targets:
    """Files with targets, which are read without the rest: `load` is as Reload's, `paths` are the files and their folders."""

    load: Callable[[], Plan]
    paths: Callable[[], Iterable[Path]]


class Reload:
    """Reloads when it is called, and when `look` finds that the file or a secret's file has changed. One reload at a time.

    `load` reads the plan (it is called in a thread and raises PlanError or OSError). `apply` makes it the plan that runs, or raises
    ValueError and changes nothing. `report` is called after each reload with its success. `time` returns the seconds since the epoch.
    `path` is the file, which may be a link that is switched (Kubernetes); `files` returns what the present plan came from beside it:
    files, and folders in which others may appear. Where only files of `targets` have changed, these are read alone. `refused` is the
    file that isn't in use because of its errors.
    """

    def __init__(
        self,
        *,
        path: Path,
        load: Callable[[], Plan],
        apply: Callable[[Plan], Awaitable[None]],
        report: Callable[[bool], None],
        time: Callable[[], float],
        files: Callable[[], Iterable[Path]] = lambda: (),
        targets: Targets | None = None,
        log: Log | None = None,
    ) -> None:
        self._path = path
        self._load = load
        self._apply = apply
        self._report = report
        self._time = time
        self.refused: RefusedFile | None = None
        self._files = files
        self._targets = targets
        self._log = log or logging.getLogger("outrider.engine").log
        self._one = asyncio.Lock()
        self._of_refused: tuple[Path, ...] = ()  # what the refused file came from
        self._loaded: Content | None = None
        self._changing: Content | None = None

    async def __call__(self) -> str:
        """Reloads now. Returns the file's errors, or an empty text when the new plan runs."""
        async with self._one:
            self._loaded = await self._content()
            try:
                plan = await asyncio.to_thread(self._read, self._load)
                await self._apply(plan)
            except (PlanError, OSError, ValueError) as error:
                problems = error.listed() if isinstance(error, PlanError) else str(error)
                self._of_refused = error.files if isinstance(error, PlanError) else ()
                self._loaded = {**await self._content(), **self._loaded}
                self._log(logging.ERROR, f"{self._path} has errors, so the runner keeps its present configuration:\n{problems}")
                since = self.refused.since if self.refused else self._time()
                self.refused = RefusedFile(since, tuple(problems.splitlines()))
                self._report(False)  # noqa: FBT003 - the callback's only argument
                return problems
            self.refused, self._of_refused = None, ()
            self._log(logging.INFO, f"{self._path} is loaded: {len(plan.checks)} checks")
            self._report(True)  # noqa: FBT003 - as above
            return ""

    async def _reload_targets(self, targets: Targets) -> None:
        """Goes on with what the files with targets list now; whether checks.yaml itself is in use stays as it is."""
        async with self._one:
            self._loaded = await self._content()
            try:
                plan = await asyncio.to_thread(self._read, targets.load)
                await self._apply(plan)
            except (PlanError, OSError, ValueError) as error:
                problems = error.listed() if isinstance(error, PlanError) else str(error)
                self._log(logging.ERROR, f"the files with targets can't be used, so the runner keeps its present checks:\n{problems}")
                return
            self._log(logging.INFO, f"the files with targets were read: {len(plan.checks)} checks run")

    def _read(self, load: Callable[[], Plan]) -> Plan:
        try:
            return load()
        except (PlanError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours: its text may hold what it was reading
            raise ValueError(f"it can't be read: a bug of Outrider ({type(error).__name__})") from None

    async def look(self) -> None:
        """Reloads when any content has changed and was the same at the previous look, so that no half-written file is read.

        The first look remembers the content of the plan that runs.
        """
        if self._one.locked():
            return
        content = await self._content()
        if any(text in _OF_THE_RUNNER for text in content.values()):
            return  # nobody changed the file: the runner itself has no descriptor or memory to read it with
        self._loaded = {path: (self._loaded or content).get(path, text) for path, text in content.items()}
        if content != self._loaded and content == self._changing:
            changed = {path for path, text in content.items() if text != self._loaded[path]}
            if self._targets and changed <= set(self._targets.paths()):
                await self._reload_targets(self._targets)
            else:
                await self()
        self._changing = content

    async def _content(self) -> Content:
        paths = (self._path, *self._files(), *self._of_refused)
        return await asyncio.to_thread(lambda: {path: _content(path) for path in paths})


def _content(path: Path) -> str:
    """A fingerprint of the file's content, or of a folder's names; what can't be read has one, too."""
    try:
        if path.is_dir():
            return hashlib.sha256("\0".join(sorted(one.name for one in path.iterdir())).encode(errors="surrogateescape")).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
