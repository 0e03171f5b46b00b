"""Cookies: kept for one run, sent where they belong, and nowhere else."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core import Reason, Verdict
from probes.http.cookies import Cookies
from probes.http.transport import HttpTransport
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask, failure
from tests.support.clock import NOON
from tests.support.context import make_context


def sent(kept: str, at: str, to: str) -> str:
    """The Cookie header of a request to `to` after `at` has set a cookie."""
    cookies = Cookies()
    cookies.store(at, [kept.encode()], NOON)
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
        ("a=1; Domain=127.0.0.1", "http://127.0.0.1/", "http://127.0.0.1/", "a=1"),
        ("a=1; Domain=.app.test", "https://app.test/", "https://www.app.test/", "a=1"),
        ("a=1; Domain=APP.test", "https://App.test/", "https://app.test/", "a=1"),
        ("a=1; Max-Age=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://app.test/", "https://app.test/", ""),
        ("a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://app.test/", "https://app.test/", "a=1"),
        ("a=1; Expires=Thu, 99 Foo 99999 99:99:99", "https://app.test/", "https://app.test/", "a=1"),
        ("a=1; Expires=Sun Nov  6 08:49:37 1994", "https://app.test/", "https://app.test/", ""),
        ("a=1; Expires=Wednesday, 06-Nov-30 08:49:37 GMT", "https://app.test/", "https://app.test/", "a=1"),
        ("a=1; Path=in", "https://app.test/in/x", "https://app.test/in/y", "a=1"),
        ("a=1; Path=/in", "https://app.test/in/x", "https://app.test/inside", ""),
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


@pytest.mark.parametrize(
    "cookie",
    [
        "user=José; Path=/".encode(),
        "user=José; Path=/".encode("latin-1"),
        "user=x; Path=/é; Comment=ü".encode(),
        "ü=x".encode(),
        b"\xff\xfe\xfd",
        b"a=1; Expires=Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
        b"a=1; Max-Age=" + b"9" * 5000,
        b"a=1; Version=\xb2; Port=\xb2; Domain=\xb2",
        b"=; =; =",
        b";",
        b"",
        b"a=" + b"x" * 5000,
        b"a=\x01",
    ],
)
@pytest.mark.parametrize("http", ["1.1", "2"])
async def test_no_cookie_hides_the_answer(wire: Wire, cookie: bytes, http: str) -> None:
    """W1, XM8: an outage is an outage, and a healthy page is one, whatever its cookies are made of."""
    for status, reason in ((500, Reason.STATUS), (200, None)):
        whole = answer(b"x", b"Set-Cookie: " + cookie, status=b"%d Oops" % status)
        if http == "2":
            block = b"\x08\x03%d" % status + b"\x00\x0aset-cookie" + _string(cookie)
            whole = http2.SETTINGS + http2.frame(1, 0x4, 1, block) + http2.data(b"x")
        async with servers.canned(whole) as server:
            if reason:
                assert (await failure(make_context(wire), server.url, http=http)).reason is reason
            else:
                assert (await ask(make_context(wire), server.url, http=http)).verdict is Verdict.PASS


def _string(text: bytes) -> bytes:
    """HPACK's string of any length, without Huffman."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, length = len(text) - 127, bytearray([127])
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + text


@pytest.mark.parametrize("value", ["José".encode(), "José".encode("latin-1"), b"\x80\xff"])
async def test_a_cookie_comes_back_as_it_was_sent(wire: Wire, value: bytes) -> None:
    """W1: byte by byte, whatever charset it is in."""
    hop = answer(b"", b"Location: /in", b"Set-Cookie: user=" + value, status=b"302 Found")
    async with servers.canned(hop, answer(b"in")) as server:
        result = await ask(make_context(wire), server.url, redirects=1)
    assert result.verdict is Verdict.PASS
    assert b"\r\nCookie: user=" + value + b"\r\n" in server.received


async def test_only_so_many_cookies_are_kept() -> None:
    """W1: as many as a browser keeps; the oldest go first."""
    cookies = Cookies()
    cookies.store("http://app.test/", [b"c%d=1" % number for number in range(1000)], NOON)
    request = httpx.Request("GET", "http://app.test/")
    cookies.add_to(request, lambda _: None)
    assert request.headers["cookie"].split("; ") == [f"c{number}=1" for number in range(820, 1000)]


@given(line=st.binary(max_size=200), date=st.binary(max_size=40))
def test_any_bytes_are_a_cookie_or_none(line: bytes, date: bytes) -> None:
    """W1: reading never raises, and what is kept can be sent."""
    cookies = Cookies()
    cookies.store("https://app.test/", [line, b"a=1; Expires=" + date], NOON)
    request = httpx.Request("GET", "https://app.test/")
    cookies.add_to(request, lambda _: None)
    assert b"\n" not in b"".join(value for _, value in request.headers.raw)


@pytest.mark.parametrize("header", [b"Set-Cookie: user=Jos\xc3\xa9", b"Set-Cookie: a=1; Expires=1 Jan 999999999 1:1:1", b"X-Any: \xff"])
async def test_httpx_above_the_transport_meets_no_such_header(wire: Wire, header: bytes) -> None:
    """W1: a kind from outside gets the response, and no error or warning of the standard library's cookie jar."""
    async with servers.canned(answer(b"x", header)) as server, httpx.AsyncClient(transport=HttpTransport(make_context(wire))) as client:
        assert (await client.get(server.url)).text == "x"
