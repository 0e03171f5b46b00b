"""Whether a runner grows: memory, sockets, files, tasks and threads of `outrider run` at a steady rate, for an hour or as long as one says.

    .venv/bin/python -m benchmarks.soak [--rate 500] [--interval 10] [--seconds 3600] [--samples 12]

The runner works inside this process, with its journal, its state and a scrape every ten seconds; the target is a process of its own.
The first third of the time is for what is filled once: the last 60 runs of each check, caches, the allocator. After that nothing may
grow: by more than the sockets and tasks of the runs under way, or by more than 2 % of memory and 4 MiB (and 10 KB a check, where the
first third is too short for 60 runs). Else the script says what grew, and exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks._fixtures import target
from benchmarks._inside import runner

SCRAPE = 10.0  # seconds between two scrapes
SPREAD = 40  # files, sockets and tasks of the runs that happen to be under way
SHARE, SLACK = 1.02, 4 * 2**20  # of memory, and bytes
REMEMBERED, OF_CHECK = 60, 10_000  # runs of each check, and the bytes that they may take


@dataclass(frozen=True)
class Held:
    """What the process holds at a moment."""

    bytes: int
    sockets: int
    files: int
    tasks: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        """Of this process."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        names = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        sockets = sum(name.startswith("socket:") for name in names)
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), sockets, len(names) - sockets, len(asyncio.all_tasks()), threading.active_count())

    def grown(self, since: Held, filling: float) -> list[str]:
        """What has grown since another moment, by more than `filling` bytes of memory that were still to be filled."""
        may = since.bytes * SHARE + SLACK + filling
        found = [f"memory: {since.bytes >> 20} to {self.bytes >> 20} MiB"] if self.bytes > may else []
        for name in ("sockets", "files", "tasks", "threads"):
            before, after = getattr(since, name), getattr(self, name)
            found += [f"{name}: {before} to {after}"] if after > before + (2 if name == "threads" else SPREAD) else []
        return found


def _scrape(url: str) -> None:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:  # noqa: S310 - our own server on loopback
        response.read()


async def soak(rate: float, interval: float, seconds: float, samples: int) -> list[str]:
    """Runs, prints a table, and returns what grew."""
    with tempfile.TemporaryDirectory() as folder, target() as (url,):
        checks, settled = round(rate * interval), -(-samples // 3)
        async with runner(Path(folder), f"{url}/soak", checks=checks, interval=interval) as (_, address):
            began, held = time.monotonic(), []
            print("| after | memory | sockets | files | tasks | threads |\n|---|---|---|---|---|---|")
            for number in range(samples + 1):
                while time.monotonic() < began + seconds * number / samples:
                    await asyncio.to_thread(_scrape, address)
                    await asyncio.sleep(min(SCRAPE, max(0.0, began + seconds * number / samples - time.monotonic())))
                now = Held.now()
                held.append(now)
                cells = (f"{now.bytes / 2**20:.1f} MiB", now.sockets, now.files, now.tasks, now.threads)
                print(f"| {time.monotonic() - began:,.0f} s | {' | '.join(map(str, cells))} |", flush=True)
            filling = checks * OF_CHECK if seconds * settled / samples < REMEMBERED * interval else 0
            return held[-1].grown(held[settled], filling)


def main() -> None:
    """Exits with 1 where something grew."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=float, default=500.0, help="runs a second")
    options.add_argument("--interval", type=float, default=10.0, help="seconds between two runs of a check")
    options.add_argument("--seconds", type=float, default=3600.0)
    options.add_argument("--samples", type=int, default=12)
    chosen = options.parse_args()
    print(
        f"{time.strftime('%Y-%m-%d')}, {chosen.rate:g} runs a second for {chosen.seconds:,.0f} s, load average {os.getloadavg()[0]:.1f}\n"
    )
    grown = uvloop.run(soak(chosen.rate, chosen.interval, chosen.seconds, chosen.samples))
    raise SystemExit(f"grown: {'; '.join(grown)}" if grown else None)


if __name__ == "__main__":
    main()
