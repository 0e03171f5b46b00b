"""HTTP/2: a server that floods is at fault, in bounded work, and other runs have their turns meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

import pytest
from hpack import Encoder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes.core import Failed, Reason, Verdict
from probes.http.exchange import OutgoingRequest
from probes.http.http2 import Http2
from probes.kinds.grpc import Grpc
from probes.kinds.http import Http
from probes.wire.stream import Stream
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import ask, failure
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.http2 import data, frame, head
from tests.support.transports import Nowhere

PING = frame(6, 0, 0, b"pingpong")
SETTING = b"\x00\x03\x00\x00\x00\x64"
HINT = head(103, headers=(("link", "</style.css>; rel=preload"),))
BEFORE = {
    "pings": (PING, Reason.PROTOCOL),
    "acknowledged pings": (frame(6, 1, 0, b"pingpong"), Reason.PROTOCOL),
    "settings": (frame(4, 0, 0), Reason.PROTOCOL),
    "long settings": (frame(4, 0, 0, SETTING * 2000), Reason.PROTOCOL),
    "window updates": (frame(8, 0, 0, (1).to_bytes(4)), Reason.PROTOCOL),
    "priorities": (frame(2, 0, 1, (0).to_bytes(4) + b"\x10"), Reason.PROTOCOL),
    "frames of no known type": (frame(0xBB, 0, 0, b"x" * 100), Reason.PROTOCOL),
    "origins": (frame(0xC, 0, 0, b"\x00\x09https://a"), Reason.PROTOCOL),
    "alternatives": (frame(0xA, 0, 0, b"\x00\x00h3=:443"), Reason.PROTOCOL),
    "goaways": (http2.goaway(2**31 - 1, 0), Reason.PROTOCOL),
    "early hints": (HINT, Reason.PROTOCOL),
    "interim responses": (head(100), Reason.PROTOCOL),
}
BESIDE = {name: found for name, found in BEFORE.items() if name not in ("early hints", "interim responses")} | {
    "empty data": (data(b"", end=False), Reason.PROTOCOL),
    "padding": (frame(0, 0x8, 1, b"\xff" + bytes(255)), Reason.PROTOCOL),
    "data of a byte": (data(b"x", end=False), Reason.PROTOCOL),
}


@pytest.mark.parametrize("name", BEFORE)
async def test_a_flood_before_the_head(wire: Wire, name: str) -> None:
    """XM2: frames without end before the response are the server's fault, after a thousand of them or 64 KiB."""
    piece, reason = BEFORE[name]
    async with servers.endless(http2.SETTINGS, piece * (65_536 // len(piece) + 1)) as server:
        failed = await failure(make_context(wire), server.url, http=2)
    assert failed.reason is reason, failed.message


async def test_a_flood_is_the_servers_fault(runs: Observer) -> None:
    """XM2, XM8: the observation is a failure, and never `starved`."""
    async with servers.endless(http2.SETTINGS, PING * 4000) as server:
        seen = await runs.observe(Http.model_validate({"url": server.url, "http": 2}))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.PROTOCOL)


@pytest.mark.parametrize("name", BESIDE)
async def test_a_flood_beside_the_body(wire: Wire, name: str) -> None:
    """XM2: the same after the head."""
    piece, reason = BESIDE[name]
    async with servers.endless(http2.SETTINGS + head(), piece * (65_536 // len(piece) + 1)) as server:
        failed = await failure(make_context(wire), server.url, http=2)
    assert failed.reason is reason, failed.message


@pytest.mark.parametrize("name", ["pings", "settings", "empty data"])
async def test_a_flood_over_grpc(wire: Wire, name: str) -> None:
    """XM2: kind grpc speaks HTTP/2, too."""
    piece, reason = BESIDE[name]
    begin = http2.SETTINGS + (head(headers=(("content-type", "application/grpc"),)) if name == "empty data" else b"")
    async with servers.endless(begin, piece * 4000) as server:
        with pytest.raises(Failed) as caught:
            await Grpc(host="127.0.0.1", port=server.port).run(make_context(wire))
    assert caught.value.reason is reason


async def test_a_flood_after_the_response_is_none(wire: Wire) -> None:
    """XM2: the response is complete; its connection is used no more."""
    whole = http2.SETTINGS + head() + data(b"fine") + PING * 3000
    async with servers.canned(whole, whole) as server:
        for _ in range(2):
            assert (await ask(make_context(wire), server.url, http=2, keep_alive=True, expect={"text": "fine"})).verdict is Verdict.PASS
    assert server.connections == 2


async def test_some_frames_beside_the_body_are_none(wire: Wire) -> None:
    """XM2: a server may ping while it sends, and send its body in small frames."""
    whole = http2.SETTINGS + head() + b"".join(PING + data(b"x" * 20, end=False) for _ in range(900)) + data(b"end")
    async with servers.canned(whole) as server:
        assert (await ask(make_context(wire), server.url, http=2, expect={"text": "end"})).verdict is Verdict.PASS
    many = http2.SETTINGS + head() + data(b"x" * 20, end=False) * 20_000 + data(b"end")
    async with servers.canned(many) as server:
        assert (await ask(make_context(wire), server.url, http=2, expect={"text": "end"})).verdict is Verdict.PASS


async def test_trailers_are_bounded(wire: Wire) -> None:
    """XB2: those of HTTP/2, after unpacking and as they are sent."""
    block = Encoder().encode([(f"x-{number}", "y" * 1000) for number in range(70)])
    frames = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    trailers = frame(1, 0x1, 1, frames[0]) + b"".join(frame(9, 0x4 if piece is frames[-1] else 0, 1, piece) for piece in frames[1:])
    async with servers.canned(http2.SETTINGS + head() + data(b"x", end=False) + trailers) as server:
        failed = await failure(make_context(wire), server.url, http=2)
    assert failed.reason is Reason.SIZE


@pytest.mark.parametrize("name", ["pings", "settings", "frames of no known type"])
async def test_a_flood_gives_the_loop_back(wire: Wire, name: str) -> None:
    """XM2: what has come at once is handled in slices, between which other runs have their turns."""
    ticks = itertools.count()
    stream = Stream(lambda: next(ticks) * 0.0004)  # each piece takes 0.4 ms
    stream.connection_made(Nowhere())
    exchange = await Http2(stream).send(make_context(wire), OutgoingRequest("GET", b"/", "http", ((b"Host", b"h"),), b""))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    stream.data_received(http2.SETTINGS + BEFORE[name][0] * 2000)
    with pytest.raises(Failed, match="the server floods us"):
        await exchange.receive_head()
    other.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await other
    assert turns >= 10


@pytest.mark.parametrize("status", [b"abc", b"", b"20", b"2000", b"\xb2\xb2\xb2", b" 200", b"099", b"-20"])
async def test_a_status_that_is_none(wire: Wire, status: bytes) -> None:
    """W16: it breaks the protocol, and the message quotes it."""
    block = b"\x08" + bytes([len(status)]) + status
    async with servers.canned(http2.SETTINGS + frame(1, 0x5, 1, block)) as server:
        failed = await failure(make_context(wire), server.url, http=2)
    assert failed.reason is Reason.PROTOCOL
    assert f"the :status of its response is {repr(status)[1:]}" in failed.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((), "is missing"),
        (((":status", "200"), (":status", "500")), "'200, 500'"),
        (((":status", "200"), ("x", "a\0b")), "has a line break or a NUL"),
        (((":status", "200"), ("x", "a\r\nb")), "has a line break or a NUL"),
    ],
)
async def test_a_head_that_is_none(wire: Wire, fields: tuple[tuple[str, str], ...], words: str) -> None:
    """W16: without one status, or with what can't be in a header."""
    async with servers.canned(http2.SETTINGS + frame(1, 0x5, 1, Encoder().encode([*fields]) or b"\x53\x01y")) as server:
        failed = await failure(make_context(wire), server.url, http=2)
    assert failed.reason is Reason.PROTOCOL
    assert words in failed.message


@pytest.mark.parametrize(
    "field",
    [("x-a", " blanks "), ("connection", "keep-alive"), ("transfer-encoding", "chunked"), ("X-Upper", "y"), ("x\xe9", "y"), ("te", "x")],
)
async def test_what_browsers_take_is_taken(wire: Wire, field: tuple[str, str]) -> None:
    """W9, W10: over HTTP/2, too; `framing: strict` isn't so kind."""
    block = Encoder().encode([(":status", "200"), field])
    async with servers.canned(http2.SETTINGS + frame(1, 0x5, 1, block)) as server:
        assert (await ask(make_context(wire), server.url, http=2)).verdict is Verdict.PASS
    async with servers.canned(http2.SETTINGS + frame(1, 0x5, 1, block)) as server:
        assert (await failure(make_context(wire), server.url, http=2, framing="strict")).reason is Reason.PROTOCOL


FRAME = st.builds(
    frame,
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x25, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 2**31 - 1]),
    st.binary(max_size=60),
)
BLOCK = st.builds(
    lambda fields, flags: frame(1, flags, 1, Encoder().encode(fields)),
    st.lists(
        st.tuples(st.sampled_from([b":status", b"content-length", b"x", b":path", b"\xff", b"", b"set-cookie"]), st.binary(max_size=12)),
        max_size=4,
    ),
    st.sampled_from([4, 5]),
)


@settings(max_examples=300, deadline=None)
@given(
    frames=st.lists(
        st.one_of(FRAME, BLOCK, st.sampled_from([PING, head(), data(b"x"), HINT, http2.SETTINGS]), st.binary(max_size=12)), max_size=8
    )
)
@example(frames=[frame(1, 0x5, 1, b"\x88\x5c\x82\xff\xff")])
def test_any_frames_are_a_response_or_a_failure(frames: list[bytes]) -> None:
    """W1: whatever comes, nothing but Failed is raised: our own fault is none of a server's making."""

    async def received() -> None:
        stream = Stream(time.monotonic)
        stream.connection_made(Nowhere())
        wire = Wire()
        exchange = await Http2(stream).send(make_context(wire), OutgoingRequest("GET", b"/", "http", ((b"Host", b"h"),), b""))
        stream.data_received(http2.SETTINGS + b"".join(frames))
        stream.eof_received()
        with contextlib.suppress(Failed):
            await exchange.receive_head()
            async for _ in exchange.body():
                pass
            exchange.fields()
        await wire.aclose()

    asyncio.run(received())
