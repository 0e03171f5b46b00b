"""Kinds from outside, which ask by httpx over the run's transport: what they get for it, and what they can't get round."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.responses import RedirectResponse

from probes.core import PolicyRefused, Reason, Verdict
from probes.expect.assertions import DUE_TO_REGEX
from probes.http.oauth2 import OAuth2
from probes.http.route import HttpRoute
from probes.http.transport import HttpTransport
from probes.target import Target
from probes.wire.proxy import Proxy
from probes.wire.tls import Tls
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask
from tests.support.ca import Authority
from tests.support.context import Permit, make_context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks
from tests.support.outside import outside
from tests.support.proxy import proxying
from tests.support.web import serving

METADATA = "http://169.254.169.254/latest/meta-data/"


async def test_it_leaves_what_kind_http_leaves(wire: Wire, authority: Authority) -> None:
    """H3: The same phases, facts and evidence, and the same headers on the wire but for httpx's own order of them."""
    theirs, ours = make_context(wire), make_context(wire)
    async with servers.canned(answer(b"hello"), then_close=True, tls=authority.good) as server:
        url = f"https://localhost:{server.port}/"
        await outside(url, route=HttpRoute(tls=Tls(ca=authority.ca_file))).run(theirs)
        sent = sorted(bytes(server.received).lower().splitlines())
        server.received.clear()
        await ask(ours, url, tls={"ca": str(authority.ca_file)})

    assert list(theirs.phases) == list(ours.phases) == ["resolve", "connect", "tls", "processing", "transfer"]
    assert theirs.facts.keys() == ours.facts.keys() - {DUE_TO_REGEX}  # which the kind judges, and not its client
    assert theirs.facts["body_bytes"] == 5
    assert theirs.evidence.keys() == ours.evidence.keys()
    assert theirs.evidence["response"] == ours.evidence["response"]
    assert sent == sorted(bytes(server.received).lower().splitlines())


# -- the permit


@pytest.mark.parametrize(("allow", "verdict"), [(["POST /say"], Verdict.PASS), ([], Verdict.FAIL)])
async def test_nothing_is_sent_that_the_target_does_not_allow(runs: Observer, allow: list[str], verdict: Verdict) -> None:
    """A POST needs its line under allow, whoever's client sends it; without one nothing goes out, and it is policy."""
    async with servers.canned(answer(b"well"), then_close=True) as server:
        target = Target.model_validate({"name": "api", "url": server.url, "allow": allow})
        probe = outside(f"{server.url}say", lambda client, url: client.post(url, json={"a": 1}), method="POST", target=target)
        seen = await runs.observe(probe)
        assert (seen.verdict, server.connections) == (verdict, 1 if allow else 0), seen.message

    assert seen.reason is (None if allow else Reason.POLICY)
    assert (b'{"a":1}' in server.received) is bool(allow)


async def test_a_redirect_into_a_forbidden_address_is_refused(runs: Observer, wire: Wire) -> None:
    """Each hop passes the permit; and where that lets everything pass, the addresses that no check may reach stay shut."""
    async with serving({"GET /": redirect(METADATA)}) as web:
        seen = await runs.observe(outside(f"{web.url}/", client={"follow_redirects": True}))
        assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.POLICY)
        assert seen.message.startswith("http://169.254.169.254 is neither an address of this check nor a target")
        permit = Permit()
        with pytest.raises(PolicyRefused, match="link-local or metadata address"):
            await outside(f"{web.url}/", client={"follow_redirects": True}).run(make_context(wire, permit=permit))

    assert permit.asked == [("GET", f"{web.url}/"), ("GET", METADATA)]


def redirect(to: str, status: int = 307) -> Any:
    """An answer that leads elsewhere."""
    return RedirectResponse(to, status)


async def test_what_was_meant_for_one_origin_goes_to_no_other(wire: Wire) -> None:
    """httpx would take the key, the client's own headers and the body along; here the other origin sees none of them."""
    ctx = make_context(wire)

    async def post(client: httpx.AsyncClient, url: str) -> object:
        return await client.post(url, content=b"body-secret", headers={"X-Api-Key": "key-secret", "Authorization": "Bearer secret"})

    async with servers.canned(answer(b"there")) as other:
        moved = answer(b"", b"Location: " + other.url.encode(), status=b"307 Moved")
        async with servers.canned(moved) as first:
            await outside(first.url, post, client={"follow_redirects": True, "headers": {"X-Mine": "secret"}}).run(ctx)

    assert first.received.count(b"secret") == 4
    assert b"secret" not in other.received
    assert other.received.startswith(b"POST / HTTP/1.1\r\n")
    assert b"traceparent: 00-" in other.received
    assert ctx.facts["redirects"] == 1


async def test_a_redirect_within_the_origin_keeps_what_was_meant_for_it(wire: Wire) -> None:
    """The user's own headers and the body go on to the same origin, over the same connection."""
    ctx = make_context(wire)
    async with serving({"POST /a": redirect("/b"), "POST /b": {"well": True}}) as web:
        probe = outside(
            f"{web.url}/a",
            lambda client, url: client.post(url, content=b"body", headers={"X-Api-Key": "k"}),
            client={"follow_redirects": True},
        )
        await probe.run(ctx)

    (headers, body) = web.requests[1]
    assert (headers["x-api-key"], body) == ("k", b"body")
    assert ctx.facts["connection_reused"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://api.test/", "https://api.test/"),
        ("http://api.test:8000/", "https://api.test:8000/"),
        ("https://api.test/", "https://api.test:8443/"),
        ("https://api.test/", "https://www.api.test/"),
    ],
    ids=["https", "https at the same port", "another port", "another host"],
)
async def test_an_origin_is_scheme_host_and_port(wire: Wire, first: str, second: str) -> None:
    """Where one of them differs nothing is taken along, not even Authorization to https, which httpx itself would."""
    async with HttpTransport(make_context(wire, permit=Permit(first, second))) as transport:
        asked = httpx.Request("GET", first)
        with pytest.raises(PolicyRefused):
            await transport.handle_async_request(asked)
        headers = {"Authorization": "Bearer secret", "X-Api-Key": "secret"}
        followed = httpx.Request("GET", second, headers=headers, extensions=asked.extensions)
        with pytest.raises(PolicyRefused):
            await transport.handle_async_request(followed)
    assert "secret" not in str(followed.headers.multi_items())


# -- limits of size and time


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "bomb"])
async def test_a_body_ends_at_the_cap(runs: Observer, encoded: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A longer one is a failure of size, also where it is small on the wire; nobody has to hold it in memory."""
    body = bytes(3 * 2**20)
    response = answer(gzip.compress(body), b"Content-Encoding: gzip") if encoded else answer(body)
    async with servers.canned(response) as server:
        seen = await runs.observe(outside(server.url))

    assert (seen.reason, seen.message) == (Reason.SIZE, "the response exceeds 1,048,576 bytes")


async def test_a_cap_is_exact(wire: Wire) -> None:
    """A body of exactly the cap passes, one byte more doesn't."""
    transport = HttpTransport(make_context(wire), cap=100)
    async with servers.canned(answer(b"x" * 100), answer(b"x" * 101)) as server, httpx.AsyncClient(transport=transport) as client:
        assert len((await client.get(server.url)).content) == 100
        with pytest.raises(httpx.RemoteProtocolError, match="the response exceeds 100 bytes"):
            await client.get(server.url)


class Slow(servers.Behaviour):
    """Answers 50 ms late."""

    def respond(self) -> None:
        self.loop.call_later(0.05, lambda: self.transport.write(answer(b"late")))


async def test_the_deadline_is_the_checks_own(runs: Observer) -> None:
    """httpx's timeout is not looked at: `timeout:` of the check alone ends a run, and says in which phase it was."""
    async with servers.serve(Slow) as server:
        seen = await runs.observe(outside(server.url, client={"timeout": 0.001}))
        assert (seen.verdict, seen.message) == (Verdict.PASS, "late")
    async with servers.silent() as server:
        seen = await runs.observe(outside(server.url), within=0.1)

    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 100ms in processing")
    assert seen.phases["connect"] < 0.1 <= seen.phases["processing"] + seen.phases["connect"] + 0.05


# -- what httpx brings


async def test_cookies_are_the_clients_and_secrets_of_the_run(wire: Wire) -> None:
    """What one response sets the next request carries, and no output tells it."""
    ctx = make_context(wire)

    async def twice(client: httpx.AsyncClient, url: str) -> object:
        await client.get(url)
        return await client.get(url)

    async with servers.canned(answer(b"", b"Set-Cookie: session=crumbs-of-it; Path=/"), answer()) as server:
        await outside(server.url, twice).run(ctx)

    assert b"cookie: session=crumbs-of-it\r\n" in bytes(server.received).lower()
    assert "crumbs-of-it" in ctx.secrets
    assert ctx.evidence["request"]["headers"]["cookie"] == "(secret)"


async def test_http_2(wire: Wire) -> None:
    """The route decides the version; several requests are streams of one connection."""
    ctx = make_context(wire)
    versions = []

    async def three(client: httpx.AsyncClient, url: str) -> object:
        for path in ("one", "two", "three"):
            response = await client.post(f"{url}{path}", content=path)
            versions.append((response.http_version, response.text))
        return None

    async with http2.site(lambda headers, body: (200, {}, headers[":path"].encode() + body)) as (server, asked):
        await outside(server.url, three, route=HttpRoute(http="2")).run(ctx)

    assert versions == [("HTTP/2", "/oneone"), ("HTTP/2", "/twotwo"), ("HTTP/2", "/threethree")]
    assert server.connections == 1
    assert "host" not in asked[0]
    assert ctx.facts["http_version"] == 2.0


async def test_pieces_come_as_they_are_sent(wire: Wire) -> None:
    """A streamed body is handed on piece by piece: the second is only sent when the first was read."""
    read = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await read.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async def pieces(client: httpx.AsyncClient, url: str) -> list[bytes]:
        found = []
        async with client.stream("GET", url) as response:
            async for piece in response.aiter_bytes():
                found.append(piece)
                read.set()
        return found

    async with servers.speaking(talk) as server:
        result = await outside(server.url, pieces).run(ctx := make_context(wire))

    assert result.message == str([b"first", b"second"])
    assert ctx.facts["body_bytes"] == 11


@pytest.mark.parametrize("closing", ["closed", "left open"])
async def test_who_stops_reading_closes_the_connection(wire: Wire, closing: str) -> None:
    """An endless stream of which only the beginning is wanted ends with its context, or with its client at the latest."""

    async def beginning(client: httpx.AsyncClient, url: str) -> object:
        response = await client.send(client.build_request("GET", url), stream=True)
        piece = await anext(response.aiter_bytes())
        if closing == "closed":
            await response.aclose()
            await server.left.wait()
        return len(piece) > 0

    async with servers.endless(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        async with no_leaks(serving=server.port):
            assert (await outside(server.url, beginning).run(make_context(wire))).message == "True"
        await server.left.wait()


async def test_an_encoded_body_comes_decoded_where_it_was_asked_for(wire: Wire) -> None:
    """The route decides the encodings to request: httpx never decodes without a bound, and its own Accept-Encoding is replaced."""
    headers: dict[str, str] = {}

    async def get(client: httpx.AsyncClient, url: str) -> str:
        response = await client.get(url, headers={"Accept-Encoding": "br"})
        headers.update(response.headers)
        return response.text

    async with servers.canned(answer(gzip.compress(b"small"), b"Content-Encoding: gzip", b"X-Kept: yes")) as server:
        result = await outside(server.url, get, route=HttpRoute(encodings=("gzip",))).run(ctx := make_context(wire))

    assert result.message == "small"
    assert b"accept-encoding: gzip\r\n" in bytes(server.received).lower()
    assert headers == {"x-kept": "yes"}
    assert ctx.evidence["response"]["headers"]["content-encoding"] == "gzip"


async def test_a_head_keeps_what_it_says_of_the_body(wire: Wire) -> None:
    """There is no body to decode: its encoding and length are what a HEAD asks for."""
    transport = HttpTransport(make_context(wire))
    head = answer(b"", b"Content-Encoding: gzip", length=90)
    async with servers.canned(head) as server, httpx.AsyncClient(transport=transport) as client:
        response = await client.head(server.url)

    assert (response.headers["content-encoding"], response.headers["content-length"], response.content) == ("gzip", "90", b"")


async def test_a_request_that_is_sent_again_is_no_redirect(wire: Wire) -> None:
    """httpx's digest authentication sends the same request twice; the second carries what the first was asked for."""
    challenge = b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
    ctx = make_context(wire)
    async with servers.canned(answer(b"", challenge, status=b"401 No"), answer(b"in")) as server:
        result = await outside(server.url, client={"auth": httpx.DigestAuth("me", "word")}).run(ctx)

    assert result.message == "in"
    assert b"Authorization: Digest " in server.received
    assert ctx.facts["redirects"] == 0


async def test_a_body_that_is_made_as_it_is_sent_has_its_length(wire: Wire) -> None:
    """A generator of pieces is sent whole, with a Content-Length instead of chunks."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with serving({"POST /": {"well": True}}) as web:
        await outside(f"{web.url}/", lambda client, url: client.post(url, content=pieces())).run(make_context(wire))

    (headers, body) = web.requests[0]
    assert (headers["content-length"], body) == ("7", b"one two")
    assert "transfer-encoding" not in headers


async def test_requests_beside_one_another_have_their_own_connections(wire: Wire) -> None:
    """Two at once don't mix their responses, and neither connection is left behind."""

    async def both(client: httpx.AsyncClient, url: str) -> list[str]:
        found = await asyncio.gather(client.get(f"{url}a"), client.get(f"{url}b"))
        return [one.text for one in found]

    async with http2.site(lambda headers, _: (200, {}, headers[":path"].encode())) as (server, _), no_leaks(serving=server.port):
        result = await outside(server.url, both, route=HttpRoute(http="2")).run(make_context(wire))
    assert result.message == "['/a', '/b']"


async def test_a_connection_is_kept_for_the_next_run(wire: Wire) -> None:
    """`keep_alive` of the route keeps it for the check's next run."""
    async with servers.canned(answer(), answer()) as server:
        for ctx in (make_context(wire), second := make_context(wire)):
            await outside(server.url, route=HttpRoute(keep_alive=True)).run(ctx)

    assert server.connections == 1
    assert list(second.phases) == ["processing", "transfer"]


async def test_a_proxy_of_the_way(wire: Wire, authority: Authority) -> None:
    """A tunnel for https, and the proxy's failures in its own name."""
    async with servers.canned(answer(b"safe"), tls=authority.good) as server, proxying("me:word") as (at, proxy):
        route = HttpRoute(tls=Tls(ca=authority.ca_file), proxy=Proxy.read(f"http://me:word@127.0.0.1:{at.port}"))
        result = await outside(f"https://localhost:{server.port}/", route=route).run(ctx := make_context(wire))
    assert result.message == "safe"
    assert proxy.heads[0].startswith(b"CONNECT localhost:")
    assert list(ctx.phases) == ["resolve", "connect", "proxy", "tls", "processing", "transfer"]


async def test_a_token_of_the_way(wire: Wire) -> None:
    """The transport has it from the token endpoint, sends it, and drops it where it is refused."""
    granted = answer(b'{"access_token": "token-1", "token_type": "Bearer"}')

    async def until_refused(client: httpx.AsyncClient, url: str) -> list[int]:
        return [(await client.get(url)).status_code for _ in range(2)]

    async with servers.canned(granted) as endpoint, servers.canned(answer(b"in"), answer(b"", status=b"401 No")) as server:
        oauth2 = OAuth2.model_validate({"token_url": f"{endpoint.url}token", "client_id": "me", "client_secret": "word"})
        probe = outside(server.url, until_refused, route=HttpRoute(oauth2=oauth2))
        assert (await probe.run(ctx := make_context(wire))).message == "[200, 401]"
        assert endpoint.connections == 1
        await probe.run(make_context(wire))
        assert endpoint.connections == 2

    assert bytes(server.received).count(b"Authorization: Bearer token-1\r\n") == 4
    assert "token-1" in ctx.secrets
    assert next(iter(ctx.phases)) == "token"


async def test_a_token_goes_to_no_other_origin(wire: Wire) -> None:
    """A redirect leads elsewhere: neither is the token taken along, nor is it added there again."""
    granted = answer(b'{"access_token": "token-1", "token_type": "Bearer"}')
    async with servers.canned(granted) as endpoint, servers.canned(answer(b"there")) as other:
        moved = answer(b"", b"Location: " + other.url.encode(), status=b"307 Moved")
        async with servers.canned(moved) as first:
            oauth2 = OAuth2.model_validate({"token_url": f"{endpoint.url}token", "client_id": "me", "client_secret": "word"})
            probe = outside(
                first.url, lambda client, url: client.get(url), client={"follow_redirects": True}, route=HttpRoute(oauth2=oauth2)
            )
            await probe.run(make_context(wire))
    assert b"Authorization: Bearer token-1\r\n" in first.received
    assert other.received.startswith(b"GET / HTTP/1.1\r\n")
    assert b"token-1" not in other.received


async def test_an_authorization_of_the_users_own_needs_no_token(wire: Wire) -> None:
    """It is sent as it is, and the token endpoint isn't asked."""
    granted = answer(b'{"access_token": "token-1", "token_type": "Bearer"}')
    async with servers.canned(granted) as endpoint, servers.canned(answer(b"in")) as server:
        oauth2 = OAuth2.model_validate({"token_url": f"{endpoint.url}token", "client_id": "me", "client_secret": "word"})
        probe = outside(
            server.url, lambda client, url: client.get(url, headers={"Authorization": "Basic b3du"}), route=HttpRoute(oauth2=oauth2)
        )
        await probe.run(make_context(wire))
    assert b"Authorization: Basic b3du\r\n" in server.received
    assert endpoint.connections == 0


async def test_a_token_endpoint_that_is_gone_is_told(runs: Observer) -> None:
    """The verdict is that of our own kinds, and the message names who refused the connection."""
    async with servers.refusing() as endpoint, servers.canned(answer()) as server:
        oauth2 = OAuth2.model_validate({"token_url": f"{endpoint.url}token", "client_id": "me", "client_secret": "word"})
        seen = await runs.observe(outside(server.url, route=HttpRoute(oauth2=oauth2)))
        assert server.connections == 0

    assert (seen.reason, seen.message.startswith("the token endpoint: ")) == (Reason.REFUSED, True), seen.message
