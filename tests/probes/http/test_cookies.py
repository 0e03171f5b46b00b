"""Cookies: kept for one run, sent where they belong, and nowhere else."""

from __future__ import annotations

import httpx
import pytest

from probes.core import Verdict
from probes.http.cookies import Cookies
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask
from tests.support.context import make_context


def sent(kept: str, at: str, to: str) -> str:
    """The Cookie header of a request to `to` after `at` has set a cookie."""
    cookies = Cookies()
    cookies.store(at, (("set-cookie", kept),))
    request = httpx.Request("GET", to)
    cookies.add_to(request, lambda _: None)
    return str(request.headers.get("cookie", ""))


@pytest.mark.parametrize(
    ("kept", "at", "to", "wanted"),
    [
        ("a=1", "https://app.test/", "https://app.test/x", "a=1"),
        ("a=1", "https://app.test/", "https://www.app.test/", ""),
        ("a=1; Domain=app.test", "https://app.test/", "https://www.app.test/", "a=1"),
        ("a=1; Domain=other.test", "https://app.test/", "https://other.test/", ""),
        ("a=1; Domain=test", "https://app.test/", "https://other.test/", ""),
        ("a=1; Domain=co.uk", "https://app.co.uk/", "https://other.co.uk/", ""),
        ("a=1; Domain=www.app.test", "https://app.test/", "https://www.app.test/", ""),
        ("a=1; Secure", "https://app.test/", "http://app.test/", ""),
        ("a=1; Path=/in", "https://app.test/in/x", "https://app.test/out", ""),
        ("a=1; Path=/in", "https://app.test/in/x", "https://app.test/in/y", "a=1"),
        ("a=1; Max-Age=0", "https://app.test/", "https://app.test/", ""),
        ("a=1", "http://127.0.0.1/", "http://127.0.0.2/", ""),
        ("a=1; Domain=0.0.1", "http://127.0.0.1/", "http://9.0.0.1/", ""),
    ],
)
def test_a_cookie_goes_where_it_belongs(kept: str, at: str, to: str, wanted: str) -> None:
    """RFC 6265's rules of host, domain, path, scheme and age."""
    assert sent(kept, at, to) == wanted


async def test_a_chain_of_redirects_keeps_its_cookies(wire: Wire) -> None:
    """A login that sets a cookie and sends on to the page that wants it works as in a browser; the next run begins without."""
    hop = answer(b"", b"Location: /in", b"Set-Cookie: session=s3cret-value; HttpOnly", status=b"302 Found")
    async with servers.canned(hop, answer(b"in"), hop) as server:
        ctx = make_context(wire)
        result = await ask(ctx, server.url, redirects=1)
        both = bytes(server.received)
        server.received.clear()
        await ask(make_context(wire), server.url, expect={"status": 302})

    assert result.verdict is Verdict.PASS
    assert both.count(b"Cookie: session=s3cret-value\r\n") == 1
    assert b"Cookie" not in server.received
    assert "s3cret-value" in ctx.secrets
    assert "s3cret-value" not in str(ctx.evidence)


async def test_a_cookie_never_follows_to_another_host(wire: Wire) -> None:
    """A redirect elsewhere leaves cookies behind."""
    async with servers.canned(answer(b"there")) as other:
        away = f"http://localhost:{other.port}/".encode()
        async with servers.canned(answer(b"", b"Location: " + away, b"Set-Cookie: session=mine", status=b"302 Found")) as first:
            await ask(make_context(wire), first.url, redirects=1, resolve=None)

    assert b"session" not in other.received


async def test_a_journey_s_steps_share_cookies_and_a_connection(wire: Wire) -> None:
    """As a browser does: the second step goes over the first one's connection, with its cookie."""
    ctx = make_context(wire)
    async with servers.canned(answer(b"{}", b"Set-Cookie: session=abcdefgh"), answer(b"{}"), answer(b"{}")) as server:
        steps = [{"name": "one", "get": "/1"}, {"name": "two", "get": "/2"}, {"name": "bye", "get": "/3", "always": True}]
        await Journey.model_validate({"url": server.url.rstrip("/"), "steps": steps}).run(ctx)

    assert server.connections == 1
    assert bytes(server.received).count(b"Cookie: session=abcdefgh") == 2
    assert ctx.facts["connection_reused"] == 1  # of what counts: leaving has a notebook of its own
    assert list(ctx.phases) == ["resolve", "connect", "processing", "transfer"]


async def test_a_cookie_of_the_user_s_own_wins(wire: Wire) -> None:
    """Who writes a Cookie header means it."""
    hop = answer(b"", b"Location: /in", b"Set-Cookie: session=theirs", status=b"302 Found")
    async with servers.canned(hop, answer(b"in")) as server:
        await Http.model_validate({"url": server.url, "redirects": 1, "headers": {"Cookie": "session=mine"}}).run(make_context(wire))

    assert bytes(server.received).count(b"session=mine") == 2
    assert b"session=theirs" not in server.received
