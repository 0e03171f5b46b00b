"""Runners that share their checks by Redis, as real processes: killed, stopped, cut off, and with wrong clocks.

What is promised is counted at the server that they ask: docs/scale.md.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from demo.servers import RedisServer
from tests.support.fleet import CHECKS, INTERVAL, LASTS, Fleet, fleet, passes

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]  # gaps and leases are measured in real time

LATE = 1.5  # seconds by which a run may come late on a busy machine


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """An open one, for one fleet."""
    async with RedisServer(password="") as server:
        yield server


def tell(what: str, here: Fleet, since: float, until: float) -> None:
    """Prints the figures: `pytest -rP` shows them."""
    longest, doubled, runs = here.longest(since, until), here.doubled(since), len(here.all(since))
    print(f"{what}: longest without a run {longest:.2f} s, doubled {doubled} of {runs}")  # noqa: T201 - as above


async def test_a_killed_runners_checks_go_on_within_two_intervals(tmp_path: Path, redis: RedisServer) -> None:
    """kill -9 of one of three: no check is without a run for more than two intervals, and none runs twice."""
    async with fleet(tmp_path, redis, "a", "b", "c") as here:
        began = time.monotonic()
        here.process("a").kill()
        await here.process("a").wait()
        ended = await passes(4 * INTERVAL)
        tell("kill -9", here, began, ended)
        assert here.longest(began, ended) <= 2 * INTERVAL + LATE
        assert here.doubled(began) == 0
        assert {who for who, _ in here.all(began + INTERVAL)} == {"b", "c"}


async def test_a_stopped_runner_sends_nothing_when_it_wakes(tmp_path: Path, redis: RedisServer) -> None:
    """SIGSTOP for five leases: the others take over; at most the runs that were under way are doubled when it goes on."""
    async with fleet(tmp_path, redis, "a", "b", "c") as here:
        began = time.monotonic()
        here.process("a").send_signal(signal.SIGSTOP)
        await passes(5 * LASTS)
        woken = time.monotonic()
        here.process("a").send_signal(signal.SIGCONT)
        ended = await passes(4 * INTERVAL)
        tell("SIGSTOP", here, began, ended)
        assert here.longest(began, ended) <= 2 * INTERVAL + LATE
        assert here.doubled(began) <= 1  # a run that was under way
        assert len([who for who, at in here.all(woken) if who == "a" and at < woken + LASTS / 2]) <= 1


async def test_without_redis_the_runners_stop_and_say_so(tmp_path: Path, redis: RedisServer) -> None:
    """Each runner goes on until its lease ends and then sends nothing; what has a limit isn't sent at all. With Redis again all go on."""
    async with fleet(tmp_path, redis, "a", "b", "c", limit=1000) as here:
        await here.server.until(lambda times: any(path.startswith("/l0") for path in times))
        await redis.stop()
        began = await passes(0.5)  # what was permitted before may still be on its way
        sent_to_limited = sum(path.startswith("/l0") for path, _ in here.server.asked)
        await here.runners["a"].until("The Redis of coordinate can't be used since")
        stopped = await passes(LASTS)
        page = await here.runners["a"].scrape()
        await passes(2 * INTERVAL)
        assert here.all(stopped) == []
        assert sum(path.startswith("/l0") for path, _ in here.server.asked) == sent_to_limited
        assert "outrider_lease_store_up 0.0" in page
        assert "outrider_checks_held 0.0" in page
        await redis.start()
        back = time.monotonic()
        ended = await passes(3 * INTERVAL)
        tell("Redis gone, from its return", here, back, ended)
        assert len(here.asked(back)) == CHECKS
        assert here.doubled(began) == 0
        await here.runners["a"].until("the Redis of coordinate can be used again")


async def test_clocks_that_differ_move_no_check_twice(tmp_path: Path, redis: RedisServer) -> None:
    """One wall clock is 5 s ahead, and one 5 s behind, when a runner is killed: leases compare no clocks, so the promises hold."""
    async with fleet(tmp_path, redis, "a", "b", "c", ahead={"a": 5.0, "b": -5.0}) as here:
        steady = time.monotonic()
        began = await passes(2 * INTERVAL)
        tell("clocks differ by 5 s, steady", here, steady, began)
        assert here.doubled(steady) == 0
        here.process("a").kill()
        await here.process("a").wait()
        ended = await passes(4 * INTERVAL)
        tell("clocks differ by 5 s, kill -9", here, began, ended)
        assert here.longest(began, ended) <= 2 * INTERVAL + LATE
        assert here.doubled(began) == 0


async def test_all_runners_together_keep_a_limit(tmp_path: Path, redis: RedisServer) -> None:
    """A limit of 4 an hour, while its runner is killed and another one takes the check over: the server sees 4 requests, and no more."""
    async with fleet(tmp_path, redis, "a", "b", limit=4) as here:
        await here.server.until(lambda times: any(path.startswith("/l0") for path in times))
        owner = next(path for path, _ in here.server.asked if path.startswith("/l0")).partition("?")[2]
        here.process(owner).kill()
        await here.process(owner).wait()
        await passes(3 * INTERVAL)
        assert sum(path.startswith("/l0") for path, _ in here.server.asked) <= 4


async def test_a_runner_that_stops_hands_over(tmp_path: Path, redis: RedisServer) -> None:
    """SIGTERM: the others have its checks at their next look, and each check keeps its rhythm."""
    async with fleet(tmp_path, redis, "a", "b") as here:
        began = time.monotonic()
        here.process("a").terminate()
        assert await here.process("a").wait() == 0
        ended = await passes(3 * INTERVAL)
        tell("SIGTERM", here, began, ended)
        assert here.longest(began, ended) <= 2 * INTERVAL + LATE
        assert here.doubled(began) == 0
