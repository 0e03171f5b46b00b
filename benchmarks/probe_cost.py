"""CPU time of one plain HTTP probe: Outrider's whole run beside stock httpx and the blackbox_exporter, in one run.

    .venv/bin/python benchmarks/probe_cost.py [--rounds 5] [--probes 2000]

Every contender makes a fresh connection a probe to the same target on loopback. Rounds are interleaved, since neighbours on the
machine come and go; figures are the medians of the rounds, and the ratios are what counts. The blackbox_exporter's cost is that of
its whole process per /probe that it serves, by /proc; it is left out, and said so, where the program isn't installed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import uvloop

from benchmarks._fixtures import target
from judge.observation import Check, Slo
from probes.kinds.http import Http
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Every, Plan, Planned
from runner.engine.execute import Execute
from runner.sinks.metrics import Metrics
from runner.sinks.registry import Registry
from runner.state import open_ledger

EXPORTER = "prometheus-blackbox-exporter"
Contender = Callable[[int], Awaitable[float]]  # a number of probes -> CPU seconds that they took


def outrider(url: str) -> Contender:
    """A run as the schedule makes it: permits, deadline, phases, verdict, and what /metrics says of it, rendered."""
    clock = SystemClock()
    check = Check("bench", "http", 1, interval=30.0, timeout=5.0, slos=(Slo("p95", Decimal("0.95"), 86400.0, 0.5),))
    probe = Http.model_validate({"url": url, "expect": {"status": 200}})
    planned = Planned(check, probe, Every(30.0), 5.0, "bench")
    plan = Plan("bench", "bench", "bench", (planned,))
    metrics = Metrics(Registry(), clock, "bench")
    metrics.plan(plan)
    execute = Execute(plan=plan, wire=Wire(), ledger=open_ledger(None, clock), clock=clock, rng=random.Random(1), version="bench")

    async def run(probes: int) -> float:
        before = time.process_time()
        for _ in range(probes):
            for seen in await execute.observe(planned):
                metrics(seen)
        return time.process_time() - before

    return run


def stock(url: str) -> Contender:
    """What one would write first: httpx's client, kept, with a new connection a request."""

    async def run(probes: int) -> float:
        async with httpx.AsyncClient(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0)) as client:  # noqa: S501 - plain HTTP
            before = time.process_time()
            for _ in range(probes):
                (await client.get(url)).raise_for_status()
            return time.process_time() - before

    return run


@contextmanager
def exporter(url: str) -> Iterator[Contender | None]:
    """The blackbox_exporter on a free port with its http_2xx module."""
    program = shutil.which(EXPORTER)
    if program is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        config.write("modules: {http_2xx: {prober: http, http: {preferred_ip_protocol: ip4}}}\n")
        config.flush()
        command = [program, f"--config.file={config.name}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                yield _asked(process.pid, f"http://127.0.0.1:{port}", url)
            finally:
                process.terminate()


def _asked(pid: int, exporter_url: str, url: str) -> Contender:
    async def run(probes: int) -> float:
        async with httpx.AsyncClient(trust_env=False, base_url=exporter_url) as client:
            await _up(client)
            before = _cpu(pid)
            for _ in range(probes):
                answer = await client.get("/probe", params={"module": "http_2xx", "target": url})
                assert "probe_success 1" in answer.text
            return _cpu(pid) - before

    return run


async def _up(client: httpx.AsyncClient) -> None:
    for _ in range(100):
        try:
            await client.get("/-/healthy")
        except httpx.ConnectError:
            await asyncio.sleep(0.1)
        else:
            return
    raise SystemExit(f"{EXPORTER} doesn't start")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def compare(contenders: dict[str, Contender], rounds: int, probes: int) -> dict[str, list[float]]:
    """Microseconds a probe for each contender and round, the rounds interleaved."""
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        await contender(min(200, probes))  # warm
    for _ in range(rounds):
        for name, contender in contenders.items():
            costs[name].append(await contender(probes) / probes * 1e6)
    return costs


def main() -> None:
    """Runs and prints."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--probes", type=int, default=2000)
    chosen = options.parse_args()
    with target() as (address,), exporter(url := f"{address}/") as blackbox:
        contenders = {"outrider": outrider(url), "stock httpx": stock(url)} | ({"blackbox_exporter": blackbox} if blackbox else {})
        costs = uvloop.run(compare(contenders, chosen.rounds, chosen.probes))
    ours = statistics.median(costs["outrider"])
    for name, values in costs.items():
        middle = statistics.median(values)
        print(f"{name:<18} {middle:7.0f} us a probe ({min(values):.0f} to {max(values):.0f}), {middle / ours:5.2f} x outrider")
    if blackbox is None:
        print(f"{EXPORTER} isn't installed: left out")


if __name__ == "__main__":
    main()
