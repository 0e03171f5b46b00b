"""What is seen of a load while it runs and afterwards: metrics, reports, a region in Grafana; and a load of several machines."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest

from demo.standin import StandIn
from loadtests.result import report_from
from tests.support.grafana import TOKEN, StandInGrafana

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
ROOT = Path(__file__).parents[2]


async def started(*words: str, environ: dict[str, str]) -> Process:
    """A process of Python's in the repository."""
    return await asyncio.create_subprocess_exec(sys.executable, *words, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE)


async def until(process: Process, pattern: str) -> re.Match[str]:
    """The first line of its standard error that matches."""
    assert process.stderr
    while line := (await process.stderr.readline()).decode():
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it never said {pattern}")


async def test_a_load_is_seen_while_it_runs_and_afterwards(tmp_path: Path) -> None:
    """Metrics during the run; page, JUnit, JSON and a region in Grafana after it, all of the same verdict; no secret in any."""
    grafana = StandInGrafana()
    await grafana.start()
    async with StandIn(limits=False) as one:
        environ = {**os.environ, **one.environment(), "API_LIMIT": "1000000/1h", "STATE_DIR": str(tmp_path / "state")}
        environ |= {"GRAFANA_URL": grafana.url, "GRAFANA_API_KEY": TOKEN}
        files = [f"--{form}={tmp_path / form}" for form in ("html", "junit", "json")]
        words = ("load", "journeys", "--rate", "12/s", "--duration", "8s", "--metrics", "0", "--annotate", *files)
        process = await started("-m", "runner.cli", *words, environ=environ)
        port = (await until(process, r"metrics: http://127\.0\.0\.1:(\d+)/metrics"))[1]
        await until(process, r"1/s begun|/s due")
        async with httpx.AsyncClient() as client:
            scraped = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        out, err = await process.communicate()
    await grafana.stop()

    assert process.returncode == 0, out.decode() + err.decode()
    assert out.decode().startswith("PASS  journeys meets its SLOs at 12/s for 8 s")
    assert 'outrider_load_info{arrivals="poisson",scenario="journeys"' in scraped
    assert re.search(r"outrider_load_arrivals_due_total [1-9]", scraped)
    page, junit, plain = [await asyncio.to_thread((tmp_path / form).read_text, "utf-8") for form in ("html", "junit", "json")]
    report = report_from(plain)
    (suite,) = ET.fromstring(junit).iter("testsuite")  # noqa: S314 - our own
    assert suite.get("failures") == "0"
    assert "journeys meets its SLOs" in page
    (region,) = grafana.regions()
    assert {"load", "scenario:journeys", "verdict:pass"} <= set(region["tags"])
    assert region["timeEnd"] - region["time"] >= 7000
    assert abs(region["time"] / 1000 - report.started) < 1
    secrets = [environ[name] for name in environ if name.endswith(("PASSWORD", "TOKEN", "KEY")) and len(environ[name]) > 5]
    assert not any(secret in text for secret in secrets for text in (page, out.decode(), err.decode(), scraped))


async def test_a_busy_port_ends_it_before_a_packet() -> None:
    """Exit 2, and the target saw nothing."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        async with StandIn(limits=False) as one:
            environ = {**os.environ, **one.environment(), "API_LIMIT": "1000000/1h"}
            before = len(one.world.requests)
            process = await started("-m", "runner.cli", "load", "journeys", "--metrics", str(busy.getsockname()[1]), environ=environ)
            _, err = await process.communicate()
            assert len(one.world.requests) == before

    assert process.returncode == 2
    assert "nothing was sent" in err.decode()


async def test_a_master_and_workers_as_the_manifests_start_them() -> None:
    """The commands of compose and Kubernetes: workers that know nothing but where the master is, and one judgement."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    async with StandIn(limits=False) as one:
        environ = {**os.environ, **one.environment(), "API_LIMIT": "1000000/1h"}
        words = ("journeys", "--rate", "10/s", "--duration", "6s", "--expect-workers", "2", "--bind", f"127.0.0.1:{port}", "--json")
        master = await started("-m", "runner.cli", "load", *words, environ=environ)
        workers = [await started("-m", "loadtests", "--worker", "127.0.0.1", port, environ=bare) for _ in range(2)]
        out, err = await master.communicate()
        ended = [await worker.wait() for worker in workers]

    assert master.returncode in (0, 3), err.decode()
    told = json.loads(out)
    assert [worker["state"] for worker in told["workers"]] == ["done", "done"]
    assert all(worker["sent"] > 0 for worker in told["workers"])
    assert sum(worker["sent"] for worker in told["workers"]) == told["generator"]["started"]
    assert ended == [0, 0]
