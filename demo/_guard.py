"""The near end of the watchdog: a process that cleans up when this one dies without saying goodbye."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from demo import _watchdog


class Guard:
    """Guards a temp folder and the servers in it, until `dismiss`."""

    def __init__(self, folder: Path) -> None:
        script = [sys.executable, "-I", "-S", str(Path(_watchdog.__file__).resolve()), str(folder)]
        self._process = subprocess.Popen(script, stdin=subprocess.PIPE, cwd="/", start_new_session=True)  # noqa: S603 - our own script

    def watch(self, pid: int, number: int) -> None:
        """A server to end by this signal."""
        self._send(f"watch {pid} {number}")

    def forget(self, pid: int) -> None:
        """A server that has ended."""
        self._send(f"forget {pid}")

    def dismiss(self) -> None:
        """Everything is cleaned up already."""
        self._send("done")
        self._process.communicate()

    def _send(self, words: str) -> None:
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(words.encode() + b"\n")
            self._process.stdin.flush()
