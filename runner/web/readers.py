"""Many readers beside the checks: what they are shown is rendered once for all of them, and their requests begin at a bounded rate.

Rendering takes processor time from the loop that measures. So one thing is rendered at a time, for at most a tenth of the time, and
whoever asks meanwhile gets the next rendering. Nobody gets one that began before the request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

_SHARE = 0.1  # of a processor for rendering
_KEPT = 16  # renderings that are kept until something changes
_MOST = 500.0  # requests that begin in a second

Begin = Callable[[], Callable[[], bytes]]
"""Takes what is to be shown, in the loop; the function that it returns renders it, in a thread."""
Make = Callable[[], Awaitable[tuple[bytes, float]]]
"""Renders what is to be shown, and returns the seconds of processor time that it took, too."""


class Rendered:
    """Renderings by key. `seconds` is the processor time of a thread."""

    def __init__(self, seconds: Callable[[], float] = time.thread_time) -> None:
        self._seconds = seconds
        self._one = asyncio.Lock()
        self._free = 0.0  # the loop's time from which on the next rendering may begin
        self._waiting: dict[Hashable, asyncio.Task[bytes]] = {}
        self._kept: dict[Hashable, tuple[Hashable, bytes]] = {}

    async def get(self, key: Hashable, begin: Begin, version: Callable[[], Hashable] | None = None) -> bytes:
        """A rendering that began after this call; with `version`, also an earlier one of the same version."""

        async def make() -> tuple[bytes, float]:
            work = begin()

            def timed() -> tuple[bytes, float]:
                began = self._seconds()
                return work(), self._seconds() - began

            return await asyncio.to_thread(timed)

        return await self.made(key, make, version)

    async def made(self, key: Hashable, make: Make, version: Callable[[], Hashable] | None = None) -> bytes:
        """As `get`, of what renders itself in the loop, in short steps."""
        if version is not None and key in self._kept and self._kept[key][0] == version():
            return self._kept[key][1]
        if (task := self._waiting.get(key)) is None:
            self._waiting[key] = task = asyncio.get_running_loop().create_task(self._render(key, make, version), name="rendering")
        return await asyncio.shield(task)  # a reader that goes away takes nothing from the others

    async def _render(self, key: Hashable, make: Make, version: Callable[[], Hashable] | None) -> bytes:
        loop = asyncio.get_running_loop()
        async with self._one:
            await asyncio.sleep(max(0.0, self._free - loop.time()))
            del self._waiting[key]  # who asks from now on gets the next one
            shown = version() if version else None
            made, took = await make()
            self._free = loop.time() + took / _SHARE
        if version is not None:
            self._kept.pop(key, None)
            self._kept[key] = shown, made
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return made


class Pace:
    """Lets at most `most` requests a second begin; the others wait for their turn."""

    def __init__(self, most: float = _MOST) -> None:
        self._apart = 1 / most
        self._next = 0.0

    async def turn(self, patience: float) -> bool:
        """Waits for the turn of this request, for at most `patience` seconds. Returns whether it came: else it takes none from others."""
        now = asyncio.get_running_loop().time()
        delay = max(0.0, self._next - now)
        if comes := delay <= patience:
            self._next = max(self._next, now) + self._apart
        if delay:
            await asyncio.sleep(min(delay, patience))
        return comes
