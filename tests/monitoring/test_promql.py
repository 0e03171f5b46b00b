"""Kind `promql` against a real Prometheus: values, emptiness, its own errors, and the check that compares metrics with probes."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from probes.core import Failed, Reason
from probes.kinds.promql import Promql
from probes.wire.wire import Wire
from tests.support.context import make_context

pytestmark = pytest.mark.monitoring
DOCUMENT = (Path(__file__).parents[2] / "docs/checks.md").read_text(encoding="utf-8")
DISAGREE = re.search(r"^  metrics-and-probes-agree:\n.*?query: >-\n(.*?)^    expect", DOCUMENT, re.MULTILINE | re.DOTALL)
STEP = 15  # seconds between two samples
MINUTES = 20


def series(text: str, a_step: float) -> str:
    """A counter's samples of the last minutes, as OpenMetrics."""
    begin = int(time.time()) - MINUTES * 60
    return "".join(f"{text} {n * a_step} {begin + n * STEP}\n" for n in range(MINUTES * 60 // STEP + 1))


def recorded() -> str:
    """What two applications counted, and two probes of them: the first says that all is well, and each probe of it fails."""
    return "".join(
        (
            "# TYPE http_requests counter\n",
            series('http_requests_total{job="lying",status="200"}', 30),
            series('http_requests_total{job="honest",status="200"}', 29),
            series('http_requests_total{job="honest",status="500"}', 1),
            series('http_requests_total{job="idle",status="200"}', 0),
            "# TYPE probe_runs counter\n",
            series('probe_runs_total{check="lying",outcome="pass"}', 0),
            series('probe_runs_total{check="lying",outcome="fail"}', 1),
            series('probe_runs_total{check="honest",outcome="pass"}', 1),
            series('probe_runs_total{check="honest",outcome="fail"}', 0),
            series('probe_runs_total{check="idle",outcome="pass"}', 1),
            "# EOF\n",
        )
    )


@pytest.fixture(name="prometheus")
async def _prometheus(tmp_path: Path) -> AsyncIterator[str]:
    """A Prometheus with those twenty minutes in its storage: its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"127.0.0.1:{free.getsockname()[1]}"
    await asyncio.to_thread((tmp_path / "recorded").write_text, recorded(), encoding="utf-8")
    await asyncio.to_thread((tmp_path / "prometheus.yml").write_text, "scrape_configs: []\n", encoding="utf-8")
    stored = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "recorded", "data")
    quiet = asyncio.subprocess.DEVNULL
    made = await asyncio.create_subprocess_exec(*stored, cwd=tmp_path, stdout=quiet)
    assert await made.wait() == 0
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={url}",
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
        stdout=quiet,
    )
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if b"ready to receive web requests" in line:
                break
        yield f"http://{url}"
    finally:
        process.terminate()
        await process.communicate()


async def ask(wire: Wire, url: str, query: str, expect: Mapping[str, object]) -> tuple[Reason | None, str]:
    """Reason and message of one run."""
    try:
        result = await Promql.model_validate({"url": url, "query": query, "expect": expect}).run(make_context(wire))
    except Failed as failed:
        return failed.reason, failed.message
    return result.reason, result.message


async def test_a_real_prometheus(wire: Wire, prometheus: str) -> None:
    """Values by label, no result, 0 divided by 0, and errors in Prometheus' own words."""
    rate = "round(sum by (job) (rate(http_requests_total[5m])), 0.001)"  # its last digits depend on the moment of the query
    assert await ask(wire, prometheus, rate, {"value": {"at_least": 0}}) == (None, "3 series, from 0 to 2")
    assert await ask(wire, prometheus, rate, {"value": {"above": 0}}) == (Reason.BODY, '{job="idle"} is 0, expected above 0')
    assert (await ask(wire, prometheus, "vector(7)", {"value": 7}))[0] is None
    assert (await ask(wire, prometheus, "42", {"value": 42}))[0] is None
    assert (await ask(wire, prometheus, "nothing_of_the_kind == 0", {"value": 0}))[1].startswith("the query returns no series")
    assert (await ask(wire, prometheus, "vector(0) / 0", {"value": {"below": 1}}))[1].startswith("the result is NaN")
    reason, message = await ask(wire, prometheus, "sum(", {"value": 0})
    assert (reason, message.partition(":")[0]) == (Reason.STATUS, "Prometheus says bad_data")
    assert "parse error" in message
    assert (await ask(wire, prometheus, "up[5m]", {"value": 0}))[0] is Reason.SCHEMA


async def test_metrics_and_probes_disagree(wire: Wire, prometheus: str) -> None:
    """The application counts 100 % while each answer is an error: the check of docs/checks.md fails, and passes for an honest one."""
    assert DISAGREE is not None
    query, expect = " ".join(DISAGREE[1].split()), {"value": {"below": 0.1}}

    async def of(name: str) -> tuple[Reason | None, str]:
        return await ask(wire, prometheus, query.replace('"roadtrip-api"', f'"{name}"').replace('"api"', f'"{name}"'), expect)

    assert await of("lying") == (Reason.BODY, "the result is 1, expected below 0.1")
    reason, message = await of("honest")
    assert (reason, message.startswith("the result is -0.03")) == (None, True)
    assert (await of("idle"))[1].startswith("the result is NaN")
    assert (await of("absent"))[1].startswith("the query returns no series")
