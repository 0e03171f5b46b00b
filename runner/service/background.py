"""The runner's own housekeeping, on the same cadences as the checks: pruning, watching the file, whatever comes round."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runner.engine.cadences import Cadences, regular


class Chores:
    """Calls each chore at its interval, never beside itself. One that fails is reported by the loop's handler and comes again."""

    def __init__(self, cadences: Cadences) -> None:
        self._cadences = cadences
        self._running: dict[str, asyncio.Task[None]] = {}

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Does `work` each so many seconds, counted from the epoch."""
        self._cadences.add(f"background job {name}", regular(seconds), lambda: self._begin(name, work))

    async def drain(self, within: float) -> None:
        """Waits for what is being done, then ends it. Stop the cadences first."""
        if running := set(self._running.values()):
            _, left = await asyncio.wait(running, timeout=within)
            for task in left:
                task.cancel()
            await asyncio.wait(running)

    def _begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        if name in self._running:
            return
        task = asyncio.get_running_loop().create_task(_done(work), name=f"background job {name}")
        self._running[name] = task
        task.add_done_callback(lambda ended: self._ended(name, ended))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._running[name]
        if not task.cancelled() and (error := task.exception()):
            task.get_loop().call_exception_handler({"message": f"the background job {name} broke", "exception": error, "task": task})


async def _done(work: Callable[[], Awaitable[None]]) -> None:
    await work()
