"""Judging a large body beside the event loop, so that it delays no other check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LARGE = 16 * 1024  # bytes of a body: a smaller one is judged within milliseconds


async def beside_the_loop(body: bytes, judge: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `judge` returns or raises. For a body above LARGE it runs in a thread.

    A thread can't be cancelled: `judge` must have bounds of its own. It must not raise StopIteration.
    """
    if len(body) <= LARGE:
        return judge(*args, **kwargs)
    return await asyncio.to_thread(judge, *args, **kwargs)
