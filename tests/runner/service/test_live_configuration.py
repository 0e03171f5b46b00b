"""A runner that reads its configuration again: what it runs, and what its page, metrics and journal say of the files."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from runner.clock import SystemClock
from runner.config.live import LiveConfiguration
from runner.service.running import running
from runner.service.service import Service

CHECKS = """version: 1
server: {listen: "127.0.0.1:0"}
checks:
  node: {for_each: {file_sd: nodes.json}, kind: tcp, interval: 1h, host: "${each.host}", port: 1, tags: [nodes]}
  own: {kind: tcp, interval: 1h, host: localhost, port: 1, tags: [smoke]}
"""


class Here:
    """A runner of a real file."""

    def __init__(self, service: Service, url: str, reload: Any, journal: io.StringIO) -> None:
        self.service, self.url, self.reload, self.journal = service, url, reload, journal

    async def get(self, path: str) -> str:
        """The text of a page."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(self.url.rstrip("/") + path)).text

    def checks(self) -> list[str]:
        """The checks that it runs."""
        return [one.check.name for one in self.service.plan.checks]


@asynccontextmanager
async def serving(folder: Path, **selection: tuple[str, ...]) -> AsyncIterator[Here]:
    """A runner of the file in a folder."""
    file, journal = folder / "checks.yaml", io.StringIO()
    await asyncio.to_thread(file.write_text, CHECKS)
    live = LiveConfiguration(file, {}, **selection)
    async with running(live, path=file, clock=SystemClock(), version="0", journal=journal) as (service, listening, reload):
        yield Here(service, listening.url, reload, journal)


async def test_a_list_that_is_wrong_is_told_on_page_metric_and_journal(tmp_path: Path) -> None:
    """The last good one stays; when the file is right again, nothing of it is left to see."""
    nodes, metric = tmp_path / "nodes.json", "outrider_target_files_last_read_successful"
    await asyncio.to_thread(nodes.write_text, json.dumps([{"targets": ["a", "b"]}]))
    async with serving(tmp_path) as here:
        assert (here.checks(), f"{metric} 1.0" in await here.get("/metrics")) == (["node-a", "node-b", "own"], True)
        await asyncio.to_thread(nodes.write_text, '[{"targets": ["a"')
        assert await here.reload() == ""
        assert (here.checks(), f"{metric} 0.0" in await here.get("/metrics")) == (["node-a", "node-b", "own"], True)
        assert "nodes.json can&#39;t be used, so that its last good list stays (2 targets)" in await here.get("/")
        await asyncio.to_thread(nodes.write_text, json.dumps([{"targets": ["c"]}]))
        assert await here.reload() == ""
        assert (here.checks(), f"{metric} 1.0" in await here.get("/metrics")) == (["node-c", "own"], True)
        assert "nodes.json" not in await here.get("/")
    told = [line for line in here.journal.getvalue().splitlines() if "good list stays" in line or "can be used again" in line]
    assert [json.loads(line)["level"] for line in told] == ["ERROR", "INFO"]


async def test_a_selection_is_kept_and_told(tmp_path: Path) -> None:
    """--tag and --check choose what runs, also after a reload; the page names them, and /-/ready names nothing but how many run."""
    await asyncio.to_thread((tmp_path / "nodes.json").write_text, json.dumps([{"targets": ["a", "b"]}]))
    async with serving(tmp_path, tags=("nodes",), checks=("node-a",)) as here:
        assert here.checks() == ["node-a", "node-b"]
        assert (await here.get("/-/ready")).startswith("ready\na selection of the checks runs here: 2\n")
        assert "This runner runs only the 2 checks of --tag nodes --check node-a" in await here.get("/")
        await asyncio.to_thread((tmp_path / "nodes.json").write_text, json.dumps([{"targets": ["a", "b", "c"]}]))
        assert await here.reload() == ""
        assert here.checks() == ["node-a", "node-b", "node-c"]
        refused = await asyncio.to_thread(lambda: CHECKS.replace("[nodes]", "[other]"))
        await asyncio.to_thread((tmp_path / "checks.yaml").write_text, refused)
        assert "no check carries the tag nodes" in await here.reload()
        assert here.checks() == ["node-a", "node-b", "node-c"]
    async with serving(tmp_path) as here:
        assert "selection" not in await here.get("/-/ready")
