"""A page of /metrics beside running checks: the loop makes it in short slices, and gives itself back between two of them.

Collectors read files, and gzip takes long, so both run in a thread. To make the text in a thread as well would stop the loop: joining
holds the interpreter, and what it holds together may be tens of megabytes.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterable

from prometheus_client.registry import Collector

from runner.sinks.exposition import Rendered
from runner.sinks.registry import OPENMETRICS, collected, texts

SLICE = 0.002  # seconds of work in the loop after which it is given back


async def scraped(registry: Collector, content_type: str, *, packed: bool) -> tuple[bytes, float]:
    """The page of this moment, compressed by gzip if `packed`, and the seconds of processor time that it took.

    `content_type` is as for runner.sinks.registry.render. What is observed meanwhile is on the next page.
    """
    spent: list[float] = []

    def collect() -> list[bytes | Rendered]:
        began = time.thread_time()
        families = collected(registry, content_type)
        spent.append(time.thread_time() - began)
        return families

    families = await asyncio.to_thread(collect)
    of_checks = [family for family in families if isinstance(family, Rendered)]
    spent.append(await in_slices(step for family in of_checks for step in family.steps(openmetrics=content_type == OPENMETRICS)))

    def finish() -> bytes:
        began = time.thread_time()
        page = b"".join(texts(families, content_type))
        page = gzip.compress(page, 1) if packed else page
        spent.append(time.thread_time() - began)
        return page

    return await asyncio.to_thread(finish), sum(spent)


async def in_slices(steps: Iterable[None], most: float = SLICE, clock: Callable[[], float] = time.perf_counter) -> float:
    """Takes all steps, and gives the loop back whenever they have taken `most` seconds. Returns the processor time that they took."""
    spent, began, cpu = 0.0, clock(), time.thread_time()
    for _ in steps:
        if clock() - began >= most:
            spent += time.thread_time() - cpu
            await asyncio.sleep(0)
            began, cpu = clock(), time.thread_time()
    return spent + time.thread_time() - cpu
