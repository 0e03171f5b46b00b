from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import redis.asyncio
import uvloop

from demo import servers as real
from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.redis import Redis
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.ca import Authority
from tests.support.context import make_context
from tests.support.databases import restored, tls_front
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


def probe(server: real.RedisServer, **more: Any) -> Redis:
    """A check of a real server."""
    return Redis.model_validate({"url": server.url} | more)


def at(port: int, **more: Any) -> Redis:
    """A check of whatever listens there, with a password that is no server's."""
    return Redis.model_validate({"url": f"redis://outrider:pencil-1@127.0.0.1:{port}/0"} | more)


def verdict(seen: Observation) -> tuple[Verdict, Reason | None]:
    """What is asserted most."""
    return seen.verdict, seen.reason


async def _keys(server: real.RedisServer) -> list[bytes]:
    client = redis.asyncio.Redis.from_url(server.app_url, driver_info=None)
    try:
        return [key async for key in client.scan_iter("outrider:*")]
    finally:
        await client.aclose()


async def test_writes_reads_and_deletes(runs: Observer, redis_server: real.RedisServer) -> None:
    """A healthy Redis passes the round trip with phases told apart, and no key is left."""
    seen = await runs.observe(probe(redis_server, round_trip=True))
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    assert list(seen.phases) == ["resolve", "connect", "auth", "ping", "round_trip"]
    assert sum(seen.phases.values()) <= seen.seconds
    assert seen.message == f"PING, SET, GET, DEL · Redis {seen.facts['version']}"
    assert (seen.facts["role"], seen.facts["round_trip"]) == ("master", True)
    assert seen.evidence["key"].startswith("outrider:probe:under-test:")
    assert await _keys(redis_server) == []


async def test_ping_alone_writes_nothing(runs: Observer, redis_server: real.RedisServer) -> None:
    """Without round_trip a PONG is enough."""
    seen = await runs.observe(probe(redis_server))
    assert verdict(seen) == (Verdict.PASS, None)
    assert seen.message.startswith("PING → PONG · Redis ")
    assert "round_trip" not in seen.phases


async def test_a_read_only_replica_answers_and_refuses(runs: Observer, redis_server: real.RedisServer) -> None:
    """A replica passes PING and refuses SET: body, with READONLY and what passes in the message."""
    await redis_server.follow_a_dead_primary()
    try:
        seen = await runs.observe(probe(redis_server, round_trip=True))
        alone = await runs.observe(probe(redis_server))
    finally:
        await redis_server.lead_again()
    assert verdict(seen) == (Verdict.FAIL, Reason.BODY)
    assert seen.message == "PING passes, but SET was refused: READONLY You can't write against a read only replica"
    assert (alone.verdict, alone.facts["role"]) == (Verdict.PASS, "replica")


async def test_a_wrong_password_names_the_user(runs: Observer, redis_server: real.RedisServer) -> None:
    """A refused password fails as auth with the user's name, and neither password is told."""
    seen = await runs.observe(at(redis_server.port))
    assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
    assert seen.message.startswith("login refused for user outrider: WRONGPASS")
    assert "pencil-1" not in repr(seen)
    assert "silence" not in seen.evidence


async def test_no_password_where_one_is_wanted(runs: Observer, redis_server: real.RedisServer) -> None:
    """A server that wants a password fails a check that has none, as auth."""
    seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{redis_server.port}"}))
    assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
    assert seen.message == "login refused for the default user: NOAUTH Authentication required"


async def test_a_stopped_redis_refuses(runs: Observer, redis_server: real.RedisServer) -> None:
    """A Redis that is stopped fails as refused; when it is back, the check passes."""
    async with restored(redis_server):
        await redis_server.stop()
        seen = await runs.observe(probe(redis_server))
    assert verdict(seen) == (Verdict.FAIL, Reason.REFUSED)
    assert (await runs.observe(probe(redis_server))).verdict is Verdict.PASS


async def test_a_frozen_redis_accepts_and_is_silent(runs: Observer, redis_server: real.RedisServer) -> None:
    """A Redis that is frozen times out in auth, after a connection; the evidence says that it accepts."""
    async with restored(redis_server):
        await redis_server.freeze()
        async with no_leaks():
            seen = await runs.observe(probe(redis_server), within=0.3)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 300ms in auth")
    assert seen.evidence["silence"] == "accepts connections but doesn't respond"


@pytest.mark.slow
async def test_a_long_deadline_is_waited_for(runs: Observer) -> None:
    """A silent server within 6 s is a timeout after 6 s: redis-py's own limit of 5 s ends no run."""
    async with servers.silent() as server:
        seen = await runs.observe(at(server.port), within=6)
    assert verdict(seen) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.message == "no answer within 6s in auth"


async def test_a_run_that_is_cancelled_leaves_nothing() -> None:
    """A run that is cut short leaves no task and no socket."""
    async with servers.silent() as server, no_leaks(serving=server.port):
        run = asyncio.create_task(at(server.port).run(make_context(Wire())))
        await server.asked.wait()
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
    assert run.cancelled()


OK, PONG = b"+OK\r\n", b"+PONG\r\n"
UNKNOWN = b"-ERR unknown command 'HELLO'\r\n"


@pytest.mark.parametrize(
    ("responses", "reason", "message"),
    [
        ((b"-LOADING Redis is loading the dataset in memory\r\n",), Reason.STATUS, "the server is not ready: LOADING Redis is loading"),
        ((OK, b"-LOADING Redis is loading the dataset in memory\r\n" * 2), Reason.STATUS, "the server is not ready: LOADING"),
        ((b"-ERR max number of clients reached\r\n",), Reason.STATUS, "no connection is left: max number of clients reached"),
        (
            (OK, PONG, b"-MOVED 3999 10.0.0.7:6381\r\n"),
            Reason.REDIRECT,
            "PING passes, but the key is on another node of the cluster: MOVED",
        ),
        (
            (OK, PONG, b"-OOM command not allowed.\r\n"),
            Reason.STATUS,
            "PING passes, but SET was refused: OOM",
        ),
        (
            (OK, PONG, b"-NOPERM User outrider has no permissions\r\n"),
            Reason.AUTH,
            "PING passes, but user outrider lacks the permission for SET: NOPERM",
        ),
        ((OK, PONG, OK, b"$-1\r\n", b":1\r\n"), Reason.BODY, "PING passes, but GET returned nothing for the key that SET wrote"),
        (
            (OK, PONG, OK, b"$3\r\nold\r\n", b":1\r\n"),
            Reason.BODY,
            "PING passes, but GET returned another value for the key that SET wrote",
        ),
        ((b"-DENIED Redis is running in protected mode.\r\n",), Reason.AUTH, "the command was refused: DENIED"),
        ((OK, b"+HELLO\r\n+x\r\n"), Reason.PROTOCOL, "PING returned b'HELLO', expected PONG"),
        ((b":1\r\n",), Reason.PROTOCOL, "AUTH returned 1, expected OK"),
        (
            (OK, b"-NOPERM this user has no permissions to run the 'ping' command\r\n"),
            Reason.AUTH,
            "user outrider lacks the permission for PING",
        ),
        ((OK, b"-MASTERDOWN Link with MASTER is down\r\n"), Reason.STATUS, "the command was refused: MASTERDOWN"),
        ((OK, PONG, b"-CLUSTERDOWN Hash slot not served\r\n"), Reason.STATUS, "PING passes, but SET was refused: CLUSTERDOWN"),
        ((OK, PONG, b"-ASK 3999 10.0.0.7:6381\r\n"), Reason.REDIRECT, "PING passes, but the key is on another node of the cluster: ASK"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), Reason.PROTOCOL, "not Redis's protocol, in auth"),
        ((b"$9999999999999\r\n",), Reason.TRUNCATED, "the connection was closed before the response, in auth"),
        ((b"$x\r\n",), Reason.PROTOCOL, "not Redis's protocol, in auth"),
        ((b"*1\r\n" * 3000,), Reason.PROTOCOL, "not Redis's protocol, in auth"),
    ],
)
async def test_what_a_server_may_answer(runs: Observer, responses: tuple[bytes, ...], reason: Reason, message: str) -> None:
    """Each refusal has its reason, and the message says how far the run came."""
    async with servers.canned(*responses, then_close=True) as server, no_leaks(serving=server.port):
        seen = await runs.observe(at(server.port, round_trip=True))
    assert verdict(seen) == (Verdict.FAIL, reason), seen.message
    assert seen.message.startswith(message)
    assert not runs.log


async def test_an_old_server_without_hello_passes(runs: Observer) -> None:
    """HELLO only tells the version: a server that refuses it passes all the same."""
    async with servers.canned(OK, PONG, UNKNOWN) as server:
        seen = await runs.observe(at(server.port))
    assert (seen.verdict, seen.message) == (Verdict.PASS, "PING → PONG")


async def test_an_endless_answer_is_not_kept(runs: Observer) -> None:
    """An answer above 1 MiB fails as size."""
    async with servers.endless(b"$9999999999\r\n") as server, no_leaks(serving=server.port):
        seen = await runs.observe(at(server.port))
    assert (seen.reason, seen.message) == (Reason.SIZE, "the response is longer than 1024 KiB or 10,000 lines")


@pytest.mark.parametrize("before", [(), (OK, PONG)])
async def test_lines_without_end(runs: Observer, before: tuple[bytes, ...]) -> None:
    """XM4: many short elements are within the bytes that a run may receive, and would hold the loop: none of them is read."""
    async with servers.canned(*before, b"*1000000\r\n" + b":1\r\n" * 20_000) as server:
        seen = await runs.observe(at(server.port))
    assert verdict(seen) == (Verdict.FAIL, Reason.SIZE), seen.message
    assert seen.message == "the response is longer than 1024 KiB or 10,000 lines"


# -- TLS


async def test_tls_is_a_phase_of_its_own(runs: Observer, redis_server: real.RedisServer, authority: Authority) -> None:
    """rediss:// shakes hands, verified by the check's authorities, and what the certificate says is known."""
    async with tls_front(redis_server.port, authority.good) as front:
        url = redis_server.url.replace("redis://", "rediss://").replace(f":{redis_server.port}/", f":{front.port}/")
        made = Redis.model_validate({"url": url, "round_trip": True, "tls": {"ca": authority.ca_file}})
        seen = await runs.observe(made)
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    assert list(seen.phases) == ["resolve", "connect", "tls", "auth", "ping", "round_trip"]
    assert seen.facts["cert_expiry"] > seen.at
    assert made.address().startswith("rediss://127.0.0.1:")


async def test_a_stranger_is_not_told_the_password(runs: Observer, authority: Authority) -> None:
    """A certificate of an unknown authority ends the run before AUTH."""
    async with servers.silent(tls=authority.stranger) as server:
        made = Redis.model_validate({"url": f"rediss://outrider:pencil-1@127.0.0.1:{server.port}/0"})
        seen = await runs.observe(made)
        assert not server.received
    assert verdict(seen) == (Verdict.FAIL, Reason.UNTRUSTED)


def test_the_same_on_uvloop(redis_server: real.RedisServer, authority: Authority) -> None:
    """The connection is handed over on uvloop as on asyncio's own loop, over TLS too."""

    async def both() -> list[str]:
        async with tls_front(redis_server.port, authority.good) as front:
            url = redis_server.url.replace(f":{redis_server.port}/", f":{front.port}/")
            kinds = (probe(redis_server), Redis.model_validate({"url": url, "tls": {"ca": authority.ca_file}}))
            return [(await kind.run(make_context(Wire()))).message for kind in kinds]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert all(message.startswith("PING → PONG") for message in runner.run(both()))


# -- rights


async def test_a_refused_select_is_no_refused_login(runs: Observer, redis_server: real.RedisServer) -> None:
    """S15f: a user who may not SELECT was let in, and the message names the command; so it does for a database that there isn't."""
    port = redis_server.port
    await redis_server._command("ACL", "SETUSER", "selectless", "reset", "on", ">pencil-1", "+ping", "+hello")
    try:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://selectless:pencil-1@127.0.0.1:{port}/1"}))
        assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
        assert seen.message.startswith("the login passes, but user selectless lacks the permission for SELECT 1: NOPERM")
        assert list(seen.phases) == ["resolve", "connect", "auth"]
    finally:
        await redis_server._command("ACL", "DELUSER", "selectless")
    seen = await runs.observe(Redis.model_validate({"url": redis_server.app_url.replace("/0", "/99")}))
    assert (seen.reason, seen.message) == (Reason.STATUS, "the login passes, but SELECT 99 was refused: DB index is out of range")


async def test_a_user_without_a_password_logs_in(runs: Observer, redis_server: real.RedisServer) -> None:
    """S15f: AUTH with an empty password is phase auth, too."""
    await redis_server._command("ACL", "SETUSER", "open", "reset", "on", "nopass", "+ping", "+hello")
    try:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://open@127.0.0.1:{redis_server.port}"}))
    finally:
        await redis_server._command("ACL", "DELUSER", "open")
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    assert list(seen.phases) == ["resolve", "connect", "auth", "ping"]


async def test_a_server_before_users_takes_the_password_alone(runs: Observer) -> None:
    """A Redis before version 6 refuses two words behind AUTH: it gets the password alone, as redis-py sends it."""
    wrong = b"-ERR wrong number of arguments for 'auth' command\r\n"
    async with servers.canned(wrong, OK, PONG, UNKNOWN) as server:
        seen = await runs.observe(at(server.port))
    assert seen.verdict is Verdict.PASS, seen.message


@pytest.mark.parametrize(("within", "least", "most"), [(5.0, 60, 60), (90.0, 80, 90)])
async def test_a_key_outlives_its_run(runs: Observer, within: float, least: int, most: int) -> None:
    """What is written lasts a minute, and where a run may take longer, as long as that: it must be there when it is read."""
    async with servers.canned(PONG, OK, b"$-1\r\n", b":1\r\n") as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        await runs.observe(Redis.model_validate({"url": url, "round_trip": True}), within=within)
    lasting = server.received.partition(b"\r\nEX\r\n$2\r\n")[2][:2]
    assert least <= int(lasting) <= most
