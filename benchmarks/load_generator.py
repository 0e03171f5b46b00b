"""What a request costs the generator: Outrider's open arrivals beside plain Locust's FastHttpUser, and wrk, in one run.

    .venv/bin/python benchmarks/load_generator.py [--rounds 3] [--seconds 5] [--users 10]

All ask the same target on loopback over kept connections. Plain Locust asks as fast as it can; Outrider is offered nine tenths of
the rate that Locust has just reached, and must start them on time. What is compared is requests for a second of CPU: neighbours on
the machine come and go, so that each is compared with plain Locust in its own round, and the median of those ratios counts. wrk is
left out, and said so, where it isn't installed.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks._fixtures import target
from loadtests.order import Order, SloOrder, UserTask, as_json
from loadtests.result import message_of
from loadtests.shapes import stages
from probes.journeys.steps import Step
from probes.target import Target

FOLDER = Path(__file__).parent
SHARE = 0.9  # of plain Locust's rate


@dataclass(frozen=True, slots=True)
class Figure:
    """One contender's round: requests a second of the clock, and for a second of CPU; what else is worth saying."""

    rate: float
    per_core: float
    said: str = ""


def plain_locust(url: str, seconds: float, users: int) -> Figure:
    """FastHttpUsers in a closed loop, no wait."""
    command = [sys.executable, str(FOLDER / "_plain_locust.py"), url, str(seconds), str(users)]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert told["failures"] == 0
    return Figure(told["requests"] / told["wall"], told["requests"] / told["cpu"])


def outrider(url: str, seconds: float, rate: float) -> Figure:
    """Open arrivals of a journey with one step, judged: everything that a load run does."""
    order = Order(
        scenario="benchmark",
        mix={"page": 1.0},
        count="requests",
        slos=(SloOrder("p95", 0.95, 0.5), SloOrder("availability", 0.999)),
        target=Target(name="target", url=url),
        tasks={"page": UserTask("page", ((Step(name="page", get="/page"),),))},
        stages=stages("constant", rate, seconds),
        duration=seconds,
        warm_up=1.0,
    )
    done = subprocess.run([sys.executable, "-m", "loadtests"], input=as_json(order), check=True, stdout=subprocess.PIPE, text=True)
    report = message_of(json.loads(done.stdout.splitlines()[-1])).report
    assert report
    sent = sum(task.done for task in report.tasks if task.kind == "request")
    cpu = sum(worker.cpu for worker in report.workers) * (report.finished - report.started)  # until the last answer
    health = report.generator
    said = f"achieved {100 * (health.achieved or 0):.1f} %, 1 % of the starts {1000 * (health.lag_p99 or 0):.0f} ms late or more"
    return Figure(sent / seconds, sent / cpu, said)


def wrk(url: str, seconds: float, users: int) -> Figure:
    """One thread, as many connections as Locust has users. Its CPU is that of the ended child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["wrk", "-t1", f"-c{users}", f"-d{seconds:.0f}s", f"{url}/page"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"(\d+) requests in ([\d.]+)s", text)
    assert found, text
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figure(int(found[1]) / float(found[2]), int(found[1]) / cpu)


def main() -> None:
    """Prints a line for each round, then the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--users", type=int, default=10)
    wanted = parser.parse_args()
    figures: dict[str, list[Figure]] = {}
    with target() as (url,):
        for number in range(1, wanted.rounds + 1):
            plain = plain_locust(url, wanted.seconds, wanted.users)
            figures.setdefault("plain Locust", []).append(plain)
            figures.setdefault("Outrider", []).append(outrider(url, wanted.seconds, SHARE * plain.rate))
            if shutil.which("wrk"):
                figures.setdefault("wrk", []).append(wrk(url, wanted.seconds, wanted.users))
            for name, rounds in figures.items():
                last = rounds[-1]
                print(f"round {number}  {name:<13} {last.rate:10,.0f}/s  {last.per_core:10,.0f} a CPU second  {last.said}")
    if "wrk" not in figures:
        print("wrk is not installed here, and left out (Debian: apt install wrk)")
    for name, rounds in figures.items():
        ratios = sorted(mine.per_core / plain.per_core for mine, plain in zip(rounds, figures["plain Locust"], strict=True))
        middle = statistics.median(figure.per_core for figure in rounds)
        share = f"{statistics.median(ratios):.2f} of plain Locust's in the same round ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"median   {name:<13} {middle:10,.0f} a CPU second, {share}")


if __name__ == "__main__":
    main()
