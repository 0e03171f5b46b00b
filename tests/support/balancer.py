"""A release in front of the stand-in's API, and a balancer that hands each new connection to the next of its backends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from types import TracebackType
from typing import Self

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Release:
    """The API as one build of it answers: with a version of its own, a revision in every answer, and so slowly."""

    def __init__(self, app: ASGIApp, version: str, *, revision: str = "", pause: Callable[[], Awaitable[None]] | None = None) -> None:
        self._app = app
        self.version = version
        self.revision = revision
        self.pause = pause
        self._asked: Counter[str] = Counter()
        self._news = asyncio.Event()

    async def until_asked(self, path: str, times: int) -> None:
        """Waits until a path was asked so many times more."""
        wanted = self._asked[path] + times
        while self._asked[path] < wanted:
            self._news.clear()
            await self._news.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                del headers["x-revision"]
                if self.revision:
                    headers["x-revision"] = self.revision
            await send(message)

        self._asked[scope.get("path", "")] += 1
        self._news.set()
        if scope["type"] == "http" and self.pause is not None:
            await self.pause()
        if scope["type"] == "http" and scope["path"] == "/health/":
            body = json.dumps({"status": "healthy", "version": self.version}).encode()
            await marked({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
            await marked({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, marked)


class Balancer:
    """TCP, round robin: `backends` are ports of 127.0.0.1."""

    def __init__(self, backends: Sequence[int]) -> None:
        self._backends = cycle(backends)
        self._server: asyncio.Server | None = None
        self._handling: set[asyncio.Task[None]] = set()
        self._cutting = False

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise AssertionError("it is not started")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._handling:
            task.cancel()
        if self._handling:
            await asyncio.wait(self._handling)

    def cut(self) -> None:
        """Breaks the connection of the next request that comes, with the request on it; those after it pass."""
        self._cutting = True

    def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(reader, writer))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, beyond = await asyncio.open_connection("127.0.0.1", next(self._backends))
        try:
            await asyncio.gather(self._forth(reader, beyond, writer), _pour(there, writer))
        finally:
            beyond.close()
            writer.close()

    async def _forth(self, reader: asyncio.StreamReader, beyond: asyncio.StreamWriter, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self._cutting:
                    self._cutting = False
                    writer.transport.abort()
                    break
                beyond.write(data)
                await beyond.drain()
        beyond.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
