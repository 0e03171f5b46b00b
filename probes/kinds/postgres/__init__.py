"""Kind `postgres`: connects, authenticates and reads one value in a read-only transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Self

import asyncpg
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, info_family, network_families, phase_family
from probes.expect.conditions import Condition
from probes.expect.patterns import shown
from probes.kinds.postgres.connection import SILENCE, OneConnectionLoop, authenticate, open_connection, translate_errors
from probes.kinds.postgres.dsn import Dsn, read_dsn
from probes.text import one_line
from probes.wire.endpoint import Endpoint
from probes.wire.tls import Tls, tls_families

_QUERY_SHOWN = 60  # characters of the query in a message


class ExpectedResult(BaseModel):
    """Conditions for the query's result."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    value: Condition | None = Field(default=None, description="The first column of the first row: a value, or operators.")
    rows: Condition | None = Field(default=None, description="How many rows, such as 1 or {at_least: 1}.")


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
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_postgres_duration_seconds", "Seconds in each phase", "resolve", "connect", "tls", "auth", "query"),
        info_family("probe_postgres_info", "The version that the server reports", version="version"),
        fact_family("probe_postgres_in_recovery", "1 when the server is a standby", "in_recovery"),
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

    @model_validator(mode="after")
    def _tls_and_sslmode_agree(self) -> Self:
        self._read()
        return self

    def _read(self) -> Dsn:
        return read_dsn(self.dsn.get_secret_value(), self.tls)

    def address(self) -> str:
        dsn = self._read()
        return f"postgresql://{dsn.user}@{host_and_port(dsn.host, dsn.port)}/{dsn.database}"

    def endpoint(self) -> Endpoint:
        dsn = self._read()
        return Endpoint(dsn.host, dsn.port)

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
                rows = await self._fetch(ctx, connection, loop)
        finally:
            if loop.received_any:
                ctx.evidence.pop(SILENCE, None)
            if connection is not None:
                connection.terminate()
            loop.close()
        return self._judge(ctx, rows)

    async def _fetch(self, ctx: Context, connection: Any, loop: OneConnectionLoop) -> list[Any]:
        """Runs the query and returns its rows. The statement timeout is set in the transaction, since PgBouncer refuses it at start-up."""
        with ctx.phase("query") as interval:
            milliseconds = loop.limit(ctx.remaining())
            ctx.evidence |= {"query": self.query, "statement_timeout_ms": milliseconds}
            await connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}")
            rows: list[Any] = await connection.fetch(self.query)
            interval.end = loop.transport.last_read_at
        return rows

    def _judge(self, ctx: Context, rows: list[Any]) -> Result:
        query = one_line(self.query)
        query = query if len(query) <= _QUERY_SHOWN else f"{query[: _QUERY_SHOWN - 3]}..."
        value = plain(rows[0][0]) if rows and len(rows[0]) else None
        ctx.facts["rows"] = len(rows)
        ctx.evidence |= {"rows": len(rows), "value": shown(value)}
        if self.expect.rows is not None:
            for _, fault in self.expect.rows.faults(len(rows)):
                raise Failed(Reason.BODY, f"{query} returned {fault} rows")
        wanted = self.expect.value
        if wanted is None and "value" in self.expect.model_fields_set:
            wanted = Condition(equals=None)  # `value: null` is a condition, too
        if wanted is not None:
            if not rows and not wanted.wants_none:
                raise Failed(Reason.BODY, f"{query} returned no row, expected {wanted.expected()}")
            for reason, fault in wanted.faults(value) if rows else ():
                raise Failed(reason, f"{query} → {fault}")
        version = f" · PostgreSQL {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{query} → {shown(value) if rows else 'no row'}{version}")


def plain(value: Any) -> Any:
    """A column's value for conditions: JSON's types unchanged, a Decimal as a number, everything else as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
