from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Any

import asyncpg
import pytest
import uvloop

from demo import servers as real
from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.postgres import Postgres
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.ca import Authority
from tests.support.context import make_context
from tests.support.databases import postgres_front, restored
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


def probe(server: real.PostgresServer, **more: Any) -> Postgres:
    """A check of a real server, without TLS."""
    return Postgres.model_validate({"dsn": f"{server.dsn}?sslmode=disable"} | more)


def at(port: int, **more: Any) -> Postgres:
    """A check of whatever listens there, with a password that is no server's."""
    mode = more.pop("sslmode", "disable")
    return Postgres.model_validate({"dsn": f"postgresql://outrider:pencil-1@127.0.0.1:{port}/roadtrip?sslmode={mode}"} | more)


def verdict(seen: Observation) -> tuple[Verdict, Reason | None]:
    """What is asserted most."""
    return seen.verdict, seen.reason


async def test_reads_a_value_and_tells_the_phases_apart(runs: Observer, postgres: real.PostgresServer) -> None:
    """A healthy database passes; resolve, connect, auth and query are told apart, version and role are known."""
    seen = await runs.observe(probe(postgres, query="select 1", expect={"value": 1}))
    assert verdict(seen) == (Verdict.PASS, None)
    assert seen.message == f"select 1 → 1 · PostgreSQL {seen.facts['version']}"
    assert list(seen.phases) == ["resolve", "connect", "auth", "query"]
    assert sum(seen.phases.values()) <= seen.seconds
    assert seen.facts["version"].split(".")[0].isdigit()
    assert (seen.facts["in_recovery"], seen.facts["rows"], seen.facts["ip"]) == (False, 1, "127.0.0.1")


@pytest.mark.parametrize(
    ("query", "expect", "fault"),
    [
        ("select 1", {"value": 2}, "select 1 → 1, expected 2"),
        ("select true", {"value": 1}, "select true → true, expected 1"),
        ("select 5", {"value": {"below": 5}}, "select 5 → 5, expected below 5"),
        ("select 'b'", {"value": {"in": ["a", "c"]}}, "select 'b' → \"b\", expected one of"),
        ("select 1 where false", {"value": 1}, "select 1 where false returned no row, expected 1"),
        ("select 1", {"value": None}, "select 1 → 1, expected null"),
        ("select 1 union select 2", {"rows": 1}, "select 1 union select 2 returned 2, expected 1 rows"),
        ("select  1\n where   false", {"rows": {"at_least": 1}}, "select 1 where false returned 0, expected at least 1 rows"),
    ],
)
async def test_another_value_is_a_failure(runs: Observer, postgres: real.PostgresServer, query: str, expect: Any, fault: str) -> None:
    """A value, or a number of rows, that is not as expected fails as body and says both."""
    seen = await runs.observe(probe(postgres, query=query, expect=expect))
    assert verdict(seen) == (Verdict.FAIL, Reason.BODY)
    assert seen.message.startswith(fault)


@pytest.mark.parametrize(
    ("query", "expect"),
    [
        ("select 1.50::numeric", {"value": 1.5}),
        ("select null", {"value": None}),
        ("select 'ready'", {"value": "ready"}),
        ("select array[1, 2]", {"value": [1, 2]}),
        ("select 1 where false", {"rows": 0}),
        ("select 1 where false", {}),
        ("select date '2026-11-24'", {"value": "2026-11-24"}),
        ("select count(*) from generate_series(1, 7)", {"value": {"at_least": 7, "at_most": 7}}),
    ],
)
async def test_the_expected_value_passes(runs: Observer, postgres: real.PostgresServer, query: str, expect: Any) -> None:
    """Numbers, texts, dates, arrays and null are compared as checks.yaml writes them."""
    seen = await runs.observe(probe(postgres, query=query, expect=expect))
    assert verdict(seen) == (Verdict.PASS, None), seen.message


@pytest.mark.parametrize("query", ["create table mine (i int)", "select nextval('s')", "insert into t values (1)", "delete from t"])
async def test_nothing_can_be_written(runs: Observer, postgres: real.PostgresServer, query: str) -> None:
    """Even a role that may write can't: the transaction is read-only, and the failure says policy."""
    owner = await asyncpg.connect(postgres.admin_dsn, ssl=False)
    try:
        await owner.execute("create sequence if not exists s; create table if not exists t (i int); insert into t values (7)")
        seen = await runs.observe(Postgres.model_validate({"dsn": f"{postgres.admin_dsn}?sslmode=disable", "query": query}))
        assert verdict(seen) == (Verdict.FAIL, Reason.POLICY)
        assert "the query writes, but a probe may only read" in seen.message
        assert await owner.fetchval("select count(*) > 0 from t")
    finally:
        await owner.close()


async def test_several_statements_are_refused_by_the_server(runs: Observer, postgres: real.PostgresServer) -> None:
    """A query can't leave its transaction by a second statement: PostgreSQL takes one."""
    seen = await runs.observe(probe(postgres, query="commit; create table mine (i int)"))
    assert verdict(seen) == (Verdict.FAIL, Reason.STATUS)
    assert "42601" in seen.message


async def test_a_slow_query_is_stopped_by_the_server(runs: Observer, postgres: real.PostgresServer) -> None:
    """A query that takes too long fails as timeout in query, and doesn't go on in the database."""
    seen = await runs.observe(probe(postgres, query="select pg_sleep(60)"), within=0.3)
    assert verdict(seen) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.message.startswith("no answer within 300ms in query")  # and says that the server stopped it, where that came in time
    while await _at_work(postgres, "pg_sleep(60)"):
        pass  # it ends within the margin; where it doesn't, the test does


async def test_the_server_gives_up_before_we_do(runs: Observer, postgres: real.PostgresServer) -> None:
    """The statement timeout is a little shorter than what is left of the run's time."""
    seen = await runs.observe(probe(postgres, query="select current_setting('statement_timeout')"), within=3.0)
    assert 2_000 < seen.evidence["statement_timeout_ms"] <= 2_900
    assert seen.evidence["value"] == f'"{seen.evidence["statement_timeout_ms"]}ms"'


async def _at_work(server: real.PostgresServer, query: str) -> int:
    owner = await asyncpg.connect(server.admin_dsn, ssl=False)
    try:
        return int(
            await owner.fetchval(
                "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like $1", f"%{query}%"
            )
        )
    finally:
        await owner.close()


async def _entered(server: real.PostgresServer) -> int:
    """How many sessions the probe's role has: a session ends a little after its connection."""
    owner = await asyncpg.connect(server.admin_dsn, ssl=False)
    try:
        return int(await owner.fetchval("select count(*) from pg_stat_activity where usename = 'outrider'"))
    finally:
        await owner.close()


async def test_a_run_that_is_cancelled_leaves_nothing(postgres: real.PostgresServer) -> None:
    """A run that is cut short in the middle of its query leaves no task and no socket."""
    wire = Wire()
    async with no_leaks():
        run = asyncio.create_task(probe(postgres, query="select pg_sleep(55)").run(make_context(wire, timeout=1.0)))
        while not await _at_work(postgres, "pg_sleep(55)"):
            pass
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
    assert run.cancelled()


async def test_a_long_answer_is_not_kept(runs: Observer, postgres: real.PostgresServer) -> None:
    """An answer above 1 MiB fails as size: a query can't fill our memory."""
    seen = await runs.observe(probe(postgres, query="select repeat('x', 5000000)"))
    assert verdict(seen) == (Verdict.FAIL, Reason.SIZE)
    assert seen.message == "the response is longer than 1024 KiB; ask for less"


async def test_a_wrong_password_names_the_role(runs: Observer, postgres: real.PostgresServer) -> None:
    """A refused password fails as auth with the role's name, and neither password is told."""
    seen = await runs.observe(at(postgres.port))
    assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
    assert "login refused for role outrider" in seen.message
    assert "pencil-1" not in repr(seen)
    assert "silence" not in seen.evidence


async def test_a_query_that_may_not_is_auth(runs: Observer, postgres: real.PostgresServer) -> None:
    """A missing right fails as auth: it is the role that needs something."""
    seen = await runs.observe(probe(postgres, query="select * from pg_authid"))
    assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
    assert "Permission denied for role outrider: table pg_authid" in seen.message


async def test_no_connection_left(runs: Observer, postgres: real.PostgresServer) -> None:
    """A role without a connection left fails as status, in the server's own words."""
    held: list[Any] = []
    while await _entered(postgres):  # a session of the test before may still be ending, and would make room
        pass
    with contextlib.suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await asyncpg.connect(postgres.dsn, ssl=False))
    seen = await runs.observe(probe(postgres))
    for one in held:
        await one.close()
    while await _entered(postgres):
        pass
    assert verdict(seen) == (Verdict.FAIL, Reason.STATUS)
    assert seen.message == 'no connection is left: too many connections for role "outrider" (53300)'


async def test_what_is_not_there_is_status(runs: Observer, postgres: real.PostgresServer) -> None:
    """A relation or a database that doesn't exist fails as status with the server's words and the SQLSTATE."""
    seen = await runs.observe(probe(postgres, query="select * from nothing"))
    assert (seen.reason, seen.message) == (Reason.STATUS, 'relation "nothing" does not exist (42P01)')
    elsewhere = Postgres.model_validate({"dsn": f"{postgres.dsn.replace('/roadtrip', '/elsewhere')}?sslmode=disable"})
    seen = await runs.observe(elsewhere)
    assert (seen.reason, seen.message) == (Reason.STATUS, 'database "elsewhere" does not exist (3D000)')


def _error(state: str, text: str) -> bytes:
    fields = b"".join(code + value.encode() + b"\0" for code, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", state), (b"M", text)))
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


async def test_a_database_that_is_starting(runs: Observer) -> None:
    """A server that lets nobody in yet fails as status: it is up, and not ready."""
    async with servers.canned(_error("57P03", "the database system is starting up"), then_close=True) as server:
        seen = await runs.observe(at(server.port))
    assert (seen.reason, seen.message) == (
        Reason.STATUS,
        "the server lets nobody in now: the database system is starting up (57P03)",
    )


async def test_an_error_that_is_cut_short_still_counts(runs: Observer) -> None:
    """What the server said before it closed is not lost."""
    async with servers.resetting(_error("28000", "no pg_hba.conf entry"), once_asked=True) as server:
        seen = await runs.observe(at(server.port))
    assert (seen.reason, seen.message) == (Reason.AUTH, "login refused for role outrider: no pg_hba.conf entry (28000)")


async def test_a_stopped_database_refuses(runs: Observer, postgres: real.PostgresServer) -> None:
    """A database that is stopped fails as refused; when it is back, the check passes."""
    async with restored(postgres):
        await postgres.stop()
        seen = await runs.observe(probe(postgres))
    assert verdict(seen) == (Verdict.FAIL, Reason.REFUSED)
    assert (await runs.observe(probe(postgres))).verdict is Verdict.PASS


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
async def test_a_frozen_database_accepts_and_is_silent(runs: Observer, postgres: real.PostgresServer, sslmode: str) -> None:
    """A database that is frozen times out in auth, after a connection; the evidence says that it accepts."""
    async with restored(postgres):
        await postgres.freeze()
        async with no_leaks():
            seen = await runs.observe(at(postgres.port, sslmode=sslmode), within=0.3)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 300ms in auth")
    assert "connect" in seen.phases
    assert seen.evidence["silence"] == "accepts connections but doesn't respond"


# -- TLS


async def test_tls_is_a_phase_of_its_own(runs: Observer, postgres: real.PostgresServer, authority: Authority) -> None:
    """Over TLS the handshake is told apart, and what the certificate says is known."""
    async with postgres_front(postgres.port, authority.good) as front:
        dsn = postgres.dsn.replace(f":{postgres.port}/", f":{front.port}/")
        seen = await runs.observe(Postgres.model_validate({"dsn": dsn, "tls": {"ca": authority.ca_file}, "expect": {"value": 1}}))
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    assert list(seen.phases) == ["resolve", "connect", "tls", "auth", "query"]
    assert seen.facts["tls_version"] == "TLSv1.3"
    assert seen.facts["cert_expiry"] > seen.at


async def test_sslmode_require_encrypts_and_trusts(runs: Observer, postgres: real.PostgresServer, authority: Authority) -> None:
    """sslmode=require speaks TLS with whoever is there, as libpq does."""
    async with postgres_front(postgres.port, authority.stranger) as front:
        dsn = postgres.dsn.replace(f":{postgres.port}/", f":{front.port}/") + "?sslmode=require"
        seen = await runs.observe(Postgres.model_validate({"dsn": dsn}))
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    assert seen.facts["tls_version"] == "TLSv1.3"


@pytest.mark.parametrize(
    ("wrong", "reason"), [("expired", Reason.EXPIRED), ("wrong_host", Reason.HOSTNAME), ("stranger", Reason.UNTRUSTED)]
)
async def test_sslmode_verify_full_verifies(runs: Observer, authority: Authority, wrong: str, reason: Reason) -> None:
    """sslmode=verify-full fails on a wrong certificate, whose dates are known all the same; the password is never sent."""
    async with postgres_front(9, getattr(authority, wrong)) as front:
        mode = f"verify-full&sslrootcert={authority.ca_file}"
        seen = await runs.observe(at(front.port, sslmode=mode))
    assert verdict(seen) == (Verdict.FAIL, reason)
    assert "cert_expiry" in seen.facts


async def test_a_server_without_tls(runs: Observer, postgres: real.PostgresServer) -> None:
    """Where the server has no TLS, prefer goes on in plain and require fails as tls."""
    prefer = await runs.observe(Postgres.model_validate({"dsn": postgres.dsn}))
    assert (prefer.verdict, "tls" in prefer.phases) == (Verdict.PASS, False)
    require = await runs.observe(Postgres.model_validate({"dsn": f"{postgres.dsn}?sslmode=require"}))
    assert (require.reason, require.message) == (Reason.TLS, "the server doesn't offer TLS, but the check requires it")


async def test_nothing_may_come_before_the_handshake(runs: Observer) -> None:
    """Bytes behind the server's S could be a stranger's, put there before encryption: they end the run (CVE-2021-23222)."""
    async with servers.canned(b"S" + _error("28000", "give me your password")) as server:
        seen = await runs.observe(at(server.port, sslmode="require"))
    assert verdict(seen) == (Verdict.FAIL, Reason.PROTOCOL)


async def test_the_environment_is_not_asked(runs: Observer, postgres: real.PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGHOST, PGPASSWORD, PGSSLMODE and their kin change nothing: a check is what its file says."""
    for name in (
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "PGPASSWORD",
        "PGDATABASE",
        "PGSSLMODE",
        "PGSERVICE",
        "PGTARGETSESSIONATTRS",
        "PGSSLNEGOTIATION",
    ):
        monkeypatch.setenv(name, "nonsense")
    assert (await runs.observe(probe(postgres, expect={"value": 1}))).verdict is Verdict.PASS


def test_the_same_on_uvloop(postgres: real.PostgresServer, authority: Authority) -> None:
    """The connection is handed over on uvloop as on asyncio's own loop, over TLS too."""

    async def both() -> list[str]:
        async with postgres_front(postgres.port, authority.good) as front:
            dsn = postgres.dsn.replace(f":{postgres.port}/", f":{front.port}/")
            kinds = (probe(postgres), Postgres.model_validate({"dsn": dsn, "tls": {"ca": authority.ca_file}}))
            return [(await kind.run(make_context(Wire()))).message for kind in kinds]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert all(message.startswith("select 1 → 1") for message in runner.run(both()))
