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
from probes.kinds.postgres.frames import BROKEN, Frames, MessageGuard, error_fields
from probes.text import clipped, one_line
from probes.wire.handover import CAP, StreamTransport
from probes.wire.stream import Stream
from probes.wire.wire import open_stream

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_HEADER = 5  # a message's type and its length
_WORDS = 300  # characters of one text of the server in a message
_ERRORS: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError, *BROKEN)
SILENCE = "silence"  # evidence where the server accepts the connection but doesn't respond


class OneConnectionLoop:
    """The running event loop, as asyncpg sees it: create_connection returns the stream that the wire has opened."""

    def __init__(self, stream: Stream, monotonic: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = stream
        self._monotonic = monotonic
        self.transport: StreamTransport
        self.frames = Frames(CAP)
        self.guard: MessageGuard | None = None  # once asyncpg has taken the connection

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
        self.guard = MessageGuard(protocol, self.frames)
        self.transport = StreamTransport(stream, self.guard, self._monotonic)
        return self.transport, protocol

    @property
    def received_any(self) -> bool:
        """Whether asyncpg has received anything from the server."""
        return self._stream is None and self.transport.received_any

    @property
    def broken(self) -> Exception | None:
        """The first error in what the server sent during the login."""
        return self.guard.error if self.guard else None

    @property
    def unread(self) -> bytes:
        """Whole messages that came behind the end of the login."""
        return self.guard.unread if self.guard else b""

    def close(self) -> None:
        """Aborts the connection, whether asyncpg has taken it or not."""
        if self._stream is not None:
            self._stream.abort()
        else:
            self.transport.abort()


async def open_connection(ctx: Context, dsn: Dsn) -> Stream:
    """Opens the connection, with TLS if the DSN wants it and the server offers it."""
    context = await ctx.wire.tls_context(dsn.tls) if dsn.tls else None
    dialled = ctx.wire.local(ctx, dsn.socket) if dsn.socket else ctx.wire.dial(ctx, dsn.host, dsn.port)
    stream = await open_stream(ctx, await dialled)
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
    if response[:1] == b"E":
        raise await _refused_before_tls(ctx, stream, dsn, response)
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


async def _refused_before_tls(ctx: Context, stream: Stream, dsn: Dsn, response: bytes) -> Failed:
    """The failure for an error in answer to the TLS request: a server that is full or a proxy says it so, in plain.

    A process that could not be started is said as in protocol 2: E and a text up to a NUL.
    """
    with ctx.phase("auth"):
        while len(response) < _HEADER and (more := await stream.read()):
            response += more
        length = int.from_bytes(response[1:_HEADER])
        is_text = length > CAP
        while (b"\0" not in response if is_text else len(response) < 1 + length) and len(response) <= CAP and (more := await stream.read()):
            response += more
    if is_text:
        return Failed(Reason.STATUS, f"in answer to the TLS request: {server_words(response[1:].partition(bytes(1))[0])}")
    return _refusal(ctx, asyncpg.PostgresError.new(error_fields(response[_HEADER:])), dsn)


async def authenticate(ctx: Context, dsn: Dsn, loop: OneConnectionLoop) -> Any:
    """Authenticates. Every setting is passed, so that asyncpg reads neither the environment nor a file."""
    with ctx.phase("auth") as interval:
        connection = await asyncpg.connect(
            host="127.0.0.1",  # only for its messages: the stream is connected
            port=dsn.port,
            user=dsn.user,
            password=dsn.password,
            database=dsn.database,
            ssl=False,  # the stream has TLS already
            direct_tls=False,
            target_session_attrs=SessionAttribute.any,
            server_settings={"application_name": "outrider", **dsn.startup},
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
    """Turns errors of the server and of asyncpg into Failed with a reason and a message. What the server said itself comes first."""
    try:
        yield
    except _ERRORS as error:
        failure = _failure(ctx, dsn, loop, error)
        raise failure from (None if failure is error.__cause__ else error)


def _failure(ctx: Context, dsn: Dsn, loop: OneConnectionLoop, error: Exception) -> Exception:
    closed = isinstance(error, asyncpg.ConnectionDoesNotExistError)
    if isinstance(error, asyncpg.PostgresError) and not closed:
        return _refusal(ctx, error, dsn)
    if last_error := loop.frames.fatal_error or (closed and loop.frames.farewell):
        return _refusal(ctx, asyncpg.PostgresError.new(last_error), dsn)
    if closed:
        return error.__cause__ if isinstance(error.__cause__, OSError) else _closed_failure(ctx, loop)
    if isinstance(error, asyncpg.InterfaceError):
        return Failed(Reason.PROTOCOL, f"the client can't continue: {error}")
    return _closed_failure(ctx, loop) if loop.transport.overflowed else _protocol_failure(loop.broken or error)


def _closed_failure(ctx: Context, loop: OneConnectionLoop) -> Failed:
    if loop.transport.overflowed:
        return Failed(Reason.SIZE, f"the response is longer than {CAP // 1024} KiB; ask for less")
    if loop.broken is not None:
        return _protocol_failure(loop.broken)
    where = ctx.halted_in or "auth"
    return Failed(
        Reason.TRUNCATED, f"the connection was closed before {'the' if loop.transport.received_any else 'any'} response, in {where}"
    )


def _protocol_failure(error: Exception) -> Failed:
    internal = isinstance(error, AttributeError | TypeError | AssertionError)  # its text says nothing about the server
    return Failed(Reason.PROTOCOL, f"not PostgreSQL's protocol: {'messages that cannot be read' if internal else error}")


def _refusal(ctx: Context, error: asyncpg.PostgresError, dsn: Dsn) -> Failed:  # noqa: PLR0911 - one for each class
    """The failure for an error of the server, by the class of its SQLSTATE."""
    ctx.evidence["sqlstate"] = error.sqlstate
    words = server_words(str(error.args[0] if error.args else ""))
    extra = "".join(f"; {name}: {server_words(text)}" for name, text in (("detail", error.detail), ("hint", error.hint)) if text)
    text = f"{words} ({error.sqlstate}){extra}" if error.sqlstate else "an error without a message"
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return Failed(Reason.AUTH, f"login refused for role {dsn.user}: {text}")
        case asyncpg.ProtocolViolationError() if dsn.database == "pgbouncer" and words == "not allowed":
            return Failed(Reason.AUTH, f"PgBouncer's console refuses role {dsn.user}: {text}; add it to stats_users")
        case asyncpg.InsufficientPrivilegeError():
            return Failed(Reason.AUTH, f"Permission denied for role {dsn.user}: {text.removeprefix('permission denied for ')}")
        case asyncpg.ReadOnlySQLTransactionError():
            return Failed(Reason.POLICY, f"the query writes, but a probe may only read: {text}")
        case asyncpg.TooManyConnectionsError():
            return Failed(Reason.STATUS, f"no connection is left: {text}")
        case asyncpg.CannotConnectNowError():
            return Failed(Reason.STATUS, f"the server lets nobody in now: {text}")
    return Failed(Reason.STATUS, f"the query was cancelled: {text}" if isinstance(error, asyncpg.QueryCanceledError) else text)


def server_words(text: str | bytes) -> str:
    """What a server says, in one line and bounded."""
    return clipped(one_line(text if isinstance(text, str) else text.decode("utf-8", "replace")), _WORDS)
