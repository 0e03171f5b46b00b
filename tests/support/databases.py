"""A real PostgreSQL and a real Redis for a whole session; a test that stops or freezes one brings it back by `restored`.

`postgres_front` and `tls_front` put TLS before them: not every build speaks it.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

from demo import _binaries
from demo import servers as real
from demo._process import Server
from tests.support import servers

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture(scope="session")
def postgres() -> Iterator[real.PostgresServer]:
    """One PostgreSQL for all tests of the session."""
    server = real.PostgresServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[real.RedisServer]:
    """One Redis for all tests of the session."""
    server = real.RedisServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@asynccontextmanager
async def restored(server: real.PostgresServer | real.RedisServer) -> AsyncIterator[None]:
    """Whatever a test does to a server inside, it runs again afterwards."""
    try:
        yield
    finally:
        await server.thaw()
        await server.start()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Carries bytes both ways between a client and a server until either leaves."""
    there, back = await asyncio.open_connection(servers.HOST, port)
    try:
        ways = {asyncio.ensure_future(_pour(reader, back)), asyncio.ensure_future(_pour(there, writer))}
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for route in ways:
            route.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    finally:
        back.transport.abort()


def tls_front(port: int, context: ssl.SSLContext) -> AbstractAsyncContextManager[servers.Server]:
    """TLS from the first byte on, before the server on this port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join(reader, writer, port)

    return servers.speaking(talk, tls=context)


def postgres_front(port: int, context: ssl.SSLContext) -> AbstractAsyncContextManager[servers.Server]:
    """PostgreSQL's way to TLS: a request in plain, the letter S, the handshake."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == SSL_REQUEST
        writer.write(b"S")
        await writer.start_tls(context)
        await join(reader, writer, port)

    return servers.speaking(talk)


class Standby(real.PostgresServer):
    """A PostgreSQL that becomes a hot standby, whose primary is gone, by `follow`."""

    ready = b"ready to accept"  # connections, or read-only connections

    def command(self, folder: Path, port: int) -> list[str]:
        """With what a standby needs to know of its past."""
        return [*super().command(folder, port), "-c", "wal_level=replica", "-c", "hot_standby=on"]

    async def follow(self) -> None:
        """Restarts it in recovery."""
        await self.stop()
        await asyncio.to_thread(self._signal)
        await self.start()

    def _signal(self) -> None:
        assert self.folder is not None
        (self.folder / "data/standby.signal").touch()


class Primary(real.PostgresServer):
    """A PostgreSQL that sends its WAL to standbys, and that also listens at a Unix socket in its folder."""

    def command(self, folder: Path, port: int) -> list[str]:
        """With what replication takes."""
        more = ("wal_level=replica", "max_wal_senders=4", f"unix_socket_directories={folder}")
        return [*super().command(folder, port), *(word for setting in more for word in ("-c", setting))]


class StreamingStandby(real.PostgresServer):
    """A hot standby that streams from a primary, whose roles it has."""

    ready = b"started streaming WAL"

    def __init__(self, primary: real.PostgresServer) -> None:
        super().__init__()
        self._primary = primary
        self.passwords = primary.passwords
        self._made = True

    def prepare(self, folder: Path) -> None:
        """Copies the primary."""
        self._bin = _binaries.postgres_binaries(folder)
        command = [str(self._bin / "pg_basebackup"), "-D", str(folder / "data"), "-R", "-X", "stream", "-c", "fast"]
        with (folder / "basebackup.log").open("w+b") as log:
            made = self.popen([*command, "-d", self._primary.dsn_of("postgres", "postgres")], folder, log.fileno())
            assert made.wait() == 0, (folder / "basebackup.log").read_text()

    def command(self, folder: Path, port: int) -> list[str]:
        """As hot standby."""
        return [*super().command(folder, port), "-c", "wal_level=replica", "-c", "max_wal_senders=4", "-c", "hot_standby=on"]


class PgBouncer(Server):
    """PgBouncer in transaction mode before a PostgreSQL, for all its roles. `stats` is the role that may ask its console."""

    ready = b"process up"
    farewell = goodbye = signal.SIGTERM

    def __init__(self, behind: real.PostgresServer, stats: str = "") -> None:
        super().__init__()
        self._behind = behind
        self._stats = stats

    def prepare(self, folder: Path) -> None:
        """Writes the roles and their passwords."""
        users = "".join(f'"{role}" "{password}"\n' for role, password in self._behind.passwords.items())
        (folder / "users.txt").write_text(users)

    def command(self, folder: Path, port: int) -> list[str]:
        """Writes its configuration."""
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nroadtrip = host={self._behind.host} port={self._behind.port} dbname=roadtrip\n[pgbouncer]\n"
            f"listen_addr = {self.host}\nlisten_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder}/users.txt\n"
            f"pool_mode = transaction\nstats_users = {self._stats}\n"
        )
        return [str(PGBOUNCER), str(folder / "pgbouncer.ini")]

    def log(self) -> str:
        """What it has written so far."""
        return (self.folder / "server.log").read_text() if self.folder else ""


class RedisReplica(real.RedisServer):
    """A Redis that follows a master, with its users, and listens at a Unix socket in its folder."""

    def __init__(self, master: real.RedisServer) -> None:
        super().__init__(password=master.password)
        self._master = master

    @property
    def path(self) -> str:
        """Its Unix socket."""
        return f"{self.folder}/redis.sock"

    def _configuration(self, folder: Path, port: int) -> Sequence[str]:
        master = [f"replicaof {self._master.host} {self._master.port}", f"masterauth {self.password}", "repl-diskless-sync-delay 0"]
        return [*super()._configuration(folder, port), *master, f"unixsocket {folder}/redis.sock", "unixsocketperm 777"]


class RedisSentinel(real.RedisServer):
    """A Sentinel that watches one master under the name `mymaster`. `quorum` Sentinels must agree; there is this one."""

    ready = b"Sentinel ID is"

    def __init__(self, master: real.RedisServer, quorum: int = 1) -> None:
        super().__init__(password="sentinel-1")
        self._master = master
        self._quorum = quorum

    def command(self, folder: Path, port: int) -> list[str]:
        """As Sentinel."""
        return [*super().command(folder, port), "--sentinel"]

    def _configuration(self, folder: Path, port: int) -> Sequence[str]:
        watched = f"sentinel monitor mymaster {self._master.host} {self._master.port} {self._quorum}"
        login = f"sentinel auth-pass mymaster {self._master.password}"
        users = [f"requirepass {self.password}", f"user outrider on >{self.password} -@all +auth +hello +ping +sentinel"]
        return [f"bind {self.host}", f"port {port}", f"dir {folder}", "daemonize no", watched, login, *users]


class ClusterNode(real.RedisServer):
    """A Redis in cluster mode that serves no slots yet."""

    def _configuration(self, folder: Path, port: int) -> Sequence[str]:
        return [*super()._configuration(folder, port), "cluster-enabled yes", "cluster-node-timeout 2000"]

    async def ask(self, *words: str | int) -> str:
        """What the node answers the application's user."""
        client = redis.asyncio.Redis.from_url(self.app_url, socket_timeout=5, driver_info=None)
        try:
            response = await client.execute_command(*words)  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()
        return response.decode() if isinstance(response, bytes) else str(response)


@asynccontextmanager
async def redis_cluster(*spans: tuple[int, int], password: str | None = None) -> AsyncIterator[list[ClusterNode]]:
    """A cluster with a node for each span of slots; (0, -1) is none."""
    async with AsyncExitStack() as kept:
        nodes = [await kept.enter_async_context(ClusterNode(password=password)) for _ in spans]
        for node, (first, last) in zip(nodes, spans, strict=True):
            if first <= last:
                await node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in nodes[1:]:
            await node.ask("CLUSTER", "MEET", nodes[0].host, nodes[0].port)
        for node in nodes:
            while (
                f"cluster_known_nodes:{len(nodes)}\r" not in (info := await node.ask("CLUSTER", "INFO")) or "cluster_state:ok" not in info
            ):
                pass
        yield nodes
