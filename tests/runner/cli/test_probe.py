"""`outrider probe` on a bad day: whose fault, where to look, and everything for a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runner.cli.test_commands import OK, outrider
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
    assert "the reference is gone too: it is our own network" in out


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
    assert "127.0.0.1 accepts connections, and doesn't answer" in out
    [seen] = json.loads(told)
    assert seen["evidence"]["diagnosis"] == {"connect to 127.0.0.1": "went well"}
    assert {"resolve", "connect"} <= {span["name"] for span in seen["spans"]}
