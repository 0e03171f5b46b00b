"""Several runners as real processes that share their checks by one Redis, and what a server saw of them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

from demo.servers import RedisServer
from tests.support.always_on import OUTRIDER, Runner
from tests.support.counting import CountingServer, counting_server

CHECKS = 24
INTERVAL = 6.0
LASTS = INTERVAL / 3
CLOSE = INTERVAL / 3  # two requests of one check that come closer than this are a doubled run

FILE = """\
version: 1
service: fleet
server: {{listen: '127.0.0.1:0'}}
coordinate: {redis}
defaults: {{interval: {interval:g}s, timeout: 2s}}
{targets}checks:
{checks}"""


class Fleet:
    """Its runners by name, and the server that they ask."""

    def __init__(self, folder: Path, server: CountingServer, redis: RedisServer, limit: int) -> None:
        self.folder = folder
        self.server = server
        self.redis = redis
        self.limit = limit
        self.runners: dict[str, Runner] = {}

    async def start(self, name: str, *, ahead: float = 0.0) -> None:
        """Starts a runner, whose wall clock may be wrong; each request says who sent it."""
        folder = self.folder / name
        await asyncio.to_thread(folder.mkdir)
        checks = "".join(f"  c{number}: {{kind: http, url: '{self.server.url}c{number}?{name}'}}\n" for number in range(CHECKS))
        checks += f"  l0: {{kind: http, target: limited, path: '/l0?{name}', interval: 1s, timeout: 1s}}\n" if self.limit else ""
        elsewhere = self.server.url.replace("127.0.0.1", "localhost")  # another service, as far as limits go
        targets = f"targets:\n  limited: {{url: '{elsewhere}', limit: {self.limit}/1h}}\n" if self.limit else ""
        text = FILE.format(redis=self.redis.url, interval=INTERVAL, targets=targets, checks=checks)
        await asyncio.to_thread((folder / "checks.yaml").write_text, text)
        words = [sys.executable, "-m", "tests.support.shifted_run", "checks.yaml", str(ahead)] if ahead else [*OUTRIDER, "run"]
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | {"PYTHONPATH": str(Path(__file__).parents[2])}
        process = await asyncio.create_subprocess_exec(*words, cwd=folder, env=kept, stdout=PIPE, stderr=PIPE)
        runner = Runner(process)
        runner.url = (await runner.until("the page is at"))["message"].rsplit(" ", 1)[1]
        self.runners[name] = runner

    def process(self, name: str) -> Process:
        """A runner's process."""
        return self.runners[name].process

    async def settled(self) -> None:
        """Waits until the server was asked for every check, and by every runner."""
        await self.server.until(lambda _: len(self.asked()) == CHECKS and {who for who, _ in self.all()} == set(self.runners))

    def all(self, since: float = 0.0) -> list[tuple[str, float]]:
        """Who asked for a check (not the limited one), and when, by the monotonic clock."""
        return [(path.partition("?")[2], at) for path, at in self.server.asked if path.startswith("/c") and at >= since]

    def asked(self, since: float = 0.0) -> dict[str, list[tuple[float, str]]]:
        """When each check was asked, and by whom."""
        found: dict[str, list[tuple[float, str]]] = {}
        for path, at in self.server.asked:
            check, _, who = path.partition("?")
            if check.startswith("/c") and at >= since:
                found.setdefault(check, []).append((at, who))
        return found

    def longest(self, since: float, until: float) -> float:
        """The longest time that any check was without a request, in this span."""
        gaps = [0.0]
        for times in self.asked().values():
            before = max((at for at, _ in times if at <= since), default=since)
            inside = [before, *(at for at, _ in times if since < at <= until), until]
            gaps += [after - at for at, after in pairwise(inside)]
        return max(gaps)

    def doubled(self, since: float) -> int:
        """Requests that came soon after another runner's request for the same check."""
        return sum(
            after - at < CLOSE and who != other for times in self.asked(since).values() for (at, who), (after, other) in pairwise(times)
        )


@asynccontextmanager
async def fleet(
    folder: Path, redis: RedisServer, *names: str, limit: int = 0, ahead: dict[str, float] | None = None
) -> AsyncIterator[Fleet]:
    """Runners that have settled. At the end each that still runs is ended, and must end well."""
    async with counting_server() as server:
        made = Fleet(folder, server, redis, limit)
        try:
            await asyncio.gather(*(made.start(name, ahead=(ahead or {}).get(name, 0.0)) for name in names))
            await made.settled()
            yield made
        finally:
            living = [runner.process for runner in made.runners.values() if runner.process.returncode is None]
            for process in living:
                process.terminate()
            ended = await asyncio.gather(*(process.communicate() for process in living))
        assert [(process.returncode, err.decode()) for process, (_, err) in zip(living, ended, strict=True)] == [(0, "")] * len(living)


async def passes(seconds: float) -> float:
    """Lets real time pass for the processes, and returns what the monotonic clock says then."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()
    return time.monotonic()
