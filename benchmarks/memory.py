"""Memory of a runner with N plain HTTP checks: `outrider run`, when it is ready and when its checks have settled.

    .venv/bin/python benchmarks/memory.py [--checks 10 100 1000 10000] [--settle 120] [--interval 0] [--tree before=/path ...]

Each runner asks a server on loopback, is scraped every ten seconds, and has the state in a folder of its own. A settled check has run
so often that as many runs are remembered as are kept: 60. `--interval` is that of the checks in seconds; by default 2, and longer where
the machine carries no more than 250 runs a second. What a further check takes is the difference to the line above, divided.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks._fixtures import target, write_checks
from benchmarks.pipeline import HERE, free_port, get, memory, started, wait_for

MOST = 250.0  # runs a second, unless --interval says otherwise
RUNS = 64  # of each check, until it is settled


def measure(tree: Path, address: str, count: int, interval: float, settle: float) -> tuple[float, float, int]:
    """Mebibytes at ready and settled, and runs of each check."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        file = write_checks(folder, f"{address}/", count, interval, port=port)
        command = [sys.executable, "-m", "runner.cli", "run", "--config", str(file)]
        pid = stack.enter_context(started(command, folder / "log", 0, tree))
        wait_for(f"http://127.0.0.1:{port}/-/ready", folder / "log")
        ready, end = memory(pid), time.monotonic() + min(settle, RUNS * interval + 10)
        while time.monotonic() < end:
            time.sleep(min(10.0, max(0.0, end - time.monotonic())))
            page = get(f"http://127.0.0.1:{port}/metrics")
        runs = sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("probe_runs_total"))
        return ready, memory(pid), round(runs / count)


def main() -> None:
    """Runs and prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--checks", type=int, nargs="+", default=[10, 100, 1000, 10000])
    options.add_argument("--settle", type=float, default=900.0, help="the most seconds until a runner is measured")
    options.add_argument("--interval", type=float, default=0.0, help="seconds between two runs of a check")
    options.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER", help="another Outrider")
    chosen = options.parse_args()
    trees = {"outrider": HERE} | {name: Path(folder) for name, _, folder in (one.partition("=") for one in chosen.tree)}
    print(
        f"{time.strftime('%Y-%m-%d')}\n\n| | checks | interval, s | runs of each | at ready, MB | settled, MB | KB for each further check |"
    )
    print("|---|---|---|---|---|---|---|")
    with target() as (address,):
        for name, tree in trees.items():
            before: tuple[int, float] | None = None
            for count in chosen.checks:
                interval = chosen.interval or max(2.0, count / MOST)
                ready, settled, runs = measure(tree, address, count, interval, chosen.settle)
                further = f"{(settled - before[1]) * 1024 / (count - before[0]):.1f}" if before else ""
                before = count, settled
                print(f"| {name} | {count:,} | {interval:g} | {runs} | {ready:.0f} | {settled:.0f} | {further} |", flush=True)


if __name__ == "__main__":
    main()
