"""`outrider run` as a user starts it: a real process, its journal read line by line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

OUTRIDER = (sys.executable, "-m", "runner.cli")


async def start(*words: str, folder: Path, **environ: str) -> Process:
    """Starts the command in a folder, with a clean environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return await asyncio.create_subprocess_exec(*OUTRIDER, *words, cwd=folder, env={**kept, **environ}, stdout=PIPE, stderr=PIPE)


async def write(folder: Path, checks: str, extra: str = "") -> Path:
    """A checks.yaml with these checks; the runner listens on a free port."""
    path = folder / "checks.yaml"
    text = f"version: 1\nservice: trips\nserver: {{listen: '127.0.0.1:0', operate_token: 'let-me-operate'}}\n{extra}checks:\n{checks}"
    await asyncio.to_thread(path.write_text, text)
    return path


class Runner:
    """An `outrider run` under test."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""
        self.journal: list[dict[str, Any]] = []

    async def until(self, words: str) -> dict[str, Any]:
        """The next journal entry whose message holds these words."""
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            entry: dict[str, Any] = json.loads(line)
            self.journal.append(entry)
            if words in entry["message"]:
                return entry
        raise AssertionError(f"the runner ended before it said {words!r}: {self.journal}")

    async def scrape(self) -> str:
        """/metrics."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.url}metrics")).text


@asynccontextmanager
async def run(folder: Path, **environ: str) -> AsyncIterator[Runner]:
    """`outrider run` from its first line to its end."""
    runner = Runner(await start("run", folder=folder, **environ))
    try:
        runner.url = (await runner.until("the page is at"))["message"].rsplit(" ", 1)[1]
        yield runner
    finally:
        if runner.process.returncode is None:
            runner.process.terminate()
        _, err = await runner.process.communicate()
    assert (runner.process.returncode, err.decode()) == (0, "")
