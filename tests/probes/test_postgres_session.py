"""What a check leaves behind in a database, what it raises there, and what it hears between two messages."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from demo import servers as real
from probes.core import Reason, Verdict
from probes.kinds.postgres import Postgres
from tests.probes.test_postgres_garbled import ENTERED, READY, message
from tests.support import servers
from tests.support.databases import PGBOUNCER, PgBouncer, Standby
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


def probe(server: real.PostgresServer, **more: Any) -> Postgres:
    """A check of a real server as the probe's role."""
    return Postgres.model_validate({"dsn": f"{server.dsn}?sslmode=disable"} | more)


@asynccontextmanager
async def owned(server: real.PostgresServer) -> AsyncIterator[asyncpg.Connection[Any]]:
    """The superuser's connection. Whatever a test gives the probe's role is taken from it again."""
    owner = await asyncpg.connect(server.admin_dsn, ssl=False)
    try:
        yield owner
    finally:
        await owner.execute("alter role outrider reset all; alter role outrider set default_transaction_read_only = on")
        await owner.execute("alter role outrider set statement_timeout = '5s'")
        await owner.close(timeout=5)


async def _ended(owner: asyncpg.Connection[Any], database: str) -> dict[str, int]:
    """How the transactions and sessions of a database ended, once those of the probe are gone and counted."""
    while await owner.fetchval("select count(*) from pg_stat_activity where datname = $1", database):
        pass
    await owner.execute("select pg_stat_clear_snapshot()")
    found = await owner.fetchrow(
        "select xact_commit, xact_rollback, sessions, sessions_abandoned from pg_stat_database where datname = $1", database
    )
    assert found is not None
    return dict(found)


async def test_every_transaction_is_committed(runs: Observer, postgres: real.PostgresServer) -> None:
    """S3: runs that pass and runs whose value is wrong end with COMMIT, and every session with Terminate: nothing is rolled back."""
    async with owned(postgres) as owner:
        await owner.execute("create database quiet")
        try:
            dsn = f"{postgres.dsn_of(real.OWNER, 'quiet')}?sslmode=disable"
            before = await _ended(owner, "quiet")
            for expect in ({"value": 1}, {"value": 2}, {"rows": 0}, {"value": {"below": "1s"}}, {}):
                await runs.observe(Postgres.model_validate({"dsn": dsn, "expect": expect}))
            while (after := await _ended(owner, "quiet"))["sessions"] < before["sessions"] + 5:
                pass  # the statistics come a little later
            assert after["xact_rollback"] == before["xact_rollback"] == 0
            assert after["xact_commit"] >= before["xact_commit"] + 5
            assert after["sessions_abandoned"] == 0
        finally:
            await owner.execute("drop database quiet (force)")


async def test_a_run_that_fails_ends_its_session_too(runs: Observer, postgres: real.PostgresServer) -> None:
    """S3: after an error of the server the transaction is rolled back and the session terminated, not broken off."""
    async with owned(postgres) as owner:
        await owner.execute("create database broken")
        try:
            dsn = f"{postgres.dsn_of(real.OWNER, 'broken')}?sslmode=disable"
            for query in ("select nothing", "select 1/0", "create table t (i int)", "select $1::int", "select 1; select 2"):
                seen = await runs.observe(Postgres.model_validate({"dsn": dsn, "query": query}))
                assert seen.verdict is Verdict.FAIL
            while (after := await _ended(owner, "broken"))["sessions"] < 5:
                pass
            assert after["sessions_abandoned"] == 0
        finally:
            await owner.execute("drop database broken (force)")


async def test_what_a_query_sets_is_not_kept(runs: Observer, postgres: real.PostgresServer) -> None:
    """S3: SET and LISTEN are rolled back: behind a pooler the server's connection is another client's next."""
    sent: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(postgres.host, postgres.port)

        async def forward() -> None:
            while data := await reader.read(65536):
                sent.append(data)
                back.write(data)

        forwarding = asyncio.create_task(forward())
        try:
            while data := await there.read(65536):  # until the server has read that the session ends
                writer.write(data)
        finally:
            forwarding.cancel()
            back.transport.abort()

    async with servers.speaking(talk) as front:
        dsn = postgres.dsn.replace(f":{postgres.port}/", f":{front.port}/") + "?sslmode=disable"
        for query, last in (("set jit = off", b"ROLLBACK"), ("listen x", b"ROLLBACK"), ("select 1", b"COMMIT")):
            sent.clear()
            front.left.clear()
            assert (await runs.observe(Postgres.model_validate({"dsn": dsn, "query": query}))).verdict is Verdict.PASS
            await front.left.wait()
            assert last in b"".join(sent)
            assert b"".join(sent).endswith(b"X\0\0\0\4")


@pytest.mark.parametrize(
    ("own", "query", "expect"),
    [
        ("statement_timeout = '1200ms'", "select current_setting('statement_timeout')", "1200ms"),
        ("statement_timeout = '2min'", "select current_setting('statement_timeout')::interval", {"below": "5s"}),
        ("statement_timeout = 0", "select current_setting('statement_timeout')::interval", {"below": "5s", "above": 0}),
        ("lock_timeout = '70ms'", "select current_setting('lock_timeout')", "70ms"),
        ("lock_timeout = '1h'", "select current_setting('lock_timeout')::interval", {"below": "5s", "above": 0}),
        ("idle_in_transaction_session_timeout = '7s'", "select current_setting('idle_in_transaction_session_timeout')", "7s"),
        ("work_mem = '64kB'", "select current_setting('work_mem')", "64kB"),
    ],
)
async def test_nothing_that_was_set_for_the_role_is_raised(
    runs: Observer, postgres: real.PostgresServer, own: str, query: str, expect: Any
) -> None:
    """S11: the smaller of the role's own limit and the check's holds, and every other setting is the role's."""
    async with owned(postgres) as owner:
        await owner.execute(f"alter role outrider set {own}")
        seen = await runs.observe(probe(postgres, query=query, expect={"value": expect}))
    assert seen.verdict is Verdict.PASS, seen.message


async def test_the_roles_own_limit_stops_the_query(runs: Observer, postgres: real.PostgresServer) -> None:
    """S11: a role with 100 ms is stopped after 100 ms, whatever the check's timeout is; the message says whose limit it was."""
    async with owned(postgres) as owner:
        await owner.execute("alter role outrider set statement_timeout = '100ms'")
        seen = await runs.observe(probe(postgres, query="select pg_sleep(60)"))
    assert (seen.reason, seen.message) == (
        Reason.TIMEOUT,
        "no answer within 100ms in query; the server stopped it by the role's own statement_timeout",
    )


@pytest.mark.parametrize(
    ("own", "within", "told"),
    [
        ("lock_timeout = 0", 0.5, "no answer within 500ms in query, which waited for a lock; the server stopped it"),
        (
            "lock_timeout = '90ms'",
            5.0,
            "no answer within 90ms in query, which waited for a lock; the server stopped it by the role's own lock_timeout",
        ),
    ],
)
async def test_a_lock_is_told_from_a_slow_query(runs: Observer, postgres: real.PostgresServer, own: str, within: float, told: str) -> None:
    """S15e: a query that waited for a lock says so."""
    async with owned(postgres) as owner:
        await owner.execute(f"alter role outrider set {own}")
        await owner.execute("create table if not exists shut (i int); grant select on shut to outrider")
        async with owner.transaction():
            await owner.execute("lock table shut in access exclusive mode")
            seen = await runs.observe(probe(postgres, query="select * from shut"), within=within)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, told)


async def test_a_cancelled_query_is_no_timeout(runs: Observer, postgres: real.PostgresServer) -> None:
    """S15e: who cancels a query by hand has not found it slow."""
    async with owned(postgres) as owner:
        asking = asyncio.create_task(runs.observe(probe(postgres, query="select pg_sleep(41)")))
        asleep = "from pg_stat_activity where query = 'select pg_sleep(41)' and wait_event = 'PgSleep'"
        while not await owner.fetchval(f"select count(pg_cancel_backend(pid)) {asleep}"):
            pass
        seen = await asking
    assert (seen.reason, seen.message) == (Reason.STATUS, "the query was cancelled: canceling statement due to user request (57014)")


async def test_a_session_that_the_server_ends_between_two_messages(runs: Observer, postgres: real.PostgresServer) -> None:
    """S15d: the server's last words count, whenever they come: here the role may not be idle in a transaction for a millisecond."""
    async with owned(postgres) as owner:
        await owner.execute("alter role outrider set idle_in_transaction_session_timeout = '1ms'")
        seen = [await runs.observe(probe(postgres)) for _ in range(10)]
    for each in seen:
        assert each.verdict is Verdict.PASS or (each.reason, each.message) == (
            Reason.STATUS,
            "terminating connection due to idle-in-transaction timeout (25P03)",
        )


def said(state: str, text: str, *, severity: str = "FATAL", kind: bytes = b"E", **more: str) -> bytes:
    """An error or a notice of a server."""
    fields = {"S": severity, "V": severity, "C": state, "M": text, **more}
    return message(kind, b"".join(letter.encode() + value.encode("latin-1") + b"\0" for letter, value in fields.items()) + b"\0")


ADMIN = said("57P01", "terminating connection due to administrator command")
BEGUN = message(b"C", b"BEGIN\0") + message(b"C", b"SELECT 1\0") + message(b"Z", b"T")


@pytest.mark.parametrize("before", [(ENTERED + ADMIN,), (ENTERED, ADMIN), (ENTERED, BEGUN + ADMIN), (ENTERED, BEGUN, ADMIN), (ADMIN,)])
async def test_a_shutdown_is_told_whenever_it_comes(runs: Observer, before: tuple[bytes, ...]) -> None:
    """S15d: FATAL in the login, behind it, before and in the query: status, with the server's words."""
    async with servers.canned(*before, then_close=True) as server, no_leaks(serving=server.port):
        seen = await runs.observe(Postgres.model_validate({"dsn": f"postgresql://u:pencil-1@127.0.0.1:{server.port}/x?sslmode=disable"}))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.STATUS)
    assert seen.message == "terminating connection due to administrator command (57P01)"
    assert not runs.log


async def test_a_crash_of_another_process_is_told(runs: Observer) -> None:
    """S15d: before it closes, a server says by a warning that another process crashed."""
    warning = said(
        "57P02", "terminating connection because of crash of another server process", severity="WARNING", kind=b"N", H="try again"
    )
    async with servers.canned(ENTERED, BEGUN + warning, then_close=True) as server:
        seen = await runs.observe(Postgres.model_validate({"dsn": f"postgresql://u:pencil-1@127.0.0.1:{server.port}/x?sslmode=disable"}))
    assert (seen.reason, seen.message) == (
        Reason.STATUS,
        "terminating connection because of crash of another server process (57P02); hint: try again",
    )


@pytest.mark.slow
async def test_a_real_crash_of_another_process_is_told(runs: Observer) -> None:
    """S15d: the same with a server of which one process is killed."""
    async with real.PostgresServer() as server:
        owner = await asyncpg.connect(server.admin_dsn, ssl=False)
        asking = asyncio.create_task(runs.observe(probe(server, query="select pg_sleep(42)"), within=10.0))
        while not await owner.fetchval("select count(*) from pg_stat_activity where query = 'select pg_sleep(42)' and state = 'active'"):
            pass
        os.kill(await owner.fetchval("select pg_backend_pid()"), signal.SIGKILL)
        seen = await asking
        owner.terminate()
    assert seen.reason is Reason.STATUS
    assert "because of crash of another server process (57P02)" in seen.message


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (said("53300", "sorry, too many clients already"), "no connection is left: sorry, too many clients already (53300)"),
        (
            b"Ecould not fork new process for connection: Out of memory\n\0",
            "in answer to the TLS request: could not fork new process for connection: Out of memory",
        ),
    ],
)
async def test_an_error_in_answer_to_the_tls_request(runs: Observer, response: bytes, told: str) -> None:
    """S15d: a server may refuse before TLS, in both versions of the protocol: its words count."""
    for pieces in ((response,), (response[:3], response[3:])):

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pieces: tuple[bytes, ...] = pieces) -> None:
            await reader.readexactly(8)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.get_running_loop().run_in_executor(None, int)  # the pieces come one by one
            writer.close()

        async with servers.speaking(talk) as server:
            seen = await runs.observe(
                Postgres.model_validate({"dsn": f"postgresql://u:pencil-1@127.0.0.1:{server.port}/x?sslmode=require"})
            )
        assert (seen.reason, seen.message) == (Reason.STATUS, told)


async def test_an_error_in_another_charset_keeps_its_reason(runs: Observer) -> None:
    """S15d: before the login a server speaks its own charset: a refused password is auth all the same."""
    async with servers.canned(said("28P01", "Passwort-Authentifizierung f\xfcr Benutzer u fehlgeschlagen"), then_close=True) as server:
        seen = await runs.observe(Postgres.model_validate({"dsn": f"postgresql://u:pencil-1@127.0.0.1:{server.port}/x?sslmode=disable"}))
    assert seen.reason is Reason.AUTH
    assert "fehlgeschlagen (28P01)" in seen.message


async def test_detail_and_hint_make_one_line(runs: Observer, postgres: real.PostgresServer) -> None:
    """S15g: what a server adds to an error stands in the same line."""
    seen = await runs.observe(probe(postgres, query="select lower(1)"))
    assert seen.message == (
        "function lower(integer) does not exist (42883); hint: No function matches the given name and argument types. "
        "You might need to add explicit type casts."
    )
    seen = await runs.observe(probe(postgres, query="do $$ begin raise exception E'one\\ntwo' using detail = E'three\\nfour'; end $$"))
    assert seen.message == "one two (P0001); detail: three four"


async def test_a_bare_ready_is_no_login(runs: Observer) -> None:
    """A server that skips the login speaks no protocol of PostgreSQL's."""
    async with servers.canned(READY, then_close=True) as server:
        seen = await runs.observe(Postgres.model_validate({"dsn": f"postgresql://u:pencil-1@127.0.0.1:{server.port}/x?sslmode=disable"}))
    assert seen.reason is Reason.PROTOCOL


async def test_a_server_that_never_answers_the_commit_has_passed(runs: Observer) -> None:
    """S3: the verdict is known before the transaction's end; who keeps silent then is not down for it."""
    described = message(b"1") + message(b"t", b"\0\0") + message(b"T", b"\0\1a\0" + bytes(6) + struct.pack("!ihih", 23, 4, -1, 0))
    given = message(b"2") + message(b"D", b"\0\1\0\0\0\4\0\0\0\1") + message(b"C", b"SELECT 1\0") + message(b"Z", b"T")
    async with servers.canned(ENTERED, BEGUN, described, given) as server, no_leaks(serving=server.port):
        seen = await runs.observe(Postgres.model_validate({"dsn": f"postgresql://u:pencil-1@127.0.0.1:{server.port}/x?sslmode=disable"}))
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None)


@pytest.mark.slow
async def test_a_replica_is_read_as_a_primary_is(runs: Observer) -> None:
    """S3, S11: on a hot standby the transaction begins, ends and has its limits too; in_recovery says what it is."""
    async with Standby() as server:
        await server.follow()
        seen = await runs.observe(probe(server, query="select pg_is_in_recovery()", expect={"value": True}))
        assert seen.verdict is Verdict.PASS, seen.message
        assert seen.facts["in_recovery"] is True
        seen = await runs.observe(probe(server, query="select pg_sleep(60)"), within=0.4)
        assert seen.reason is Reason.TIMEOUT
        seen = await runs.observe(probe(server, query="create table mine (i int)"))
        assert seen.reason is Reason.POLICY


@pytest.mark.parametrize(
    "own", ["default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on", "datestyle = 'German'"]
)
async def test_a_role_with_settings_of_its_own_works(runs: Observer, postgres: real.PostgresServer, own: str) -> None:
    """S11: whatever a role's defaults are, the transaction begins, and values are the same."""
    async with owned(postgres) as owner:
        await owner.execute(f"alter role outrider set {own}")
        await owner.execute("alter role outrider set intervalstyle = 'iso_8601'")
        for query, value in (("select date '2026-11-24'", "2026-11-24"), ("select interval '1 minute'", "60s")):
            seen = await runs.observe(probe(postgres, query=query, expect={"value": value}))
            assert seen.verdict is Verdict.PASS, seen.message


# -- PgBouncer


@pytest.mark.slow
@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
async def test_pgbouncer_keeps_its_server_connection(runs: Observer, postgres: real.PostgresServer) -> None:
    """S3: behind PgBouncer in transaction mode runs, also failed ones, share one server connection: none is closed as not ready."""
    async with PgBouncer(postgres) as pooler:
        dsn = postgres.dsn.replace(f":{postgres.port}/", f":{pooler.port}/") + "?sslmode=disable&schema=public&pgbouncer=true"
        for query in ("select 1", "select 1", "select 1/0", "set jit = off", "select 1", "select nothing", "select array['a']::text[]"):
            seen = await runs.observe(Postgres.model_validate({"dsn": dsn, "query": query}))
            assert seen.reason in (None, Reason.STATUS), seen.message
        log = await asyncio.to_thread(pooler.log)
    assert log.count("new connection to server") == 1, log
    assert "not ready" not in log
    assert "unsupported startup parameter" not in log
