"""How long a start takes: `outrider run` with N plain HTTP checks, from the command to ready and to the first observation.

    .venv/bin/python benchmarks/start.py [--checks 10 100 1000 10000] [--rounds 3] [--tree before=/path ...]

The trees take turns, so that other load on the machine disturbs all alike. Each runner asks a server on loopback and has a new state
folder. CPU is that of the process until it is ready. Missed runs are those of its first 25 seconds, in the last round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._fixtures import target, write_checks
from benchmarks.pipeline import HERE, cpu, free_port, get, started


@dataclass(slots=True)
class Figures:
    """Of one tree and one number of checks; seconds, one a round."""

    ready: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)  # of CPU until ready
    first: list[float] = field(default_factory=list)
    missed: float = 0.0


def until(url: str, there: str, began: float) -> float:
    """Seconds from `began` until a page is there and contains this."""
    while time.monotonic() - began < 120:  # noqa: PLR2004 - seconds
        try:
            if there in get(url):
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"{url} doesn't come")


def start(tree: Path, address: str, count: int, found: Figures, *, last: bool) -> None:
    """Adds one start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        file = write_checks(folder, f"{address}/", count, 20.0, port=port)
        began, page = time.monotonic(), f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "runner.cli", "run", "--config", str(file)]
        pid = stack.enter_context(started(command, folder / "log", 0, tree))
        found.ready.append(until(f"{page}/-/ready", "ready", began))
        found.used.append(cpu(pid))
        found.first.append(until(f"{page}/metrics", "\nprobe_success{", began))
        if last:
            time.sleep(25)
            lines = get(f"{page}/metrics").splitlines()
            found.missed = sum(float(line.split()[-1]) for line in lines if line.startswith("outrider_runs_missed_total{"))


def main() -> None:
    """Runs and prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--checks", type=int, nargs="+", default=[10, 100, 1000, 10000])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER", help="another Outrider")
    chosen = options.parse_args()
    trees = {"outrider": HERE} | {name: Path(folder) for name, _, folder in (one.partition("=") for one in chosen.tree)}
    print(f"{time.strftime('%Y-%m-%d')}, {chosen.rounds} rounds\n")
    print("| | checks | ready, s | CPU until ready, s | first observation, s | missed |")
    print("|---|---|---|---|---|---|")
    with target() as (address,):
        for count in chosen.checks:
            figures = {name: Figures() for name in trees}
            for number in range(chosen.rounds):
                for name, tree in trees.items():
                    start(tree, address, count, figures[name], last=number == chosen.rounds - 1)
            for name, found in figures.items():
                spreads = (f"{statistics.median(each):.2f} ({min(each):.2f})" for each in (found.ready, found.used, found.first))
                print(f"| {name} | {count:,} | {' | '.join(spreads)} | {found.missed:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
