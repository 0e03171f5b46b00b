"""`outrider probe` on a bad day: whose fault, where to look, and everything for a script."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.state import STATE_FILE
from tests.runner.cli.test_commands import OK, outrider, web
from tests.support import servers
from tests.support.always_on import write

pytestmark = pytest.mark.slow  # each test starts the command


async def test_a_lost_uplink_is_inconclusive(tmp_path: Path) -> None:
    """When the references are gone too, exit 3 and the reason; nothing is said of the targets."""
    async with servers.refusing() as api, servers.refusing() as cache, servers.refusing() as reference:
        checks = f"  api: {{kind: http, url: '{api.url}'}}\n  cache: {{kind: tcp, host: 127.0.0.1, port: {cache.port}}}\n"
        await write(tmp_path, checks, f"references: ['{reference.url}']\n")
        code, out, _ = await outrider("probe", folder=tmp_path)
    assert code == 3
    assert out.count("offline") == 2
    assert "the reference doesn't respond either, so the runner's own network is down" in out


async def test_an_outage_is_the_targets(tmp_path: Path) -> None:
    """A reference that answers: exit 1."""
    async with servers.refusing() as api, servers.refusing() as cache, servers.canned(OK) as reference:
        checks = f"  api: {{kind: http, url: '{api.url}'}}\n  cache: {{kind: tcp, host: 127.0.0.1, port: {cache.port}}}\n"
        await write(tmp_path, checks, f"references: ['{reference.url}']\n")
        code, out, _ = await outrider("probe", folder=tmp_path)
    assert code == 1
    assert "offline" not in out


async def test_a_failure_comes_with_its_finding_and_its_evidence(tmp_path: Path) -> None:
    """What hangs is told from what is gone, in the text and in the JSON, with each trial and each span."""
    async with servers.silent() as silent:
        await write(tmp_path, f"  cache: {{kind: redis, url: 'redis://127.0.0.1:{silent.port}/0', timeout: 300ms}}\n")
        code, out, _ = await outrider("probe", folder=tmp_path)
        _, told, _ = await outrider("probe", "--json", folder=tmp_path)
    assert code == 1
    assert "127.0.0.1 accepts connections but doesn't respond" in out
    [seen] = json.loads(told)
    assert seen["evidence"]["diagnosis"] == {"connect to 127.0.0.1": "succeeded"}
    assert {"resolve", "connect"} <= {span["name"] for span in seen["spans"]}


async def test_a_limit_over_a_week_is_kept_for_a_week(tmp_path: Path) -> None:
    """Two requests in seven days: the third is refused, three and six days later too, and not any more when the week is over."""
    async with web() as server:
        target = f"targets: {{partner: {{url: '{server.url}', limit: 2/7d}}}}\n"
        await write(tmp_path, "  api: {kind: http, target: partner}\n", target)
        said = [await outrider("probe", folder=tmp_path) for _ in range(3)]
        for days in (3, 3):
            await asyncio.to_thread(_age, tmp_path, days)
            said.append(await outrider("probe", folder=tmp_path))
        await asyncio.to_thread(_age, tmp_path, 1 + 1 / 1440)  # and a minute: a slot counts from the latest moment of its run
        said.append(await outrider("probe", folder=tmp_path))
    assert [code for code, _, _ in said] == [0, 0, 3, 3, 3, 0]
    assert ["limit of partner: 2 of 2 in 7 d are taken" in out for _, out, _ in said] == [False, False, True, True, True, False]


def _age(folder: Path, days: float) -> None:
    """Puts all that was sent further into the past."""
    with closing(sqlite3.connect(folder / ".outrider" / STATE_FILE, isolation_level=None)) as connection:
        connection.execute("UPDATE slots SET at = at - ?", (days * 86400,))
