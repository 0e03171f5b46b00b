"""How many samples a check has on /metrics: Prometheus stores each of them at every scrape."""

from __future__ import annotations

from dataclasses import replace

from judge.observation import Check
from probes.kinds.http import Http
from runner.config.plan import Every, Plan, Planned
from tests.support import servers
from tests.support.engine import observer
from tests.support.metrics import Counted
from tests.support.observations import P95


async def samples(*, slos: bool = False) -> int:
    """The samples of a plain http check in the steady state: a second run, of a host by name."""
    async with observer() as runs, servers.canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready") as server:
        check = Check("api", "http", 1, interval=30.0, timeout=5.0, slos=(P95,) if slos else ())
        probe = Http.model_validate({"url": f"http://localhost:{server.port}/"})
        plan = Plan("roadtrip", "test", "local", (Planned(check, probe, Every(30.0), 5.0, "print"),))
        metrics = Counted()
        metrics.plan(plan)
        for _ in range(2):
            seen = await runs.first(plan)
            metrics(replace(seen, facts={**seen.facts, "loop_lag": 0.0}))  # this machine may be busy
    return sum('check="api"' in line for line in metrics.page().decode().splitlines())


async def test_a_plain_http_check_has_25_samples() -> None:
    """Without SLOs it has 25. An SLO with a threshold adds one bucket and its two counters."""
    assert await samples() == 25
    assert await samples(slos=True) == 28
