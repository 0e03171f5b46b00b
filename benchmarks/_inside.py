"""What some benchmarks share: `outrider run` inside this process, with plain HTTP checks of one target."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from runner.clock import SystemClock
from runner.config.read import read_plan
from runner.service.running import running
from runner.service.service import Service
from runner.sinks.dispatch import LastingSink


@contextmanager
def target() -> Iterator[str]:
    """The address of a target in a process of its own; see _target.py."""
    command = [sys.executable, str(Path(__file__).with_name("_target.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


@asynccontextmanager
async def runner(
    folder: Path, url: str, *, checks: int, interval: float, extra: Sequence[tuple[str, LastingSink]] = ()
) -> AsyncIterator[tuple[Service, str]]:
    """A runner with its journal and its state in a folder, and its address. It has as many checks of a URL."""
    file = folder / "checks.yaml"
    lines = [f"version: 1\nservice: bench\nserver: {{listen: '127.0.0.1:0'}}\nstate: {folder}/state\nreferences: []"]
    lines += [f"defaults: {{interval: {interval:g}s, timeout: {min(2, interval):g}s}}\nchecks:"]
    lines += [f"  c{number:05}: {{kind: http, url: '{url}'}}" for number in range(checks)]
    file.write_text("\n".join(lines))
    with (folder / "journal").open("w") as journal:
        read = partial(read_plan, file, environ={})
        async with running(read, path=file, clock=SystemClock(), version="bench", journal=journal, extra=extra) as (service, web, _):
            yield service, f"http://127.0.0.1:{web.port}"
