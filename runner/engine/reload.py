"""Goes on with a changed checks.yaml; a bad one is said, and the plan that runs keeps running."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from runner.engine.execute import Log
from runner.plan.errors import PlanError
from runner.plan.model import Plan


class Reload:
    """Reloads when it is called, and when `look` finds the file changed. One at a time.

    `load` reads the plan (it is called in a thread and raises PlanError or OSError); `apply` makes it the one that runs, or raises
    ValueError and changes nothing; `told` hears of each reload whether it went well. `path` is the file, which may be a link
    that is switched (Kubernetes).
    """

    def __init__(
        self,
        *,
        path: Path,
        load: Callable[[], Plan],
        apply: Callable[[Plan], Awaitable[None]],
        told: Callable[[bool], None],
        log: Log | None = None,
    ) -> None:
        self._path = path
        self._load = load
        self._apply = apply
        self._told = told
        self._log = log or logging.getLogger("outrider.engine").log
        self._one = asyncio.Lock()
        self._loaded: str | None = None
        self._changing: str | None = None

    async def __call__(self) -> str:
        """Reloads now. Returns what is wrong with the file, or an empty text where the new plan runs."""
        async with self._one:
            self._loaded = await asyncio.to_thread(_content, self._path)
            try:
                plan = await asyncio.to_thread(self._load)
                await self._apply(plan)
            except (PlanError, OSError, ValueError) as error:
                self._log(logging.ERROR, f"the configuration stays as it was, since {self._path} can't be used:\n{error}")
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
        content = await asyncio.to_thread(_content, self._path)
        if self._loaded is None:
            self._loaded = content
        if content != self._loaded and content == self._changing:
            await self()
        self._changing = content


def _content(path: Path) -> str:
    """What tells one content from another; a file that isn't there is a content, too."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
