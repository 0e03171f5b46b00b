"""How long a checks.yaml of 1,000 to 50,000 natural checks takes to be read, and what it holds: the whole of `read_plan`.

    .venv/bin/python benchmarks/read_plan.py [--checks 1000 10000 50000]

Each size is read in a process of its own. A natural check has an address of its own, an interval, two tags and two conditions, in the
block form, on eight lines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECK = """  service-{number:05}-ready:
    kind: http
    url: https://service-{number:05}.example.test/health/ready
    interval: 30s
    timeout: 5s
    tags: [smoke, team-{team}]
    expect:
      status: 200
      json: {{$.status: ready}}
"""
READ = """
import json, resource, sys, time
from pathlib import Path
from runner.config.read import read_plan
began, cpu = time.perf_counter(), time.process_time()
plan = read_plan(Path(sys.argv[1]), environ={})
took, used, most = time.perf_counter() - began, time.process_time() - cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([len(plan.checks), took, used, most / 1024]))
"""


def main() -> None:
    """Prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--checks", type=int, nargs="+", default=[1000, 10_000, 50_000])
    print(f"{time.strftime('%Y-%m-%d')}, load average {os.getloadavg()[0]:.1f}\n")
    print("| checks | file, MB | seconds | CPU, s | CPU a check, ms | most memory, MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for checks in options.parse_args().checks:
            file = Path(folder, "checks.yaml")
            text = "".join(CHECK.format(number=number, team=number % 40) for number in range(checks))
            file.write_text(f"version: 1\nservice: bench\nchecks:\n{text}")
            command = [sys.executable, "-c", READ, str(file)]
            found, wall, cpu, memory = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            size = file.stat().st_size / 1e6
            print(f"| {found:,} | {size:.1f} | {wall:.1f} | {cpu:.1f} | {cpu / found * 1000:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
