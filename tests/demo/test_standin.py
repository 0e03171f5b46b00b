from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import asyncpg
import httpx
import pytest
import redis.asyncio

from demo.control import Declined, Demo, NoDemo, announce, control_file, faults_on, find_demo, running_demos, send, withdraw
from demo.faults import UnknownFault
from demo.introduction import ASK, FAULTS, TRY, look
from demo.servers import HOST, PostgresServer, RedisServer
from demo.standin import StandIn
from runner.config.read import read_plan
from tests.demo.conftest import FORWARDED, QUICK

ROOT = Path(__file__).parents[2]


async def refused(port: int) -> bool:
    """Whether nobody listens."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_the_environment_leads_to_everything(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Each variable that checks.yaml reads leads to a part that answers."""
    where = standin.environment()
    assert (await api.get(f"{where['API_URL']}/health/")).status_code == 200
    assert (await api.get(f"https://{where['API_HOST']}:{where['API_PORT']}/health/")).status_code == 200
    for name in ("REFERENCE_1", "REFERENCE_2"):
        assert (await api.get(where[name])).status_code == 204
    connection = await asyncpg.connect(where["DATABASE_URL"], ssl=False)
    assert await connection.fetchval("SELECT 1") == 1
    connection.terminate()
    async with redis.asyncio.Redis.from_url(where["REDIS_URL"], driver_info=None) as client:
        assert await client.ping()
    names = await asyncio.to_thread(lambda: sorted(file.name for file in Path(where["SECRETS"]).iterdir()))
    assert names == ["ai-key", "opentable", "probe-password", "recreation"]
    password = await asyncio.to_thread((Path(where["SECRETS"]) / "probe-password").read_text)
    form = {"username": where["PROBE_USER"], "password": password.strip()}
    assert (await api.post("/api/auth/token", data=form)).status_code == 200


def load_in_a_shell(standin: StandIn, folder: Path) -> tuple[str, int]:
    """What a stand-in's outrider in this folder says to a shell that has loaded the environment file, and the file's mode."""
    folder.mkdir()
    (folder / "outrider").write_text('#!/bin/sh\necho "$API_URL"\n')
    (folder / "outrider").chmod(0o755)
    file = standin.write_environment(folder)
    words = ["/bin/sh", "-c", '. "$1" && outrider', "sh", str(file)]
    shell = subprocess.run(words, capture_output=True, text=True, check=True, env={"PATH": os.defpath})
    return shell.stdout.strip(), file.stat().st_mode & 0o777


async def test_the_environment_file_puts_outrider_on_the_path(standin: StandIn, tmp_path: Path) -> None:
    """U2: a shell that loads it finds outrider by its name, and knows the demo, also where a folder's name has blanks and quotes."""
    said = await asyncio.to_thread(load_in_a_shell, standin, tmp_path / "it's a venv")
    assert said == (standin.environment()["API_URL"], 0o600)


@pytest.mark.slow
async def test_a_whole_standin_of_its_own_ends_without_a_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With servers of its own, a frozen database and a call in it: it ends quietly, and leaves no port, folder or file."""
    file = tmp_path / "control" / "control.json"
    async with StandIn(faults=["db-frozen", "ai-slow"], delays=QUICK, control=file) as standin:
        assert standin.on == {"db-frozen", "ai-slow"}
        where = standin.environment()
        folders = (standin.folder, standin.postgres.folder, standin.redis.folder)
        ports = [standin.api_site.port, standin.tls_site.port, standin.ai_site.port, standin.postgres.port, standin.redis.port]
        async with httpx.AsyncClient(trust_env=False, verify=False, headers=FORWARDED) as client:  # noqa: S501 - plain HTTP
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"{where['API_URL']}/health/ready", timeout=0.1)
        hanging = await asyncio.open_connection(HOST, standin.api_site.port)
        hanging[1].write(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n")
    hanging[1].close()
    assert caplog.records == []
    assert [await refused(port) for port in ports] == [True] * len(ports)
    assert not [folder for folder in folders if folder is None or await asyncio.to_thread(folder.exists)]
    assert not await asyncio.to_thread(file.exists)


async def test_the_next_standin_begins_afresh_on_the_same_servers(servers: tuple[PostgresServer, RedisServer]) -> None:
    """Borrowed servers are given back well, whatever was on, and the next stand-in finds nothing of the last."""
    async with StandIn(servers=servers, faults=["db-locked-out", "redis-readonly", "db-down"]):
        assert not servers[0].running
    async with StandIn(servers=servers) as second:
        connection = await asyncpg.connect(second.postgres.app_dsn, ssl=False)
        assert await connection.fetchval("SELECT count(*) FROM app.users WHERE last_login IS NOT NULL") == 0
        connection.terminate()
        async with redis.asyncio.Redis.from_url(second.redis.app_url, driver_info=None) as client:
            assert await client.dbsize() == 0


async def test_faults_are_switched_by_command(servers: tuple[PostgresServer, RedisServer], tmp_path: Path) -> None:
    """U17: send reaches the running demo by its file, says what it did, also where that was nothing, and names the demo."""
    file = tmp_path / "control.json"
    here = f"in the demo with the process id {os.getpid()}"
    async with StandIn(servers=servers, control=file) as standin:
        demo = await asyncio.to_thread(find_demo, None, tmp_path)
        summary = "the model returns 503; the API hides it with a canned story and 200"
        assert await asyncio.to_thread(send, "on", "ai-down", demo) == f"ai-down is on {here}: {summary}"
        assert await asyncio.to_thread(send, "on", "ai-down", demo) == f"ai-down is on already {here}: {summary}"
        assert standin.on == await asyncio.to_thread(faults_on, demo) == {"ai-down"}
        assert await asyncio.to_thread(send, "off", "ai-down", demo) == f"ai-down is off {here}"
        assert await asyncio.to_thread(send, "off", "ai-down", demo) == f"ai-down was not on {here}"
        assert standin.on == await asyncio.to_thread(faults_on, demo) == frozenset()
        with pytest.raises(UnknownFault, match="there is no fault ai-dwon; the faults are"):
            await asyncio.to_thread(send, "on", "ai-dwon", demo)
        assert (await asyncio.to_thread(file.stat)).st_mode & 0o077 == 0
    with pytest.raises(NoDemo, match="no demo is running"):
        await asyncio.to_thread(send, "on", "ai-down", demo)
    with pytest.raises(NoDemo, match="no demo is running"):
        await asyncio.to_thread(find_demo, None, tmp_path)


async def test_a_fault_that_cannot_be_played_now_is_declined(servers: tuple[PostgresServer, RedisServer], tmp_path: Path) -> None:
    """A password can't be changed in a stopped database: it is said, and the fault isn't on."""
    file = tmp_path / "control.json"
    async with StandIn(servers=servers, faults=["db-down"], control=file) as standin:
        with pytest.raises(Declined, match="db-locked-out could not be switched on"):
            await asyncio.to_thread(send, "on", "db-locked-out", await asyncio.to_thread(find_demo, None, tmp_path))
        assert standin.on == {"db-down"}


async def test_the_control_url_wants_its_token_and_a_loopback_name(servers: tuple[PostgresServer, RedisServer], tmp_path: Path) -> None:
    """A web page can neither read nor drive the faults: no token, or a name bent to loopback, is 403."""
    file = tmp_path / "control.json"
    async with StandIn(servers=servers, control=file) as standin, httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP
        where = json.loads(await asyncio.to_thread(file.read_text))
        token = {"Authorization": f"Bearer {where['token']}"}
        listed = (await client.get(f"{where['url']}/faults", headers=token)).json()["faults"]
        assert ("db-down", False) in [(fault["name"], fault["on"]) for fault in listed]
        for headers in ({}, {"Authorization": "Bearer no"}, {**token, "Host": "evil.example"}):
            assert (await client.post(f"{where['url']}/faults/api-500", headers=headers)).status_code == 403
        assert standin.on == frozenset()


def test_a_later_demo_keeps_its_file(tmp_path: Path) -> None:
    """The first demo's end doesn't remove what the second has written."""
    file = tmp_path / "demo" / "control.json"
    announce(file, "http://127.0.0.1:1", "first")
    announce(file, "http://127.0.0.1:2", "second")
    withdraw(file, "first")
    assert json.loads(file.read_text())["token"] == "second"
    withdraw(file, "second")
    assert not file.exists()
    withdraw(file, "second")


def test_a_stale_or_broken_file_means_that_no_demo_runs(tmp_path: Path) -> None:
    """A file that a killed demo left, or that is no JSON, ends in the same plain sentence."""
    file, where = tmp_path / "control.json", {"url": "http://127.0.0.1:1", "token": "x"}
    for text in ("{", "[]", json.dumps(where), json.dumps({**where, "pid": 2**22 + 1})):
        file.write_text(text)
        with pytest.raises(NoDemo, match="no demo is running; start one"):
            find_demo(None, tmp_path)
    with pytest.raises(NoDemo, match="no demo is running; start one"):
        send("on", "api-500", Demo(os.getpid(), "http://127.0.0.1:1", "x"))


def test_of_two_demos_one_is_named(tmp_path: Path) -> None:
    """U17: a fault is never switched in another demo than the one that is meant."""
    for pid in (os.getpid(), os.getppid()):
        (tmp_path / f"{pid}.json").write_text(json.dumps({"url": f"http://127.0.0.1:{pid % 1000}", "token": "x", "pid": pid}))
    assert {demo.pid for demo in running_demos(tmp_path)} == {os.getpid(), os.getppid()}
    with pytest.raises(NoDemo, match=r"2 demos are running, with the process ids .*; say which one is meant: --demo "):
        find_demo(None, tmp_path)
    assert find_demo(os.getppid(), tmp_path).pid == os.getppid()
    with pytest.raises(NoDemo, match="no demo with the process id 1 is running; running: "):
        find_demo(1, tmp_path)


def test_the_file_is_the_users_own_and_goes_with_its_folder(tmp_path: Path) -> None:
    """It lies in the runtime folder where there is one, is the process's own, and leaves nothing there."""
    file = control_file({"XDG_RUNTIME_DIR": str(tmp_path)})
    announce(file, "http://127.0.0.1:1", "token")
    assert (file.parent.parent, file.parent.stat().st_mode & 0o077) == (tmp_path, 0)
    withdraw(file, "token")
    assert list(tmp_path.iterdir()) == []


async def test_where_to_look_names_no_secret(standin: StandIn) -> None:
    """The printed addresses hold neither passwords nor keys, and what to try names faults that there are."""
    secrets = [standin.postgres.passwords["outrider"], standin.redis.password, standin.world.secrets.ai_key]
    for line in look(standin):
        assert not [secret for secret in secrets if secret in line.where]
    assert all(line.where.startswith("outrider demo --") for line in TRY)


async def test_what_is_asked_seldom_has_a_command_beside_it(standin: StandIn) -> None:
    """The demo names each check that nobody would wait for, and how to ask it now."""
    plan = await asyncio.to_thread(read_plan, ROOT / "checks.yaml", environ=standin.environment())
    seldom = {one.check.name for one in plan.checks if (one.check.interval or 0) > 600}
    assert {line.where for line in ASK} == {f"outrider probe {name}" for name in seldom}
    assert all(FAULTS.keys() & {*line.what.split()} & {trial.where.split()[-1] for trial in TRY} for line in ASK)
