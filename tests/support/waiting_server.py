"""A server in a process of its own that waits a known time before it answers, and tells how long it really waited.

`python waiting_server.py SECONDS` prints its port; it ends with its standard input. X-Waited is in seconds, from the moment
that it read the request to the moment that it wrote the answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast


class Waiting(asyncio.Protocol):
    """One connection."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A request has come."""
        asyncio.get_running_loop().call_later(self.seconds, self.answer, time.monotonic())

    def answer(self, asked: float) -> None:
        """The time is over."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Waited: %.6f\r\n\r\n" % (time.monotonic() - asked))


async def _serve(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Waiting(seconds), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - whoever started it reads the port
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
