"""Kind `redis`: authenticates, sends PING and, with `round_trip`, writes, reads and deletes a key of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import redis.exceptions as redis_errors
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, info_family, keyed_family, network_families, phase_family
from probes.expect.publish import publish, require_published
from probes.kinds.redis.cluster import cluster_state
from probes.kinds.redis.connection import MOST_LINES, Connection, error_text
from probes.kinds.redis.expected import ExpectedRedis, Queue, Sentinel
from probes.kinds.redis.operations import info, judge_queues, judge_server, master_of
from probes.kinds.redis.round_trip import round_trip
from probes.kinds.redis.url import RedisUrl, read_redis_url
from probes.text import clipped, did_you_mean, host_and_port
from probes.wire.endpoint import Endpoint
from probes.wire.handover import CAP
from probes.wire.handshake import tls_families
from probes.wire.stream import Stream
from probes.wire.tls import Tls, judge_authorities
from probes.wire.wire import open_stream

_TOO_LONG = f"the response is longer than {CAP // 1024} KiB or {MOST_LINES:,} lines"
_LOOK = 0.5  # seconds that version, role and the cluster's state may take, after the verdict
_UNNAMED = frozenset({"", "AUTH", "PING"})  # sent by every check: an error in answer to them may be about the connection


class Redis(Probe):
    """Checks one Redis (or Valkey): AUTH, PING, SET, GET and DEL of a key with `round_trip`, and what operators ask.

    Reasons: auth (login refused or permission missing), body (READONLY, or the value read is not the written one), redirect (no key
    is on this node of the cluster), size, status for any other error that the server returns: loading, out of memory, no connection
    left, a cluster that serves no client.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "redis://outrider:example-password-1@127.0.0.1:9/0", "round_trip": True},
        {"url": "rediss://outrider:example-password-2@127.0.0.1:9/0"},
    )
    publishable: ClassVar[frozenset[str]] = frozenset({"field", "fact"})
    families: ClassVar[tuple[Family, ...]] = (
        phase_family(
            "probe_redis_duration_seconds",
            "Seconds in each phase",
            "resolve",
            "connect",
            "tls",
            "auth",
            "sentinel",
            "ping",
            "round_trip",
            "operations",
        ),
        info_family("probe_redis_info", "The version and the role that the server reports", version="version", role="role"),
        fact_family("probe_redis_replication_lag_seconds", "Seconds since a replica last received from its master", "lag"),
        fact_family("probe_redis_connections", "Clients that are connected", "connections"),
        fact_family("probe_redis_max_connections", "Clients that the server takes", "max_connections"),
        fact_family("probe_redis_cluster_slots", "Slots that the cluster serves", "cluster_slots"),
        fact_family("probe_redis_cluster_nodes", "Nodes of the cluster that are connected and not failed", "cluster_nodes"),
        keyed_family("probe_redis_queue_length", "Entries of a queue", "queue_length", "queue"),
        keyed_family("probe_redis_group_lag", "Entries that the consumer group has not read yet", "group_lag", "queue"),
        keyed_family("probe_redis_group_pending", "Entries that the consumer group has not acknowledged", "group_pending", "queue"),
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
    expect: ExpectedRedis = Field(default=ExpectedRedis(), description="Conditions for what the server says of itself.")
    queues: dict[Annotated[str, Field(min_length=1)], Queue] = Field(
        default_factory=dict, max_length=20, description="By key: how long a queue may be, and how far a consumer group may be behind."
    )
    sentinel: Sentinel | None = Field(default=None, description="The url is a Sentinel's: ask it for this master, and check that one.")

    @field_validator("url")
    @classmethod
    def _url_can_be_read(cls, url: SecretStr) -> SecretStr:
        read_redis_url(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _authorities_can_be_read(self, info: ValidationInfo) -> Self:
        tls = self._read().tls
        if tls and (info.context or {}).get("files"):
            judge_authorities(tls.ca if tls.verify else None)
            tls.judge_certificate()
        return self

    def _read(self) -> RedisUrl:
        return read_redis_url(self.url.get_secret_value(), self.tls, self._folder)

    @field_validator("sentinel", mode="before")
    @classmethod
    def _name_alone_is_a_master(cls, value: Any) -> Any:
        return {"master": value} if isinstance(value, str) else value

    def address(self) -> str:
        url = self._read()
        if url.socket:
            return f"unix://{url.socket}?db={url.db}"
        of = f" (Sentinel, {self.sentinel.master})" if self.sentinel else ""
        return f"{'rediss' if url.tls else 'redis'}://{url.where}/{url.db}{of}"

    def endpoint(self) -> Endpoint | None:
        url = self._read()
        return None if url.socket else Endpoint.of(url.host, url.port, url.tls)

    def cleanup_seconds(self) -> float:
        return _LOOK

    async def run(self, ctx: Context) -> Result:
        url = self._read()
        if url.password:
            ctx.conceal(url.password)
        expect = self.expect
        if self.sentinel:
            url = await self._find_master(ctx, url, self.sentinel)
            expect = expect if expect.role else expect.model_copy(update={"role": "master"})
        async with _connected(ctx, url) as connection:
            with ctx.phase("ping") as interval:
                response = await connection.execute("PING")
                interval.end = connection.transport.last_read_at
            if response != b"PONG":
                raise Failed(Reason.PROTOCOL, f"PING returned {clipped(repr(response), 80)}, expected PONG")
            ctx.evidence["ping"] = "PONG"
            if self.round_trip:
                await round_trip(ctx, connection)
            if any(each.field for each in self.publish.values()):
                with ctx.phase("operations") as interval:
                    fields = await _info(connection)
                    interval.end = connection.transport.last_read_at
                publish(self.publish, ctx.facts, "field", lambda name: _field(fields, name))
            if self.queues or expect.model_fields_set:
                with ctx.phase("operations") as interval:
                    await judge_server(ctx, connection, expect)
                    await judge_queues(ctx, connection, self.queues)
                    interval.end = connection.transport.last_read_at
            await _look_around(ctx, connection, wrote=self.round_trip)
        require_published(self.publish, ctx.facts)
        done = "PING, SET, GET, DEL" if self.round_trip else "PING → PONG"
        version = f" · Redis {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{done}{version}")

    async def _find_master(self, ctx: Context, url: RedisUrl, sentinel: Sentinel) -> RedisUrl:
        """The url of the master that the Sentinel at `url` names. Its credentials go there: that is what Sentinel is for."""
        password = sentinel.password.get_secret_value() if sentinel.password else ""
        asked = replace(url, user=sentinel.user, password=password, db=0)
        try:
            async with _connected(ctx, asked) as connection:
                with ctx.phase("sentinel") as interval:
                    host, port = await master_of(connection, sentinel)
                    interval.end = connection.transport.last_read_at
        except Failed as failed:
            raise Failed(failed.reason, f"Sentinel {url.where}: {failed.message}", answered=failed.answered) from failed
        ctx.evidence["master"] = ctx.facts["master"] = host_and_port(host, port)
        return replace(url, host=host, port=port)


async def _info(connection: Connection) -> dict[str, str]:
    """INFO; empty where the user may not ask for it: that a number can't be published says nothing about the server."""
    try:
        return await info(connection, "default")
    except redis_errors.NoPermissionError:
        return {}


def _field(fields: Mapping[str, str], name: str) -> str:
    if not fields:
        raise ValueError("the user may not ask for INFO")
    if name not in fields:
        raise ValueError(f"INFO has no field {name}{did_you_mean(name, fields)}")
    return fields[name]


@asynccontextmanager
async def _connected(ctx: Context, url: RedisUrl) -> AsyncIterator[Connection]:
    """A connection that is logged in, whose errors become Failed with a reason and a message."""
    stream = await _open(ctx, url)
    ctx.evidence["silence"] = "accepts connections but doesn't respond"
    connection = Connection(stream, url.where, ctx.clock.monotonic)
    try:
        with _translate_errors(ctx, url, connection):
            await connection.connect()  # type: ignore[no-untyped-call]
            if url.user or url.password or url.db:
                with ctx.phase("auth") as interval:
                    await _log_in(url, connection)
                    interval.end = connection.transport.last_read_at
            yield connection
    finally:
        if connection.transport.received_any:
            ctx.evidence.pop("silence", None)
        await connection.disconnect(nowait=True)
        connection.transport.abort()


async def _open(ctx: Context, url: RedisUrl) -> Stream:
    if url.socket:
        return await open_stream(ctx, await ctx.wire.local(ctx, url.socket))
    return await ctx.wire.stream(ctx, url.host, url.port, url.tls)


async def _log_in(url: RedisUrl, connection: Connection) -> None:
    if url.user or url.password:
        try:
            response = await connection.execute("AUTH", *([url.user] if url.user else []), url.password)
        except redis_errors.AuthenticationWrongNumberOfArgsError:
            if not url.user:
                raise
            response = await connection.execute("AUTH", url.password)  # a server before Redis 6 knows no users
        if response != b"OK":
            raise Failed(Reason.PROTOCOL, f"AUTH returned {clipped(repr(response), 80)}, expected OK")
        connection.logged_in = True
    if url.db:
        await connection.execute("SELECT", url.db)


async def _look_around(ctx: Context, connection: Connection, *, wrote: bool) -> None:
    """Notes version and role, and fails where a cluster serves no client: then even PING passes.

    HELLO is sent behind the verdict and may stay without response: a proxy may not know it and close, or keep silent.
    """
    ctx.decided = ctx.clock.monotonic()
    with contextlib.suppress(TimeoutError, redis_errors.RedisError, OSError, ValueError, RecursionError):
        async with asyncio.timeout(_LOOK):
            try:
                hello = await connection.execute("HELLO")
            except redis_errors.NoPermissionError:
                return
            except redis_errors.ResponseError:
                hello = [b"mode", b"cluster"]  # a server before Redis 6 may be in one
            pairs = zip(hello[::2], hello[1::2], strict=False) if isinstance(hello, list) else ()
            named = {
                key: clipped(value.decode("utf-8", "replace"), 80)
                for key, value in pairs
                if isinstance(value, bytes) and isinstance(key, bytes)
            }
            ctx.facts |= {name: named[name.encode()] for name in ("version", "role") if name.encode() in named}
            if named.get(b"mode") == "cluster" and not wrote and (state := await cluster_state(connection, f"outrider:probe:{ctx.check}")):
                raise Failed(Reason.STATUS, f"PING passes, but the cluster serves no client: {state}")
    if connection.overflowed:
        raise Failed(Reason.SIZE, _TOO_LONG)


@contextmanager
def _translate_errors(ctx: Context, url: RedisUrl, connection: Connection) -> Iterator[None]:
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
        if isinstance(error, redis_errors.NoPermissionError) and connection.command != "AUTH":
            text = f"{_passed(ctx, connection)}{user} lacks the permission for {connection.command}: {error_text(error)}"
            raise Failed(Reason.AUTH, text) from error
        raise Failed(Reason.AUTH, f"login refused for {user}: {error_text(error)}") from error
    except (redis_errors.ResponseError, redis_errors.BusyLoadingError) as error:
        raise _refusal(error, ctx, connection) from error
    except redis_errors.RedisError as error:
        raise _connection_failure(error, ctx, connection) from error
    except (ValueError, RecursionError) as error:  # a line without end, an invalid length, arrays nested too deeply
        raise Failed(Reason.PROTOCOL, f"not Redis's protocol{_where(ctx)}: {error}") from error


def _passed(ctx: Context, connection: Connection) -> str:
    """How far the run came, as the beginning of a message."""
    if ctx.evidence.get("ping"):
        return "PING passes, but "
    return "the login passes, but " if connection.logged_in and connection.command not in _UNNAMED else ""


def _where(ctx: Context) -> str:
    return f", in {ctx.halted_in}" if ctx.halted_in else ""


def _refusal(error: Exception, ctx: Context, connection: Connection) -> Failed:
    begin, text = _passed(ctx, connection), error_text(error)
    command = "the command" if connection.command in _UNNAMED else connection.command
    if ctx.evidence.get("ping"):
        ctx.evidence["refused"] = command
    match error:
        case redis_errors.ReadOnlyError():
            return Failed(Reason.BODY, f"{begin}{command} was refused: {text}")
        case redis_errors.AskError():
            return Failed(Reason.REDIRECT, f"{begin}the key is on another node of the cluster: {text}")
        case redis_errors.BusyLoadingError():
            return Failed(Reason.STATUS, f"{begin}the server is not ready: {text}")
    denied = "DENIED" in (getattr(error, "status_code", None), str(error).partition(" ")[0])
    return Failed(Reason.AUTH if denied else Reason.STATUS, f"{begin}{command} was refused: {text}")


def _connection_failure(error: Exception, ctx: Context, connection: Connection) -> Exception:
    """The cause of redis-py's error: a reset as it was raised, and Failed with a message for anything else."""
    if connection.overflowed:
        return Failed(Reason.SIZE, _TOO_LONG)
    if connection.transport.error is not None:
        return connection.transport.error
    if isinstance(error, redis_errors.InvalidResponse):
        return Failed(Reason.PROTOCOL, f"not Redis's protocol{_where(ctx)}: {clipped(str(error), 80)}")
    if "max number of clients" in str(error):
        return Failed(Reason.STATUS, f"no connection is left: {error_text(error)}")
    which = "the" if connection.transport.received_any else "any"
    return Failed(Reason.TRUNCATED, f"the connection was closed before {which} response{_where(ctx)}")
