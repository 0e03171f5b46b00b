"""The signals of a runner: stop and reload."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator


@contextlib.contextmanager
def signals(stop: asyncio.Event, reload: Callable[[], Awaitable[str]]) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; SIGHUP reloads."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Future[str]] = set()

    def start_reload() -> None:
        task = asyncio.ensure_future(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number, handler in ((signal.SIGTERM, stop.set), (signal.SIGINT, stop.set), (signal.SIGHUP, start_reload)):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
