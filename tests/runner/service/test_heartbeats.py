"""Heartbeats at a runner: taken with the check's own token, judged at once, and kept over a kill -9."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.heartbeat import Heartbeat
from runner.config.plan import ByCheck, Plan, Server
from runner.service.running import running
from runner.service.service import Service
from runner.state import open_ledger
from runner.web.heartbeats import MOST_BYTES
from tests.support.clock import ShiftedClock
from tests.support.observations import made_check, made_plan

TOKEN, OTHER = "the-token-of-the-backup", "the-token-of-the-worker"
OWN = {"Authorization": f"Bearer {TOKEN}"}


def plan() -> Plan:
    """A backup and a worker that report, and a check that asks."""
    made = made_plan(*(made_check(name, interval=3600.0) for name in ("backup", "worker", "api")))
    probes = [Heartbeat.model_validate({"every": "1d", "grace": "2h", "token": token}) for token in (TOKEN, OTHER)]
    reporting = [
        replace(one, probe=probe, check=replace(one.check, kind="heartbeat")) for one, probe in zip(made.checks, probes, strict=False)
    ]
    return replace(made, checks=(*reporting, made.checks[2]))


class Seen(ByCheck[Observation]):
    """A sink that wakes a test at each observation of the backup."""

    def __init__(self) -> None:
        super().__init__()
        self.backup: asyncio.Queue[Observation] = asyncio.Queue()

    def __call__(self, seen: Observation) -> None:
        if seen.check.name == "backup":
            self.backup.put_nowait(seen)


@asynccontextmanager
async def serving(folder: Path, clock: ShiftedClock) -> AsyncIterator[tuple[Service, httpx.AsyncClient, Seen]]:
    """A runner with its state in a folder, a client, and what was observed."""
    made, seen = replace(plan(), server=Server(port=0), state=folder), Seen()
    started = running(lambda: made, path=folder / "checks.yaml", clock=clock, version="0", journal=io.StringIO(), extra=[("seen", seen)])
    async with started as (service, listening, _), httpx.AsyncClient(base_url=listening.url, trust_env=False) as client:
        yield service, client, seen


async def until(seen: Seen, verdict: Verdict) -> Observation:
    """The next observation of the backup with this verdict."""
    while (found := await seen.backup.get()).verdict is not verdict:
        pass
    return found


async def test_a_heartbeat_is_judged_at_once_and_outlives_the_runner(tmp_path: Path) -> None:
    """The check runs when the heartbeat comes; what came is on the disk before the job is answered."""
    clock = ShiftedClock()
    async with serving(tmp_path, clock) as (_, client, seen):
        await until(seen, Verdict.UNKNOWN)  # its first run
        assert (await client.post("/heartbeat/backup", headers=OWN)).status_code == 200
        assert (await until(seen, Verdict.PASS)).message.startswith("the job ended well")
        failed = await client.post("/heartbeat/backup", json={"exit": 3, "message": "disk full"}, headers=OWN)
        assert failed.json() == {"heartbeat": "taken"}
        assert (await until(seen, Verdict.FAIL)).reason is Reason.STATUS
        started = await client.post("/heartbeat/backup?state=start&run=a", headers=OWN)
        assert started.status_code == 200
        other = await asyncio.to_thread(open_ledger, tmp_path, clock)  # as a process finds it after a kill -9 of this one
        assert (await other.recall("reports", "backup", otherwise={}))["exit"] == 3
        await other.aclose()
    clock.advance(3600.0)
    async with serving(tmp_path, clock) as (_, client, seen):
        again = await until(seen, Verdict.FAIL)
        assert "disk full" in again.message
        await client.post("/heartbeat/backup?exit=0&seconds=90.5", headers=OWN)
        assert "ended well after 1 min, " in (await until(seen, Verdict.PASS)).message


@pytest.mark.parametrize(
    ("path", "token"),
    [("backup", OTHER), ("backup", ""), ("backup", f"{TOKEN}x"), ("worker", TOKEN), ("api", TOKEN), ("api", ""), ("nothing", TOKEN)],
)
async def test_a_stranger_learns_nothing_and_is_slowed_down(tmp_path: Path, path: str, token: str) -> None:
    """A wrong token, another check's, and a check that isn't there get the same refusal, a second late, and it is counted."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with serving(tmp_path, ShiftedClock()) as (service, client, _):
        began = asyncio.get_running_loop().time()
        refused = await client.post(f"/heartbeat/{path}", headers=headers)
        assert (refused.status_code, refused.text) == (401, "A heartbeat needs the token of its check: Authorization: Bearer TOKEN\n")
        assert asyncio.get_running_loop().time() - began >= 1.0
        assert service.registry.get_sample_value("outrider_requests_refused_total", {"reason": "token"}) == 1.0


@pytest.mark.parametrize(
    ("body", "query", "error"),
    [
        (b"{", "", "the request is not JSON"),
        (b"[]", "", "the request is not a JSON object"),
        (b"x" * (MOST_BYTES + 1), "", "a heartbeat may have at most 16,384 bytes"),
        (b'{"exit": "many"}', "", "exit: "),
        (b'{"state": "middle"}', "", "state: "),
        (b"", "?exit=many", "invalid literal"),
        (b"", "?colour=red", "colour: "),
        (b'{"seconds": -1}', "", "seconds: "),
        (b'{"message": "' + b"x" * 2001 + b'"}', "", "message: "),
    ],
)
async def test_a_heartbeat_with_an_error_is_refused_and_changes_nothing(tmp_path: Path, body: bytes, query: str, error: str) -> None:
    """400 with what is wrong; the body is bounded."""
    async with serving(tmp_path, ShiftedClock()) as (service, client, _):
        refused = await client.post(f"/heartbeat/backup{query}", content=body, headers=OWN)
        assert refused.status_code == 400
        assert error in refused.json()["error"]
        assert (await service.ledger.recall("reports", "backup", otherwise={"ended": None}))["ended"] is None


async def test_a_check_is_run_now_with_the_operate_token(tmp_path: Path) -> None:
    """202 when it begins, and its run counts; nobody without the token; 404 for a check that isn't there."""
    operate = {"Authorization": "Bearer let-me-operate"}
    made, seen = replace(plan(), server=Server(port=0, operate_token="let-me-operate"), state=tmp_path), Seen()
    file = tmp_path / "checks.yaml"
    started = running(lambda: made, path=file, clock=ShiftedClock(), version="0", journal=io.StringIO(), extra=[("seen", seen)])
    async with started as (_, listening, _), httpx.AsyncClient(base_url=listening.url, trust_env=False) as client:
        await until(seen, Verdict.UNKNOWN)  # its first run
        assert (await client.post("/api/checks/backup/run")).status_code == 401
        assert (await client.post("/api/checks/nothing/run", headers=operate)).status_code == 404
        assert (await client.post("/api/checks/backup/run", headers=operate)).status_code == 202
        await until(seen, Verdict.UNKNOWN)
