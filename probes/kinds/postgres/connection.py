"""asyncpg on a stream of the wire, and its errors as reasons and messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from probes import Context, Failed, Reason
from probes.kinds.postgres.dsn import Dsn
from probes.kinds.postgres.frames import BROKEN, MessageGuard
from probes.text import setting
from probes.wire.handover import CAP, StreamTransport
from probes.wire.stream import Stream
from probes.wire.wire import open_stream

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
SILENCE = "silence"  # evidence where the server accepts the connection but doesn't respond
MARGIN = 0.05  # share of the remaining time, at most 0.1 s: the server stops the query before the deadline and can report it


class OneConnectionLoop:
    """The running event loop, as asyncpg sees it: create_connection returns the stream that the wire has opened."""

    def __init__(self, stream: Stream, monotonic: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = stream
        self._monotonic = monotonic
        self.transport: StreamTransport
        self.guard: MessageGuard
        self.times_out_at = float("inf")  # the statement timeout's end, by the run's clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> tuple[StreamTransport, asyncio.Protocol]:
        """Returns the stream the first time. asyncpg's second connection, to cancel a query, is refused: the statement timeout stops it."""
        if self._stream is None:
            raise asyncpg.InternalClientError("one run has one connection")
        stream, self._stream = self._stream, None
        protocol = factory()
        self.guard = MessageGuard(protocol, CAP)
        self.transport = StreamTransport(stream, self.guard, self._monotonic)
        return self.transport, protocol

    @property
    def received_any(self) -> bool:
        """Whether asyncpg has received anything from the server."""
        return self._stream is None and self.transport.received_any

    def limit(self, seconds: float) -> int:
        """The statement timeout in milliseconds for a run with this many seconds left; it is also kept in `times_out_at`."""
        milliseconds = max(1, int((seconds - min(seconds * MARGIN, 0.1)) * 1000))
        self.times_out_at = self._monotonic() + milliseconds / 1000
        return milliseconds

    def close(self) -> None:
        """Aborts the connection, whether asyncpg has taken it or not."""
        if self._stream is not None:
            self._stream.abort()
        else:
            self.transport.abort()


async def open_connection(ctx: Context, dsn: Dsn) -> Stream:
    """Opens the connection, with TLS if the DSN wants it and the server offers it."""
    context = await ctx.wire.tls_context(dsn.tls) if dsn.tls else None
    stream = await open_stream(ctx, await ctx.wire.dial(ctx, dsn.host, dsn.port))
    try:
        ctx.evidence[SILENCE] = "accepts connections but doesn't respond"
        if dsn.tls and context and await _server_offers_tls(ctx, stream, dsn):
            await ctx.wire.secure(ctx, stream, dsn.tls, context, dsn.host)
    except BaseException:
        stream.abort()
        raise
    return stream


async def _server_offers_tls(ctx: Context, stream: Stream, dsn: Dsn) -> bool:
    """Asks whether the server offers TLS. More than one letter could be injected data, so it fails."""
    start = ctx.clock.monotonic()
    with ctx.phase("auth") as interval:
        await stream.write(_SSL_REQUEST)
        response = await stream.read()
        interval.end = stream.last_read_at
        if response == b"S":
            interval.start = interval.end  # the time counts as phase tls instead
    if response:
        ctx.evidence.pop(SILENCE, None)
    if response == b"S":
        ctx.mark("tls", start, stream.last_read_at)
        return True
    if response == b"N":
        if dsn.tls_or_plain:
            return False
        raise Failed(Reason.TLS, "the server doesn't offer TLS, but the check requires it")
    if not response:
        raise Failed(Reason.TRUNCATED, "the connection was closed before any response, in auth")
    raise Failed(Reason.PROTOCOL, "the response to the TLS request is not PostgreSQL's")


async def authenticate(ctx: Context, dsn: Dsn, loop: OneConnectionLoop) -> Any:
    """Authenticates. Every setting is passed, so that asyncpg reads neither the environment nor a file."""
    with ctx.phase("auth") as interval:
        connection = await asyncpg.connect(
            host=dsn.host,
            port=dsn.port,
            user=dsn.user,
            password=dsn.password,
            database=dsn.database,
            ssl=False,  # the stream has TLS already
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
def translate_errors(ctx: Context, dsn: Dsn, loop: OneConnectionLoop) -> Iterator[None]:
    """Turns errors of the server and of asyncpg into Failed with a reason and a message."""
    try:
        yield
    except asyncpg.ConnectionDoesNotExistError as error:
        if loop.guard.fatal_error:
            ctx.evidence["sqlstate"] = loop.guard.fatal_error.get("C")
            raise _refusal(asyncpg.PostgresError.new(loop.guard.fatal_error), dsn) from error
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise _closed_failure(ctx, loop) from error
    except asyncpg.QueryCanceledError as error:
        if ctx.clock.monotonic() >= loop.times_out_at - 0.01:  # the server's clock counts in whole milliseconds
            raise Failed(
                Reason.TIMEOUT, f"no answer within {setting(ctx.deadline - ctx.started)} in query; the server stopped it"
            ) from error
        raise Failed(Reason.STATUS, f"the query was cancelled: {error}") from error
    except asyncpg.PostgresError as error:
        ctx.evidence["sqlstate"] = error.sqlstate
        raise _refusal(error, dsn) from error
    except asyncpg.InterfaceError as error:
        raise Failed(Reason.PROTOCOL, f"the client can't continue: {error}") from error
    except BROKEN as error:
        raise _closed_failure(ctx, loop) if loop.transport.overflowed else _protocol_failure(loop.guard.error or error) from error


def _closed_failure(ctx: Context, loop: OneConnectionLoop) -> Failed:
    if loop.transport.overflowed:
        return Failed(Reason.SIZE, f"the response is longer than {CAP // 1024} KiB; ask for less")
    if loop.guard.error is not None:
        return _protocol_failure(loop.guard.error)
    where = ctx.halted_in or "auth"
    return Failed(
        Reason.TRUNCATED, f"the connection was closed before {'the' if loop.transport.received_any else 'any'} response, in {where}"
    )


def _protocol_failure(error: Exception) -> Failed:
    internal = isinstance(error, AttributeError | TypeError | AssertionError)  # its text says nothing about the server
    return Failed(Reason.PROTOCOL, f"not PostgreSQL's protocol: {'messages that cannot be read' if internal else error}")


def _refusal(error: asyncpg.PostgresError, dsn: Dsn) -> Failed:
    """The failure for an error of the server, by the class of its SQLSTATE."""
    text = f"{error} ({error.sqlstate})" if error.sqlstate else "an error without a message"
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return Failed(Reason.AUTH, f"login refused for role {dsn.user}: {text}")
        case asyncpg.InsufficientPrivilegeError():
            return Failed(Reason.AUTH, f"Permission denied for role {dsn.user}: {str(error).removeprefix('permission denied for ')}")
        case asyncpg.ReadOnlySQLTransactionError():
            return Failed(Reason.POLICY, f"the query writes, but a probe may only read: {text}")
        case asyncpg.TooManyConnectionsError():
            return Failed(Reason.STATUS, f"no connection is left: {text}")
        case asyncpg.CannotConnectNowError():
            return Failed(Reason.STATUS, f"the server lets nobody in now: {text}")
    return Failed(Reason.STATUS, text)
