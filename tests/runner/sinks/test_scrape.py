"""The page of /metrics is made in slices beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from runner.sinks.exposition import Rendered
from runner.sinks.registry import OPENMETRICS, collected
from runner.sinks.scrape import in_slices, scraped
from runner.web.readers import Rendered as Rendering
from tests.support.metrics import Counted
from tests.support.observations import made_check, made_plan, passed

CHECKS = tuple(made_check(f"check-{number:03}") for number in range(250))


def counted() -> Counted:
    """Metrics of many checks that have run."""
    metrics = Counted()
    metrics.plan(made_plan(*CHECKS))
    for check in CHECKS:
        metrics(passed(check, trace_id=check.name))
    return metrics


async def test_the_loop_gets_itself_back_after_each_slice() -> None:
    """Steps of 1 ms: after every second one, everything else that is ready has its turn."""
    ticks, now = [], 0.0
    loop = asyncio.get_running_loop()

    def tick() -> None:
        ticks.append(now)
        loop.call_soon(tick)

    def steps() -> Iterator[None]:
        nonlocal now
        for _ in range(10):
            now += 0.001
            yield

    loop.call_soon(tick)
    work = asyncio.create_task(in_slices(steps(), 0.002, lambda: now))
    await work
    assert sorted({round(moment * 1000) for moment in ticks}) == [0, 2, 4, 6, 8, 10]


def test_no_step_joins_more_than_forty_checks() -> None:
    """However many checks there are, so that no slice is much longer than its limit."""
    families = [family for family in collected(counted().registry, OPENMETRICS) if isinstance(family, Rendered)]
    assert families
    for family in families:
        steps = sum(1 for _ in family.steps(openmetrics=True))
        assert steps == 7 + 1  # of 250 checks, and the join of the parts


async def test_the_page_is_that_of_one_moment() -> None:
    """What is observed while the page is made is on the next one, and the page is prometheus-client's to the byte."""
    metrics = counted()
    before = generate_openmetrics(metrics.registry)  # type: ignore[no-untyped-call]
    families = collected(metrics.registry, OPENMETRICS)
    for check in CHECKS:
        metrics(passed(check, 9.5))
    assert b"".join(family.text(openmetrics=True) if isinstance(family, Rendered) else family for family in families) + b"# EOF\n" == before
    page, spent = await scraped(metrics.registry, OPENMETRICS, packed=False)
    assert page == generate_openmetrics(metrics.registry) != before  # type: ignore[no-untyped-call]
    assert spent > 0


def test_an_observation_makes_no_text() -> None:
    """Only a scrape does: a runner that nobody scrapes keeps no line of any check."""
    metrics = counted()
    pieces = [piece for checks in metrics._checks._pieces.values() for piece in checks.values()]
    assert [piece for piece in pieces if piece._text or piece._openmetrics or piece._starts] == []


class Counting(Collector):
    """Counts how often it is collected, and has nothing to tell."""

    def __init__(self) -> None:
        self.times = 0

    def collect(self) -> Iterator[Metric]:
        self.times += 1
        yield from ()


async def test_scrapes_at_the_same_time_share_one_page() -> None:
    """Ten at once, in the same format: the registry is collected once."""
    metrics, counting, shown = counted(), Counting(), Rendering()
    metrics.registry.register(counting)
    counting.times = 0
    make = partial(scraped, metrics.registry, OPENMETRICS, packed=True)
    pages = await asyncio.gather(*(shown.made("/metrics", make) for _ in range(10)))
    assert len(set(pages)) == 1
    assert counting.times == 1
