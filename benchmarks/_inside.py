"""What some benchmarks share: `outrider run` inside this process, with plain HTTP checks of one target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from benchmarks._fixtures import write_checks
from runner.clock import SystemClock
from runner.config.read import read_plan
from runner.service.running import running
from runner.service.service import Service
from runner.sinks.dispatch import LastingSink


@asynccontextmanager
async def runner(
    folder: Path, url: str, *, checks: int, interval: float, extra: Sequence[tuple[str, LastingSink]] = ()
) -> AsyncIterator[tuple[Service, str]]:
    """A runner with its journal and its state in a folder, and its address. It has as many checks of a URL."""
    file = write_checks(folder, url, checks, interval)
    with (folder / "journal").open("w") as journal:
        read = partial(read_plan, file, environ={})
        async with running(read, path=file, clock=SystemClock(), version="bench", journal=journal, extra=extra) as (service, web, _):
            yield service, f"http://127.0.0.1:{web.port}"
