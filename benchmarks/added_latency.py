"""By how much a reported latency is too high: what the runner adds of its own while it makes 1,000 runs a second.

    .venv/bin/python -m benchmarks.added_latency [--rate 1000] [--seconds 20] [--core 0]

The target is a process of its own on another core, and writes into each response when it sent it, by the clock that both share. A
run's end as it is reported, minus that moment, is what the runner added: the time for which the bytes waited for its loop, with the
way through the kernel, which the last line has for a client that does nothing else. Only runs of the steady state count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks._fixtures import target
from benchmarks._inside import runner
from judge.observation import Observation
from runner.config.plan import Plan

INTERVAL = 10.0  # seconds between two runs of a check


class Ends:
    """A sink: how much later than it was sent each response was seen, in seconds."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.measuring = False

    def __call__(self, seen: Observation) -> None:
        if self.measuring:
            self.seen.append(seen)

    def plan(self, plan: Plan) -> None:
        """Goes on."""

    def late(self) -> list[float]:
        """Of each run that passed."""
        passed = (one for one in self.seen if one.spans and "response" in one.evidence)
        return [one.at + max(span.end for span in one.spans) - float(one.evidence["response"]["headers"]["x-sent"]) for one in passed]


def bare(url: str, times: int) -> list[float]:
    """The same for a client that waits in the kernel."""
    split, late = urlsplit(url), []
    for _ in range(times):
        with socket.create_connection((split.hostname, split.port)) as connection:
            connection.sendall(f"GET /timed HTTP/1.1\r\nHost: {split.netloc}\r\n\r\n".encode())
            response = connection.recv(65536)
            late.append(time.time() - float(response.partition(b"X-Sent: ")[2].partition(b"\r")[0]))
    return late


def row(name: str, seconds: list[float]) -> str:
    """A line of the table."""
    cuts = statistics.quantiles(seconds, n=1000)
    cells = (f"{statistics.median(seconds) * 1000:.3f}", f"{cuts[949] * 1000:.3f}", f"{cuts[989] * 1000:.3f}", f"{max(seconds) * 1000:.1f}")
    return f"| {name} | {len(seconds):,} | {' | '.join(cells)} |"


async def measured(url: str, rate: float, seconds: float) -> list[float]:
    """Runs for so long, after each check has run once."""
    ends = Ends()
    with tempfile.TemporaryDirectory() as folder:
        async with runner(Path(folder), f"{url}/timed", checks=round(rate * INTERVAL), interval=INTERVAL, extra=(("ends", ends),)):
            await asyncio.sleep(INTERVAL + 2)
            ends.measuring = True
            await asyncio.sleep(seconds)
            ends.measuring = False
    return ends.late()


def main() -> None:
    """Prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=float, default=1000.0, help="runs a second")
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--core", type=int, default=0, help="the runner's core; the target has the other ones")
    chosen = options.parse_args()
    with target() as (url,):
        os.sched_setaffinity(0, {chosen.core})
        print(
            f"{time.strftime('%Y-%m-%d')}, {chosen.rate:g} runs a second for {chosen.seconds:g} s, load average {os.getloadavg()[0]:.1f}\n"
        )
        print("| | runs | median, ms | p95 | p99 | most |\n|---|---|---|---|---|---|")
        print(row("outrider", uvloop.run(measured(url, chosen.rate, chosen.seconds))), flush=True)
        print(row("a client that does nothing else", bare(url, 2000)))


if __name__ == "__main__":
    main()
