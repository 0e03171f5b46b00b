"""An event loop whose time passes only where it waits: then it jumps to what is due next. For what measures and limits seconds.

What a thread does takes no time. What comes from a socket is taken when it is there, and time may have jumped before: give the loop
none that a test's seconds depend on.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import wraps
from typing import Any, ParamSpec

from tests.support.clock import NOON, ShiftedClock

P = ParamSpec("P")


class _Jumping(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump
        self.threads = 0  # at work for the loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.threads:
            return super().select(None)
        if ready := super().select(0):
            return ready
        self._jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above."""

    def __init__(self) -> None:
        self._waiting = _Jumping(self.stall)
        super().__init__(self._waiting)
        self._now = 1000.0

    def time(self) -> float:
        """Seconds since some moment."""
        return self._now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # without its type variables
        """As any loop's; time stands still meanwhile."""
        self._waiting.threads += 1
        work = super().run_in_executor(executor, func, *args)
        work.add_done_callback(self._has_ended)
        return work

    def _has_ended(self, _: asyncio.Future[Any]) -> None:
        self._waiting.threads -= 1

    def stall(self, seconds: float) -> None:
        """Lets time pass while nothing is called."""
        self._now += seconds


class LoopClock(ShiftedClock):
    """The clock that goes with the loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return NOON + self.monotonic()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self._loop.time()

    def advance(self, seconds: float) -> None:
        """As the loop stands still."""
        self._loop.stall(seconds)


def running() -> VirtualLoop:
    """The loop that runs this."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def virtually(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an asynchronous test in virtual time."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
