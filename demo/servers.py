"""A real PostgreSQL and a real Redis on free ports of 127.0.0.1, for the demo and for tests.

    async with PostgresServer() as postgres, RedisServer() as redis:
        await asyncpg.connect(postgres.dsn)
        await postgres.freeze()

As root they run as an account without rights. Each lives in one temp folder, which is removed at close; when the process
that started them dies uncleanly, a watchdog ends them.
"""

from __future__ import annotations

import secrets
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import asyncpg

from demo import _binaries
from demo._process import HOST, Server, free_port

__all__ = ["HOST", "PostgresServer", "RedisServer", "free_port"]

DATABASE = "roadtrip"
OWNER, APPLICATION, PROBE = "postgres", "roadtrip_app", "outrider"
PROBE_CONNECTIONS = 5


class PostgresServer(Server):
    """PostgreSQL with a database `roadtrip`, the application's role and a probe's role that can only read.

    `ssl_cert` and `ssl_key` (PEM files) switch TLS on where the binary has it: the system's has, the package's hasn't.
    `embedded` takes the package's even where the system has one.
    """

    ready = b"database system is ready to accept connections"
    farewell = signal.SIGINT  # "fast": ends sessions and writes what must be written
    goodbye = signal.SIGQUIT  # "immediate": its data goes with it

    def __init__(
        self, *, password: str | None = None, ssl_cert: Path | None = None, ssl_key: Path | None = None, embedded: bool = False
    ) -> None:
        super().__init__()
        self.passwords = {role: secrets.token_urlsafe(18) for role in (OWNER, APPLICATION, PROBE)}
        if password is not None:
            self.passwords[PROBE] = password
        self._ssl = (ssl_cert, ssl_key) if ssl_cert is not None and ssl_key is not None else None
        self._embedded = embedded
        self._bin = Path()
        self._made = False

    @property
    def dsn(self) -> str:
        """Where the probe's role connects, password included; it doesn't follow `change_password`."""
        return self.dsn_of(PROBE)

    @property
    def app_dsn(self) -> str:
        """Where the application connects."""
        return self.dsn_of(APPLICATION)

    @property
    def admin_dsn(self) -> str:
        """Where the superuser connects."""
        return self.dsn_of(OWNER)

    def dsn_of(self, role: str, database: str = DATABASE) -> str:
        """A libpq URL for a role with the password that it was made with."""
        return f"postgresql://{role}:{quote(self.passwords[role], safe='')}@{self.host}:{self.port}/{database}"

    async def start(self) -> None:
        """As Server.start; the first start makes the database and its roles as well."""
        await super().start()
        if not self._made:
            await self._as_owner(
                f"CREATE ROLE {APPLICATION} LOGIN PASSWORD {_literal(self.passwords[APPLICATION])}",
                f"CREATE ROLE {PROBE} LOGIN PASSWORD {_literal(self.passwords[PROBE])} CONNECTION LIMIT {PROBE_CONNECTIONS}",
                f"ALTER ROLE {PROBE} SET default_transaction_read_only = on",
                f"ALTER ROLE {PROBE} SET statement_timeout = '5s'",
                f"CREATE DATABASE {DATABASE} OWNER {APPLICATION}",
                f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
                f"GRANT CONNECT ON DATABASE {DATABASE} TO {PROBE}",
                database="postgres",
            )
            self._made = True

    async def change_password(self, role: str = PROBE, password: str | None = None) -> str:
        """Gives a role another password (a fresh one by default) and returns it; `restore_password` goes back."""
        fresh = password if password is not None else secrets.token_urlsafe(18)
        await self._as_owner(f"ALTER ROLE {role} PASSWORD {_literal(fresh)}")
        return fresh

    async def restore_password(self, role: str = PROBE) -> None:
        """Gives a role the password back that it was made with."""
        await self.change_password(role, self.passwords[role])

    async def _as_owner(self, *statements: str, database: str = DATABASE) -> None:
        connection = await asyncpg.connect(self.dsn_of(OWNER, database), timeout=10, ssl=False)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close(timeout=5)

    def prepare(self, folder: Path) -> None:
        """Makes the cluster. The package's own starter is left alone: as root it changes accounts and rights."""
        self._bin = _binaries.postgres_binaries(folder, embedded=self._embedded)
        secret = folder / "owner-password"
        secret.write_text(self.passwords[OWNER])
        self._hand_over(secret)
        options = ["-U", OWNER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]
        with (folder / "initdb.log").open("w+b") as log:
            made = self.popen([str(self._bin / "initdb"), "-D", str(folder / "data"), *options], folder, log.fileno())
            if made.wait() != 0:
                log.seek(0)
                raise RuntimeError(f"initdb failed: {log.read()[-600:].decode(errors='replace').strip()}")
        secret.unlink()
        for source, name in zip(self._ssl or (), ("server.crt", "server.key"), strict=False):
            self._hand_over(Path(shutil.copy(source, folder / "data" / name)))

    def _hand_over(self, file: Path) -> None:
        file.chmod(0o600)
        if self._account is not None:
            shutil.chown(file, self._account.uid, self._account.gid)

    def command(self, folder: Path, port: int) -> list[str]:
        """Small and without any care for the data: it lives as long as the demo."""
        settings = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "max_connections": "60",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "max_wal_size": "64MB",
            "min_wal_size": "5MB",
            "jit": "off",
            "log_connections": "off",
            "ssl": "on" if self._ssl else "off",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._bin / "postgres"), "-D", str(folder / "data"), *flags]


class RedisServer(Server):
    """Redis with a password for the application and a user `outrider` for the probe, who sees only keys `outrider:*`.

    `password=""` leaves it open: no password at all, and `url` names none.
    """

    ready = b"eady to accept connections"
    farewell = signal.SIGTERM
    goodbye = signal.SIGKILL  # it keeps nothing that could be lost

    def __init__(self, *, password: str | None = None, embedded: bool = False) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(18) if password is None else password
        self._probe_password = secrets.token_urlsafe(18)
        self._embedded = embedded
        self._binary = Path()

    @property
    def url(self) -> str:
        """Where the probe's user connects; the default user where there is no password."""
        user = f"{PROBE}:{self._probe_password}@" if self.password else ""
        return f"redis://{user}{self.host}:{self.port}/0"

    @property
    def app_url(self) -> str:
        """Where the application connects, as Redis's default user."""
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{user}{self.host}:{self.port}/0"

    async def follow_a_dead_primary(self) -> None:
        """Makes it a read-only replica of an address where nobody is: it reads, and refuses every write (READONLY)."""
        await self._command("REPLICAOF", HOST, "1")

    async def lead_again(self) -> None:
        """Makes it a primary again."""
        await self._command("REPLICAOF", "NO", "ONE")

    async def empty(self) -> None:
        """Forgets every key."""
        await self._command("FLUSHALL")

    async def _command(self, *words: str) -> None:
        import redis.asyncio  # noqa: PLC0415 - a module named like what it starts

        client = redis.asyncio.Redis.from_url(self.app_url, socket_timeout=5, driver_info=None)
        try:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()

    def prepare(self, folder: Path) -> None:
        """Finds the binary."""
        self._binary = _binaries.redis_binary(folder, embedded=self._embedded)

    def command(self, folder: Path, port: int) -> list[str]:
        """Writes its configuration to a file: a command line can be read by everyone on the machine."""
        config = folder / "redis.conf"
        config.write_text("\n".join(self._configuration(folder, port)) + "\n")
        config.chmod(0o600)
        if self._account is not None:
            shutil.chown(config, self._account.uid, self._account.gid)
        return [str(self._binary), str(config)]

    def _configuration(self, folder: Path, port: int) -> Sequence[str]:
        plain = [f"bind {HOST}", f"port {port}", 'save ""', "appendonly no", f"dir {folder}", "maxmemory 64mb", "daemonize no"]
        if not self.password:
            return plain
        rights = f"~{PROBE}:* -@all +@connection +ping +get +set +del"
        return [*plain, f"requirepass {self.password}", f"user {PROBE} on >{self._probe_password} {rights}"]


def _literal(text: str) -> str:
    """A text as an SQL literal: ALTER ROLE takes no parameters."""
    return "'" + text.replace("'", "''") + "'"
