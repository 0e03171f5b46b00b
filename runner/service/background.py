"""The runner's own background jobs, on the same scheduler as the checks: pruning the state, watching checks.yaml, annotations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from runner.engine.cadences import Cadences, regular

Work = Callable[[], Coroutine[Any, Any, None]]


class BackgroundJobs:
    """Starts each job at its interval, but never twice at once. The loop's exception handler reports a job that failed; it runs again."""

    def __init__(self, cadences: Cadences) -> None:
        self._cadences = cadences
        self._running: dict[str, asyncio.Task[None]] = {}

    def every(self, seconds: float, name: str, work: Work) -> None:
        """Runs `work` every `seconds` seconds, counted from the epoch."""
        self._cadences.add(f"background job {name}", regular(seconds), lambda: self._start(name, work))

    async def drain(self, within: float) -> None:
        """Waits `within` seconds for the jobs under way, then cancels them. Stop the cadences first."""
        if running := set(self._running.values()):
            _, late = await asyncio.wait(running, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.wait(running)

    def _start(self, name: str, work: Work) -> None:
        if name in self._running:
            return

        def ended(task: asyncio.Task[None]) -> None:
            del self._running[name]
            if not task.cancelled() and (error := task.exception()):
                task.get_loop().call_exception_handler({"message": f"the background job {name} broke", "exception": error, "task": task})

        self._running[name] = task = asyncio.get_running_loop().create_task(work(), name=f"background job {name}")
        task.add_done_callback(ended)
