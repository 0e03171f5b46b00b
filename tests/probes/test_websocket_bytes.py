"""Servers that speak in bytes of their own, as no library would: floods, interim responses, refusals and closes."""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trustme
from wsproto.events import Request
from wsproto.utilities import generate_accept_token

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.kinds.websocket import WebSocket
from probes.kinds.websocket.connection import FRAMES, Socket
from probes.wire.resolver import Resolver
from probes.wire.stream import Stream
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.ca import Authority
from tests.support.context import context
from tests.support.engine import Observer
from tests.support.handshakes import shaking
from tests.support.transports import Nowhere


def _accept(request: bytes) -> bytes:
    key = re.search(rb"sec-websocket-key: (\S+)", request, re.IGNORECASE)
    assert key
    head = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
    return head % generate_accept_token(key[1])


def _after_request(*pieces: bytes, stays: bool = False) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Sends these bytes after the request, where `ACCEPT` stands for a 101; then closes, or stays open."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = _accept(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"".join(accept if piece == b"ACCEPT" else piece for piece in pieces))
        if stays:
            await reader.read()
        else:
            writer.write_eof()

    return talk


async def observed_raw(runs: Observer, *pieces: bytes, stays: bool = False, **settings: Any) -> Observation:
    """What a check sees of a server that sends these bytes after the request."""
    async with servers.speaking(_after_request(*pieces, stays=stays)) as server:
        return await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/"} | settings))


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x8a\x00", b"\x81\x00", b"\x00\x00", b"\x82\x01x", b"\x89\x00\x8a\x00"])
@pytest.mark.parametrize("dialogue", [(), ({"expect": {"text": "never"}, "among": 1000},), ({"close": 4000},)])
async def test_a_flood_of_frames(runs: Observer, frame: bytes, dialogue: tuple[dict[str, Any], ...]) -> None:
    """XM3: control frames and empty ones without end are the server's failure, and take no megabyte to be one."""
    first = b"\x01\x00" if frame == b"\x00\x00" else b""
    seen = await observed_raw(runs, b"ACCEPT", first, frame * 30_000, stays=True, dialogue=dialogue)
    assert (seen.verdict, seen.reason) in ((Verdict.FAIL, Reason.SIZE), (Verdict.FAIL, Reason.BODY)), seen.message
    if seen.reason is Reason.SIZE:
        assert seen.message == "the server sent more than 10,000 frames"


class _Flood(Nowhere):
    """Its bytes are all there at once: a 101, then frames."""

    def __init__(self, stream: Stream, frame: bytes) -> None:
        super().__init__()
        self._stream, self._frame = stream, frame
        stream.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Accepts the request."""
        if bytes(data).startswith(b"GET"):
            self._stream.data_received(_accept(bytes(data)) + self._frame * 100_000)


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x81\x00"])
async def test_a_flood_leaves_the_loop_its_turns(frame: bytes) -> None:
    """XM3: frames that are all there at once are handled a few at a time, and other runs go on between."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with context() as ctx:
        ticks = itertools.count()
        stream = Stream(lambda: next(ticks) * 0.0006)  # each piece takes 0.6 ms
        _Flood(stream, frame)
        socket = Socket(ctx, stream)
        await socket.open(Request(host="x", target="/"))
        running = asyncio.ensure_future(others())
        with pytest.raises(Failed, match="more than 10,000 frames"):
            await socket.ping(b"1", may_close=False)
        running.cancel()
    assert turns >= FRAMES * len(frame) // 512 - 1


@pytest.mark.parametrize(
    ("response", "status", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", 401, Reason.AUTH),
        (b"HTTP/1.0 403 Forbidden\r\n\r\nno", 403, Reason.AUTH),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nshort", 400, Reason.STATUS),
        (b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry", 429, Reason.THROTTLED),
        (b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", 429, Reason.THROTTLED),
        ("HTTP/1.1 401 No\r\nSet-Cookie: a=José\r\nX-A : b\r\nno header\r\n\r\n".encode(), 401, Reason.AUTH),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nno", 403, Reason.AUTH),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", 302, Reason.REDIRECT),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nokand more" + b"x" * 5000, 503, Reason.STATUS),
        (b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 50_000, 500, Reason.STATUS),
    ],
)
@pytest.mark.parametrize("stays", [False, True])
async def test_a_refusal_keeps_its_status(runs: Observer, response: bytes, status: int, reason: Reason, stays: bool) -> None:  # noqa: FBT001 - a row's
    """W6: a refusal means what its status means, however its body ends, and where it never ends."""
    seen = await observed_raw(runs, response, stays=stays)
    assert (seen.verdict, seen.reason, seen.facts["status_code"]) == (Verdict.FAIL, reason, status), seen.message
    assert seen.seconds < 1.0  # the wait for a body isn't the target's time


CLOSE = b"\x88\x0f\x11\x31token expired"  # 4401


async def test_a_close_that_comes_with_the_101(runs: Observer) -> None:
    """W7: a close in the same packet as the 101 keeps its code and words."""
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=True)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.STATUS)
    assert seen.message == 'the server closed with 4401, "token expired" before all messages were sent'
    assert seen.facts["close_code"] == 4401
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=True, ping=False, dialogue=[{"send": "hello"}])
    assert seen.message == 'the server closed with 4401, "token expired" before all messages were sent'


@pytest.mark.parametrize("ping", [False, True])
@pytest.mark.parametrize("stays", [False, True])
async def test_a_wanted_close_that_comes_with_the_101(runs: Observer, ping: bool, stays: bool) -> None:  # noqa: FBT001 - a row's
    """W7: a dialogue that wants the close passes, with a ping and without, and also behind a message."""
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=stays, ping=ping, dialogue=[{"close": 4401}])
    assert seen.verdict is Verdict.PASS, seen.message
    steps = [{"expect": {"text": "bye"}}, {"close": 4401}]
    seen = await observed_raw(runs, b"ACCEPT", b"\x81\x03bye", CLOSE, stays=stays, ping=ping, dialogue=steps)
    assert seen.verdict is Verdict.PASS, seen.message
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=stays, ping=ping, dialogue=[{"close": 1000}])
    assert seen.message == 'the server closed with 4401, "token expired", expected 1000'


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


@pytest.mark.parametrize("interim", [INTERIM, b"HTTP/1.1 100 Continue\r\n\r\n", INTERIM * 20, b"HTTP/1.0 199 x\n\n"])
async def test_responses_before_the_final_one(runs: Observer, interim: bytes) -> None:
    """W16: a 100 or 103 before the 101 means nothing; the server may send several, in any pieces."""
    seen = await observed_raw(runs, interim, b"ACCEPT", b"\x88\x02\x03\xe8", dialogue=[{"close": 1000}])
    assert seen.verdict is Verdict.PASS, seen.message
    seen = await observed_raw(runs, interim, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    assert seen.reason is Reason.AUTH

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in interim + _accept(await reader.readuntil(b"\r\n\r\n")) + b"\x88\x02\x03\xe8":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with servers.speaking(drip) as server:
        seen = await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/", "dialogue": [{"close": 1000}]}))
    assert seen.verdict is Verdict.PASS, seen.message


@pytest.mark.parametrize("flood", [INTERIM * 400, b"HTTP/1.1 103 Early Hints\r\n" + b"a: b\r\n" * 5000])
async def test_responses_before_the_final_one_without_end(runs: Observer, flood: bytes) -> None:
    """W16: such responses are bounded in number and size."""
    seen = await observed_raw(runs, flood, stays=True)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.SIZE), seen.message


async def test_a_subprotocol_that_was_not_offered(runs: Observer) -> None:
    """W16: a subprotocol is written as the server wrote it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = _accept(await reader.readuntil(b"\r\n\r\n"))
        writer.write(accept[:-2] + b"Sec-WebSocket-Protocol: Chat.V2\r\n\r\n")
        await reader.read()

    async with servers.speaking(talk) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        seen = await runs.observe(WebSocket.model_validate({"url": url, "subprotocols": ["chat.v2"]}))
    assert seen.message == "the server's response is not a WebSocket handshake: unrecognized subprotocol Chat.V2"


async def test_plain_text_to_a_tls_port(runs: Observer, authority: Authority) -> None:
    """W16: a port that speaks TLS and gets plain text is suspected of that."""
    async with shaking(authority.good) as server:
        seen = await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/"}))
    assert seen.message == "the connection was closed before any response; does the port speak TLS?"
    seen = await observed_raw(runs, b"\x15\x03\x01\x00\x02\x02\x46")
    assert seen.reason is Reason.PROTOCOL
    assert seen.message == "the server's response is a TLS record (15 03 01 00 02 02 46): the port speaks TLS"


async def test_one_family(runs: Observer) -> None:
    """U: `ip` holds for the kind as for http."""
    seen = await observed_raw(runs, b"ACCEPT", b"\x88\x02\x03\xe8", ip=6)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.DNS)


@pytest.mark.parametrize(
    ("written", "asked"),
    [("münchen.test", "xn--mnchen-3ya.test"), ("xn--strae-oqa.test", "xn--strae-oqa.test"), ("straße.test", "xn--strae-oqa.test")],
)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_host_beyond_ascii(runs: Observer, tmp_path_factory: pytest.TempPathFactory, written: str, asked: str, scheme: str) -> None:
    """W3: a host in Unicode is its own, and Host, SNI and DNS have its form by IDNA 2008."""
    folder, authority, names, heads = (
        await asyncio.to_thread(tmp_path_factory.mktemp, "names"),
        trustme.CA(),
        list[str | None](),
        list[bytes](),
    )
    await asyncio.to_thread((folder / "hosts").write_text, f"127.0.0.1 {asked}\n")
    await asyncio.to_thread(authority.cert_pem.write_to_path, str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(authority.issue_cert(asked).configure_cert, tls)
    tls.sni_callback = lambda _tls, name, _context: names.append(name)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(_accept(heads[0]) + b"\x88\x02\x03\xe8")
        await reader.read()

    runs.wire = Wire(resolver=Resolver(hosts=folder / "hosts", servers=("127.0.0.1",), port=9))
    async with servers.speaking(talk, tls=tls if scheme == "wss" else None) as server:
        url = f"{scheme}://{written}:{server.port}/"
        settings = {"url": url, "tls": {"ca": folder / "ca.pem"}, "dialogue": [{"close": 1000}]}
        seen = await runs.observe(WebSocket.model_validate(settings))
    assert seen.verdict is Verdict.PASS, seen.message
    assert f"Host: {asked}:{server.port}".encode().lower() in heads[0].lower()
    assert names == ([asked] if scheme == "wss" else [])
