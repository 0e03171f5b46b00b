"""The command line against the stand-in: a release in front of it, commands run to their end, and an always-on runner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo._site import Site
from demo.standin import StandIn
from tests.support.balancer import Release

ROOT = Path(__file__).parents[2]
CHECKS = (ROOT / "checks.yaml").read_text(encoding="utf-8")
OUTRIDER = [sys.executable, "-m", "runner.cli"]
OLD, NEW = "1.4.2", "1.5.0"
OPERATE = "operate-this-runner"


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def report(self) -> dict[str, Any]:
        """What it printed with --json."""
        told: dict[str, Any] = json.loads(self.out)
        return told


@dataclass
class Road:
    """The stand-in's API behind a release of its own, and the environment that leads there."""

    standin: StandIn
    release: Release
    site: Site
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    async def outrider(self, *arguments: str, **environ: str) -> Ended:
        """Runs a command to its end."""
        began = time.monotonic()
        process = await self.begin(*arguments, **environ)
        out, err = await process.communicate()
        return Ended(process.returncode or 0, out.decode(), err.decode(), time.monotonic() - began)

    async def begin(self, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
        """Starts a command."""
        pipe = asyncio.subprocess.PIPE
        given = {**self.environ, **environ}
        return await asyncio.create_subprocess_exec(*OUTRIDER, *arguments, cwd=ROOT, env=given, stdout=pipe, stderr=pipe, limit=2**20)

    def slow_down(self, seconds: float) -> None:
        """Every answer takes so much longer."""

        async def pause() -> None:
            await self.standin.world.pause(seconds)

        self.release.pause = pause


@asynccontextmanager
async def runner(road: Road, checks: str) -> AsyncIterator[Runner]:
    """An always-on runner with these checks, that listens."""
    config = road.folder / "checks.yaml"
    await asyncio.to_thread(config.write_text, checks)
    process = await road.begin("run", "--config", str(config), LISTEN="127.0.0.1:0", OPERATE_TOKEN=OPERATE)
    watched = Runner(process)
    reading = asyncio.create_task(watched.read())
    try:
        await watched.until(lambda line: "the page is at" in line)
        yield watched
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await reading


@dataclass
class Runner:
    """A runner that writes its journal."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Takes its journal up, line by line."""
        if self.process.stdout is None:
            return
        async for line in self.process.stdout:
            self.lines.append(line.decode())
            self.news.set()

    async def until(self, wanted: Any, count: int = 1, start: int = 0) -> None:
        """Waits until so many lines are as wanted."""
        while sum(1 for line in self.lines[start:] if wanted(line)) < count:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 30)

    @property
    def url(self) -> str:
        """Where it listens."""
        line = next(line for line in self.lines if "the page is at" in line)
        return str(json.loads(line)["message"].rpartition(" ")[2]).rstrip("/")


def checks_of(road: Road) -> str:
    """The committed checks, asked each second, so that a test needn't wait for them."""
    text = CHECKS.replace("interval: 15s", "interval: 1s").replace("interval: 30s, timeout: 5s", "interval: 1s, timeout: 1s")
    return text.replace("state: ${STATE_DIR:-.outrider}", f"state: {road.folder}/runner-state")


def by_header(checks: str) -> str:
    """The same checks, where every answer tells its revision."""
    return checks.replace("revision: {path: /health/, json: $.version}", "revision: {header: X-Revision}")


def gate(*more: str) -> tuple[str, ...]:
    """The command, with a report for us."""
    return ("gate", "--json", *more)


def via(watched: Runner) -> tuple[str, ...]:
    """The options that let a runner carry it out."""
    return ("--via", watched.url)
