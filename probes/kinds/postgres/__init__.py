"""Kind `postgres`: connects, authenticates and reads one value, in a transaction that can't write."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Self

import asyncpg
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, info_family, phase_family
from probes.expect.conditions import Condition
from probes.expect.patterns import shown
from probes.http.probe import network_families
from probes.kinds.postgres.connection import SILENCE, Loop, enter, in_words, open_for
from probes.kinds.postgres.dsn import Dsn, read_dsn
from probes.wire.endpoint import Endpoint
from probes.wire.tls import Tls, tls_families


class Expected(BaseModel):
    """What the query must give."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    value: Condition | None = Field(default=None, description="The first column of the first row: a value, or operators.")
    rows: Condition | None = Field(default=None, description="How many rows, such as 1 or {at_least: 1}.")


class Postgres(Probe):
    """Connects as a role, runs one query in a read-only transaction with a statement timeout, and judges what it gives.

    Reasons: auth (the role isn't let in, or may not), policy (the query writes), body (another value), size, timeout (the
    statement timeout too), status for any other error that the server answers with: starting up, no connection left, no such table.
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
    expect: Expected = Field(default=Expected(), description="Conditions for the result; without it any result passes.")
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
        stream = await open_for(ctx, dsn)
        loop = Loop(stream, ctx.clock.monotonic)
        connection = None
        try:
            with in_words(ctx, dsn, loop):
                connection = await enter(ctx, dsn, loop)
                rows = await self._ask(ctx, connection, loop)
        finally:
            if loop.answered:
                ctx.evidence.pop(SILENCE, None)
            if connection is not None:
                connection.terminate()
            loop.close()
        return self._judge(ctx, rows)

    async def _ask(self, ctx: Context, connection: Any, loop: Loop) -> list[Any]:
        """The rows. The limit is set in the transaction itself: as a start-up setting PgBouncer would refuse it."""
        with ctx.phase("query") as interval:
            milliseconds = loop.limit(ctx.remaining())
            ctx.evidence |= {"query": self.query, "statement_timeout_ms": milliseconds}
            await connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}")
            rows: list[Any] = await connection.fetch(self.query)
            interval.end = loop.transport.last_read_at
        return rows

    def _judge(self, ctx: Context, rows: list[Any]) -> Result:
        value = plain(rows[0][0]) if rows and len(rows[0]) else None
        ctx.facts["rows"] = len(rows)
        ctx.evidence |= {"rows": len(rows), "value": shown(value)}
        if self.expect.rows is not None:
            for _, fault in self.expect.rows.faults(len(rows)):
                raise Failed(Reason.BODY, f"{self._query()} returned {fault} rows")
        if (wanted := self._wanted()) is not None:
            if not rows and not wanted.wants_none:
                raise Failed(Reason.BODY, f"{self._query()} returned no row, expected {wanted.expected()}")
            for reason, fault in wanted.faults(value) if rows else ():
                raise Failed(reason, f"{self._query()} → {fault}")
        given = shown(value) if rows else "no row"
        version = f" · PostgreSQL {ctx.facts['version']}" if "version" in ctx.facts else ""
        return Result.passed(f"{self._query()} → {given}{version}")

    def _wanted(self) -> Condition | None:
        """The condition on the value; `value: null` is one as well."""
        if "value" in self.expect.model_fields_set and self.expect.value is None:
            return Condition(equals=None)
        return self.expect.value

    def _query(self) -> str:
        text = " ".join(self.query.split())
        return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line of a message


def plain(value: Any) -> Any:
    """A column's value as conditions compare it: JSON's types as they are, a Decimal as a number, all else as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
