"""`outrider probe` on a bad day: whose fault, where to look, and everything for a script."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.state import STATE_FILE
from tests.runner.cli.test_commands import OK, outrider, web
from tests.support import servers
from tests.support.always_on import start, write

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


async def test_what_is_known_is_shown_before_the_end(tmp_path: Path) -> None:
    """U11: a result is shown as soon as it is there; Ctrl-C ends with what is known, names what isn't, and exits with 3."""
    async with web() as server, servers.silent() as silent:
        stalled = f"  stalled: {{kind: http, url: '{silent.url}', interval: 2m, timeout: 60s}}\n"
        await write(tmp_path, f"  api: {{kind: http, url: '{server.url}'}}\n{stalled}")
        process = await start("probe", folder=tmp_path, PYTHONUNBUFFERED="1")
        assert process.stdout
        assert (await process.stdout.readline()).startswith(b"PASS    api")
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (3, "interrupted: no result of stalled\n")


async def test_an_interrupted_probe_gives_its_json(tmp_path: Path) -> None:
    """U11: a script that ends it gets what is known; a failure that is certain is exit 1."""
    async with servers.refusing() as dead, servers.silent() as silent:
        stalled = f"  stalled: {{kind: http, url: '{silent.url}', interval: 2m, timeout: 60s}}\n"
        await write(tmp_path, f"  dead: {{kind: tcp, host: 127.0.0.1, port: {dead.port}}}\n{stalled}")
        process = await start("probe", folder=tmp_path, PYTHONUNBUFFERED="1")
        assert process.stdout
        assert (await process.stdout.readline()).startswith(b"FAIL    dead")
        process.terminate()
        await process.communicate()
    assert process.returncode == 1


HEALTH = b'{"db_healthy": true, "redis_healthy": false}'


async def test_a_part_is_asked_by_its_name(tmp_path: Path) -> None:
    """U4: as the alert of a part says it: the whole report is asked, the part is shown and decides the exit code."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(HEALTH), HEALTH)
    async with servers.canned(answer) as server:
        parts = "parts: {$.db_healthy: true, $.redis_healthy: true}"
        await write(tmp_path, f"  api-report: {{kind: health_metrics, url: '{server.url}', {parts}}}\n")
        code, out, err = await outrider("probe", "api-report/db_healthy", folder=tmp_path)
        down, told, _ = await outrider("probe", "--json", "api-report/redis_healthy", "api-report/db_healthy", folder=tmp_path)
        wrong, _, said = await outrider("probe", "api-report/db_healty", folder=tmp_path)
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [["PASS", "api-report/db_healthy"]]
    assert down == 1
    assert [one["check"] for one in json.loads(told)] == ["api-report/db_healthy", "api-report/redis_healthy"]
    assert wrong == 2
    assert "no such part of api-report: db_healty; did you mean db_healthy?" in said


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
