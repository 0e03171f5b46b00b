"""How long the command line takes: `outrider --help`, and `outrider probe` of one check whose server answers at once.

    .venv/bin/python benchmarks/commands.py [--times 11]

Seconds from the start of the process to its end, and the CPU time in it: medians with the least and the most. A Python that does
nothing stands beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._fixtures import target


def measured(command: list[str], times: int) -> str:
    """One row."""
    walls, costs = [], []
    for _ in range(times):
        began, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        walls.append((time.perf_counter() - began) * 1000)
        costs.append((after.children_user + after.children_system - before.children_user - before.children_system) * 1000)
    return " | ".join(f"{statistics.median(one):,.0f} ({min(one):,.0f} to {max(one):,.0f})" for one in (walls, costs))


def main() -> None:
    """Runs and prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--times", type=int, default=11)
    times = options.parse_args().times
    outrider = [sys.executable, "-m", "runner.cli"]
    with tempfile.TemporaryDirectory() as folder, target() as (address,):
        file = Path(folder, "checks.yaml")
        check = f"{{kind: http, url: '{address}/'}}"
        file.write_text(f"version: 1\nservice: bench\nreferences: []\nchecks: {{api: {check}}}\n")
        commands = {
            "python, nothing": [sys.executable, "-c", "pass"],
            "outrider --help": [*outrider, "--help"],
            "outrider probe, one check": [*outrider, "probe", "--config", str(file), "api"],
        }
        print(f"{time.strftime('%Y-%m-%d')}, {times} times, load average {os.getloadavg()[0]:.1f}\n")
        print("| | seconds, ms | CPU, ms |\n|---|---|---|")
        for name, command in commands.items():
            print(f"| {name} | {measured(command, times)} |", flush=True)


if __name__ == "__main__":
    main()
