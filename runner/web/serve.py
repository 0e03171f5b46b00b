"""The HTTP server: it runs in the loop in which it is started, and installs no signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from probes.text import host_and_port
from runner.web.connections import BoundedProtocol, Bounds, Refused

_BACKLOG = 64  # connections that are accepted at once, each with a descriptor: of a flood the system refuses the rest before the loop


class CannotListenError(Exception):
    """The runner can't listen on the address; the message names the address, the cause and the remedy."""


class EventServer(uvicorn.Server):
    """uvicorn's server, started and stopped by events: the command line handles signals, and nothing polls."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.stopping.wait()


class Listening:
    """A server that listens. `host` and `port` are those that were bound (port 0 asks for a free one)."""

    def __init__(self, server: EventServer, task: asyncio.Task[None], sock: socket.socket) -> None:
        self.host, self.port = sock.getsockname()[:2]
        self._server = server
        self._task = task

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        return f"http://{host_and_port(host, self.port)}/"

    async def stop(self) -> None:
        """Stops listening at once, and waits for requests under way, for at most the grace that `serve` was given."""
        self._server.stopping.set()
        await self._task


def bind(host: str, port: int, backlog: int) -> socket.socket:
    """A non-blocking socket that listens; `backlog` connections may wait to be accepted.

    Raises CannotListenError when the address is busy, foreign or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise CannotListenError(_why(error, host, port)) from error
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return sock


def _why(error: OSError, host: str, port: int) -> str:
    where = host_and_port(host, port)
    match error.errno:
        case errno.EADDRINUSE:
            stop = f"{where} is busy: another outrider may be running; stop it, or set server: {{listen: ...}} in checks.yaml"
            return f"{stop} (the variable LISTEN in the committed file, such as LISTEN={host_and_port(host, 9798)})"
        case errno.EADDRNOTAVAIL:
            return f"{where} is not an address of this machine; set server: {{listen: ...}} in checks.yaml"
        case errno.EACCES:
            return f"this user may not listen on {where}: choose a port above 1023"
    return f"can't listen on {where}: {error.strerror or error}"


async def serve(
    app: ASGIApp, host: str, port: int, *, grace: float = 5.0, bounds: Bounds | None = None, refused: Refused = lambda *_: None
) -> Listening:
    """Starts a server, and returns when it accepts connections. Raises CannotListenError. `refused` counts what `bounds` refuse."""
    bounds = bounds or Bounds()
    backlog = min(_BACKLOG, bounds.connections)
    sock = bind(host, port, backlog)
    protocol = partial(BoundedProtocol, bounds=bounds, refused=refused)
    server = EventServer(
        uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", protocol),  # uvicorn calls it, and nothing else
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(grace)),
            backlog=backlog,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[sock]), name="web")
    started = asyncio.create_task(server.up.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        await task
    return Listening(server, task, sock)
