"""HTTP/1.1 as servers write it: what browsers take is taken, and a setting is strict; everything beside the body is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.http.exchange import HEAD_CAP
from probes.http.head import FIELDS_CAP
from probes.http.http1 import Exchange1
from probes.http.message import Request
from probes.http.redirects import following
from probes.http.route import HttpRoute
from probes.http.session import HttpSession
from probes.text import clips
from probes.wire.stream import Stream
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask, failure
from tests.support.context import Permit, make_context

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# Each is taken by browsers, or RFC 9112 lets a client take it; (the response, whether the strict setting takes it, too)
LENIENT = {
    "folded": (OK + b"X-A: one\r\n two\r\n\tthree\r\nContent-Length: 2\r\n\r\nhi", False),
    "folded at first": (OK + b" X-B: y\r\nContent-Length: 2\r\n\r\nhi", False),
    "LF": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", False),
    "LF of the status": (b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi", False),
    "LF of a header": (OK + b"X-A: b\nContent-Length: 2\r\n\r\nhi", False),
    "no reason, LF": (b"HTTP/1.1 200\nContent-Length: 2\n\nhi", False),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", False),
    "a list of lengths": (OK + b"Content-Length: 2, 2\r\n\r\nhi", False),
    "chunked beside a length": (OK + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", False),
    "a length beside chunked": (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n2\r\nhi\r\n0\r\n\r\n", False),
    "identity": (OK + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", False),
    "chunked twice": (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", False),
    "chunked, identity": (OK + b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n", False),
    "LF in chunks": (CHUNKED + b"2\nhi\n0\n\n", False),
    "LF behind a chunk": (CHUNKED + b"2\r\nhi\n0\r\n\r\n", False),
    "a blank behind a size": (CHUNKED + b"2  \r\nhi\r\n0 \r\n\r\n", True),
    "extensions": (CHUNKED + b'2;a=b;c="d e"\r\nhi\r\n0;x@=\r\n\r\n', True),
    "a blank before the colon": (OK + b"Content-Length : 2\r\n\r\nhi", False),
    "no colon": (OK + b"what is this\r\nContent-Length: 2\r\n\r\nhi", False),
    "a name of no token": (OK + "X-é: 1\r\n".encode() + b": 2\r\nContent-Length: 2\r\n\r\nhi", False),
    "a CR in a value": (OK + b"X-A: b\rc\r\nContent-Length: 2\r\n\r\nhi", False),
    "two blanks": (b"HTTP/1.1  200  OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "lower case": (b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "HTTP/2 in words": (b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "ICY": (b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "an empty line before": (b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", True),
    "a reason in UTF-8": ("HTTP/1.1 200 Schön\r\nContent-Length: 2\r\n\r\nhi".encode(), True),
    "an early hint": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", True),
    "trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nX-T: y\r\n\r\n", True),
    "folded trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nX-T: y\r\n z\r\n\r\n", True),
}
BROKEN = {
    "other lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", "Content-Length is 2 and 3; it begins 'HTTP/1.1 200 OK'"),
    "a folded length": (OK + b"Content-Length: 2\r\n 3\r\n\r\nhi!", "Content-Length is '2 3'"),
    "a negative length": (OK + b"Content-Length: -2\r\n\r\nhi", "Content-Length is '-2'"),
    "a length of a word": (OK + b"Content-Length: \xc2\xb2\r\n\r\nhi", "Content-Length is '\\xc2\\xb2'"),
    "a length without end": (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhi", "Content-Length is '99999"),
    "a NUL": (OK + b"X-A: b\0c\r\n\r\n", "a line has a NUL; it begins 'HTTP/1.1 200 OK'"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "it begins 'SSH-2.0-OpenSSH_9.2'"),
    "binary": (b"\x4a\x00\x00\x00\x0a5.5.5", "it begins 'J\\x00\\x00\\x00'"),
    "a status of two digits": (b"HTTP/1.1 99 What\r\n\r\n", "it begins 'HTTP/1.1 99 What'"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "it begins 'HTTP/1.1 2000 OK'"),
    "a status of a word": (b"HTTP/1.1 abc OK\r\n\r\n", "it begins 'HTTP/1.1 abc OK'"),
    "no size": (CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n", "'zz' is not the size of a chunk"),
    "a size in C": (CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n", "'0x2' is not the size of a chunk"),
    "a negative size": (CHUNKED + b"-2\r\nhi\r\n0\r\n\r\n", "'-2' is not the size of a chunk"),
    "a huge size": (CHUNKED + b"f" * 17 + b"\r\nhi", "is not the size of a chunk"),
    "a long chunk": (CHUNKED + b"2\r\nhiho\r\n0\r\n\r\n", "a chunk is longer than its size"),
}


@pytest.mark.parametrize("name", LENIENT)
async def test_what_browsers_take_is_taken(wire: Wire, name: str) -> None:
    """W9: with the body that it has for them; `framing: strict` is for who looks for such servers."""
    response, strictly = LENIENT[name]
    async with servers.canned(response) as server:
        result = await ask(make_context(wire), server.url, expect={"regex": "^hi$"})
    assert result.verdict is Verdict.PASS
    async with servers.canned(response) as server:
        if strictly:
            assert (await ask(make_context(wire), server.url, framing="strict")).verdict is Verdict.PASS
        else:
            failed = await failure(make_context(wire), server.url, framing="strict")
            assert failed.reason is Reason.PROTOCOL
            assert "framing: strict" in failed.message


@pytest.mark.parametrize("name", BROKEN)
async def test_what_nobody_takes_is_quoted(wire: Wire, name: str) -> None:
    """W9: the message shows what came, in words of the RFC, and the evidence keeps the head without its secrets."""
    response, words = BROKEN[name]
    ctx = make_context(wire)
    async with servers.canned(response.replace(b"OK\r\n", b"OK\r\nSet-Cookie: s=hidden-1\r\n", 1)) as server:
        failed = await failure(ctx, server.url)
    assert failed.reason is Reason.PROTOCOL
    assert "the server's response is not HTTP/1.1" in failed.message
    assert words in clips(failed.message)[0]
    assert ctx.evidence["response"]
    assert "hidden-1" not in str(ctx.evidence)


async def test_a_broken_head_leaves_its_status(wire: Wire) -> None:
    """W9: evidence and fact have the status as soon as it is known."""
    ctx = make_context(wire)
    async with servers.canned(b"HTTP/1.1 503 Busy\r\nServer: x\r\nX: \0\r\n\r\n") as server:
        await failure(ctx, server.url)
    assert ctx.evidence["response"] == {"status": 503, "headers": {"server": "x"}, "begins": "it begins 'HTTP/1.1 503 Busy'"}
    assert ctx.facts["status_code"] == 503


async def test_the_last_line_end_may_be_missing(wire: Wire) -> None:
    """W9: the last chunk has come, and the connection ends."""
    for ending in (b"0\r\n", b"0\r\nX-T: y\r\n"):
        async with servers.canned(CHUNKED + b"2\r\nhi\r\n" + ending, then_close=True) as server:
            assert (await ask(make_context(wire), server.url, expect={"text": "hi"})).verdict is Verdict.PASS
        async with servers.canned(CHUNKED + b"2\r\nhi\r\n" + ending, then_close=True) as server:
            assert (await failure(make_context(wire), server.url, framing="strict")).reason is Reason.TRUNCATED


@pytest.mark.parametrize("name", ["chunked beside a length", "two lengths"])
async def test_a_doubtful_connection_is_used_once(wire: Wire, name: str) -> None:
    """W9: where Content-Length and Transfer-Encoding are both there, the connection carries no other request (RFC 9112, 6.3)."""
    async with servers.canned(LENIENT[name][0], LENIENT[name][0]) as server:
        for _ in range(2):
            assert (await ask(make_context(wire), server.url, keep_alive=True)).verdict is Verdict.PASS
    assert server.connections == (2 if name == "chunked beside a length" else 1)


async def parsed(wire: Wire, pieces: list[bytes], *, strict: bool = False) -> tuple[object, ...]:
    """What a response is that comes in these pieces: status, headers, body; or the failure."""
    stream = Stream(time.monotonic)
    exchange = Exchange1(make_context(wire), stream, "GET", strict=strict)
    try:
        for piece in pieces:
            await exchange.feed(piece)
    except Failed as failed:
        return failed.reason, failed.message
    return exchange.status, exchange.fields(), b"".join(exchange.pieces), exchange.done


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_how_tcp_cuts_it_doesnt_matter(wire: Wire, step: int, strict: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """W11: every response of this page is the same in one packet and byte by byte."""
    for response, _ in LENIENT.values():
        cut = [response[at : at + step] for at in range(0, len(response), step)]
        assert await parsed(wire, cut, strict=strict) == await parsed(wire, [response], strict=strict)


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(
        st.one_of(st.sampled_from([OK, CHUNKED, b"\r\n", b"\n", b"0\r\n\r\n", b"2\r\nhi\r\n", b"X: y\r\n"]), st.binary(max_size=20))
    ),
    cut=st.integers(1, 40),
)
def test_any_bytes_are_a_response_or_a_failure(pieces: list[bytes], cut: int) -> None:
    """W1, W11: nothing but Failed is raised, and where the bytes are cut changes neither status, headers nor body."""
    whole = b"".join(pieces)

    async def both() -> None:
        wire = Wire()
        one = await parsed(wire, [whole])
        other = await parsed(wire, [whole[at : at + cut] for at in range(0, len(whole), cut)])
        await wire.aclose()
        assert one == other or isinstance(one[0], Reason)

    asyncio.run(both())


@pytest.mark.parametrize("header", [b"X-T: bad", b"Content-Type: text/bad", b"Location: /bad", b"Set-Cookie: a=bad"])
@pytest.mark.parametrize("split", [False, True])
async def test_a_trailer_is_no_header(wire: Wire, header: bytes, split: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """W11: by its place, and not by how many packets there are."""
    whole = CHUNKED + b"2\r\nhi\r\n0\r\n" + header + b"\r\n\r\n"
    at = len(CHUNKED)
    name = header.partition(b":")[0].decode().lower()
    found = await parsed(wire, [whole[:at], whole[at:]] if split else [whole])
    assert found == (200, (("transfer-encoding", "chunked"),), b"hi", True)
    async with servers.canned(whole) as server:
        result = await ask(make_context(wire), server.url, expect={"headers": {name: {"exists": False}}})
    assert result.verdict is Verdict.PASS


# What isn't the body

FLOODS = {
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-1: " + b"a" * 1000 + b"\r\n"),
    "short trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a:\n"),
    "a long trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"a" * 1000),
    "an extension": (CHUNKED + b"2;", b"a" * 1000),
    "extensions": (CHUNKED, b"1;" + b"a" * 100 + b"\r\nx\r\n"),
    "blanks of a size": (CHUNKED, b" " * 1000),
    "headers": (OK, b"X-1: " + b"a" * 1000 + b"\r\n"),
    "short headers": (OK, b"a:\n"),
    "a long header": (OK + b"X: ", b"a" * 1000),
    "folds": (OK + b"X: y\r\n", b" z\r\n"),
    "lines of nothing": (b"", b"\r\n"),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"),
    "the first line": (b"HTTP/1.1 200 ", b"a" * 1000),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_what_is_beside_the_body_is_bounded(wire: Wire, name: str) -> None:
    """XB2: in bytes and in number; a server that goes on for ever fails with reason size after little."""
    begin, piece = FLOODS[name]
    stream = Stream(time.monotonic)
    exchange = Exchange1(make_context(wire), stream, "GET")
    receiving = asyncio.ensure_future(_read_all(exchange))
    stream.data_received(begin)
    sent = 0
    while not receiving.done():
        for _ in range(20):
            await asyncio.sleep(0)
        stream.data_received(piece * 20)
        sent += len(piece) * 20
        assert sent < 3 * HEAD_CAP + 100 * FIELDS_CAP
    with pytest.raises(Failed) as caught:
        await receiving
    assert caught.value.reason is Reason.SIZE


async def _read_all(exchange: Exchange1) -> None:
    await exchange.receive_head()
    async for _ in exchange.body():
        pass


@pytest.mark.parametrize("name", sorted(FLOODS))
async def test_an_endless_flood_is_a_failure_of_size(wire: Wire, name: str) -> None:
    """XB2: the same from a server."""
    begin, piece = FLOODS[name]
    async with servers.endless(begin, piece * 60) as server:
        failed = await failure(make_context(wire), server.url)
    assert failed.reason is Reason.SIZE


@pytest.mark.parametrize(("count", "reason"), [(FIELDS_CAP - 2, None), (FIELDS_CAP - 1, Reason.SIZE)])
async def test_how_many_headers_are_taken(wire: Wire, count: int, reason: Reason | None) -> None:
    """XB2: 1,000 lines of a head, the first and the last among them."""
    async with servers.canned(OK + b"a:\r\n" * (count - 1) + b"Content-Length: 0\r\n\r\n") as server:
        if reason:
            assert (await failure(make_context(wire), server.url)).reason is reason
        else:
            assert (await ask(make_context(wire), server.url)).verdict is Verdict.PASS


async def test_extensions_as_long_as_their_chunks_are_taken(wire: Wire) -> None:
    """XB2: a long body whose chunks are signed, say."""
    chunk = b"%x;signature=%s\r\n%s\r\n" % (1000, b"s" * 200, b"x" * 1000)
    async with servers.canned(CHUNKED + chunk * 900 + b"0\r\n\r\n") as server:
        assert (await ask(make_context(wire), server.url)).verdict is Verdict.PASS


async def test_chunks_of_a_byte_give_the_loop_back(wire: Wire) -> None:
    """XM4's kind: 100,000 of them are a body, and other runs have their turns meanwhile."""
    stream = Stream(time.monotonic)
    exchange = Exchange1(make_context(wire), stream, "GET")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    stream.data_received(CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
    await _read_all(exchange)
    other.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await other
    assert exchange.body_bytes == 100_000
    assert turns >= 100_000 // 2000


# The values of headers


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"ok  ", "ok"),
        (b"\tok \t", "ok"),
        ("café".encode(), "café"),
        ("café".encode("latin-1"), "café"),
        (b"", ""),
    ],
)
async def test_a_headers_value(wire: Wire, raw: bytes, wanted: str) -> None:
    """W10: blanks around it are no part of it (RFC 9110, 5.5), and it is UTF-8 where it can be."""
    ctx = make_context(wire)
    async with servers.canned(answer(b"", b"X-A:" + raw)) as server:
        result = await ask(ctx, server.url, expect={"headers": {"x-a": wanted}})
    assert result.verdict is Verdict.PASS
    assert ctx.evidence["response"]["headers"]["x-a"] == wanted


async def test_when_a_throttled_client_may_return(wire: Wire) -> None:
    """W10: a blank behind Retry-After hides nothing."""
    async with servers.canned(answer(b"", b"Retry-After: 30 ", status=b"429 Slow Down")) as server:
        failed = await failure(make_context(wire), server.url)
    assert failed.message == "429, throttled for 30 s"


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/x ", b"/x"),
        (b"\t/x\t", b"/x"),
        ("/café".encode(), b"/caf%C3%A9"),
        ("/café".encode("latin-1"), b"/caf%E9"),
        (b"/caf%C3%A9", b"/caf%C3%A9"),
        ("/a?q=é#x".encode(), b"/a?q=%C3%A9"),
        (b"/a b", b"/a%20b"),
        (b"?page=2", b"/?page=2"),
    ],
)
async def test_a_location_is_bytes(wire: Wire, location: bytes, asked: bytes) -> None:
    """W10: asked for as curl and browsers do."""
    async with servers.canned(answer(b"", b"Location: " + location, status=b"302 Found"), answer(b"there")) as server:
        result = await ask(make_context(wire), server.url, redirects=2)
    assert result.verdict is Verdict.PASS
    assert b"GET " + asked + b" HTTP/1.1\r\n" in server.received


LOCATION = st.sampled_from(
    [
        b"http://",
        b"https://",
        b"//",
        b"/",
        b"xn--i-7iq.test",
        b"xn--zzzzzzz9999.test",
        b"[::1]",
        b"[::1",
        b":99999",
        b"@",
        b"%",
        b"\xff",
        b"a" * 300,
    ]
)


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.one_of(LOCATION, st.binary(max_size=3)), max_size=6))
@example(pieces=[b"http://xn--i-7iq.test/"])
@example(pieces=[b"http://xn--zzzzzzz9999.test/"])
def test_any_location_is_an_address_or_a_failure(pieces: list[bytes]) -> None:
    """W1, W1d: whatever a redirect leads to, and be it a name that IDNA 2008 doesn't know, nothing but Failed or a refusal is raised."""

    async def followed() -> None:
        wire = Wire()
        ctx = make_context(wire, permit=_Nowhere())
        with contextlib.suppress(Failed, PolicyRefused):
            if request := following(Request("GET", "http://127.0.0.1/"), 302, b"".join(pieces)):
                async with HttpSession(HttpRoute()) as session:
                    await session.send(ctx, request)
        await wire.aclose()

    asyncio.run(followed())


class _Nowhere(Permit):
    async def __call__(self, method: str, url: str) -> None:
        raise PolicyRefused(f"{method} {url} is not allowed")


@pytest.mark.parametrize(
    "location", [b"/in?token=tok-1234&next=/x", b"http://user:tok-1234@HOST/", b"/in#access_token=tok-1234", b"/?tok-1234"]
)
async def test_a_location_shows_no_secret(wire: Wire, location: bytes) -> None:
    """W16: no user, password or token of an address is in evidence or messages; the names of its parameters are."""
    for redirects, expect in ((0, {}), (0, {"headers": {"location": "/other"}, "status": 302}), (1, {}), (2, {})):
        ctx = make_context(wire)
        async with servers.canned() as placeholder:
            here = f"127.0.0.1:{placeholder.port}".encode()
        hop = answer(b"", b"Location: " + location.replace(b"HOST", here), status=b"302 Found")
        async with servers.canned(hop, hop, answer(b"", status=b"500 Oops")) as server:
            with pytest.raises((Failed, OSError)) as caught:
                await ask(ctx, server.url, redirects=redirects, expect=expect)
        assert "tok-1234" not in f"{caught.value} {ctx.evidence}"
        assert b"next" not in location or "next=(secret)" in f"{caught.value} {ctx.evidence}"


@pytest.mark.parametrize("header", ["set-cookie", "authentication-info"])
async def test_an_expected_header_shows_no_secret(wire: Wire, header: str) -> None:
    """W16: as in the evidence."""
    async with servers.canned(answer(b"", header.encode() + b": s=tok-1234")) as server:
        failed = await failure(make_context(wire), server.url, expect={"headers": {header: "x"}})
    assert failed.message == f'header {header} is (secret), expected "x"'


# Plain text and TLS


async def test_a_tls_server_that_is_asked_in_plain(wire: Wire) -> None:
    """W16: an alert is known as one, and a connection that ends without a word asks whether the port speaks TLS."""
    async with servers.canned(bytes.fromhex("15 03 01 00 02 02 46"), then_close=True) as server:
        for http in ("1.1", "2"):
            failed = await failure(make_context(wire), server.url, http=http)
            assert failed.reason is Reason.PROTOCOL
            assert failed.message == "the server's response is a TLS record (15 03 01 00 02 02 46): the port speaks TLS"
    async with servers.canned(b"", then_close=True) as server:
        for http in ("1.1", "2"):
            failed = await failure(make_context(wire), server.url, http=http)
            assert failed.message == "the connection was closed before any response; does the port speak TLS?"
