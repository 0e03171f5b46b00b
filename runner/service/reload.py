"""Goes on with a changed checks.yaml; a bad one is said, and the plan that runs keeps running."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from runner.config.errors import PlanError
from runner.config.plan import Plan
from runner.sinks.journal import Log

Content = Mapping[Path, str]  # what tells one content from another, by file


class Reload:
    """Reloads when it is called, and when `look` finds the file changed, or one that a secret came from. One at a time.

    `load` reads the plan (it is called in a thread and raises PlanError or OSError); `apply` makes it the one that runs, or raises
    ValueError and changes nothing; `told` hears of each reload whether it went well. `path` is the file, which may be a link
    that is switched (Kubernetes), and `files` gives those that the values of the plan which runs came from.
    """

    def __init__(
        self,
        *,
        path: Path,
        load: Callable[[], Plan],
        apply: Callable[[Plan], Awaitable[None]],
        told: Callable[[bool], None],
        files: Callable[[], Iterable[Path]] = lambda: (),
        log: Log | None = None,
    ) -> None:
        self._path = path
        self._load = load
        self._apply = apply
        self._told = told
        self._files = files
        self._log = log or logging.getLogger("outrider.engine").log
        self._one = asyncio.Lock()
        self._loaded: Content | None = None
        self._changing: Content | None = None

    async def __call__(self) -> str:
        """Reloads now. Returns what is wrong with the file, or an empty text where the new plan runs."""
        async with self._one:
            self._loaded = await self._content()
            try:
                plan = await asyncio.to_thread(self._load)
                await self._apply(plan)
            except (PlanError, OSError, ValueError) as error:
                problems = error.listed() if isinstance(error, PlanError) else str(error)
                self._log(logging.ERROR, f"{self._path} has errors, so the runner keeps its present configuration:\n{problems}")
                self._told(False)  # noqa: FBT003 - the one thing that there is to say
                return str(error)
            self._log(logging.INFO, f"{self._path} is loaded: {len(plan.checks)} checks")
            self._told(True)  # noqa: FBT003 - as above
            return ""

    async def look(self) -> None:
        """A chore: reloads when the file's content is another, and was the same at the look before (so, written to its end).

        The first look remembers what runs.
        """
        if self._one.locked():
            return
        content = await self._content()
        self._loaded = {path: (self._loaded or content).get(path, text) for path, text in content.items()}
        if content != self._loaded and content == self._changing:
            await self()
        self._changing = content

    async def _content(self) -> Content:
        return await asyncio.to_thread(lambda: {path: _content(path) for path in (self._path, *self._files())})


def _content(path: Path) -> str:
    """What tells one content from another; a file that isn't there is a content, too."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
