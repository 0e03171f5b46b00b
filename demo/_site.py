"""One ASGI application on one port of 127.0.0.1, by uvicorn in the running loop; what a fault needs of a connection comes along."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from demo._process import HOST
from runner.web.serve import EventServer

GRACE = 1  # seconds that answers under way have at the end
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, not FIN


class Line:
    """The connection that a request came over, for the faults that no ASGI message can play."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def reset(self) -> None:
        """Ends the connection at once by a reset."""
        if self.transport is None or self.transport.is_closing():
            return
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.transport.abort()


def line_of(scope: Scope) -> Line:
    """The connection of this request; one that nothing happens to where the server isn't ours."""
    line = scope.get("extensions", {}).get("demo.line")
    return line if isinstance(line, Line) else Line()


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, handing the connection to the application."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.line = Line()
        self.line.transport = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.gone.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[Any, Any] = {"demo.line": self.line}
        self.scope["extensions"] = extensions


class _Server(EventServer):
    """The runner's own server, with the application's Date header, and with connections that end at once."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if tasks := list(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class Site:
    """Serves `app` from `start` to `stop` on a free port (or `port`), over TLS when a context is given."""

    def __init__(self, app: ASGIApp, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._app = app
        self._tls = tls
        self.port = port
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listens; raises OSError when the port is taken."""
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            loop="none",
            lifespan="off",
            proxy_headers=False,  # the application itself looks at what a proxy says
            log_config=None,
            log_level="error",
            access_log=False,
        )
        config.load()
        config.ssl = self._tls
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # without its protocol asyncio sets no TCP_NODELAY
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self.port))
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)  # noqa: FBT003 - the library's signature
        self.port = listener.getsockname()[1]
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([listener]), name=f"demo site {self.port}")
        await self._server.up.wait()

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        self._server.stopping.set()
        await self._task
        self._server = self._task = None
