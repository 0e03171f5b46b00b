"""Kind `redis`: authenticates, sends PING and, with `round_trip`, writes, reads and deletes a key of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import redis.exceptions as redis_errors
from pydantic import Field, SecretStr, field_validator
from redis.asyncio.connection import AbstractConnection

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, info_family, network_families, phase_family
from probes.kinds.redis.url import RedisUrl, read_redis_url
from probes.text import clipped
from probes.wire.endpoint import Endpoint
from probes.wire.handover import CAP, StreamTransport
from probes.wire.stream import Stream
from probes.wire.tls import Tls, tls_families

TTL = 60  # seconds after which Redis deletes a key that the probe could not delete; longer where the run may take longer


class Redis(Probe):
    """Checks one Redis (or Valkey): AUTH, PING and, with `round_trip`, SET, GET and DEL of a key that expires after a minute.

    Reasons: auth (login refused or permission missing), body (READONLY, or the value read is not the written one), redirect (the
    key is on another node), size, status for any other error that the server returns: loading, out of memory, no connection left.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "redis://outrider:example-password-1@127.0.0.1:9/0", "round_trip": True},
        {"url": "rediss://outrider:example-password-2@127.0.0.1:9/0"},
    )
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_redis_duration_seconds", "Seconds in each phase", "resolve", "connect", "tls", "auth", "ping", "round_trip"),
        info_family("probe_redis_info", "The version and the role that the server reports", version="version", role="role"),
        fact_family("probe_redis_round_trip", "1 when the written value was read back", "round_trip"),
        *network_families(),
        *tls_families(),
    )
    errors: ClassVar[dict[type[Exception], Reason]] = {redis_errors.RedisError: Reason.STATUS}

    url: SecretStr = Field(
        description="redis://user:password@host:6379/0, or rediss:// for TLS.", examples=["redis://user:password@host:6379/0"]
    )
    round_trip: bool = Field(default=False, description="Also write a key outrider:probe:<check>:<random>, read it and delete it.")
    tls: Tls | None = Field(default=None, description="Use TLS with these settings; rediss:// alone takes the defaults.")

    @field_validator("url")
    @classmethod
    def _url_can_be_read(cls, url: SecretStr) -> SecretStr:
        read_redis_url(url.get_secret_value())
        return url

    def _read(self) -> RedisUrl:
        return read_redis_url(self.url.get_secret_value(), self.tls)

    def address(self) -> str:
        url = self._read()
        return f"{'rediss' if url.tls else 'redis'}://{host_and_port(url.host, url.port)}/{url.db}"

    def endpoint(self) -> Endpoint:
        url = self._read()
        return Endpoint.of(url.host, url.port, url.tls)

    async def run(self, ctx: Context) -> Result:
        url = self._read()
        if url.password:
            ctx.conceal(url.password)
        stream = await ctx.wire.stream(ctx, url.host, url.port, url.tls)
        ctx.evidence["silence"] = "accepts connections but doesn't respond"
        connection = _Connection(stream, url, ctx.clock.monotonic)
        try:
            with _translate_errors(ctx, url, connection):
                if url.password or url.db:
                    with ctx.phase("auth") as interval:  # redis-py sends AUTH and SELECT
                        await connection.connect()  # type: ignore[no-untyped-call]
                        interval.end = connection.transport.last_read_at
                else:
                    await connection.connect()  # type: ignore[no-untyped-call]
                await _ping(ctx, connection)
                if self.round_trip:
                    await _round_trip(ctx, connection)
        finally:
            if connection.transport.received_any:
                ctx.evidence.pop("silence", None)
            await connection.disconnect(nowait=True)
            connection.transport.abort()
        done = "PING, SET, GET, DEL" if self.round_trip else "PING → PONG"
        version = f" · Redis {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{done}{version}")


class _Connection(AbstractConnection):
    """redis-py's connection, on a stream that the wire has opened."""

    def __init__(self, stream: Stream, url: RedisUrl, monotonic: Callable[[], float]) -> None:
        super().__init__(username=url.user or None, password=url.password or None, db=url.db, protocol=2, driver_info=None)
        self._address = host_and_port(url.host, url.port)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        self.transport = StreamTransport(stream, protocol, monotonic)
        self._pair = reader, asyncio.StreamWriter(self.transport, protocol, reader, asyncio.get_running_loop())

    async def _connect(self) -> None:
        self._reader, self._writer = self._pair

    def _host_error(self) -> str:
        return self._address

    def repr_pieces(self) -> list[tuple[str, str]]:
        return [("at", self._address)]

    async def execute(self, *words: str | int) -> Any:
        """Sends one command and returns its response. Raises redis-py's errors."""
        await self.send_command(*words)
        return await self.read_response()


async def _ping(ctx: Context, connection: _Connection) -> None:
    """Sends PING and, in the same packet, HELLO, which returns version and role (Redis 6 and later). HELLO may be refused."""
    with ctx.phase("ping") as interval:
        await connection.send_packed_command(connection.pack_commands([("PING",), ("HELLO",)]))
        response = await connection.read_response()
        interval.end = connection.transport.last_read_at
    if response != b"PONG":
        raise Failed(Reason.PROTOCOL, f"PING returned {clipped(repr(response), 80)}, expected PONG")
    ctx.evidence["ping"] = "PONG"
    try:
        hello = await connection.read_response(disconnect_on_error=False)
    except redis_errors.ResponseError:
        return  # an older server, or one whose rules don't allow it
    named = {str(k, "utf-8", "replace"): v for k, v in zip(hello[::2], hello[1::2], strict=False) if isinstance(k, bytes)} if hello else {}
    for name in ("version", "role"):
        if isinstance(value := named.get(name), bytes):
            ctx.facts[name] = clipped(value.decode("utf-8", "replace"), 80)


async def _round_trip(ctx: Context, connection: _Connection) -> None:
    key = f"outrider:probe:{ctx.check}:{ctx.rng.getrandbits(64):016x}"
    value = f"{ctx.rng.getrandbits(64):016x}"
    ctx.evidence["key"] = key
    ctx.facts["round_trip"] = False
    with ctx.phase("round_trip") as interval:
        with _note_refused(ctx, "SET"):
            await connection.execute("SET", key, value, "EX", max(TTL, math.ceil(ctx.remaining())))
        with _note_refused(ctx, "GET"):
            read = await connection.execute("GET", key)
        with _note_refused(ctx, "DEL"):
            await connection.execute("DEL", key)
        interval.end = connection.transport.last_read_at
    if read != value.encode():
        raise Failed(
            Reason.BODY, f"PING passes, but GET returned {'nothing' if read is None else 'another value'} for the key that SET wrote"
        )
    ctx.facts["round_trip"] = True


@contextmanager
def _note_refused(ctx: Context, command: str) -> Iterator[None]:
    """Records the command as evidence where the server refuses it."""
    try:
        yield
    except redis_errors.ResponseError:
        ctx.evidence["refused"] = command
        raise


@contextmanager
def _translate_errors(ctx: Context, url: RedisUrl, connection: _Connection) -> Iterator[None]:
    """Turns errors of the server and of redis-py into Failed with a reason and a message."""
    try:
        yield
    except (
        redis_errors.AuthenticationError,
        redis_errors.AuthorizationError,
        redis_errors.NoPermissionError,
        redis_errors.AuthenticationWrongNumberOfArgsError,
    ) as error:
        user = f"user {url.user}" if url.user else "the default user"
        if ctx.evidence.get("ping"):
            command = ctx.evidence.get("refused", "this command")
            raise Failed(Reason.AUTH, f"PING passes, but {user} lacks the permission for {command}: {_error_text(error)}") from error
        raise Failed(Reason.AUTH, f"login refused for {user}: {_error_text(error)}") from error
    except (redis_errors.ResponseError, redis_errors.BusyLoadingError) as error:
        raise _refusal(error, ctx) from error
    except redis_errors.RedisError as error:
        raise _connection_failure(error, ctx, connection) from error
    except (ValueError, RecursionError) as error:  # a line without end, an invalid length, arrays nested too deeply
        raise Failed(Reason.PROTOCOL, f"not Redis's protocol, in {ctx.halted_in}: {error}") from error


def _refusal(error: Exception, ctx: Context) -> Failed:
    begin = "PING passes, but " if ctx.evidence.get("ping") else ""
    command, text = ctx.evidence.get("refused", "the command"), _error_text(error)
    match error:
        case redis_errors.ReadOnlyError():
            return Failed(Reason.BODY, f"{begin}{command} was refused: {text}")
        case redis_errors.AskError():
            return Failed(Reason.REDIRECT, f"{begin}the key is on another node of the cluster: {text}")
        case redis_errors.BusyLoadingError():
            return Failed(Reason.STATUS, f"{begin}the server is not ready: {text}")
    denied = "DENIED" in (getattr(error, "status_code", None), str(error).partition(" ")[0])
    return Failed(Reason.AUTH if denied else Reason.STATUS, f"{begin}{command} was refused: {text}")


def _connection_failure(error: Exception, ctx: Context, connection: _Connection) -> Exception:
    """The cause of redis-py's error: a reset as it was raised, and Failed with a message for anything else."""
    if connection.transport.overflowed:
        return Failed(Reason.SIZE, f"the response is longer than {CAP // 1024} KiB")
    if connection.transport.error is not None:
        return connection.transport.error
    if isinstance(error, redis_errors.InvalidResponse):
        return Failed(Reason.PROTOCOL, f"not Redis's protocol, in {ctx.halted_in}: {clipped(str(error), 80)}")
    if "max number of clients" in str(error):
        return Failed(Reason.STATUS, f"no connection is left: {_error_text(error)}")
    which = "the" if connection.transport.received_any else "any"
    return Failed(Reason.TRUNCATED, f"the connection was closed before {which} response, in {ctx.halted_in}")


def _error_text(error: Exception) -> str:
    """The server's error text, with the code that redis-py removes, at most 200 characters."""
    code, text = getattr(error, "status_code", None), str(error).rstrip(".")
    return clipped(f"{code} {text}" if code and code != "ERR" and not text.startswith(code) else text, 200)
