"""Kind `redis`: authenticates, asks for a PONG and, where it is wanted, writes, reads and deletes a key of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import redis.exceptions as said
from pydantic import Field, SecretStr, field_validator
from redis.asyncio.connection import AbstractConnection

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, info_family, phase_family
from probes.http.probe import network_families
from probes.kinds.redis.url import RedisUrl, read_redis_url
from probes.wire.endpoint import Endpoint
from probes.wire.handover import CAP, StreamTransport
from probes.wire.stream import Stream
from probes.wire.tls import Tls, tls_families

TTL = 60  # seconds after which a key that we could not delete is gone; where a run may take longer, as long as that


class Redis(Probe):
    """Speaks to one Redis (or Valkey): AUTH, PING and, with `round_trip`, SET, GET and DEL of a key that lives a minute at most.

    Reasons: auth (not let in, or may not), body (READONLY, or another value read than written), redirect (the key lives on
    another node), size, status for any other error that the server answers with: loading, out of memory, no connection left.
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
    errors: ClassVar[dict[type[Exception], Reason]] = {said.RedisError: Reason.STATUS}

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
        return Endpoint.speaking(url.host, url.port, url.tls)

    async def run(self, ctx: Context) -> Result:
        url = self._read()
        if url.password:
            ctx.conceal(url.password)
        stream = await ctx.wire.stream(ctx, url.host, url.port, url.tls)
        ctx.evidence["silence"] = "accepts connections but doesn't respond"
        wired = _Wired(stream, url, ctx.clock.monotonic)
        try:
            with _in_words(ctx, url, wired):
                await _enter(ctx, url, wired)
                await _ping(ctx, wired)
                if self.round_trip:
                    await _round_trip(ctx, wired)
        finally:
            if wired.transport.answered:
                ctx.evidence.pop("silence", None)
            await wired.disconnect(nowait=True)
            wired.transport.abort()
        done = "PING, SET, GET, DEL" if self.round_trip else "PING → PONG"
        version = f" · Redis {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{done}{version}")


class _Wired(AbstractConnection):
    """redis-py's connection over one that the wire has made."""

    def __init__(self, stream: Stream, url: RedisUrl, monotonic: Callable[[], float]) -> None:
        super().__init__(username=url.user or None, password=url.password or None, db=url.db, protocol=2, driver_info=None)
        self._where = host_and_port(url.host, url.port)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        self.transport = StreamTransport(stream, protocol, monotonic)
        self._pair = reader, asyncio.StreamWriter(self.transport, protocol, reader, asyncio.get_running_loop())

    async def _connect(self) -> None:
        self._reader, self._writer = self._pair

    def _host_error(self) -> str:
        return self._where

    def repr_pieces(self) -> list[tuple[str, str]]:
        return [("at", self._where)]

    async def ask(self, *words: str | int) -> Any:
        """One command and its answer. Raises what redis-py raises."""
        await self.send_command(*words)
        return await self.read_response()


async def _enter(ctx: Context, url: RedisUrl, wired: _Wired) -> None:
    """AUTH and SELECT, by redis-py; without a password and a database it says nothing."""
    if not (url.password or url.db):
        await wired.connect()  # type: ignore[no-untyped-call]
        return
    with ctx.phase("auth") as interval:
        await wired.connect()  # type: ignore[no-untyped-call]
        interval.end = wired.transport.last_read_at


async def _ping(ctx: Context, wired: _Wired) -> None:
    """PING, and in the same breath HELLO, which tells version and role (Redis 6 and later; refused, it costs nothing)."""
    with ctx.phase("ping") as interval:
        await wired.send_packed_command(wired.pack_commands([("PING",), ("HELLO",)]))
        answer = await wired.read_response()
        interval.end = wired.transport.last_read_at
    if answer != b"PONG":
        raise Failed(Reason.PROTOCOL, f"PING returned {answer!r:.80}, expected PONG")
    ctx.evidence["ping"] = "PONG"
    try:
        told = await wired.read_response(disconnect_on_error=False)
    except said.ResponseError:
        return  # an older server, or one whose rules don't allow it
    named = {str(k, "utf-8", "replace"): v for k, v in zip(told[::2], told[1::2], strict=False) if isinstance(k, bytes)} if told else {}
    for name in ("version", "role"):
        if isinstance(value := named.get(name), bytes):
            ctx.facts[name] = value.decode("utf-8", "replace")[:80]


async def _round_trip(ctx: Context, wired: _Wired) -> None:
    key = f"outrider:probe:{ctx.check}:{ctx.rng.getrandbits(64):016x}"
    value = f"{ctx.rng.getrandbits(64):016x}"
    ctx.evidence["key"] = key
    ctx.facts["round_trip"] = False
    with ctx.phase("round_trip") as interval:
        with _naming(ctx, "SET"):
            await wired.ask("SET", key, value, "EX", max(TTL, math.ceil(ctx.remaining())))
        with _naming(ctx, "GET"):
            read = await wired.ask("GET", key)
        with _naming(ctx, "DEL"):
            await wired.ask("DEL", key)
        interval.end = wired.transport.last_read_at
    if read != value.encode():
        raise Failed(
            Reason.BODY, f"PING passes, but GET returned {'nothing' if read is None else 'another value'} for the key that SET wrote"
        )
    ctx.facts["round_trip"] = True


@contextmanager
def _naming(ctx: Context, command: str) -> Iterator[None]:
    """Notes the command that was refused."""
    try:
        yield
    except said.ResponseError:
        ctx.evidence["refused"] = command
        raise


@contextmanager
def _in_words(ctx: Context, url: RedisUrl, wired: _Wired) -> Iterator[None]:
    """Turns what the server says, and redis-py of it, into a reason and a sentence."""
    try:
        yield
    except (said.AuthenticationError, said.AuthorizationError, said.NoPermissionError, said.AuthenticationWrongNumberOfArgsError) as error:
        raise Failed(Reason.AUTH, _not_allowed(error, ctx, url)) from error
    except (said.ResponseError, said.BusyLoadingError) as error:
        raise _refusal(error, ctx) from error
    except said.RedisError as error:
        raise _lost(error, ctx, wired) from error
    except (ValueError, RecursionError) as error:  # a line without end, a length that is none, arrays without bottom
        raise Failed(Reason.PROTOCOL, f"not Redis's protocol, in {ctx.halted_in}: {error}") from error


def _refusal(error: Exception, ctx: Context) -> Failed:
    begin = "PING passes, but " if ctx.evidence.get("ping") else ""
    command, text = ctx.evidence.get("refused", "the command"), _text(error)
    match error:
        case said.ReadOnlyError():
            return Failed(Reason.BODY, f"{begin}{command} was refused: {text}")
        case said.AskError():
            return Failed(Reason.REDIRECT, f"{begin}the key is on another node of the cluster: {text}")
        case said.BusyLoadingError():
            return Failed(Reason.STATUS, f"{begin}the server is not ready: {text}")
    return Failed(Reason.AUTH if text.startswith("DENIED") else Reason.STATUS, f"{begin}{command} was refused: {text}")


def _lost(error: Exception, ctx: Context, wired: _Wired) -> Exception:
    """What stands behind redis-py's ConnectionError: a reset goes on as it was, an end gets its words."""
    if wired.transport.overflowed:
        return Failed(Reason.SIZE, f"the response is longer than {CAP // 1024} KiB")
    if wired.transport.error is not None:
        return wired.transport.error
    if isinstance(error, said.InvalidResponse):
        return Failed(Reason.PROTOCOL, f"not Redis's protocol, in {ctx.halted_in}: {error!s:.80}")
    if "max number of clients" in str(error):
        return Failed(Reason.STATUS, f"no connection is left: {_text(error)}")
    answered = "the" if wired.transport.answered else "any"
    return Failed(Reason.TRUNCATED, f"the connection was closed before {answered} response, in {ctx.halted_in}")


def _text(error: Exception) -> str:
    """The server's words, with the code that redis-py cuts off."""
    code, text = getattr(error, "status_code", None), str(error).rstrip(".")
    return f"{code} {text}"[:200] if code and code != "ERR" and not text.startswith(code) else text[:200]


def _not_allowed(error: Exception, ctx: Context, url: RedisUrl) -> str:
    who = f"user {url.user}" if url.user else "the default user"
    if ctx.evidence.get("ping"):
        return f"PING passes, but {who} lacks the permission for {ctx.evidence.get('refused', 'this command')}: {_text(error)}"
    return f"login refused for {who}: {_text(error)}"
