"""A day of checks that ask for more than they may: a model with budgets, and a target with a limit. For a process that is killed.

    python -m tests.support.quota_day FOLDER HOURS

runs the first HOURS in simulated time, and is killed by SIGKILL while the model is being asked. FOLDER gets the state, and what the
server saw, a line for each request: the check's path, and its moment.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from probes.wire.wire import Wire
from runner.config.plan import Plan
from runner.config.rates import windows
from runner.config.read import read_plan
from runner.engine.execute import Execute
from runner.engine.schedule import Schedule
from runner.sinks.dispatch import Emit
from runner.state import LastSeen, open_ledger
from tests.support.simulation import Simulation

HOUR = 3600.0
TOKENS, COST, LIMIT = 1000, 0.30, 40  # a UTC day, USD a UTC day, requests an hour
USED = 8  # tokens of each reply, as the server reports them
CHECKS = f"""version: 1
targets:
  api: {{url: "${{URL}}", limit: {LIMIT}/1h}}
checks:
  api: {{kind: http, target: api, path: /api, interval: 1m}}
  model:
    &model
    kind: ai
    url: ${{MODEL}}/tokens
    api: openai
    model: m
    prompt: "yes"
    max_tokens: 10
    stream: false
    interval: 5m
    budget: {{tokens: {TOKENS}/1d}}
  paid:
    <<: *model
    url: ${{MODEL}}/cost
    budget: {{cost: {COST} USD/1d}}
    price: {{prompt: 1 USD/1k, answer: 1 USD/1k}}
"""
_REPLY = (
    b'{"choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}], '
    b'"usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}'
)


@asynccontextmanager
async def counting(seen: Callable[[str], None]) -> AsyncIterator[str]:
    """A server that calls `seen` with the path of each request before it responds, in a thread; yields its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        await asyncio.to_thread(seen, head.split()[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(_REPLY))
        writer.write(_REPLY)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def go_on(folder: Path, simulation: Simulation, hours: float, *, die_after: float = float("inf")) -> Counter[str]:
    """Runs the checks for some hours, from what the state knows. Returns which scheduled runs were missed, and why.

    Kills this process at the first request to the model after `die_after` simulated hours.
    """
    missed: Counter[str] = Counter()
    began = simulation.monotonic()
    log = await asyncio.to_thread(os.open, folder / "requests", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def seen(path: str) -> None:
        os.write(log, f"{path} {simulation.time()!r}\n".encode())
        if path == "/tokens" and simulation.monotonic() - began > die_after * HOUR:
            os.kill(os.getpid(), signal.SIGKILL)

    async with counting(seen) as url, counting(seen) as model:  # whatever asks the target's address takes of its limit
        plan = await asyncio.to_thread(_plan, folder, {"URL": url, "MODEL": model})
        ledger, wire = await asyncio.to_thread(open_ledger, folder / "state", simulation, windows(plan)), Wire()
        rng = random.Random(7)  # noqa: S311 - the same day each time
        execute = Execute(plan=plan, wire=wire, ledger=ledger, clock=simulation, rng=rng, version="test")
        schedule = Schedule(
            emit=Emit({"state": LastSeen(ledger)}, failed=lambda name: missed.update([f"sink {name}"])),
            missed=lambda check, reason: missed.update([f"{check.name} {reason}"]),
            lagged=lambda _: None,
            clock=simulation,
            timer=simulation,
            cadences=simulation,
        )
        schedule.start(plan, execute, await ledger.last_seen())
        await simulation.run_for(hours * HOUR, lambda: schedule.in_flight)
        await schedule.drain(10)
        await wire.aclose()
        await ledger.aclose()
    await asyncio.to_thread(os.close, log)
    return missed


def _plan(folder: Path, environ: dict[str, str]) -> Plan:
    file = folder / "checks.yaml"
    file.write_text(CHECKS)
    return read_plan(file, environ=environ)


if __name__ == "__main__":
    asyncio.run(go_on(Path(sys.argv[1]), Simulation(), 24, die_after=float(sys.argv[2])))
