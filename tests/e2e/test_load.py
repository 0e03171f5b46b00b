"""Load tests against the stand-in, as a user calls them: the verdict, the exit code, and what is never sent."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.standin import StandIn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def standin(*faults: str) -> AsyncIterator[tuple[StandIn, dict[str, str]]]:
    """A stand-in without its limiter, and the environment that points the committed checks at it."""
    async with StandIn(limits=False, faults=faults) as one:
        yield one, {**os.environ, **one.environment(), "API_LIMIT": "1000000/1h"}


async def run(*words: str, environ: dict[str, str]) -> tuple[int, str, str]:
    """Runs a command of Python's in the repository: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def load(*words: str, environ: dict[str, str]) -> tuple[int, dict[str, Any], str]:
    """`outrider load --json`: exit code, report (empty where there is none), standard error."""
    code, out, err = await run("-m", "runner.cli", "load", *words, "--json", environ=environ)
    return code, json.loads(out) if out else {}, err


def counts(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """How often each task and request was begun and done."""
    return {task["name"]: (task["started"], task["done"]) for task in report["tasks"]}


async def test_a_healthy_run_holds_what_so_few_can_prove() -> None:
    """Nothing fails, every arrival is sent, and what can't be proven is said beforehand: exit 3, never 0 for want of samples."""
    async with standin() as (_, environ):
        code, report, err = await load("roadtrip", "--rate", "40/s", "--duration", "6s", environ=environ)

    assert (code, report["verdict"]) == (3, "inconclusive")
    assert "too short to decide availability" in err
    assert {reason["cause"] for reason in report["reasons"]} == {"short"}, report["reasons"]
    assert report["generator"]["started"] == report["generator"]["offered"] > 150
    assert sum(task["errors"] for task in report["tasks"]) == 0


async def test_a_journey_of_checks_yaml_passes_under_load() -> None:
    """plan-a-trip, played unchanged by the load: proven within its objective, exit 0."""
    async with standin() as (_, environ):
        code, report, _ = await load("journeys", "--rate", "12/s", "--duration", "8s", environ=environ)

    assert (code, report["verdict"]) == (0, "pass"), report["reasons"]
    assert "plan-a-trip" in counts(report)


async def test_a_slow_api_fails_by_the_name_of_the_route() -> None:
    """api-slow breaks p95, and each reason names the route; exit 1."""
    async with standin("api-slow") as (_, environ):
        code, report, _ = await load("roadtrip", "--rate", "20/s", "--duration", "6s", environ=environ)

    assert (code, report["verdict"]) == (1, "fail")
    assert any(reason["text"].startswith("browse/voices p95:") for reason in report["reasons"])


async def test_two_workers_send_what_one_sends() -> None:
    """The same seed gives the same arrivals, however many processes share them, and the counts merge exactly."""
    words = ("roadtrip", "--rate", "30/s", "--duration", "5s", "--seed", "7")
    async with standin() as (_, environ):
        _, one, _ = await load(*words, environ=environ)
        _, two, _ = await load(*words, "--workers", "2", environ=environ)

    assert len(two["workers"]) == 2
    assert counts(one) == counts(two)


async def test_what_may_not_be_is_not_sent() -> None:
    """No load: true, a rate above the ceiling, a target's limit: exit 2 and a sentence, and the target saw nothing."""
    async with standin() as (one, environ):
        before = len(one.world.requests)
        shut = await load("roadtrip", environ={**environ, "LOADABLE": "false"})
        fast = await load("roadtrip", "--rate", "500/s", environ=environ)
        much = await load("roadtrip", "--rate", "50/s", environ={**environ, "API_LIMIT": "900/1h"})
        unknown = await load("roadtrips", environ=environ)
        after = len(one.world.requests)

    assert [shut[0], fast[0], much[0], unknown[0]] == [2, 2, 2, 2]
    assert "set LOADABLE=true" in shut[2]
    assert "above the ceiling of 200/s" in fast[2]
    assert "limit of api" in much[2]
    assert "there are roadtrip, journeys" in unknown[2]
    assert after == before


LOCUST = ("-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "-u", "4", "-r", "4")


async def test_plain_locust_obeys_its_own_options() -> None:
    """GM4, GM5, GM6: --run-time is the duration, users end their task at the stop, and --host may only be the target's own address."""
    async with standin() as (one, environ):
        target = {**environ, "OUTRIDER_DURATION": "300h"}  # above the ceiling, but --run-time is what counts
        code, out, err = await run(*LOCUST, "-t", "3s", "--stop-timeout", "5", "--host", environ["API_URL"], environ=target)
        before = len(one.world.requests)
        refused = [
            await run(*LOCUST, "-t", "3s", "--host", "http://127.0.0.1:1", environ=environ),
            await run(*LOCUST, "-t", "300h", environ=environ),
            await run(*LOCUST, "-t", "3s", environ={**environ, "OUTRIDER_SCENARIO": "nothere"}),
            await run(*LOCUST, "-t", "3s", environ={**environ, "LOADABLE": "false"}),
        ]
        after = len(one.world.requests)

    assert code == 0, err[-2000:]
    assert "Not all users finished" not in out + err
    assert before > 0
    assert [one_of[0] for one_of in refused] == [2, 2, 2, 2]
    for (_, out, err), words in zip(
        refused, ("not the address of target", "above the ceiling", "no scenario nothere", "set LOADABLE=true"), strict=True
    ):
        assert words in err
        assert "Traceback" not in out + err
    assert after == before


async def test_plain_locust_runs_the_same_tasks() -> None:
    """`locust -f loadtests/locustfile.py` takes the scenario from checks.yaml, and its requests are the tasks' own."""
    async with standin() as (one, environ):
        code, out, err = await run(*LOCUST, "-t", "4s", "--stop-timeout", "5", environ=environ)
        booked = one.world.forbidden

    assert code == 0, err[-2000:]
    assert "browse/voices" in out + err
    assert booked == []
