from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from itertools import chain, repeat
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError

from demo import _binaries
from demo._certificates import Certificates, make_certificates
from demo._watchdog import children
from demo.servers import HOST, PostgresServer, RedisServer, free_port

STARTS_AND_WAITS = """
import asyncio, sys
from demo.standin import StandIn
async def main():
    async with StandIn() as standin:
        await standin.postgres.freeze()
        print(standin.postgres.pid, standin.redis.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def ended(pid: int) -> None:
    """Waits until a process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), 10)
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


async def ask(dsn: str, sql: str = "SELECT 1") -> object:
    """One value over a connection of its own."""
    connection = await asyncpg.connect(dsn, ssl=False, timeout=5)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close(timeout=5)


async def test_the_probes_role_reads_and_cannot_write(servers: tuple[PostgresServer, RedisServer]) -> None:
    """The probe's database role answers a query and is refused a table of its own."""
    assert await ask(servers[0].dsn) == 1
    with pytest.raises(asyncpg.PostgresError):
        await ask(servers[0].dsn, "CREATE TABLE mine (id integer)")


async def test_the_probes_role_has_a_connection_limit(servers: tuple[PostgresServer, RedisServer]) -> None:
    """A probe that leaks connections can't take the application's."""
    held = [await asyncpg.connect(servers[0].dsn, ssl=False) for _ in range(5)]
    try:
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await ask(servers[0].dsn)
    finally:
        for connection in held:
            connection.terminate()


@pytest.mark.slow
async def test_a_stopped_database_refuses_and_comes_back_on_its_port_with_its_data() -> None:
    """Stop refuses connections; start brings the same port and the same rows back; close leaves nothing."""
    async with PostgresServer() as server:
        port, folder, pid = server.port, server.folder, server.pid
        await ask(server.app_dsn, "CREATE TABLE kept AS SELECT 42 AS n")
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await ask(server.dsn)
        await server.start()
        assert (server.port, await ask(server.app_dsn, "SELECT n FROM kept")) == (port, 42)
        assert pid != server.pid
        last = server.pid
    assert last is not None
    assert folder is not None
    assert not await asyncio.to_thread(folder.exists)
    await ended(last)


async def test_a_frozen_database_accepts_and_does_not_answer(servers: tuple[PostgresServer, RedisServer]) -> None:
    """A frozen server takes the connection, says nothing, and answers when it is thawed."""
    server = servers[0]
    standing = await asyncpg.connect(server.dsn, ssl=False)
    await server.freeze()
    try:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")  # SSLRequest: the shortest thing that is answered
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        query = loop.create_task(standing.fetchval("SELECT 2"))
        assert not (await asyncio.wait([query], timeout=0.1))[0]
    finally:
        await server.thaw()
    assert await reader.read(1) == b"N"
    assert await query == 2
    writer.close()
    standing.terminate()


async def test_a_changed_password_locks_out_until_it_is_restored(servers: tuple[PostgresServer, RedisServer]) -> None:
    """change_password makes the known one wrong; restore_password makes it right again."""
    await servers[0].change_password()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(servers[0].dsn)
    await servers[0].restore_password()
    assert await ask(servers[0].dsn) == 1


def test_no_server_runs_as_root(servers: tuple[PostgresServer, RedisServer]) -> None:
    """Whoever starts them: PostgreSQL and Redis run without rights."""
    for server in servers:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0


@pytest.mark.slow
async def test_servers_die_with_whoever_started_them() -> None:
    """A parent that is killed takes its servers with it, frozen or not."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTS_AND_WAITS, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(word) for word in (await parent.stdout.readline()).split()]
    everything = [pid for main in pids for pid in (main, *await asyncio.to_thread(children, main))]
    assert len(everything) > len(pids)
    parent.kill()
    await parent.wait()
    await asyncio.gather(*map(ended, everything))


async def test_a_taken_port_is_said() -> None:
    """A port that somebody else took while the server was stopped is named, and nothing is left running."""
    server = RedisServer()
    with socket.create_server((HOST, 0)) as squatter:
        server.port = squatter.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"another process listens on {server.port}"):
            await server.start()
        assert server.pid is None
    await server.close()


async def test_a_lost_race_for_a_port_is_survived() -> None:
    """When a port is taken between the look and the start, another one is tried."""
    with socket.create_server((HOST, 0)) as squatter:
        server = RedisServer()
        offered = chain([squatter.getsockname()[1]], repeat(free_port()))
        server.find_port = lambda: next(offered)
        async with server:
            assert server.port != squatter.getsockname()[1]


@pytest.mark.slow
async def test_the_packages_servers_work_too_and_close_while_frozen() -> None:
    """Where the system has neither, the packages' own do; closing a frozen one leaves neither a process nor its folder."""
    async with PostgresServer(embedded=True) as database, RedisServer(embedded=True) as cache:
        assert "PostgreSQL 18" in str(await ask(database.dsn, "SELECT version()"))
        async with redis.asyncio.Redis.from_url(cache.url, driver_info=None) as client:
            assert await client.ping()
        main, folders = database.pid, (database.folder, cache.folder)
        assert main is not None
        all_of_it = [main, *await asyncio.to_thread(children, main)]
        await database.freeze()
        await cache.freeze()
    for pid in all_of_it:
        await ended(pid)
    assert not [folder for folder in folders if folder is None or await asyncio.to_thread(folder.exists)]


@pytest.mark.slow
async def test_tls_where_the_binary_has_it(tmp_path: Path) -> None:
    """A certificate switches TLS on; a binary without TLS says so instead of starting without."""
    made: Certificates = await asyncio.to_thread(make_certificates, tmp_path, time.time())
    if await asyncio.to_thread(_binaries._system_postgres) is None:
        with pytest.raises(RuntimeError, match=r"(?i)ssl"):
            await PostgresServer(ssl_cert=made.good, ssl_key=made.good).start()
        return
    async with PostgresServer(ssl_cert=made.good, ssl_key=made.good) as server:
        trusting = await asyncio.to_thread(ssl.create_default_context, cafile=str(made.ca))
        connection = await asyncpg.connect(server.dsn, ssl=trusting, timeout=5)
        assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        connection.terminate()


async def test_redis_knows_the_probe_by_its_keys_alone(servers: tuple[PostgresServer, RedisServer]) -> None:
    """The probe's user writes its own keys, and neither others' nor the configuration."""
    async with redis.asyncio.Redis.from_url(servers[1].url, driver_info=None) as client:
        assert await client.set("outrider:test", "1", ex=5)
        assert await client.delete("outrider:test") == 1
        with pytest.raises(NoPermissionError):
            await client.set("story:1", "1")
        with pytest.raises(NoPermissionError):
            await client.flushall()
    async with redis.asyncio.Redis(host=HOST, port=servers[1].port, driver_info=None, retry=Retry(NoBackoff(), 0)) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()


async def test_a_read_only_redis_refuses_writes_and_answers_ping(servers: tuple[PostgresServer, RedisServer]) -> None:
    """A replica of nobody says READONLY to a write, and PONG to a PING."""
    async with redis.asyncio.Redis.from_url(servers[1].url, driver_info=None) as client:
        await servers[1].follow_a_dead_primary()
        try:
            assert await client.ping()
            with pytest.raises(ReadOnlyError):
                await client.set("outrider:test", "1")
        finally:
            await servers[1].lead_again()
        assert await client.set("outrider:test", "1", ex=5)


async def test_a_redis_without_password_is_open_to_all() -> None:
    """password="" leaves it open, for tests of probes that send none."""
    async with RedisServer(password="") as server, redis.asyncio.Redis.from_url(server.url, driver_info=None) as client:
        assert await client.ping()
