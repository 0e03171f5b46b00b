"""A real Prometheus against a real runner's /metrics."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from probes.core import Reason
from runner.web.serve import serve
from tests.support.observations import AVAILABILITY, P95, TRACE, failed, made_check, passed
from tests.support.site import Site, site

P50 = replace(P95, name="p50", threshold=0.25)  # the histogram has an edge at each threshold
API = made_check(slos=(AVAILABILITY, P50, P95), tags=("smoke",))
TOKEN = "read-me-1234"


class Scraped:
    """The site's application, and an event for the moment when it is scraped for the second time: then the first is stored."""

    def __init__(self, here: Site) -> None:
        self.app, self.times, self.twice = here.app, 0, asyncio.Event()
        self.accept = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        self.times += 1
        self.accept = dict(scope["headers"]).get(b"accept", b"").decode()
        if self.times > 1:
            self.twice.set()


@pytest.fixture
def here() -> Site:
    """A site with a pass and a failure of just now: Prometheus stores no exemplar of long ago."""
    now = time.time()
    seen = passed(API, 0.4, at=now, trace_id=TRACE), failed(API, Reason.TIMEOUT, at=now, trace_id=TRACE)
    return site(API).guarded(read_token=TOKEN).saw(*seen)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where Prometheus' configuration goes."""
    return tmp_path / "prometheus.json"


@pytest.fixture
async def prometheus(here: Site, config: Path, tmp_path: Path) -> AsyncIterator[tuple[str, Scraped]]:
    """A Prometheus that has scraped a guarded site twice: its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app = Scraped(here)
    listening = await serve(app, "127.0.0.1", 0)
    scrape = {
        "job_name": "outrider",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "authorization": {"credentials": TOKEN},
        "static_configs": [{"targets": [f"127.0.0.1:{listening.port}"]}],
    }
    text = json.dumps({"scrape_configs": [scrape]})
    await asyncio.to_thread(config.write_text, text)
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=error",
    )
    try:
        await app.twice.wait()
        yield f"http://127.0.0.1:{port}", app
    finally:
        process.terminate()
        await process.wait()
        await listening.stop()


async def ask(url: str, path: str, query: str) -> Any:
    """What Prometheus' API answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/api/v1/{path}", params={"query": query, "start": "0", "end": "9999999999"})
        return answer.json()["data"]


@pytest.mark.monitoring
async def test_prometheus_takes_series_and_exemplars(prometheus: tuple[str, Scraped]) -> None:
    """Its own Accept header gets OpenMetrics; it stores our series, may rate them, and keeps the trace of a run."""
    url, app = prometheus
    assert app.accept.startswith("application/openmetrics-text")
    [up] = (await ask(url, "query", 'up{job="outrider"}'))["result"]
    [runs] = (await ask(url, "query", 'probe_runs_total{check="api",outcome="fail"}'))["result"]
    [good] = (await ask(url, "query", 'histogram_quantile(0.5, probe_run_duration_seconds_bucket{check="api"})'))["result"]
    assert [one["value"][1] for one in (up, runs)] == ["1", "1"]
    assert 0.25 < float(good["value"][1]) <= 0.5
    exemplars = await ask(url, "query_exemplars", 'probe_failures_total{check="api"}')
    assert exemplars[0]["exemplars"][0]["labels"] == {"trace_id": TRACE}
