"""What a scrape costs the loop: the page of N plain HTTP checks that all ran since the last scrape, beside prometheus-client's rendering.

    .venv/bin/python benchmarks/scrape.py [--checks 10 100 1000 10000] [--rounds 5]

For each N, in the same process and in turn: one observation of each check (what a run costs the sink of metrics), the
page as OpenMetrics as the runner makes it (in slices, beside the loop), a second one where a tenth of the checks ran,
gzip, and the same registry by prometheus-client. Loop time is the processor time of the slices together; the longest
slice is 2 ms and the longest step. Figures are medians of the rounds; the first scrape, which draws every line's name
and labels, stands apart.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from prometheus_client.openmetrics.exposition import generate_latest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from judge.observation import Check, Observation
from probes.core import Verdict
from probes.kinds.http import Http
from runner.clock import SystemClock
from runner.config.plan import Every, Plan, Planned
from runner.service.service import freeze_garbage_collector
from runner.sinks.exposition import Rendered
from runner.sinks.metrics import Metrics
from runner.sinks.registry import OPENMETRICS, Registry, collected, texts
from runner.sinks.scrape import SLICE, in_slices, scraped

FACTS = {"status_code": 200, "http_version": 1.1, "redirects": 0, "ssl": False, "content_length": 5, "body_bytes": 5, "ip_protocol": 4}


@dataclass(slots=True)
class Figures:
    """Of one number of checks; seconds, one a round."""

    observe: list[float] = field(default_factory=list)  # of one observation
    loop: list[float] = field(default_factory=list)
    stall: list[float] = field(default_factory=list)
    tenth: list[float] = field(default_factory=list)
    packed: list[float] = field(default_factory=list)  # until the compressed page is there
    client: list[float] = field(default_factory=list)


async def one_page(registry: Registry) -> tuple[float, float]:
    """Seconds of the loop for a page, and the longest of its slices: two milliseconds by the clock, and the step that ends it."""
    longest = 0.0

    def steps(families: list[bytes | Rendered]) -> Iterator[None]:
        nonlocal longest
        for family in families:
            if isinstance(family, Rendered):
                began = time.thread_time()
                for _ in family.steps(openmetrics=True):
                    longest = max(longest, time.thread_time() - began)
                    yield
                    began = time.thread_time()

    families = await asyncio.to_thread(collected, registry, OPENMETRICS)
    spent = await in_slices(steps(families))
    await asyncio.to_thread(lambda: b"".join(texts(families, OPENMETRICS)))
    return spent, SLICE + longest


def observe(metrics: Metrics, checks: Iterable[Check], number: int) -> float:
    """Seconds in which the sink takes a run of each check."""
    made = [
        Observation(
            check,
            Verdict.PASS,
            None,
            "",
            1_796_000_000.123 + number + place / 1e3,
            0.001_234_5 + place / 1e7,
            phases=dict.fromkeys(("resolve", "connect", "processing", "transfer"), 1e-4 + place / 1e9 + number / 1e7),
            facts={**FACTS, "dns_lookup": 1e-4 + place / 1e9 + number / 1e7},
            trace_id=f"{place:032x}",
        )
        for place, check in enumerate(checks)
    ]
    began = time.thread_time()
    for seen in made:
        metrics(seen)
    return time.thread_time() - began


async def measure(count: int, rounds: int) -> str:
    """One line of the table."""
    checks = [Check(f"check-{number:05}", "http", number, interval=10.0, timeout=2.0) for number in range(count)]
    probe = Http.model_validate({"url": "http://127.0.0.1:9/"})
    plan = Plan("bench", "", "local", tuple(Planned(check, probe, Every(10.0), 2.0, check.name) for check in checks))
    registry = Registry()
    metrics = Metrics(registry, SystemClock(), "0")
    metrics.plan(plan)
    freeze_garbage_collector()
    observe(metrics, checks, 0)
    first, first_stall = await one_page(registry)
    found = Figures()
    for number in range(1, rounds + 1):
        found.observe.append(observe(metrics, checks, 2 * number) / count)
        loop, stall = await one_page(registry)
        found.loop.append(loop)
        found.stall.append(stall)
        observe(metrics, checks[::10], 2 * number + 1)
        found.tenth.append((await one_page(registry))[0])
        began = time.perf_counter()
        page, _ = await scraped(registry, OPENMETRICS, packed=True)
        found.packed.append(time.perf_counter() - began)
        began = time.thread_time()
        generate_latest(registry)  # type: ignore[no-untyped-call]
        found.client.append(time.thread_time() - began)
    samples = sum(not line.startswith(b"#") for line in (await scraped(registry, OPENMETRICS, packed=False))[0].splitlines())
    ratios = [own / its for own, its in zip(found.loop, found.client, strict=True)]
    cells = (
        f"{count:,}",
        f"{samples:,}",
        f"{statistics.median(found.observe) * 1e6:.0f}",
        spread(found.loop),
        f"{max(found.stall) * 1e3:.1f}",
        spread(found.tenth),
        spread(found.client),
        f"{statistics.median(ratios):.2f}",
        f"{first * 1e3:.1f} (slice {first_stall * 1e3:.1f})",
        f"{statistics.median(found.packed) * 1e3:.0f} ms, {len(page) / 1e6:.2f} MB",
    )
    return f"| {' | '.join(cells)} |"


def spread(seconds: list[float]) -> str:
    """The median in milliseconds, with the least and the most."""
    return f"{statistics.median(seconds) * 1e3:.1f} ({min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})"


HEADER = """| checks | samples | an observation, us | loop time of a scrape, ms | longest slice, ms | a tenth changed, ms \
| prometheus-client, ms | of it | first scrape, ms | gzip |
|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Runs and prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--checks", type=int, nargs="+", default=[10, 100, 1000, 10000])
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {chosen.rounds} rounds\n\n{HEADER}", flush=True)
    for count in chosen.checks:
        print(uvloop.run(measure(count, chosen.rounds)), flush=True)


if __name__ == "__main__":
    main()
