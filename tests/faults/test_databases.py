"""What PostgreSQL and Redis alone can do: the real servers where they can be brought to it, and else their own words."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from demo import servers as real
from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.postgres import Postgres
from probes.kinds.redis import Redis
from probes.probe import Probe
from tests.faults.askings import SECRET, Place, asked
from tests.faults.words import WORDS
from tests.support.ca import Authority
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

pytestmark = pytest.mark.slow
WITHIN = 0.3  # seconds
PROMPTLY = 1.0  # seconds


async def _seen(runs: Observer, probe: Probe, kind: str, within: float = 5.0) -> Observation:
    """An observation that came in time and tells no secret."""
    seen = await runs.observe(probe, kind=kind, within=within)
    assert runs.longest < within + probe.cleanup_seconds() + PROMPTLY
    assert SECRET not in repr(seen)
    assert not runs.log
    return seen


def _told(seen: Observation) -> tuple[Verdict, Reason | None]:
    return seen.verdict, seen.reason


def _postgres(server: real.PostgresServer, role: str = real.PROBE, **settings: Any) -> Postgres:
    return Postgres.model_validate({"dsn": f"{server.dsn_of(role)}?sslmode=disable"} | settings)


@asynccontextmanager
async def _owner(server: real.PostgresServer) -> AsyncIterator[asyncpg.Connection[Any]]:
    owner = await asyncpg.connect(server.admin_dsn, ssl=False)
    try:
        yield owner
    finally:
        await owner.close(timeout=5)


async def test_postgres_wrong_password(runs: Observer, database: real.PostgresServer) -> None:
    """auth, once the password is another; green again with the old one."""
    await database.change_password()
    try:
        async with no_leaks():
            seen = await _seen(runs, _postgres(database), "postgres")
    finally:
        await database.restore_password()
    assert _told(seen) == (Verdict.FAIL, Reason.AUTH)
    assert (await _seen(runs, _postgres(database), "postgres")).verdict is Verdict.PASS


async def test_postgres_too_many_connections(runs: Observer, database: real.PostgresServer) -> None:
    """status, in the server's words, while the role's connections are all taken."""
    held: list[asyncpg.Connection[Any]] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await asyncpg.connect(database.dsn, ssl=False))
    seen = await _seen(runs, _postgres(database), "postgres")
    for one in held:
        await one.close()
    assert _told(seen) == (Verdict.FAIL, Reason.STATUS)
    assert "no connection is left" in seen.message


async def test_postgres_slow_query(runs: Observer, database: real.PostgresServer) -> None:
    """timeout, in the phase of the query; and the query doesn't go on in the database."""
    async with no_leaks():
        seen = await _seen(runs, _postgres(database, query="select pg_sleep(61)"), "postgres", WITHIN)
    assert _told(seen) == (Verdict.FAIL, Reason.TIMEOUT)
    assert "in query" in seen.message
    async with _owner(database) as owner:
        while await _backend(owner, "pg_sleep(61)"):
            pass


async def _backend(owner: asyncpg.Connection[Any], query: str) -> int | None:
    """The process that is at work on a query."""
    at_work = "select pid from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like $1"
    found: int | None = await owner.fetchval(at_work, f"%{query}%")
    return found


async def test_postgres_terminated_backend(runs: Observer, database: real.PostgresServer) -> None:
    """A session that an administrator ends is status, in the server's words."""
    async with _owner(database) as owner:
        asking = asyncio.create_task(runs.observe(_postgres(database, query="select pg_sleep(62)"), kind="postgres"))
        while not (process := await _backend(owner, "pg_sleep(62)")):
            pass
        await owner.execute("select pg_terminate_backend($1)", process)
        seen = await asking
    assert _told(seen) == (Verdict.FAIL, Reason.STATUS), seen.message
    assert "57P01" in seen.message
    assert not runs.log


async def test_postgres_killed_backend_and_recovery(runs: Observer, database: real.PostgresServer) -> None:
    """A backend that dies takes its connection with it; while the server recovers it lets nobody in; then all is green."""
    async with _owner(database) as owner:
        asking = asyncio.create_task(runs.observe(_postgres(database, query="select pg_sleep(63)"), kind="postgres"))
        while not (process := await _backend(owner, "pg_sleep(63)")):
            pass
        os.kill(process, signal.SIGKILL)
        seen = await asking
        owner.terminate()
    assert seen.verdict is Verdict.FAIL
    assert seen.reason in (Reason.TRUNCATED, Reason.RESET), seen.message
    while (after := await runs.observe(_postgres(database), kind="postgres")).verdict is not Verdict.PASS:
        assert after.reason in (Reason.STATUS, Reason.TRUNCATED, Reason.RESET), after.message
    assert not runs.log


WRITES = (
    "insert into mine values (1)",
    "create table other (i int)",
    "select setval('counter', 9)",
    "with w as (delete from mine) select 1",
)


@pytest.mark.parametrize("query", WRITES)
async def test_postgres_proof_of_read_only(runs: Observer, database: real.PostgresServer, query: str) -> None:
    """Not even the superuser's role writes through a probe: policy, and nothing has changed."""
    async with _owner(database) as owner:
        await owner.execute("drop table if exists mine; create table mine (i int); insert into mine values (7)")
        await owner.execute("drop sequence if exists counter; create sequence counter")
        seen = await runs.observe(_postgres(database, real.OWNER, query=query), kind="postgres")
        assert _told(seen) == (Verdict.FAIL, Reason.POLICY), seen.message
        assert await owner.fetchval("select sum(i) from mine") == 7
        assert await owner.fetchval("select last_value from counter") == 1
        assert await owner.fetchval("select to_regclass('other')") is None


def _redis(server: real.RedisServer) -> Redis:
    return Redis.model_validate({"url": server.url, "round_trip": True})


async def test_redis_noauth(runs: Observer, cache: real.RedisServer) -> None:
    """auth, for a check without a password where one is wanted."""
    seen = await _seen(runs, Redis.model_validate({"url": f"redis://{cache.host}:{cache.port}/0"}), "redis")
    assert _told(seen) == (Verdict.FAIL, Reason.AUTH)
    assert "NOAUTH" in seen.message


async def test_redis_readonly_replica(runs: Observer, cache: real.RedisServer) -> None:
    """body, and the message says that PING passes; green again when it leads again."""
    await cache.follow_a_dead_primary()
    try:
        async with no_leaks():
            seen = await _seen(runs, _redis(cache), "redis")
    finally:
        await cache.lead_again()
    assert _told(seen) == (Verdict.FAIL, Reason.BODY)
    assert "READONLY" in seen.message
    assert (await _seen(runs, _redis(cache), "redis")).verdict is Verdict.PASS


async def test_redis_out_of_memory(runs: Observer, cache: real.RedisServer) -> None:
    """status, with OOM and what passes, of a server that really has no memory left."""
    await cache._command("CONFIG", "SET", "maxmemory", "1")
    try:
        seen = await _seen(runs, _redis(cache), "redis")
    finally:
        await cache._command("CONFIG", "SET", "maxmemory", "64mb")
    assert _told(seen) == (Verdict.FAIL, Reason.STATUS)
    assert "OOM" in seen.message
    assert seen.message.startswith("PING passes")


@pytest.mark.parametrize("words", WORDS)
async def test_in_their_own_words(words: str, runs: Observer, authority: Authority) -> None:
    """What a server says when it is unwell has its reason, and stands in the message. Nobody goes where MOVED points."""
    case = WORDS[words]
    async with case.make(authority) as server, no_leaks(serving=server.port):
        for asking in case.askings:
            seen = await _seen(runs, asked(asking, Place(server.host, server.port)), asking)
            assert seen.verdict is Verdict.FAIL
            assert seen.reason in case.reasons, seen.message
            assert words in seen.message


@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_frozen(kind: str, runs: Observer, database: real.PostgresServer, cache: real.RedisServer) -> None:
    """A server that is frozen accepts and is silent: timeout at the deadline; green again once it is thawed."""
    server = database if kind == "postgres" else cache
    probe = _postgres(database) if kind == "postgres" else _redis(cache)
    await server.freeze()
    try:
        async with no_leaks():
            seen = await _seen(runs, probe, kind, WITHIN)
    finally:
        await server.thaw()
    assert _told(seen) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.evidence["silence"] == "accepts connections but doesn't respond"
    assert (await _seen(runs, probe, kind)).verdict is Verdict.PASS
