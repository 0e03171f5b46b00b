"""Asserts that a run leaves nothing behind: no task, no socket."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

_TURNS = 50  # of the loop, for transports to close and cancelled tasks to end


def open_sockets(*, serving: int | Collection[int] = ()) -> dict[int, str]:
    """The process's sockets: number and addresses. Those whose own port is `serving` (the test's servers') are left out."""
    found: dict[int, str] = {}
    own = {serving} if isinstance(serving, int) else set(serving)
    for number in range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024)):
        try:
            status = os.fstat(number)
        except OSError:
            continue  # not open
        if not stat.S_ISSOCK(status.st_mode):
            continue
        with socket.socket(fileno=os.dup(number)) as copy:
            name = copy.getsockname() if copy.family in (socket.AF_INET, socket.AF_INET6) else ()
            if not (name and name[1] in own):
                found[status.st_ino] = f"fd {number}: {copy!r}"
    return found


@asynccontextmanager
async def no_leaks(*, serving: int | Collection[int] = ()) -> AsyncIterator[None]:
    """What runs inside must have ended every task and closed every socket of its own, within a few turns of the loop.

    Wrap the run, not the server, and give the server's port: its accepted sockets are not the run's.
    """
    tasks = asyncio.all_tasks()
    sockets = open_sockets(serving=serving)
    yield
    left: list[object] = []
    for _ in range(_TURNS):
        left = [t for t in asyncio.all_tasks() - tasks if not _of_server(t)]
        left += [name for number, name in open_sockets(serving=serving).items() if number not in sockets]
        if not left:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"the run left behind: {'; '.join(map(str, left))}")


def _of_server(task: asyncio.Task[object]) -> bool:
    """Whether a task belongs to a server of tests/support (`servers.speaking`), which ends it itself."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.endswith("tests/support/servers.py")
