"""A server as a child process: a free port, a folder of its own, stopped, frozen, thawed, and gone at the end.

Everything here is done in a thread, whose waiting no event loop feels.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from demo import _binaries, _watchdog
from demo._guard import Guard

HOST = "127.0.0.1"
PORTS = range(20000, 32000)  # below the range that systems take for outgoing connections, so that a stopped server's port stays free
TRIES = 8
PATIENCE = 30.0  # seconds for a start or a stop on a busy machine


class PortTaken(Exception):  # noqa: N818 - what happened, not an accident of ours
    """Somebody else was quicker on this port."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens at this moment."""
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError:
                continue
            return port


class Server(ABC):
    """A server of its own on 127.0.0.1. `async with` starts and closes it; `port` is known from the first start on.

    `stop` and `start` keep the port. `freeze` stops every process of it by SIGSTOP: connections are still accepted by
    the system, and nobody answers. Raises RuntimeError with the server's own last words when it doesn't start.
    """

    ready: ClassVar[bytes]  # what its log says when it takes connections
    farewell: ClassVar[int]  # the signal that ends it and keeps its data
    goodbye: ClassVar[int]  # the signal that ends it at once

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0
        self.folder: Path | None = None
        self.find_port: Callable[[], int] = free_port
        self._account = _binaries.account()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._lock = threading.Lock()
        self._frozen = False

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def running(self) -> bool:
        """True from a start to a stop, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's main process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Starts it and returns when it takes connections; does nothing when it runs."""
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Ends it and keeps its data; its port refuses connections from now on."""
        await asyncio.to_thread(self._locked, self._stop)

    async def freeze(self) -> None:
        """Stops every process of it, in the middle of whatever it does."""
        await asyncio.to_thread(self._locked, self._freeze)

    async def thaw(self) -> None:
        """Lets a frozen server go on."""
        await asyncio.to_thread(self._locked, self._thaw)

    async def close(self) -> None:
        """Ends it and removes its folder, frozen or stopped as it may be."""
        await asyncio.shield(asyncio.to_thread(self._locked, self._close))

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Puts into the fresh folder what the first start needs (in a thread)."""

    @abstractmethod
    def command(self, folder: Path, port: int) -> list[str]:
        """The command that runs it in the foreground on this port (in a thread)."""

    def _locked(self, what: object) -> None:
        with self._lock:
            what()  # type: ignore[operator]

    def _start(self) -> None:
        with self._lock:
            if self.running:
                return
            if self.folder is None:
                self.folder = _binaries.make_folder(self._account)
                self._guard = Guard(self.folder)
                self.prepare(self.folder)
            ports = [self.port] if self.port else [self.find_port() for _ in range(TRIES)]
            for port in ports:
                try:
                    self._spawn(self.folder, port)
                except PortTaken:
                    continue
                self.port = port
                return
            raise RuntimeError(f"{type(self).__name__}: no free port: another process listens on {', '.join(map(str, ports))}")

    def _spawn(self, folder: Path, port: int) -> None:
        log = folder / "server.log"
        with log.open("wb") as output:
            process = self.popen(self.command(folder, port), folder, output.fileno())
        if self._guard is not None:
            self._guard.watch(process.pid, int(self.goodbye))
        self._process = process
        until = time.monotonic() + PATIENCE
        while self.ready not in log.read_bytes():
            if process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
                continue
            self._stop()
            words = log.read_text(errors="replace")
            if "in use" in words:
                raise PortTaken
            raise RuntimeError(f"{type(self).__name__} did not start: {words[-600:].strip() or 'it said nothing'}")

    def popen(self, command: list[str], folder: Path, output: int) -> subprocess.Popen[bytes]:
        """Starts a command as the server's account, away from the terminal's signals."""
        user = {} if self._account is None else {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # noqa: S603 - our own words
            command,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **user,
        )

    def _stop(self, number: int | None = None) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._thaw()
            self._process.send_signal(number or self.farewell)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._guard is not None:
            self._guard.forget(self._process.pid)
        self._process = None
        self._frozen = False

    def _freeze(self) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGSTOP)  # first, so that it starts no more children
            _watchdog.send(_watchdog.children(self._process.pid), signal.SIGSTOP)
            self._frozen = True

    def _thaw(self) -> None:
        if self._process is not None and self._frozen:
            _watchdog.send(_watchdog.children(self._process.pid), signal.SIGCONT)
            self._process.send_signal(signal.SIGCONT)
            self._frozen = False

    def _close(self) -> None:
        self._stop(self.goodbye)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        self.folder = None
