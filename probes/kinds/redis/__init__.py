"""Kind `redis`: authenticates, sends PING and, with `round_trip`, writes, reads and deletes a key of its own."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import redis.exceptions as redis_errors
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from redis.crc import key_slot

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, info_family, network_families, phase_family
from probes.kinds.redis.cluster import cluster_state, own_slots
from probes.kinds.redis.connection import MOST_LINES, Connection, error_text
from probes.kinds.redis.url import RedisUrl, read_redis_url
from probes.text import clipped
from probes.wire.endpoint import Endpoint
from probes.wire.handover import CAP
from probes.wire.handshake import tls_families
from probes.wire.tls import Tls, judge_authorities

TTL = 60  # seconds after which Redis deletes a key that the probe could not delete; longer where the run may take longer

_TOO_LONG = f"the response is longer than {CAP // 1024} KiB or {MOST_LINES:,} lines"
_LOOK = 0.5  # seconds that version, role and the cluster's state may take, after the verdict
_UNNAMED = frozenset({"", "AUTH", "PING"})  # sent by every check: an error in answer to them may be about the connection
_SEARCH = 1.0  # seconds that the search for a key of this node may take
_KEYS = 100  # keys that are tried where the node doesn't tell its slots
_TRIES = 4096  # names of which one in a slot of this node is searched


class Redis(Probe):
    """Checks one Redis (or Valkey): AUTH, PING and, with `round_trip`, SET, GET and DEL of a key that expires after a minute.

    Reasons: auth (login refused or permission missing), body (READONLY, or the value read is not the written one), redirect (no key
    is on this node of the cluster), size, status for any other error that the server returns: loading, out of memory, no connection
    left, a cluster that serves no client.
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

    @model_validator(mode="after")
    def _authorities_can_be_read(self, info: ValidationInfo) -> Self:
        tls = self._read().tls
        if tls and (info.context or {}).get("files"):
            judge_authorities(tls.ca if tls.verify else None)
            tls.judge_certificate()
        return self

    def _read(self) -> RedisUrl:
        return read_redis_url(self.url.get_secret_value(), self.tls)

    def address(self) -> str:
        url = self._read()
        return f"{'rediss' if url.tls else 'redis'}://{host_and_port(url.host, url.port)}/{url.db}"

    def endpoint(self) -> Endpoint:
        url = self._read()
        return Endpoint.of(url.host, url.port, url.tls)

    def cleanup_seconds(self) -> float:
        return _LOOK

    async def run(self, ctx: Context) -> Result:
        url = self._read()
        if url.password:
            ctx.conceal(url.password)
        stream = await ctx.wire.stream(ctx, url.host, url.port, url.tls)
        ctx.evidence["silence"] = "accepts connections but doesn't respond"
        connection = Connection(stream, host_and_port(url.host, url.port), ctx.clock.monotonic)
        try:
            with _translate_errors(ctx, url, connection):
                await connection.connect()  # type: ignore[no-untyped-call]
                if url.user or url.password or url.db:
                    with ctx.phase("auth") as interval:
                        await _log_in(url, connection)
                        interval.end = connection.transport.last_read_at
                with ctx.phase("ping") as interval:
                    response = await connection.execute("PING")
                    interval.end = connection.transport.last_read_at
                if response != b"PONG":
                    raise Failed(Reason.PROTOCOL, f"PING returned {clipped(repr(response), 80)}, expected PONG")
                ctx.evidence["ping"] = "PONG"
                if self.round_trip:
                    await _round_trip(ctx, connection)
                await _look_around(ctx, connection, wrote=self.round_trip)
        finally:
            if connection.transport.received_any:
                ctx.evidence.pop("silence", None)
            await connection.disconnect(nowait=True)
            connection.transport.abort()
        done = "PING, SET, GET, DEL" if self.round_trip else "PING → PONG"
        version = f" · Redis {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{done}{version}")


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


async def _round_trip(ctx: Context, connection: Connection) -> None:
    value = f"{ctx.rng.getrandbits(64):016x}"
    ctx.facts["round_trip"] = False
    with ctx.phase("round_trip") as interval:
        key, interval.start = await _write(ctx, connection, value)
        read = await connection.execute("GET", key)
        await connection.execute("DEL", key)
        interval.end = connection.transport.last_read_at
    if read != value.encode():
        raise Failed(
            Reason.BODY, f"PING passes, but GET returned {'nothing' if read is None else 'another value'} for the key that SET wrote"
        )
    ctx.facts["round_trip"] = True


async def _write(ctx: Context, connection: Connection, value: str) -> tuple[str, float]:
    """SETs a key of its own; the key, and when the SET that succeeded was sent.

    In a cluster another key is tried where this node refuses one. Nobody goes where MOVED points: the login would be sent to
    whatever address a server names.
    """

    async def set_key(slots: Sequence[range] = ()) -> tuple[str, float]:
        key = ctx.evidence["key"] = _key(ctx, slots)
        sent = ctx.clock.monotonic()
        await connection.execute("SET", key, value, "EX", max(TTL, math.ceil(ctx.remaining())))
        return key, sent

    try:
        return await set_key()
    except redis_errors.AskError as error:  # MOVED, too
        elsewhere = error
    try:
        async with asyncio.timeout(min(_SEARCH, ctx.remaining() / 2)):
            slots = await own_slots(connection)
            for _ in range(_KEYS if slots != [] else 0):
                try:
                    return await set_key(slots or ())
                except redis_errors.AskError as error:
                    elsewhere = error
    except (TimeoutError, redis_errors.ConnectionError):
        pass  # then the refusal is what the server had to say
    connection.command = "SET"
    raise elsewhere


def _key(ctx: Context, slots: Sequence[range]) -> str:
    """A key that nobody else uses, in one of the slots where there are any and such a key is found soon."""
    key = ""
    for _ in range(_TRIES):
        key = f"outrider:probe:{ctx.check}:{ctx.rng.getrandbits(64):016x}"
        if not slots or any(key_slot(key.encode()) in each for each in slots):
            break
    return key


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
