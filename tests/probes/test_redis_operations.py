"""What operators ask of Redis: role, lag, connections, queues, the cluster, Sentinel, and a Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import redis.asyncio
from pydantic import ValidationError

from demo import servers as real
from probes.core import Reason, Verdict
from probes.kinds.redis import Redis
from tests.probes.test_redis import OK, PONG, verdict
from tests.probes.test_redis_cluster import bulk, knowing
from tests.support.databases import RedisReplica, RedisSentinel, redis_cluster
from tests.support.engine import Observer


def probe(server: real.RedisServer, **more: Any) -> Redis:
    """A check of a real server as its default user, who may ask everything."""
    return Redis.model_validate({"url": server.app_url} | more)


@asynccontextmanager
async def filled(server: real.RedisServer, *commands: tuple[Any, ...]) -> AsyncIterator[None]:
    """Runs commands on a server, and forgets every key afterwards."""
    client = redis.asyncio.Redis.from_url(server.app_url, driver_info=None)
    try:
        for command in commands:
            await client.execute_command(*command)  # type: ignore[no-untyped-call]
        yield
    finally:
        await client.flushall()
        await client.aclose()


QUEUES = (
    ("RPUSH", "celery", "a", "b", "c"),
    ("ZADD", "delayed", 1, "a", 2, "b"),
    ("SADD", "seen", "a"),
    *(("XADD", "events", "*", "n", n) for n in range(5)),
    ("XGROUP", "CREATE", "events", "workers", "0"),
    ("XREADGROUP", "GROUP", "workers", "me", "COUNT", 2, "STREAMS", "events", ">"),
    ("SET", "text", "x"),
)


async def test_queues_are_measured_by_their_kind(runs: Observer, redis_server: real.RedisServer) -> None:
    """Lists, sorted sets, sets and streams are counted by their own command, a key that isn't there is empty; each is a metric."""
    short = {"length": {"at_most": 10}}
    queues = {"celery": short, "delayed": short, "seen": short, "none": {"length": 0}}
    group = {"events": {"length": 5, "group": "workers", "lag": {"at_most": 3}, "pending": {"at_most": 2}}}
    async with filled(redis_server, *QUEUES):
        seen = await runs.observe(probe(redis_server, queues=queues | group))
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    lengths = {name.partition(".")[2]: value for name, value in seen.facts.items() if name.startswith("queue_length.")}
    assert lengths == {"celery": 3, "delayed": 2, "seen": 1, "none": 0, "events": 5}
    assert (seen.facts["group_lag.events"], seen.facts["group_pending.events"]) == (3, 2)
    assert "operations" in seen.phases


@pytest.mark.parametrize(
    ("queues", "reason", "message"),
    [
        ({"celery": {"length": {"at_most": 2}}}, Reason.BODY, "queue celery: length 3, expected at most 2"),
        ({"events": {"group": "workers", "lag": {"below": 3}}}, Reason.BODY, "group workers of events: lag 3, expected below 3"),
        ({"events": {"group": "workers", "pending": 0}}, Reason.BODY, "group workers of events: pending 2, expected 0"),
        ({"events": {"group": "none", "pending": 0}}, Reason.BODY, "stream events has no consumer group none"),
        ({"nothing": {"group": "workers", "pending": 0}}, Reason.BODY, "stream nothing has no consumer group workers"),
        ({"text": {"length": 0}}, Reason.SCHEMA, "key text is a string, which is no queue"),
        ({"celery": {"group": "workers", "pending": 0}}, Reason.STATUS, "PING passes, but XINFO was refused: WRONGTYPE"),
    ],
)
async def test_a_long_queue_is_a_failure(runs: Observer, redis_server: real.RedisServer, queues: Any, reason: Reason, message: str) -> None:
    """A queue that is too long, or a group that is behind, fails as body, with both numbers."""
    async with filled(redis_server, *QUEUES):
        seen = await runs.observe(probe(redis_server, queues=queues))
    assert verdict(seen) == (Verdict.FAIL, reason)
    assert seen.message.startswith(message)


async def test_a_group_whose_lag_nobody_knows(runs: Observer) -> None:
    """Redis before 7 tells no lag: that is told, and not taken for 0."""
    group = b"*1\r\n*4\r\n$4\r\nname\r\n$1\r\ng\r\n$7\r\npending\r\n:0\r\n"
    async with knowing({"PING": PONG, "XINFO": group}, []) as server:
        made = Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}", "queues": {"s": {"group": "g", "lag": 0}}})
        seen = await runs.observe(made)
    assert (seen.reason, seen.message) == (Reason.SCHEMA, "group g of s has no lag: only Redis 7 and later tell it; write pending")


@pytest.mark.parametrize("queue", [{}, {"lag": 1}, {"group": "g"}, {"length": 1, "pending": 3}, {"length": {"below": 1}, "group": "g"}])
def test_a_queue_without_a_condition_is_refused(queue: Any) -> None:
    """A queue of which nothing is asked is an error at load."""
    with pytest.raises(ValidationError, match="write"):
        Redis.model_validate({"url": "redis://h", "queues": {"q": queue}})


async def test_role_and_connections(runs: Observer, redis_server: real.RedisServer) -> None:
    """A master passes as master and fails as replica; the clients that are connected are compared with a number or a share."""
    seen = await runs.observe(probe(redis_server, expect={"role": "master", "connections": "80%"}))
    assert verdict(seen) == (Verdict.PASS, None), seen.message
    assert 1 <= seen.facts["connections"] < seen.facts["max_connections"]
    seen = await runs.observe(probe(redis_server, expect={"role": "replica"}))
    assert (seen.reason, seen.message) == (Reason.BODY, "PING passes, but the server is a master, expected a replica")
    seen = await runs.observe(probe(redis_server, expect={"connections": 0}))
    assert seen.reason is Reason.BODY
    assert " connections are in use (" in seen.message
    seen = await runs.observe(probe(redis_server, expect={"lag": "10s"}))
    assert (seen.reason, seen.message) == (Reason.BODY, "no replica is online at the master, expected one at least")


async def test_what_a_user_may_not_ask_is_told(runs: Observer, redis_server: real.RedisServer) -> None:
    """A user without +info is told which permission lacks."""
    seen = await runs.observe(Redis.model_validate({"url": redis_server.url, "expect": {"role": "master"}}))
    assert verdict(seen) == (Verdict.FAIL, Reason.AUTH)
    assert seen.message.startswith("PING passes, but user outrider lacks the permission for INFO: NOPERM")


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_replica_and_its_lag(runs: Observer) -> None:
    """A replica that follows passes on both sides, over its Unix socket too; one whose master is gone fails and says since when."""
    async with real.RedisServer() as master:
        async with RedisReplica(master) as replica:
            expect, path = {"role": "replica", "lag": "15s"}, replica.path
            while (await runs.observe(probe(replica, expect=expect))).reason:
                pass  # until it has synchronized
            seen = await runs.observe(probe(master, expect={"role": "master", "lag": "15s"}))
            assert verdict(seen) == (Verdict.PASS, None), seen.message
            assert seen.facts["lag"] <= 15
            local = {"url": f"unix://:{quote(replica.password, safe='')}@{replica.path}", "expect": expect}
            seen = await runs.observe(Redis.model_validate(local))
            assert verdict(seen) == (Verdict.PASS, None), seen.message
            assert list(seen.phases)[:3] == ["connect", "auth", "ping"]
            await master.stop()
            while (seen := await runs.observe(probe(replica, expect=expect))).reason is None:
                pass  # until it has noticed
            assert verdict(seen) == (Verdict.FAIL, Reason.BODY)
            assert seen.message.startswith("the replica's link to its master is down")
        seen = await runs.observe(Redis.model_validate({"url": f"unix://{path}"}))
    assert verdict(seen) == (Verdict.FAIL, Reason.REFUSED)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_sentinel_is_asked_for_the_master(runs: Observer) -> None:
    """The check is about the master that Sentinel names; no such name, no quorum and a dead master are failures that say so."""
    async with real.RedisServer() as master, RedisSentinel(master) as sentinel, RedisSentinel(master, quorum=2) as alone:

        def through(of: RedisSentinel, **more: Any) -> Redis:
            login = {"user": "outrider", "password": of.password}
            url = master.app_url.replace(f":{master.port}/", f":{of.port}/")
            return Redis.model_validate({"url": url, "sentinel": {"master": "mymaster"} | login | more, "round_trip": True})

        seen = await runs.observe(through(sentinel))
        assert verdict(seen) == (Verdict.PASS, None), seen.message
        assert seen.facts["master"] == f"127.0.0.1:{master.port}"
        assert "sentinel" in seen.phases
        seen = await runs.observe(through(sentinel, master="other"))
        assert (seen.reason, seen.message) == (Reason.BODY, f"Sentinel 127.0.0.1:{sentinel.port}: Sentinel knows no master other")
        seen = await runs.observe(through(alone))
        assert verdict(seen) == (Verdict.FAIL, Reason.STATUS)
        assert "can't start a failover of mymaster: NOQUORUM" in seen.message
        assert (await runs.observe(through(alone, quorum=False))).verdict is Verdict.PASS
        seen = await runs.observe(through(sentinel, password="wrong-9"))
        assert seen.reason is Reason.AUTH
        assert "wrong-9" not in repr(seen)
        await master.stop()
        assert (await runs.observe(through(sentinel))).reason is Reason.REFUSED


@pytest.mark.parametrize("answer", [b"*2\r\n$1\r\nh\r\n$1\r\nx\r\n", b":1\r\n", b"*0\r\n", b"*2\r\n$2\r\n/a\r\n$1\r\n1\r\n", OK])
async def test_an_odd_answer_of_sentinel(runs: Observer, answer: bytes) -> None:
    """Whatever Sentinel answers, no connection goes anywhere but to a host and a port."""
    async with knowing({"SENTINEL": answer}, []) as server:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}", "sentinel": "mymaster"}))
    assert verdict(seen) == (Verdict.FAIL, Reason.PROTOCOL), seen.message


NODES = """a 10.0.0.1:1@2 myself,master - 0 0 1 connected 0-9
b 10.0.0.2:1@2 slave,fail a 0 0 1 disconnected
c 10.0.0.3:1@2 slave a 0 0 1 connected
"""


@pytest.mark.parametrize(
    ("expect", "info", "message"),
    [
        ({}, "cluster_state:ok\r\ncluster_slots_ok:16384", ""),
        ({}, "cluster_state:fail\r\ncluster_slots_ok:12", "PING passes, but cluster_state is fail, expected ok; 12 slots served"),
        ({}, "cluster_state:ok\r\ncluster_slots_ok:16000", "slots that the cluster serves: 16000, expected 16384"),
        ({"slots": {"above": 1}, "nodes": 2}, "cluster_state:ok\r\ncluster_slots_ok:16000", ""),
        (
            {"nodes": {"at_least": 3}},
            "cluster_state:ok\r\ncluster_slots_ok:16384",
            "nodes of the cluster that are well: 2, expected at least 3; not well: 10.0.0.2:1",
        ),
    ],
)
async def test_a_cluster_by_its_own_word(runs: Observer, expect: Any, info: str, message: str) -> None:
    """State, slots and the nodes that are well are each a condition; the message names the nodes that are not."""
    known = {"PING": PONG, "CLUSTER INFO": bulk(info), "CLUSTER NODES": bulk(NODES)}
    async with knowing(known, []) as server:
        made = Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}", "expect": {"cluster": expect}})
        seen = await runs.observe(made)
    assert (seen.verdict is Verdict.PASS, seen.message if message else "") == (not message, message), seen.message


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_real_cluster(runs: Observer, redis_server: real.RedisServer) -> None:
    """A real cluster passes with its slots and nodes; a server that is in none is refused."""
    cluster = {"expect": {"cluster": {"nodes": 2}}}
    async with redis_cluster((0, 8191), (8192, 16383), password="") as nodes:
        seen = await runs.observe(probe(nodes[0], **cluster))
        assert verdict(seen) == (Verdict.PASS, None), seen.message
        assert (seen.facts["cluster_slots"], seen.facts["cluster_nodes"]) == (16384, 2)
    seen = await runs.observe(probe(redis_server, **cluster))
    assert seen.message == "PING passes, but CLUSTER was refused: This instance has cluster support disabled"
