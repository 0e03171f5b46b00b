"""asyncpg on our wire: it gets the connection that we made, and what it raises becomes a reason and a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from probes import Context, Failed, Reason
from probes.kinds.postgres.dsn import Dsn
from probes.kinds.postgres.frames import BROKEN, Guard
from probes.wire.handover import CAP, StreamTransport
from probes.wire.stream import Stream
from probes.wire.wire import open_stream

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
SILENCE = "silence"  # the evidence of a server that is there and says nothing
MARGIN = 0.05  # of the time left, and at most 0.1 s: the server gives up before we do, and can say so


class Loop:
    """The running loop for asyncpg, which takes the one connection that we have made instead of making its own."""

    def __init__(self, stream: Stream, monotonic: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = stream
        self._monotonic = monotonic
        self.transport: StreamTransport
        self.guard: Guard
        self.gives_up_at = float("inf")  # the statement timeout's end, by the run's clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> tuple[StreamTransport, asyncio.Protocol]:
        """Once, and never again: asyncpg would open a second one to cancel a query, which the statement timeout does."""
        if self._stream is None:
            raise asyncpg.InternalClientError("one run has one connection")
        stream, self._stream = self._stream, None
        protocol = factory()
        self.guard = Guard(protocol, CAP)
        self.transport = StreamTransport(stream, self.guard, self._monotonic)
        return self.transport, protocol

    @property
    def answered(self) -> bool:
        """Whether the server has said anything to asyncpg."""
        return self._stream is None and self.transport.received_any

    def limit(self, seconds: float) -> int:
        """The statement timeout, in milliseconds, for a run that has so many seconds left."""
        milliseconds = max(1, int((seconds - min(seconds * MARGIN, 0.1)) * 1000))
        self.gives_up_at = self._monotonic() + milliseconds / 1000
        return milliseconds

    def close(self) -> None:
        """Drops the connection, whoever has it."""
        if self._stream is not None:
            self._stream.abort()
        else:
            self.transport.abort()


async def open_for(ctx: Context, dsn: Dsn) -> Stream:
    """The connection, with TLS where it is wanted and to be had."""
    context = await ctx.wire.tls_context(dsn.tls) if dsn.tls else None
    stream = await open_stream(ctx, await ctx.wire.dial(ctx, dsn.host, dsn.port))
    try:
        ctx.evidence[SILENCE] = "accepts connections but doesn't respond"
        if dsn.tls and context and await _tls_offered(ctx, stream, dsn):
            await ctx.wire.secure(ctx, stream, dsn.tls, context, dsn.host)
    except BaseException:
        stream.abort()
        raise
    return stream


async def _tls_offered(ctx: Context, stream: Stream, dsn: Dsn) -> bool:
    """Asks whether the server speaks TLS. Anything beside the one letter could be a stranger's, put before the handshake."""
    start = ctx.clock.monotonic()
    with ctx.phase("auth") as interval:
        await stream.write(_SSL_REQUEST)
        answer = await stream.read()
        interval.end = stream.last_read_at
        if answer == b"S":
            interval.start = interval.end  # it was the first step of TLS, then
    if answer:
        ctx.evidence.pop(SILENCE, None)
    if answer == b"S":
        ctx.mark("tls", start, stream.last_read_at)
        return True
    if answer == b"N":
        if dsn.tls_or_plain:
            return False
        raise Failed(Reason.TLS, "the server doesn't offer TLS, but the check requires it")
    if not answer:
        raise Failed(Reason.TRUNCATED, "the connection was closed before any response, in auth")
    raise Failed(Reason.PROTOCOL, "the response to the TLS request is not PostgreSQL's")


async def enter(ctx: Context, dsn: Dsn, loop: Loop) -> Any:
    """Authenticates. Everything is given, so that asyncpg asks neither the environment nor any file."""
    with ctx.phase("auth") as interval:
        connection = await asyncpg.connect(
            host=dsn.host,
            port=dsn.port,
            user=dsn.user,
            password=dsn.password,
            database=dsn.database,
            ssl=False,  # the connection that it is given has it already
            direct_tls=False,
            target_session_attrs=SessionAttribute.any,
            server_settings={"application_name": "outrider", **dsn.settings},
            statement_cache_size=0,
            timeout=ctx.remaining() + 60,  # the run's deadline is the engine's, not asyncpg's
            loop=cast("asyncio.AbstractEventLoop", loop),  # it delegates all but create_connection
        )
        interval.end = loop.transport.last_read_at
    settings = connection.get_settings()
    if version := getattr(settings, "server_version", None):
        ctx.facts["version"] = str(version).partition(" ")[0]
    standby = getattr(settings, "in_hot_standby", None)
    if standby is not None:
        ctx.facts["in_recovery"] = standby == "on"
    return connection


@contextmanager
def in_words(ctx: Context, dsn: Dsn, loop: Loop) -> Iterator[None]:
    """Turns what the server says, and asyncpg of it, into a reason and a sentence."""
    try:
        yield
    except asyncpg.ConnectionDoesNotExistError as error:
        if loop.guard.farewell:
            ctx.evidence["sqlstate"] = loop.guard.farewell.get("C")
            raise _refusal(asyncpg.PostgresError.new(loop.guard.farewell), dsn) from error
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise _ended(ctx, loop) from error
    except asyncpg.QueryCanceledError as error:
        if ctx.clock.monotonic() >= loop.gives_up_at - 0.01:  # the server's clock counts in whole milliseconds
            raise Failed(Reason.TIMEOUT, f"no answer within {_span(ctx.deadline - ctx.started)} in query; the server stopped it") from error
        raise Failed(Reason.STATUS, f"the query was cancelled: {error}") from error
    except asyncpg.PostgresError as error:
        ctx.evidence["sqlstate"] = error.sqlstate
        raise _refusal(error, dsn) from error
    except asyncpg.InterfaceError as error:
        raise Failed(Reason.PROTOCOL, f"the client can't continue: {error}") from error
    except BROKEN as error:
        raise _ended(ctx, loop) if loop.transport.overflowed else _garbled(loop.guard.error or error) from error


def _ended(ctx: Context, loop: Loop) -> Failed:
    if loop.transport.overflowed:
        return Failed(Reason.SIZE, f"the response is longer than {CAP // 1024} KiB; ask for less")
    if loop.guard.error is not None:
        return _garbled(loop.guard.error)
    where = ctx.halted_in or "auth"
    return Failed(
        Reason.TRUNCATED, f"the connection was closed before {'the' if loop.transport.received_any else 'any'} response, in {where}"
    )


def _garbled(error: Exception) -> Failed:
    puzzled = isinstance(error, AttributeError | TypeError | AssertionError)  # the parser's own words tell nothing of the server
    return Failed(Reason.PROTOCOL, f"not PostgreSQL's protocol: {'messages that cannot be read' if puzzled else error}")


def _refusal(error: asyncpg.PostgresError, dsn: Dsn) -> Failed:
    """By the classes of SQLSTATE: who we are, what we may, what we wrote, how the server is."""
    said = f"{error} ({error.sqlstate})" if error.sqlstate else "an error without a message"
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return Failed(Reason.AUTH, f"login refused for role {dsn.user}: {said}")
        case asyncpg.InsufficientPrivilegeError():
            return Failed(Reason.AUTH, f"Permission denied for role {dsn.user}: {str(error).removeprefix('permission denied for ')}")
        case asyncpg.ReadOnlySQLTransactionError():
            return Failed(Reason.POLICY, f"the query writes, but a probe may only read: {said}")
        case asyncpg.TooManyConnectionsError():
            return Failed(Reason.STATUS, f"no connection is left: {said}")
        case asyncpg.CannotConnectNowError():
            return Failed(Reason.STATUS, f"the server lets nobody in now: {said}")
    return Failed(Reason.STATUS, said)


def _span(seconds: float) -> str:
    return f"{seconds:.3g}s" if seconds >= 1 else f"{seconds * 1000:.3g}ms"
