"""Proxies: what they carry, what they get to see, and whose failure a failure is."""

from __future__ import annotations

import pytest

from probes.core import PolicyRefused, Reason, Verdict
from probes.kinds.http import Http
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask, failure
from tests.support.ca import Authority
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.proxy import proxying


async def test_plain_requests_are_relayed_whole(wire: Wire) -> None:
    """http:// goes to the proxy with the whole address; the credentials for the proxy go with it."""
    ctx = make_context(wire)
    async with servers.canned(answer(b"there"), then_close=True) as target, proxying("me:a b") as (server, proxy):
        result = await ask(ctx, f"{target.url}x?y=1", proxy=f"http://me:a%20b@127.0.0.1:{server.port}", expect={"text": "there"})

    assert result.verdict is Verdict.PASS
    assert proxy.heads[0].startswith(b"GET http://127.0.0.1:%d/x?y=1 HTTP/1.1\r\n" % target.port)
    assert ctx.evidence["proxy"] == f"127.0.0.1:{server.port}"
    assert list(ctx.phases) == ["resolve", "connect", "processing", "transfer"]


async def test_https_goes_through_a_tunnel(wire: Wire, authority: Authority) -> None:
    """The tunnel is a phase of its own; neither does the proxy see the request, nor the target the proxy's credentials."""
    ctx = make_context(wire)
    settings = {"tls": {"ca": str(authority.ca_file)}, "bearer": "for-the-target", "expect": {"text": "safe"}}
    async with servers.canned(answer(b"safe"), tls=authority.good) as target, proxying("me:word") as (server, proxy):
        result = await ask(ctx, f"https://localhost:{target.port}/", proxy=f"http://me:word@127.0.0.1:{server.port}", **settings)

    assert result.verdict is Verdict.PASS
    assert list(ctx.phases) == ["resolve", "connect", "proxy", "tls", "processing", "transfer"]
    assert proxy.heads[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % target.port)
    assert b"for-the-target" not in proxy.heads[0]
    assert b"proxy-authorization" not in bytes(target.received).lower()
    assert ctx.facts["cert_expiry"] > 0


async def test_http_2_goes_through_a_tunnel_too(wire: Wire) -> None:
    """Prior knowledge of HTTP/2 needs a connection of its own."""
    async with http2.site(lambda *_: (200, {}, b"two")) as (target, _), proxying() as (server, _):
        result = await ask(make_context(wire), target.url, http=2, proxy=f"http://127.0.0.1:{server.port}", expect={"text": "two"})

    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("says", "reason", "words"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", Reason.AUTH, "refuses the credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Reason.POLICY, "doesn't allow it"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Reason.UNREACHABLE, "can't reach the target"),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", Reason.TIMEOUT, "no response from the target"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", Reason.STATUS, "opens no tunnel"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason.PROTOCOL, "response is not HTTP/1.1"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_told_from_the_target(wire: Wire, says: bytes, reason: Reason, words: str) -> None:
    """What the proxy answers to CONNECT is the proxy's word, and the message says so."""
    async with proxying(says=says) as (server, _):
        failed = await failure(make_context(wire), "https://target.test/", proxy=f"http://127.0.0.1:{server.port}")

    assert (failed.reason, words in failed.message) == (reason, True), failed.message
    assert failed.message.startswith(f"the proxy 127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", Reason.AUTH),
        (b"HTTP/1.1 503 No\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Length: 0\r\n\r\n", Reason.UNREACHABLE),
        (b"HTTP/1.1 502 No\r\nProxy-Status: p; error=connection_refused\r\nContent-Length: 0\r\n\r\n", Reason.UNREACHABLE),
    ],
)
async def test_a_relaying_proxy_s_own_answers_are_told(wire: Wire, says: bytes, reason: Reason) -> None:
    """An answer that the proxy made up itself, and marks so, is not the target's."""
    async with proxying(says=says) as (server, _):
        failed = await failure(make_context(wire), "http://target.test/", proxy=f"http://127.0.0.1:{server.port}")

    assert failed.reason is reason
    assert "the proxy" in failed.message


async def test_a_proxy_that_is_gone_is_told(wire: Wire) -> None:
    """A refused connection to the proxy names the proxy."""
    async with servers.refusing() as server:
        with pytest.raises(ConnectionRefusedError, match=f"the proxy 127.0.0.1:{server.port}: "):
            await ask(make_context(wire), "http://target.test/", proxy=f"http://127.0.0.1:{server.port}")


async def test_a_silent_proxy_is_a_timeout_in_its_phase(runs: Observer) -> None:
    """The deadline says that it was the proxy that kept silent."""
    async with servers.silent() as server:
        probe = Http.model_validate({"url": "https://target.test/", "proxy": f"http://127.0.0.1:{server.port}"})
        seen = await runs.observe(probe, within=0.1)

    assert seen.reason is Reason.TIMEOUT
    assert "in proxy" in seen.message


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]"])
async def test_a_proxy_is_not_asked_for_a_metadata_address(wire: Wire, host: str) -> None:
    """In whatever form the address is written: the proxy resolves by itself, and might understand it."""
    async with proxying() as (server, _):
        with pytest.raises(PolicyRefused, match="metadata"):
            await ask(make_context(wire), f"http://{host}/", proxy=f"http://127.0.0.1:{server.port}")

    assert server.connections == 0


@pytest.mark.parametrize(
    ("proxy", "more", "words"),
    [
        ("socks5://127.0.0.1:1", {}, "written like http://"),
        ("127.0.0.1:3128", {}, "written like http://"),
        ("http://127.0.0.1:99999", {}, "no address"),
        ("http://127.0.0.1:1", {"resolve": "10.0.0.1"}, "resolves the host itself"),
    ],
)
def test_a_proxy_that_is_none_is_refused_at_load(proxy: str, more: dict[str, str], words: str) -> None:
    """The words say what to write."""
    with pytest.raises(ValueError, match=words):
        Http.model_validate({"url": "http://target.test/", "proxy": proxy, **more})
