"""A server on loopback that answers 200 and keeps when each path was asked: what runners really sent, seen from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Asked = list[tuple[str, float]]


class CountingServer:
    """`asked` has the path and the monotonic time of every request."""

    def __init__(self) -> None:
        self.asked: Asked = []
        self.url = ""
        self._changed = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; each request on it is counted when its head is whole."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append((head.split(b" ", 2)[1].decode(), time.monotonic()))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
                async with self._changed:
                    self._changed.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the runner is done, or was killed
        finally:
            writer.close()

    async def until(self, enough: Callable[[dict[str, list[float]]], bool]) -> None:
        """Waits until the times by path are enough."""
        async with self._changed:
            await self._changed.wait_for(lambda: enough(self.times()))

    def times(self) -> dict[str, list[float]]:
        """When each path was asked."""
        found: dict[str, list[float]] = {}
        for path, at in self.asked:
            found.setdefault(path, []).append(at)
        return found


@asynccontextmanager
async def counting_server() -> AsyncIterator[CountingServer]:
    """The server, until the context is left."""
    server = CountingServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
