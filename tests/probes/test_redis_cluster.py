"""Redis behind a proxy and in a cluster: what is asked of a node, and what is not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from probes.core import Reason, Verdict
from probes.kinds.redis import Redis
from tests.probes.test_redis import OK, PONG, probe, verdict
from tests.support import servers
from tests.support.databases import ClusterNode, redis_cluster
from tests.support.engine import Observer
from tests.support.leaks import no_leaks


def knowing(answers: Mapping[str, bytes | None], asked: list[str]) -> AbstractAsyncContextManager[servers.Server]:
    """A server that knows these commands; None keeps it silent. On any other it closes, as twemproxy does."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2].decode())
            asked.append(" ".join(words[: 2 if words[0] == "CLUSTER" else 1]))
            if asked[-1] not in answers:
                return
            if (response := answers[asked[-1]]) is not None:
                writer.write(response)

    return servers.speaking(talk)


async def test_a_proxy_that_closes_on_what_it_does_not_know(runs: Observer) -> None:
    """S13: HELLO is asked only when the verdict is known: who closes then has passed."""
    asked: list[str] = []
    async with knowing({"PING": PONG, "SET": OK, "GET": b"$16\r\n" + b"x" * 16 + b"\r\n", "DEL": b":1\r\n"}, asked) as server:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}"}))
        assert (seen.verdict, seen.message, asked) == (Verdict.PASS, "PING → PONG", ["PING", "HELLO"])
        await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}", "round_trip": True}))
    assert asked[2:] == ["PING", "SET", "GET", "DEL"]  # the value was another: no more is asked


@pytest.mark.parametrize(
    "answer", [None, b":1\r\n", b"+OK\r\n", b"*0\r\n", b"$-1\r\n", b"*2\r\n:1\r\n:2\r\n", b"-NOPERM no\r\n", b"nonsense\r\n"]
)
async def test_whatever_hello_brings_the_verdict_stands(runs: Observer, answer: bytes | None) -> None:
    """S13: a proxy that never answers HELLO, or answers anything, has passed."""
    async with knowing({"PING": PONG, "HELLO": answer}, []) as server, no_leaks(serving=server.port):
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}"}))
    assert (seen.verdict, seen.message) == (Verdict.PASS, "PING → PONG")
    assert answer is not None or runs.longest > seen.seconds + 0.4  # the wait for it is not the server's latency
    assert not runs.log


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}", "redis://127.0.0.1:{}/3", "redis://u:p@127.0.0.1:{}"])
async def test_no_message_lacks_its_phase(runs: Observer, url: str) -> None:
    """S13: a connection that ends before an answer says in which phase it was."""
    for known in ({}, {"AUTH": OK}, {"SELECT": OK}):
        async with knowing(known, []) as server:
            seen = await runs.observe(Redis.model_validate({"url": url.format(server.port)}))
        assert seen.reason is Reason.TRUNCATED
        assert seen.message.endswith((" in auth", " in ping"))


# -- clusters

MOVED = b"-MOVED 3999 10.0.0.7:6381\r\n"
NODES = "07c3 10.0.0.1:6379@16379 {} - 0 0 1 connected{}\n67ed 10.0.0.7:6381@16381 master - 0 0 2 connected 0-9000\n"


def bulk(text: str) -> bytes:
    """A text as Redis sends it."""
    return f"${len(text)}\r\n{text}\r\n".encode()


@pytest.mark.parametrize(
    ("nodes", "tries"),
    [
        (bulk(NODES.format("myself,master", " 9001-16383 [93-<-67ed]")), 101),
        (bulk(NODES.format("myself,master", " 5")), 101),
        (bulk(NODES.format("myself,slave", "")), 1),
        (b"-NOPERM this user has no permissions\r\n", 101),
        (b"-ERR unknown\r\n", 101),
        (bulk("nonsense"), 101),
        (b":1\r\n", 101),
    ],
)
async def test_a_node_that_refuses_every_key_is_a_redirect(runs: Observer, nodes: bytes, tries: int) -> None:
    """S5: nobody goes where MOVED points; other keys are tried, at most a hundred, and none where the node serves no slots."""
    asked: list[str] = []
    async with knowing({"PING": PONG, "SET": MOVED, "CLUSTER NODES": nodes}, asked) as server:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}", "round_trip": True}))
    assert seen.reason is Reason.REDIRECT, seen.message
    assert seen.message == "PING passes, but the key is on another node of the cluster: MOVED 3999 10.0.0.7:6381"
    assert 1 <= asked.count("SET") <= tries
    assert not runs.log


@pytest.mark.parametrize(
    ("info", "key", "told"),
    [
        (bulk("cluster_state:ok\r\ncluster_slots_ok:16384"), None, ""),
        (bulk("cluster_state:fail\r\ncluster_slots_ok:12"), None, "cluster_state:fail, 12 of 16384 slots are served (CLUSTERDOWN)"),
        (b"-NOPERM no\r\n", b"-CLUSTERDOWN Hash slot not served\r\n", "CLUSTERDOWN Hash slot not served"),
        (b"-NOPERM no\r\n", MOVED, ""),
        (b"-NOPERM no\r\n", b"-NOPERM no\r\n", ""),
        (b"-NOPERM no\r\n", b"$-1\r\n", ""),
        (b":1\r\n", None, ""),
        (bulk("cluster"), None, ""),
        (None, None, ""),
    ],
)
async def test_a_cluster_that_serves_no_client_is_down(runs: Observer, info: bytes | None, key: bytes | None, told: str) -> None:
    """S5: PING passes in a cluster that is down, so its state is asked for; where it isn't told, a PONG is enough."""
    hello = b"*4\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$7\r\nversion\r\n$3\r\n7.0\r\n"
    async with knowing({"PING": PONG, "HELLO": hello, "CLUSTER INFO": info, "GET": key}, []) as server:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}"}))
    if told:
        assert (seen.reason, seen.message) == (Reason.STATUS, f"PING passes, but the cluster serves no client: {told}")
    else:
        assert (seen.verdict, seen.message) == (Verdict.PASS, "PING → PONG · Redis 7.0")
    assert not runs.log


async def test_an_old_cluster_that_serves_no_client_is_down(runs: Observer) -> None:
    """S5: a server before Redis 6 refuses HELLO: it is asked for its cluster all the same."""
    asked: list[str] = []
    answers = {"PING": PONG, "HELLO": b"-ERR unknown command `HELLO`\r\n", "CLUSTER INFO": bulk("cluster_state:fail\r\ncluster_slots_ok:0")}
    async with knowing(answers, []) as server:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}"}))
        assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.STATUS)
    async with knowing(answers | {"CLUSTER INFO": b"-ERR This instance has cluster support disabled\r\n"}, asked) as server:
        seen = await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}"}))
    assert (seen.verdict, asked) == (Verdict.PASS, ["PING", "HELLO", "CLUSTER INFO"])


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("password", ["", None])
async def test_a_healthy_cluster_passes_on_every_node(runs: Observer, password: str | None) -> None:
    """S5: on a real cluster every run of the round trip passes, also for a user who may not ask for the slots."""
    async with redis_cluster((0, 8191), (8192, 16383), password=password) as nodes:
        for node in nodes:
            for _ in range(15):
                seen = await runs.observe(probe(node, round_trip=True))
                assert verdict(seen) == (Verdict.PASS, None), seen.message
            assert (await runs.observe(probe(node))).verdict is Verdict.PASS


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_node_with_few_slots_and_one_without(runs: Observer) -> None:
    """S5: a node's slots may be few; a node without any says so."""
    async with redis_cluster((0, 16283), (16284, 16383), (0, -1), password="") as nodes:
        for _ in range(10):
            seen = await runs.observe(probe(nodes[1], round_trip=True))
            assert verdict(seen) == (Verdict.PASS, None), seen.message
        seen = await runs.observe(probe(nodes[2], round_trip=True))
        assert verdict(seen) == (Verdict.FAIL, Reason.REDIRECT)


async def test_a_cluster_without_slots_is_down(runs: Observer) -> None:
    """S5: a node that is alone in a cluster refuses every key: down with a round trip and without."""
    async with ClusterNode(password="") as node:
        seen = [await runs.observe(probe(node, round_trip=how)) for how in (True, False)]
    assert [verdict(each) for each in seen] == [(Verdict.FAIL, Reason.STATUS)] * 2
    assert all("CLUSTERDOWN" in each.message for each in seen)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
async def test_any_answers_are_survived(runs: Observer, seed: int) -> None:
    """S13: whatever a server answers each command, the run has a verdict on it, and never an error of ours."""
    rng = random.Random(seed)  # noqa: S311 - the same answers in every run of the test
    odd: tuple[bytes, ...] = (
        OK,
        PONG,
        MOVED,
        b":1\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"$0\r\n\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
        b"-\r\n",
        b"-ASK\r\n",
        b"-MOVED\r\n",
    )
    odd += (
        b"-MOVED x y\r\n",
        b"-NOPERM\r\n",
        b"-CLUSTERDOWN\r\n",
        b"+\xff\r\n",
        b"$2\r\n\xff\xfe\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"_\r\n",
        b"\r\n",
    )
    odd += tuple(
        bulk(text) for text in ("myself", "a b myself", "a b myself - - - - - 1-x", "a b myself - - - - - 5-3", "cluster_state:", ":")
    )
    odd += (b"*4\r\n+mode\r\n+cluster\r\n+version\r\n:7\r\n", b"*2\r\n$4\r\nmode\r\n$7\r\ncluster\r\n")
    for _ in range(40):
        commands = ("PING", "SET", "GET", "DEL", "HELLO", "CLUSTER NODES", "CLUSTER INFO")
        answers: dict[str, bytes | None] = {command: rng.choice(odd) for command in commands}
        answers["PING"] = rng.choice((PONG, answers["PING"]))
        async with knowing(answers, []) as server:
            url = f"redis://127.0.0.1:{server.port}"
            seen = await runs.observe(Redis.model_validate({"url": url, "round_trip": rng.random() < 0.5}), within=1.0)
        assert seen.verdict in (Verdict.PASS, Verdict.FAIL), (answers, seen.message)
    assert not runs.log
