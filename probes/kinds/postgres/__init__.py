"""Kind `postgres`: connects, authenticates and reads one value in a read-only transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import asyncpg
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, info_family, network_families, phase_family
from probes.expect.patterns import shown
from probes.expect.publish import publish, require_published
from probes.kinds.postgres.connection import SILENCE, OneConnectionLoop, authenticate, open_connection, translate_errors
from probes.kinds.postgres.dsn import Dsn, read_dsn
from probes.kinds.postgres.expected import ExpectedResult, ValueCondition, console_command, in_seconds, statement
from probes.kinds.postgres.frames import BROKEN
from probes.kinds.postgres.operations import judge_server
from probes.kinds.postgres.session import Column, Outcome, Session, lock_limit
from probes.kinds.postgres.values import ELEMENT_OF, INTERVAL, is_binary, may_be_array, read_array, read_text, read_value
from probes.text import count, did_you_mean, one_line, setting
from probes.wire.endpoint import Endpoint
from probes.wire.handshake import tls_families
from probes.wire.stream import Stream
from probes.wire.tls import Tls, judge_authorities

_QUERY_SHOWN = 60  # characters of the query in a message
_MARGIN = 0.05  # share of the remaining time, at most 0.1 s: the server stops the query before the deadline and can report it
_LONG = 4096  # bytes of a value that takes a while to read
_CONSOLE = "/bouncer"  # how the version of PgBouncer's console ends
_LEAVE = 0.5  # seconds that the end of the transaction may take, after the verdict


class Postgres(Probe):
    """Connects as a role, runs one query in a read-only transaction with a statement timeout, and judges its result.

    Reasons: auth (login refused or permission missing), policy (the query writes), body (another value), size, timeout (also the
    statement timeout), status for any other error that the server returns: starting up, no connection left, no such table.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "dsn": "postgresql://outrider:example-password-1@127.0.0.1:9/roadtrip?sslmode=disable",
            "query": "select 1",
            "expect": {"value": 1},
        },
        {"dsn": "postgresql://outrider:example-password-2@127.0.0.1:9/roadtrip"},
    )
    publishable: ClassVar[frozenset[str]] = frozenset({"column", "fact"})
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_postgres_duration_seconds", "Seconds in each phase", "resolve", "connect", "tls", "auth", "query"),
        info_family("probe_postgres_info", "The version that the server reports", version="version"),
        fact_family("probe_postgres_in_recovery", "1 when the server is a standby", "in_recovery"),
        fact_family("probe_postgres_replication_lag_seconds", "Seconds by which the standby, or the slowest one, is behind", "lag"),
        fact_family("probe_postgres_connections", "Connections in use", "connections"),
        fact_family("probe_postgres_max_connections", "Connections that the server takes", "max_connections"),
        fact_family("probe_postgres_rows", "Rows that the query returned", "rows"),
        *network_families(),
        *tls_families(),
    )
    errors: ClassVar[dict[type[Exception], Reason]] = {asyncpg.PostgresError: Reason.STATUS, asyncpg.InterfaceError: Reason.PROTOCOL}

    dsn: SecretStr = Field(
        description="postgresql://role:password@host:5432/database, with a role that can only read; sslmode as in libpq.",
        examples=["postgresql://role:password@host:5432/database"],
    )
    query: str = Field(default="select 1", min_length=1, description="One statement; it runs in a read-only transaction.")
    expect: ExpectedResult = Field(default=ExpectedResult(), description="Conditions for the result; without it any result passes.")
    tls: Tls | None = Field(default=None, description="Use TLS with these settings, whatever the sslmode of the dsn.")

    @field_validator("dsn")
    @classmethod
    def _dsn_can_be_read(cls, dsn: SecretStr) -> SecretStr:
        read_dsn(dsn.get_secret_value())
        return dsn

    @field_validator("query")
    @classmethod
    def _query_returns_something(cls, query: str) -> str:
        return statement(query)

    @model_validator(mode="after")
    def _tls_and_sslmode_agree(self, info: ValidationInfo) -> Self:
        tls = self._read().tls
        if tls and (info.context or {}).get("files"):
            judge_authorities(tls.ca if tls.verify else None)
            tls.judge_certificate()
        return self

    def _read(self) -> Dsn:
        return read_dsn(self.dsn.get_secret_value(), self.tls, self._folder)

    @model_validator(mode="after")
    def _console_takes_show_alone(self) -> Self:
        if self._read().database == "pgbouncer" and not console_command(self.query):
            raise ValueError("the dsn is PgBouncer's console, where a check may only SHOW: write query: SHOW POOLS")
        return self

    def address(self) -> str:
        dsn = self._read()
        if dsn.socket:
            return f"postgresql://{dsn.user}@{dsn.socket}/{dsn.database}"
        return f"postgresql://{dsn.user}@{host_and_port(dsn.host, dsn.port)}/{dsn.database}"

    def endpoint(self) -> Endpoint | None:
        dsn = self._read()
        return None if dsn.socket else Endpoint(dsn.host, dsn.port)

    def unverified_handshake(self) -> Callable[[Context], Awaitable[Stream]] | None:
        """PostgreSQL asks for TLS in its own words first. No password is sent."""
        dsn = self._read()
        if dsn.tls is None or not dsn.tls.verify:
            return None
        unverified = replace(dsn, tls=dsn.tls.model_copy(update={"verify": False}))
        return lambda ctx: open_connection(ctx, unverified)

    def cleanup_seconds(self) -> float:
        return _LEAVE

    async def run(self, ctx: Context) -> Result:
        dsn = self._read()
        if dsn.password:
            ctx.conceal(dsn.password)
        stream = await open_connection(ctx, dsn)
        loop = OneConnectionLoop(stream, ctx.clock.monotonic)
        connection = None
        try:
            with translate_errors(ctx, dsn, loop):
                connection = await authenticate(ctx, dsn, loop)
                session = Session(loop.transport, loop.frames, loop.unread)
                if str(ctx.facts.get("version", "")).endswith(_CONSOLE):
                    return await self._ask_console(ctx, session, loop)
                try:
                    with ctx.phase("query") as interval:
                        outcome, columns = await self._fetch(ctx, session, dsn)
                        interval.end = loop.transport.last_read_at
                        if self.expect.about_server:
                            await judge_server(ctx, session, self.expect, dsn.user)
                            interval.end = loop.transport.last_read_at
                    value = await _value(session, columns, outcome)
                except (asyncpg.PostgresError, Failed):
                    await _leave(ctx, session)
                    raise
                await _leave(ctx, session)
        finally:
            if loop.received_any:
                ctx.evidence.pop(SILENCE, None)
            if connection is not None:
                connection.terminate()
            loop.close()
        rows = await asyncio.to_thread(_rows, columns, outcome, read_value) if self.expect.columns or self.publish else ()
        return self._judge(ctx, outcome, columns, value, rows)

    async def _ask_console(self, ctx: Context, session: Session, loop: OneConnectionLoop) -> Result:
        """Runs a SHOW in PgBouncer's console, which knows neither transactions nor a statement timeout."""
        if not console_command(self.query) or self.expect.about_server:
            raise Failed(Reason.POLICY, "the server is PgBouncer's console, where a check may only SHOW, such as SHOW POOLS")
        with ctx.phase("query") as interval:
            columns, outcome = await session.show(self.query, self._keep)
            interval.end = loop.transport.last_read_at
        session.terminate()
        rows = _rows(columns, outcome, read_text)
        return self._judge(ctx, outcome, columns, rows[0][0] if rows and columns else None, rows)

    @property
    def _keep(self) -> int:
        """How many rows are looked at."""
        return self.expect.most_rows if self.expect.columns else 1

    async def _fetch(self, ctx: Context, session: Session, dsn: Dsn) -> tuple[Outcome, list[Column]]:
        """Runs the query within the time that is left; what it returned, and its columns."""
        milliseconds = max(1, int((ctx.remaining() - min(ctx.remaining() * _MARGIN, 0.1)) * 1000))
        ctx.evidence["query"] = self.query
        limits = await session.begin(milliseconds, dsn.settings)
        ctx.evidence["statement_timeout_ms"] = limits.statement
        started = ctx.clock.monotonic()
        try:
            columns, parameters = await session.prepare(self.query)
            if parameters:
                raise Failed(Reason.STATUS, f"the query has {count(parameters, 'parameter')} ($1), for which a check gives no value")
            outcome = await session.execute([is_binary(column.oid) for column in columns], self._keep)
        except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError) as error:
            waited = isinstance(error, asyncpg.LockNotAvailableError)
            limit, most = (limits.lock, lock_limit(milliseconds)) if waited else (limits.statement, milliseconds)
            if ctx.clock.monotonic() - started < limit / 1000 - 0.01:  # the server's clock counts in whole milliseconds
                raise
            where = "in query, which waited for a lock" if waited else "in query"
            if limit < most:
                name = "lock_timeout" if waited else "statement_timeout"
                raise Failed(
                    Reason.TIMEOUT, f"no answer within {setting(limit / 1000)} {where}; the server stopped it by the role's own {name}"
                ) from error
            raise Failed(
                Reason.TIMEOUT, f"no answer within {setting(ctx.deadline - ctx.started)} {where}; the server stopped it"
            ) from error
        if outcome.copies or outcome.empty:
            what = "a COPY" if outcome.copies else "no statement"
            raise Failed(Reason.BODY, f"the query is {what}, which returns no rows to judge; write a SELECT")
        return outcome, columns

    def _judge(self, ctx: Context, outcome: Outcome, columns: list[Column], value: Any, rows: Sequence[Sequence[Any]]) -> Result:
        query = one_line(self.query)
        query = query if len(query) <= _QUERY_SHOWN else f"{query[: _QUERY_SHOWN - 3]}..."
        ctx.facts["rows"] = outcome.rows
        ctx.evidence |= {"rows": outcome.rows, "value": shown(value)}
        publish(self.publish, ctx.facts, "column", lambda name: _in_first_row(name, columns, rows))
        if self.expect.rows is not None:
            for _, fault in self.expect.rows.faults(outcome.rows):
                raise Failed(Reason.BODY, f"{query} returned {fault} rows")
        wanted = self.expect.value
        if wanted is None and "value" in self.expect.model_fields_set:
            wanted = ValueCondition(equals=None)  # `value: null` is a condition, too
        if wanted is not None:
            if not outcome.rows and not wanted.may_be_absent:
                raise Failed(Reason.BODY, f"{query} returned no row, expected {wanted.expected()}")
            if columns and columns[0].oid == INTERVAL:
                wanted = in_seconds(wanted)
            for reason, fault in wanted.at(ctx.clock.time()).faults(value) if outcome.rows else ():
                raise Failed(reason, f"{query} → {fault}")
        self.expect.judge_columns(query, columns, rows, ctx.clock.time())
        require_published(self.publish, ctx.facts)
        if str(ctx.facts.get("version", "")).endswith(_CONSOLE):
            return Result.passed(f"{query} → {count(outcome.rows, 'row')} · PgBouncer {ctx.facts['version'].removesuffix(_CONSOLE)}")
        version = f" · PostgreSQL {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{query} → {shown(value) if outcome.rows else 'no row'}{version}")


def _in_first_row(name: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Any:
    """The value of a column. Raises ValueError where there is no row, or no such column."""
    if not rows:
        raise ValueError("the query returned no row")
    for column, value in zip(columns, rows[0], strict=True):
        if column.name == name:
            return value
    raise ValueError(f"the query has no column {name}{did_you_mean(name, [column.name for column in columns])}")


def _rows(columns: Sequence[Column], outcome: Outcome, read: Callable[[int, bytes | None], Any]) -> list[list[Any]]:
    """The values of the rows that were kept."""
    return [[read(column.oid, data) for column, data in zip(columns, row, strict=True)] for row in outcome.kept]


async def _value(session: Session, columns: list[Column], outcome: Outcome) -> Any:
    """The first column of the first row. An array of a type that is not known here is looked up in pg_type."""
    if not columns or not outcome.rows:
        return None
    oid, first = columns[0].oid, outcome.kept[0][0]
    long = first is not None and len(first) > _LONG  # read in a thread: the loop serves other runs
    value = await asyncio.to_thread(read_value, oid, first) if long else read_value(oid, first)
    if may_be_array(oid, value):
        with contextlib.suppress(asyncpg.PostgresError):  # the role may not look: then it is a text
            for element, delimiter in await session.simple(ELEMENT_OF.format(oid=oid)):
                return await asyncio.to_thread(read_array, value, int(element or 0), delimiter or ",")
    return value


async def _leave(ctx: Context, session: Session) -> None:
    """Ends the transaction. The verdict is known before: a server that doesn't answer now has answered all the same."""
    ctx.decided = ctx.clock.monotonic()
    with contextlib.suppress(asyncpg.PostgresError, TimeoutError, *BROKEN):
        async with asyncio.timeout(_LEAVE):
            await session.leave()
