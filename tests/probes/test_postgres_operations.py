"""What operators ask of PostgreSQL: columns, role, lag, connections, PgBouncer's console, sockets and certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trustme
from pydantic import ValidationError

from demo import servers as real
from probes.core import Reason, Verdict
from probes.kinds.postgres import Postgres
from tests.probes.test_postgres import probe, verdict
from tests.support.databases import PGBOUNCER, PgBouncer, Primary, StreamingStandby, postgres_front
from tests.support.engine import Observer

SLOTS = "select * from (values ('a', 1, null::int), ('b', 2, 40)) as t(name, used, lag)"


@pytest.mark.parametrize(
    ("expect", "fault"),
    [
        ({"columns": {"used": {"at_most": 1}}}, "row 2 (b): used → 2, expected at most 1"),
        ({"columns": {"lag": {"below": 30}}}, "row 1 (a): lag → null, expected below 30"),
        ({"columns": {"lag": {"null": True, "below": 30}}}, "row 2 (b): lag → 40, expected below 30"),
        ({"columns": {"lag": {"null": True}}}, "row 2 (b): lag → 40, expected null"),
        ({"columns": {"lag": {"null": False}}}, "row 1 (a): lag → null, expected a value"),
        ({"columns": {"name": {"in": ["a", "b"]}, "usd": 1}}, "returned no column usd; did you mean used?"),
    ],
)
async def test_a_column_is_judged_in_each_row(runs: Observer, postgres: real.PostgresServer, expect: Any, fault: str) -> None:
    """Columns are judged by name in every row; null is no number, unless the condition says that it may be null."""
    seen = await runs.observe(probe(postgres, query=SLOTS, expect=expect))
    assert verdict(seen) == (Verdict.FAIL, Reason.BODY)
    assert fault in seen.message


@pytest.mark.parametrize(
    ("query", "expect"),
    [
        (SLOTS, {"columns": {"lag": {"null": True, "below": 50}, "used": {"at_least": 1}, "name": {"type": "string"}}, "rows": 2}),
        ("select null::interval as behind", {"columns": {"behind": {"null": True, "below": "30s"}}}),
        ("select interval '20 s' as behind", {"columns": {"behind": {"null": True, "below": "30s"}}, "value": {"below": "30s"}}),
        ("select null", {"value": {"null": True, "below": 3}}),
        ("select null", {"value": {"null": True}}),
        ("select 1 as n where false", {"columns": {"n": 1}, "rows": 0}),
        ("select 'x' as n, now() as at", {"columns": {"n": "x", "at": {"matches": "^20"}}}),
    ],
)
async def test_columns_that_are_as_expected_pass(runs: Observer, postgres: real.PostgresServer, query: str, expect: Any) -> None:
    """Null or below, intervals against durations, and no rows where `rows` allows none."""
    seen = await runs.observe(probe(postgres, query=query, expect=expect))
    assert verdict(seen) == (Verdict.PASS, None), seen.message


async def test_columns_of_no_row_are_a_failure(runs: Observer, postgres: real.PostgresServer) -> None:
    """An empty result isn't taken for a good one."""
    seen = await runs.observe(probe(postgres, query="select 1 as n where false", expect={"columns": {"n": 1}}))
    assert verdict(seen) == (Verdict.FAIL, Reason.BODY)
    assert seen.message.endswith("returned no row, expected n 1; write rows if there may be none")


async def test_another_role_is_a_failure(runs: Observer, postgres: real.PostgresServer) -> None:
    """A primary where a standby is expected fails, and the other way round it passes."""
    seen = await runs.observe(probe(postgres, expect={"role": "standby"}))
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, Reason.BODY, "the server is a primary, expected a standby")
    assert (await runs.observe(probe(postgres, expect={"role": "primary"}))).verdict is Verdict.PASS


@pytest.mark.parametrize(("most", "passes"), [("100%", True), (60, True), (0, False), ("0.1%", False)])
async def test_connections_in_use(runs: Observer, postgres: real.PostgresServer, most: Any, passes: bool) -> None:  # noqa: FBT001 - a row
    """The connections in use are counted without any grant, and compared with a number or a share of max_connections."""
    seen = await runs.observe(probe(postgres, expect={"connections": most}))
    assert (seen.verdict is Verdict.PASS) is passes, seen.message
    assert seen.facts["max_connections"] == 60
    assert 1 <= seen.facts["connections"] <= 60
    assert passes or " of 60 connections are in use (" in seen.message


async def test_lag_of_a_primary_without_standby(runs: Observer, postgres: real.PostgresServer) -> None:
    """Who expects replication is told that there is none."""
    seen = await runs.observe(probe(postgres, expect={"lag": "30s"}))
    assert (seen.reason, seen.message) == (Reason.BODY, "no standby is connected to the primary, expected one at least")


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_replication_lag_on_both_sides(runs: Observer) -> None:
    """A standby that follows is not behind; one that replays nothing is, by its own word; and a primary's needs pg_monitor."""
    async with Primary() as primary, StreamingStandby(primary) as standby:
        seen = await runs.observe(probe(standby, expect={"role": "standby", "lag": "30s"}))
        assert seen.verdict is Verdict.PASS, seen.message
        assert seen.facts["lag"] == 0
        assert seen.facts["in_recovery"] is True
        seen = await runs.observe(probe(primary, expect={"role": "primary", "lag": "30s"}))
        assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
        assert seen.message == "role outrider sees no details of pg_stat_replication: GRANT pg_monitor TO outrider"
        owner = await asyncpg.connect(primary.admin_dsn, ssl=False)
        await owner.execute("grant pg_monitor to outrider")
        seen = await runs.observe(probe(primary, expect={"lag": "30s"}))
        assert seen.verdict is Verdict.PASS, seen.message
        halted = await asyncpg.connect(standby.admin_dsn, ssl=False)
        await owner.execute("create table mine (i int)")
        while not await halted.fetchval("select pg_last_xact_replay_timestamp()"):
            pass
        await halted.execute("select pg_wal_replay_pause()")
        await owner.execute("create table yours (i int)")
        await halted.close()
        while not (await runs.observe(probe(standby, expect={"lag": "0.001s"}))).reason:
            pass  # until the WAL has come
        seen = await runs.observe(probe(standby, expect={"lag": "0.001s"}))
        assert verdict(seen) == (Verdict.FAIL, Reason.BODY)
        assert seen.message.startswith("the standby is ")
        await owner.close()
        await primary.stop()
        while "whose WAL receiver doesn't run, is " not in (await runs.observe(probe(standby, expect={"lag": "0.001s"}))).message:
            pass  # until the standby has noticed


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_unix_socket(runs: Observer) -> None:
    """A server is asked over its Unix socket; where there is none, the check is down and says so."""
    async with Primary() as server:
        folder = str(server.folder)
        dsn = f"postgresql://outrider:{server.passwords['outrider']}@/roadtrip?host={folder}&port={server.port}"
        with pytest.raises(ValidationError, match="port is not allowed"):
            Postgres.model_validate({"dsn": dsn})
        quoted = folder.replace("/", "%2F")
        dsn = f"postgresql://outrider:{server.passwords['outrider']}@{quoted}:{server.port}/roadtrip"
        owner = await asyncpg.connect(server.admin_dsn, ssl=False)
        await owner.execute("alter system set unix_socket_permissions = '0777'")
        await owner.close()
        seen = await runs.observe(Postgres.model_validate({"dsn": dsn, "expect": {"value": 1}}))
        assert verdict(seen) == (Verdict.PASS, None), seen.message
        assert list(seen.phases) == ["connect", "auth", "query"]
        await server.stop()
        seen = await runs.observe(Postgres.model_validate({"dsn": dsn}))
        assert verdict(seen) == (Verdict.FAIL, Reason.REFUSED)
        assert seen.message.startswith(f"there is no socket {folder}/.s.PGSQL.{server.port}")


# -- certificates


@dataclass(frozen=True)
class Papers:
    """A folder with ca.pem, stranger.pem (another authority), cert.pem and key.pem, and two servers' TLS."""

    folder: Path
    elsewhere: ssl.SSLContext  # with a certificate for another name
    asking: ssl.SSLContext  # requires a client certificate


@pytest.fixture(name="papers")
def _papers(tmp_path: Path) -> Papers:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    mine = authority.issue_cert("outrider")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    elsewhere, asking = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    authority.issue_cert("db.other.example").configure_cert(elsewhere)
    authority.issue_cert("127.0.0.1").configure_cert(asking)
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.maximum_version = ssl.TLSVersion.TLSv1_2  # where the refusal is a part of the handshake
    return Papers(tmp_path, elsewhere, asking)


async def test_verify_ca_takes_any_name(runs: Observer, postgres: real.PostgresServer, papers: Papers) -> None:
    """sslmode=verify-ca trusts the authority's certificate for any name, verify-full only one for the host; both refuse a stranger's."""
    seen = {}
    async with postgres_front(postgres.port, papers.elsewhere) as front:
        base = postgres.dsn.replace(f":{postgres.port}/", f":{front.port}/")
        for mode, ca in (("verify-ca", "ca"), ("verify-full", "ca"), ("verify-ca", "stranger"), ("require", "ca")):
            dsn = f"{base}?sslmode={mode}&sslrootcert={papers.folder}/{ca}.pem"
            seen[mode, ca] = verdict(await runs.observe(Postgres.model_validate({"dsn": dsn})))
    assert seen == {
        ("verify-ca", "ca"): (Verdict.PASS, None),
        ("verify-full", "ca"): (Verdict.FAIL, Reason.HOSTNAME),
        ("verify-ca", "stranger"): (Verdict.FAIL, Reason.UNTRUSTED),
        ("require", "ca"): (Verdict.PASS, None),
    }


async def test_a_client_certificate_in_the_dsn(runs: Observer, postgres: real.PostgresServer, papers: Papers) -> None:
    """A server that requires a certificate lets in who has one by sslcert and sslkey; who has none fails as auth."""
    async with postgres_front(postgres.port, papers.asking) as front:
        base = postgres.dsn.replace(f":{postgres.port}/", f":{front.port}/") + "?sslmode=require"
        with_one = await runs.observe(
            Postgres.model_validate({"dsn": f"{base}&sslcert={papers.folder}/cert.pem&sslkey={papers.folder}/key.pem"})
        )
        without = await runs.observe(Postgres.model_validate({"dsn": base}))
    assert verdict(with_one) == (Verdict.PASS, None), with_one.message
    assert without.reason in (Reason.AUTH, Reason.TLS), without.message
    wrong = {"dsn": f"postgresql://u:p@h/x?sslmode=require&sslcert={papers.folder}/none.pem"}
    with pytest.raises(ValidationError, match=r"none\.pem"):
        Postgres.model_validate(wrong, context={"files": True})


# -- PgBouncer's console


@pytest.mark.parametrize("query", ["select 1", "shutdown", "SHOW POOLS; SHUTDOWN", "show pools -- x", "RELOAD"])
def test_the_console_takes_show_alone(query: str) -> None:
    """The console also takes PAUSE and SHUTDOWN: a check may only SHOW there, and anything else is refused at load."""
    with pytest.raises(ValidationError, match="a check may only SHOW"):
        Postgres.model_validate({"dsn": "postgresql://u:p@h:6432/pgbouncer", "query": query})


@pytest.mark.slow
@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
async def test_pgbouncers_console(runs: Observer, postgres: real.PostgresServer) -> None:
    """SHOW POOLS is judged by column for each pool; a role that may not ask is told how it may."""

    def console(server: PgBouncer, **more: Any) -> Postgres:
        dsn = f"postgresql://outrider:{postgres.passwords['outrider']}@{server.host}:{server.port}/pgbouncer?sslmode=disable"
        return Postgres.model_validate({"dsn": dsn, "query": "SHOW POOLS"} | more)

    async with PgBouncer(postgres, stats="outrider") as pooler:
        quiet = {"cl_waiting": {"at_most": 5}, "maxwait": {"below": 5}}
        seen = await runs.observe(console(pooler, expect={"columns": quiet, "rows": {"at_least": 1}}))
        assert verdict(seen) == (Verdict.PASS, None), seen.message
        assert seen.message.startswith("SHOW POOLS → 1 row · PgBouncer 1.")
        seen = await runs.observe(console(pooler, expect={"columns": {"cl_active": {"at_most": 0}}}))
        assert (seen.reason, seen.message) == (Reason.BODY, "SHOW POOLS: cl_active → 1, expected at most 0")
        seen = await runs.observe(console(pooler, query="show nothing"))
        assert seen.reason is Reason.STATUS, seen.message
        seen = await runs.observe(console(pooler, expect={"connections": 5}))
        assert seen.reason is Reason.POLICY
    async with PgBouncer(postgres) as pooler:
        seen = await runs.observe(console(pooler))
    assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
    assert seen.message == "PgBouncer's console refuses role outrider: not allowed (08P01); add it to stats_users"
