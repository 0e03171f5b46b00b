"""Warm connections: kept for the next run where that is wanted, replaced where they are stale, and never a false red light."""

from __future__ import annotations

import asyncio

import pytest

from probes.core import Failed, Reason, Verdict
from probes.kinds.http import Http
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask, failure
from tests.support.ca import Authority
from tests.support.context import make_context
from tests.support.leaks import no_leaks

WARM = {"keep_alive": True}


async def test_a_run_is_cold_by_default(wire: Wire) -> None:
    """Each run pays for its own connection, as a new user does."""
    async with servers.canned(answer(), answer()) as server, no_leaks(serving=server.port):
        for _ in range(3):
            await ask(make_context(wire), server.url)

    assert server.connections == 3


async def test_a_warm_run_has_neither_resolving_nor_connecting(wire: Wire) -> None:
    """The second run goes over the first one's connection, and says so."""
    async with servers.canned(answer(), answer()) as server:
        first, second = make_context(wire), make_context(wire)
        await ask(first, server.url, **WARM)
        await ask(second, server.url, **WARM)

    assert server.connections == 1
    assert list(first.phases) == ["resolve", "connect", "processing", "transfer"]
    assert list(second.phases) == ["processing", "transfer"]
    assert (first.facts.get("connection_reused"), second.facts["connection_reused"]) == (None, 1)


async def test_warm_tls_shakes_hands_once(wire: Wire, authority: Authority) -> None:
    """Session tickets that wait unread are no sign of a stale connection."""
    async with servers.canned(answer(), answer(), tls=authority.good) as server:
        for ctx in (make_context(wire), last := make_context(wire)):
            await ask(ctx, f"https://localhost:{server.port}/", tls={"ca": str(authority.ca_file)}, **WARM)

    assert server.connections == 1
    assert list(last.phases) == ["processing", "transfer"]


async def test_warm_http_2_opens_another_stream(wire: Wire) -> None:
    """One connection carries the runs of a check one after the other."""
    async with http2.site(lambda headers, _: (200, {}, headers[":path"].encode())) as (server, asked):
        for path in ("one", "two", "three"):
            await ask(make_context(wire), f"{server.url}{path}", http=2, expect={"text": path}, **WARM)

    assert server.connections == 1
    assert len(asked) == 3


async def test_a_kept_connection_is_closed_with_the_wire(wire: Wire) -> None:
    """A reload leaves no socket behind."""
    async with servers.canned(answer()) as server:
        async with no_leaks(serving=server.port):
            await ask(make_context(wire), server.url, **WARM)
            await wire.aclose()
        await server.left.wait()


async def test_checks_share_no_connection(wire: Wire) -> None:
    """Nor do other settings of the same check."""
    async with servers.canned(answer(), answer()) as server:
        await ask(make_context(wire, check="one"), server.url, **WARM)
        await ask(make_context(wire, check="two"), server.url, **WARM)
        await ask(make_context(wire, check="two"), server.url, compression=True, **WARM)

    assert server.connections == 3


class _Moody(servers.Behaviour):
    """Answers the first request of a connection; closes at the second one without a response."""

    def begin(self) -> None:
        self.times = 0

    def respond(self) -> None:
        self.times += 1
        if self.times == 1:
            self.transport.write(answer(b"fresh"))
        else:
            self.transport.close()


async def test_a_connection_that_closes_as_we_send_is_replaced(wire: Wire) -> None:
    """The connection was stale, not the target: the run passes on a fresh one, and counts that."""
    async with servers.serve(_Moody) as server:
        await ask(make_context(wire), server.url, **WARM)
        ctx = make_context(wire)
        result = await ask(ctx, server.url, **WARM)

    assert result.verdict is Verdict.PASS
    assert server.connections == 2
    assert ctx.facts["connection_replaced"] == 1
    assert "connection_reused" not in ctx.facts


async def test_a_fresh_connection_is_never_tried_twice(wire: Wire) -> None:
    """The first failure stands: there is no hidden retry."""
    async with servers.closing() as server:
        failed = await failure(make_context(wire), server.url, **WARM)

    assert failed.reason is Reason.TRUNCATED
    assert server.connections == 1


async def test_what_is_no_get_is_never_sent_again(wire: Wire) -> None:
    """A POST may have done its work before the connection broke."""
    async with servers.serve(_Moody) as server:
        target = {"name": "t", "url": server.url.rstrip("/"), "allow": ["POST /"]}
        probe = Http.model_validate({"target": target, "path": "/", "method": "POST", "body": "x", **WARM})
        await probe.run(make_context(wire))
        with pytest.raises(Failed, match="before any response"):
            await probe.run(make_context(wire))

    assert server.connections == 1


class _Once(servers.Behaviour):
    """Answers, and closes on its side a moment later."""

    def respond(self) -> None:
        self.transport.write(answer(b"bye"))
        self.transport.close()


async def test_a_connection_that_was_closed_meanwhile_is_seen_before_anything_is_sent(wire: Wire) -> None:
    """So that a POST, too, goes out on a connection that stands."""
    async with servers.serve(_Once) as server:
        target = {"name": "t", "url": server.url.rstrip("/"), "allow": ["POST /"]}
        probe = Http.model_validate({"target": target, "path": "/", "method": "POST", "body": "x", **WARM})
        await probe.run(make_context(wire))
        await server.left.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        result = await probe.run(make_context(wire))

    assert result.verdict is Verdict.PASS
    assert server.connections == 2


@pytest.mark.parametrize(
    "response",
    [
        answer(b"x", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        answer(b"x") + b"and more",
        http2.SETTINGS + http2.head() + http2.data(b"x") + http2.goaway(1, 0),
    ],
)
async def test_a_connection_that_is_at_its_end_is_not_kept(wire: Wire, response: bytes) -> None:
    """The server announces the connection's end, or sends more than a response."""
    settings = {"http": 2} if response.startswith(http2.SETTINGS) else {}
    async with servers.canned(response) as server:
        for _ in range(2):
            await ask(make_context(wire), server.url, **WARM, **settings)

    assert server.connections == 2


async def test_a_failed_run_keeps_nothing(wire: Wire) -> None:
    """What broke off in the middle is closed."""
    async with servers.canned(answer(b"short", length=99), then_close=True) as server, no_leaks(serving=server.port):
        await failure(make_context(wire), server.url, **WARM)


async def test_hops_of_one_origin_share_a_connection(wire: Wire) -> None:
    """A redirect on the same host costs no second handshake, as in a browser."""
    hop = answer(b"", b"Location: /there", status=b"302 Found")
    async with servers.canned(hop, answer(b"there")) as server:
        ctx = make_context(wire)
        await ask(ctx, server.url, redirects=1, expect={"text": "there"})

    assert server.connections == 1
    assert ctx.facts["connection_reused"] == 1
