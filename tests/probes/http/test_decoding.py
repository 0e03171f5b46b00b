"""Content encodings: asked for where they are wanted, undone piece by piece, and never beyond the cap."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]  # it comes without types
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core import Failed, Reason, Verdict
from probes.http.decoding import ENCODINGS, Decoder
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask, failure
from tests.support.context import make_context

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstandard.ZstdCompressor().compress,
}


def raw_deflate(plain: bytes) -> bytes:
    """Deflate without zlib's wrapper, as some servers send it."""
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(plain) + packing.flush()


def undone(encoding: str, pieces: list[bytes], cap: int = 1_000_000) -> bytes:
    """All pieces through a decoder."""
    decoder = Decoder(encoding, cap, ENCODINGS)
    plain = b"".join(map(decoder.feed, pieces))
    decoder.end()
    return plain


@settings(max_examples=40, deadline=None)
@given(plain=st.binary(max_size=4000), step=st.integers(1, 700), name=st.sampled_from(sorted(PACK)))
def test_what_is_packed_comes_out_as_it_went_in(plain: bytes, step: int, name: str) -> None:
    """Wherever the network cuts it."""
    packed = PACK[name](plain)
    assert undone(name, [packed[i : i + step] for i in range(0, len(packed), step)]) == plain


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_several_members_are_one_body(name: str) -> None:
    """A body may be packed in parts."""
    assert undone(name, [PACK[name](b"one ") + PACK[name](b"two")]) == b"one two"


def test_bare_deflate_is_understood() -> None:
    """What servers send that read the RFC otherwise."""
    packed = raw_deflate(b"the road is open" * 9)
    assert undone("deflate", [packed[:1], packed[1:]]) == b"the road is open" * 9


def test_two_encodings_are_undone_from_the_outer_one() -> None:
    """`gzip, br`: gzip was first."""
    assert undone("gzip, br", [brotli.compress(gzip.compress(b"twice"))]) == b"twice"
    with pytest.raises(Failed, match="3 times over"):
        Decoder("gzip, gzip, gzip", 100)


@pytest.mark.parametrize("name", sorted(PACK))
def test_a_bomb_is_defused(name: str) -> None:
    """16 MB of zeros are never unpacked beyond the cap, also inside another encoding."""
    for encoding, packed in ((name, PACK[name](bytes(16_000_000))), (f"{name}, gzip", gzip.compress(PACK[name](bytes(16_000_000))))):
        with pytest.raises(Failed) as caught:
            undone(encoding, [packed], cap=100_000)
        assert caught.value.reason is Reason.SIZE


@pytest.mark.parametrize("name", ["identity", *sorted(PACK)])
@pytest.mark.parametrize("step", [1, 100, 10_000])
def test_the_cap_itself_is_allowed(name: str, step: int) -> None:
    """A body of as many bytes as may be is read whole, in whatever pieces it comes; one of a byte more is too large."""
    packed = PACK.get(name, bytes)(bytes(1000))
    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]
    assert undone(name, pieces, cap=1000) == bytes(1000)
    with pytest.raises(Failed, match="the response exceeds 999 bytes") as caught:
        undone(name, pieces, cap=999)
    assert caught.value.reason is Reason.SIZE


@pytest.mark.parametrize("name", sorted(PACK))
@pytest.mark.parametrize(("cut", "reason"), [(True, Reason.TRUNCATED), (False, Reason.PROTOCOL)])
def test_what_breaks_off_or_is_something_else_is_told(name: str, cut: bool, reason: Reason) -> None:  # noqa: FBT001 - a parameter of a test
    """A whole answer whose content breaks off is truncated; what isn't encoded so is a protocol failure."""
    packed = PACK[name](bytes(range(256)) * 20)
    with pytest.raises(Failed) as caught:
        undone(name, [packed[:-9] if cut else b"\x47\x11 no such encoding at all"])
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("asked", "header"), [(False, b"identity"), (True, b"zstd, br, gzip, deflate"), ("br", b"br"), (["gzip", "zstd"], b"gzip, zstd")]
)
async def test_compression_is_asked_for_where_it_is_wanted(wire: Wire, asked: object, header: bytes) -> None:
    """Nothing by default: what an answer costs to pack is then no part of its time."""
    async with servers.canned(answer()) as server:
        await ask(make_context(wire), server.url, compression=asked)

    assert b"Accept-Encoding: " + header + b"\r\n" in server.received


@pytest.mark.parametrize("name", sorted(PACK))
async def test_what_was_asked_for_is_read(wire: Wire, name: str) -> None:
    """The body is judged as it is meant, and its length is that after decoding."""
    body = PACK[name](b"the road is open")
    ctx = make_context(wire)
    async with servers.canned(answer(body, b"Content-Encoding: " + name.encode())) as server:
        result = await ask(ctx, server.url, compression=True, expect={"text": "road is open"})

    assert result.verdict is Verdict.PASS
    assert (ctx.facts["body_bytes"], ctx.facts["content_length"]) == (16, len(body))


async def test_br_and_zstd_unasked_are_a_fault_where_the_check_is_strict(wire: Wire) -> None:
    """`framing: strict`: a client that didn't ask for them couldn't read them."""
    async with servers.canned(answer(brotli.compress(b"x"), b"Content-Encoding: br")) as server:
        failed = await failure(make_context(wire), server.url, compression="gzip", framing="strict")

    assert failed.reason is Reason.PROTOCOL
    assert "which the request didn't ask for" in failed.message


@pytest.mark.parametrize("name", ["utf-8", "none", "aws-chunked", "identity", "", "br", "zstd", "gzip", "deflate", "x-gzip"])
@pytest.mark.parametrize("http", ["1.1", "2"])
async def test_an_encoding_that_nobody_asked_for(wire: Wire, name: str, http: str) -> None:
    """W9: what is known is decoded; a name that means nothing leaves the body as it is, as in a browser."""
    body = PACK.get(name.removeprefix("x-"), bytes)(b"it is open")
    whole = answer(body, b"Content-Encoding: " + name.encode())
    if http == "2":
        whole = http2.SETTINGS + http2.head(headers=(("content-encoding", name),)) + http2.data(body)
    async with servers.canned(whole) as server:
        result = await ask(make_context(wire), server.url, http=http, expect={"text": "it is open"})
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize("name", ["br", "aws-chunked", "gzip", "compress"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("GET", b"204 No Content")])
async def test_an_encoding_of_nothing(wire: Wire, name: str, method: str, status: bytes) -> None:
    """W9: where there is no body, its encoding doesn't matter."""
    async with servers.canned(answer(b"", b"Content-Encoding: " + name.encode(), status=status, length=100)) as server:
        assert (await ask(make_context(wire), server.url, method=method)).verdict is Verdict.PASS


async def test_the_status_comes_before_the_encoding(wire: Wire) -> None:
    """W9: an outage whose body can't be decoded is an outage."""
    async with servers.canned(answer(b"no gzip", b"Content-Encoding: gzip", status=b"500 Oops")) as server:
        failed = await failure(make_context(wire), server.url)
    assert (failed.reason, failed.message) == (Reason.STATUS, "500, expected 2xx")


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br"])
@pytest.mark.parametrize("behind", [b"\0" * 512, b"x", b"trailing bytes", b"\x1f"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_what_follows_the_content_is_passed_over(name: str, behind: bytes, step: int) -> None:
    """W9: zeros or other bytes behind the last member, as some servers pad."""
    whole = PACK[name](b"it is open") + behind
    assert undone(name, [whole[at : at + step] for at in range(0, len(whole), step)]) == b"it is open"


@pytest.mark.parametrize("piece", [gzip.compress(b""), b"\0" * 20], ids=["empty members", "zeros"])
def test_a_stream_of_nothing_ends(piece: bytes) -> None:
    """XB2: bytes that decode to nothing are bounded, too."""
    decoder = Decoder("gzip", 1000)
    decoder.feed(gzip.compress(b"x"))
    for _ in range(2 * 1000 // len(piece)):
        decoder.feed(piece)
    with pytest.raises(Failed, match="exceeds 1,000 bytes"):
        decoder.feed(piece * (70_000 // len(piece)))


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
async def test_a_transfer_coding_is_undone(wire: Wire, coding: str) -> None:
    """W15: Transfer-Encoding: gzip, chunked."""
    body = PACK[coding.removeprefix("x-")](b"it is open")
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s, chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (coding.encode(), len(body), body)
    async with servers.canned(whole) as server:
        assert (await ask(make_context(wire), server.url, expect={"text": "it is open"})).verdict is Verdict.PASS
