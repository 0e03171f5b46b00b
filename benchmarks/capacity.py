"""How many runs a second one core holds: `outrider run` at growing rates, with the runs that it missed and how late the others started.

    .venv/bin/python -m benchmarks.capacity [--rates 250 500 1000 2000] [--interval 10] [--seconds 20] [--core 0]

Plain HTTP checks of a target on another core, with journal, state and a scrape every ten seconds, each rate in a process of its own.
CPU is that of all the runner's threads: its inverse is what a core holds that has nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from benchmarks._fixtures import target, write_checks
from benchmarks.pipeline import HERE, cpu, free_port, get, memory, started, wait_for

MISSED = re.compile(r"^outrider_runs_missed_total(?:\{.*?\})? ([0-9.e+-]+)$", re.MULTILINE)
RUNS = re.compile(r"^probe_runs_total\{.*?\} ([0-9.e+-]+)$", re.MULTILINE)
LAG = re.compile(r"^outrider_schedule_lag_seconds_bucket\{le=\"(.*?)\"\} ([0-9.e+-]+)$", re.MULTILINE)


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> str:
    """The least edge of the histogram below which this share of the runs started."""
    counts = {edge: count - before[edge] for edge, count in after.items()}
    whole = max(counts.values())
    edge = min(edge for edge, count in counts.items() if count >= share * whole)
    lower = max((below for below, above in pairwise(sorted(counts)) if above == edge), default=0.0)
    return f"{lower * 1000:g} to {edge * 1000:g} ms"


def row(url: str, rate: float, chosen: argparse.Namespace) -> str:
    """One line of the table."""
    with ExitStack() as stack:
        place, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
        file = write_checks(place, f"{url}/{rate:g}", round(rate * chosen.interval), chosen.interval, port=port)
        command = [sys.executable, "-m", "runner.cli", "run", "--config", str(file)]
        pid = stack.enter_context(started(command, place / "log", chosen.core, HERE))
        page = f"http://127.0.0.1:{port}"
        wait_for(f"{page}/-/healthy", place / "log")
        time.sleep(chosen.interval + 5)
        pages, costs = [get(f"{page}/metrics")], [cpu(pid)]
        ends = time.monotonic() + chosen.seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(10.0, left))
            text, used = get(f"{page}/metrics"), cpu(pid)
        pages.append(text)
        costs.append(used)
        missed, runs = ([sum(map(float, one.findall(text))) for text in pages] for one in (MISSED, RUNS))
        lag = [{float(edge): float(count) for edge, count in LAG.findall(text)} for text in pages]
        made, used = runs[1] - runs[0], costs[1] - costs[0]
        cells = (
            f"{rate:g}",
            f"{made:,.0f}",
            f"{missed[1] - missed[0]:,.0f}",
            quantile(*lag, 0.5),
            quantile(*lag, 0.99),
            f"{used / made * 1e6:,.0f}",
            f"{made / used:,.0f}",
            f"{memory(pid):.0f}",
        )
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rates", type=float, nargs="+", default=[250.0, 500.0, 1000.0, 2000.0], help="runs a second")
    options.add_argument("--interval", type=float, default=10.0, help="seconds between two runs of a check")
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--core", type=int, default=0, help="the runner's core; the target has the other ones")
    chosen = options.parse_args()
    with target() as (url,):
        print(f"{time.strftime('%Y-%m-%d')}, {chosen.seconds:g} s at each rate, load average {os.getloadavg()[0]:.1f}\n")
        print("| runs a second | made | missed | lag, median | lag, p99 | CPU a run, us | a core holds | MB |")
        print("|---|---|---|---|---|---|---|---|")
        for rate in chosen.rates:
            print(row(url, rate, chosen), flush=True)


if __name__ == "__main__":
    main()
