"""Ends servers and removes their folder when the process that started them is gone without saying goodbye.

Run as a script with the folder as its argument; it reads words from standard input, a pipe whose other end only that
process holds: `watch PID SIGNAL`, `forget PID`, `done`. The pipe's end without `done` means that its owner died.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def children(pid: int) -> list[int]:
    """The direct children of a process; PostgreSQL's are leaders of groups of their own, so that killpg misses them."""
    if not Path("/proc/self/stat").exists():  # macOS
        listed = subprocess.run(["/usr/bin/pgrep", "-P", str(pid)], capture_output=True, check=False)  # noqa: S603 - a number of ours
        return [int(word) for word in listed.stdout.split()]
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended while we looked
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def send(pids: list[int], number: int) -> None:
    """Sends a signal to those that still live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def open_pid(pid: int) -> int | None:
    """A handle that never means another process of the same number, where the system has such handles."""
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:
        return None


def end(pid: int, handle: int | None, number: int) -> None:
    """Wakes a server that was stopped, and ends it."""
    try:
        if handle is not None and sys.platform == "linux":
            signal.pidfd_send_signal(handle, 0)
        send([*children(pid), pid], signal.SIGCONT)
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main() -> None:
    """Watches until the pipe ends."""
    watched: dict[int, tuple[int | None, int]] = {}
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "watch":
            watched[int(rest[0])] = (open_pid(int(rest[0])), int(rest[1]))
        elif word == "forget":
            watched.pop(int(rest[0]), None)
        else:
            return
    for pid, (handle, number) in watched.items():
        end(pid, handle, number)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
