"""httpx on the wire for what is no check's run: what the environment says counts, and failures are httpx's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from probes.core import PolicyRefused
from probes.http.standalone import StandaloneTransport, environment_proxy
from probes.wire.route import Route
from tests.support import servers
from tests.support.asking import answer
from tests.support.ca import Authority
from tests.support.clock import RealClock
from tests.support.context import context
from tests.support.leaks import no_leaks
from tests.support.proxy import proxying


@pytest.fixture(name="client")
async def _client() -> AsyncIterator[httpx.AsyncClient]:
    """A client on the transport."""
    async with httpx.AsyncClient(transport=StandaloneTransport(RealClock(), user_agent="Outrider/test", cap=1000)) as client:
        yield client


async def test_it_says_who_asks_and_nothing_of_a_run(client: httpx.AsyncClient) -> None:
    """There is no trace that a journal knows; connections are used again."""
    async with servers.canned(answer(b"one"), answer(b"two")) as server:
        assert [(await client.get(server.url)).text for _ in range(2)] == ["one", "two"]

    assert server.connections == 1
    assert b"User-Agent: Outrider/test\r\n" in server.received
    assert b"traceparent" not in bytes(server.received).lower()
    assert b"Accept-Encoding: zstd, br, gzip, deflate\r\n" in server.received


async def test_https_goes_through_the_proxy_of_the_environment(
    client: httpx.AsyncClient, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY with its credentials, and the authorities of SSL_CERT_FILE: a private one is trusted as by httpx itself."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    async with servers.canned(answer(b"safe"), tls=authority.good) as server, proxying("me:word") as (at, proxy):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:word@127.0.0.1:{at.port}")
        assert (await client.get(f"https://localhost:{server.port}/")).text == "safe"

    assert proxy.heads[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % server.port)


async def test_a_certificate_that_nobody_vouches_for_is_told(client: httpx.AsyncClient, authority: Authority) -> None:
    """Why it isn't trusted stands in the error."""
    async with servers.silent(tls=authority.good) as server:
        with pytest.raises(httpx.ConnectError, match="doesn't trust the issuer of the chain"):
            await client.get(f"https://localhost:{server.port}/")


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://grafana.test/", None),
        ({"HTTPS_PROXY": "http://p.test:3128"}, "https://grafana.test/", "p.test:3128"),
        ({"https_proxy": "p.test:3128"}, "https://grafana.test/", "p.test:3128"),
        ({"HTTPS_PROXY": "http://p.test"}, "https://grafana.test/", "p.test:80"),
        ({"HTTPS_PROXY": "http://p.test:3128"}, "http://grafana.test/", None),
        ({"HTTP_PROXY": "http://p.test:3128"}, "http://grafana.test/", "p.test:3128"),
        ({"ALL_PROXY": "http://p.test:3128"}, "https://grafana.test/", "p.test:3128"),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": "grafana.test"}, "https://grafana.test/", None),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": ".test, other"}, "https://grafana.test/", None),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": "grafana.test:8443"}, "https://grafana.test/", "p.test:3128"),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": "grafana.test:443"}, "https://grafana.test/", None),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": "::1"}, "http://[::1]:3000/", None),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": "10.0.0.7"}, "http://10.0.0.7/", None),
        ({"ALL_PROXY": "http://p.test:3128", "NO_PROXY": "*"}, "http://10.0.0.7/", None),
    ],
)
def test_the_proxy_that_the_environment_names(
    environ: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By scheme, or for all; in either case of letters; and NO_PROXY excepts names, those below them, addresses and ports."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = environment_proxy(httpx.URL(url))
    assert (found and f"{found.host}:{found.port}") == proxy


async def test_a_proxy_that_cannot_be_used_is_told(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What we don't speak to is an error of the request, with what to write, and without the password."""
    monkeypatch.setenv("HTTPS_PROXY", "https://me:hunter2@p.test:3128")
    with pytest.raises(httpx.ProxyError, match=r"for https:// must be written like http://proxy\.example:3128:") as raised:
        await client.get("https://grafana.test/")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("dripping", [False, True], ids=["silent", "dripping"])
async def test_a_timeout_bounds_the_whole_request(client: httpx.AsyncClient, dripping: bool) -> None:  # noqa: FBT001 - a parameter
    """Also where a server goes on with single bytes for ever; the connection is gone with it."""
    make = servers.dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900) if dripping else servers.silent()
    async with make as server, no_leaks(serving=server.port):
        with pytest.raises(httpx.ReadTimeout, match="no response came in time"):
            await client.get(server.url, timeout=0.3)


async def test_a_connection_that_ends_unanswered_is_told(client: httpx.AsyncClient) -> None:
    """Nothing is asked twice behind the back of who asks, although the connection was good once."""
    async with servers.serve(Once) as server:
        await client.get(server.url)
        with pytest.raises(httpx.RemoteProtocolError, match="closed before any response"):
            await client.get(server.url)
        assert server.connections == 1


class Once(servers.Behaviour):
    """Answers one request, and closes the connection at the next."""

    asked = 0

    def respond(self) -> None:
        self.asked += 1
        self.transport.write(answer()) if self.asked == 1 else self.transport.close()


async def test_a_response_beyond_the_cap_is_refused(client: httpx.AsyncClient) -> None:
    """A server in Grafana's place can't fill the memory."""
    async with servers.canned(answer(b"x" * 1001)) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="the response exceeds 1,000 bytes"):
            await client.get(server.url)


async def test_the_operators_address_may_be_any(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may have put his Grafana where no check may go: at a link-local address, behind a proxy or not."""
    address = "169.254.171.7"
    async with proxying(says=answer(b"there")) as (at, proxy):
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{at.port}")
        assert (await client.get(f"http://{address}/")).text == "there"
    assert proxy.heads[0].startswith(b"GET http://169.254.171.7/ HTTP/1.1\r\n")
    async with context() as ctx:
        assert list(await ctx.wire.resolve(ctx, address, Route(any_address=True))) == [address]
        with pytest.raises(PolicyRefused):
            await ctx.wire.resolve(ctx, address, Route())


async def test_a_header_that_smuggles_is_no_request(client: httpx.AsyncClient) -> None:
    """A token with a line break fails with httpx's own message."""
    async with servers.silent() as server:
        with pytest.raises(httpx.LocalProtocolError, match="header 'Authorization' has a line break or a NUL"):
            await client.get(server.url, headers={"Authorization": "Bearer a\r\nX: b"})
        assert server.connections == 0
