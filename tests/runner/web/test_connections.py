"""What a stranger's connection may cost: bytes, headers, time, and a place among the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from runner.web import connections
from runner.web.connections import Bounds
from runner.web.serve import serve
from tests.support.virtual import virtually

HEAD = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n"


@dataclass
class Home:
    """An application that returns a page, the headers that it got, and the bodies that it read."""

    port: int = 0
    refused: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = Request(scope).url.path
        self.asked.append(path)
        self.began.set()
        response: Response = PlainTextResponse("here\n")
        if path == "/slow":
            await self.let_go.wait()
        elif path == "/large":
            response = PlainTextResponse("x" * 20_000_000)
        elif path == "/body":
            response = PlainTextResponse(f"{len(await Request(scope, receive).body())}\n")
        elif path == "/headers":
            response = PlainTextResponse(" ".join(name.decode() for name, _ in scope["headers"]))
        await response(scope, receive, send)


@asynccontextmanager
async def home(bounds: Bounds | None = None) -> AsyncIterator[Home]:
    """It listens."""
    one = Home()
    listening = await serve(one, "127.0.0.1", 0, grace=1, bounds=bounds, refused=lambda reason, _: one.refused.append(reason))
    one.port = listening.port
    try:
        yield one
    finally:
        one.let_go.set()
        await listening.stop()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server ends the connection, however it ends it."""
    got = bytearray()
    try:
        while piece := await reader.read(65536):
            got += piece
    except ConnectionError:
        pass
    return bytes(got)


async def sent(port: int, *pieces: bytes) -> bytes:
    """What comes back until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    got = await rest(reader)
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return got


ENDLESS = {
    "a header's value": [HEAD + b"X: ", *[b"a" * 65536] * 40],
    "headers without a value": [HEAD, *[b"X: \r\n" * 10_000] * 40],
    "headers of 900 bytes": [HEAD, *[(b"X: " + b"a" * 900 + b"\r\n") * 64] * 40],
    "a header's name": [HEAD, *[b"a" * 65536] * 40],
    "a path": [b"GET /", *[b"a" * 65536] * 40],
    "a query": [b"GET /?", *[b"a" * 65536] * 40],
    "empty lines": [b"\r\n" * 32768] * 40,
    "chunk extensions": [b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", *[b"a" * 65536] * 40],
    "a trailer's value": [b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ", *[b"a" * 65536] * 40],
    "trailers": [b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", *[b"X: b\r\n" * 10_000] * 40],
    "chunks of a byte": [b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\na\r\n" * 10_000] * 40],
    "a body that nobody reads": [b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n", *[b"a" * 65536] * 40],
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS)
async def test_nothing_is_read_without_end(pieces: list[bytes]) -> None:
    """XB3: whatever has no end, the server ends the connection after some kilobytes, and counts it."""
    async with home() as here:
        got = await sent(here.port, *pieces)
        assert here.refused == ["too_large"]
        assert got == b"" or got.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 200 "))


async def test_requests_in_one_piece_are_few() -> None:
    """XB3: thousands of requests, sent before the first response, aren't kept until their turn."""
    async with home() as here:
        await sent(here.port, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000)
        assert here.refused == ["too_large"]
        assert here.asked in ([], ["/slow"])


@pytest.mark.parametrize(("headers", "status"), [(99, b"200"), (100, b"431")])
async def test_headers_are_counted(headers: int, status: bytes) -> None:
    """XB3: a hundred headers are let in, Host among them; with one more no application sees the request."""
    async with home() as here:
        got = await sent(here.port, b"GET / HTTP/1.0\r\nHost: a\r\n" + b"X: y\r\n" * headers + b"\r\n")
        assert got.split()[1] == status
        assert here.asked == (["/"] if status == b"200" else [])


async def test_a_trailer_is_no_header() -> None:
    """XB3: what follows a body can't add to the request's headers."""
    async with home() as here:
        body = b"1\r\na\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
        head = b"POST /headers HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b"authorization" not in await sent(here.port, head + body)


async def test_a_body_and_a_pipeline_of_usual_size_are_taken() -> None:
    """A megabyte in chunks, and ten requests at once, are no trouble."""
    async with home() as here:
        chunks = b"".join(b"1000\r\n" + b"a" * 4096 + b"\r\n" for _ in range(256)) + b"0\r\n\r\n"
        head = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        got = await sent(here.port, head + chunks, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 9 + b"GET / HTTP/1.0\r\n\r\n")
        assert b"\r\n\r\n1048576\n" in got
        assert got.count(b"here\n") == 10
        assert here.refused == []


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=8))
def test_no_bytes_break_a_connection(data: bytes, cuts: list[int]) -> None:
    """XB3: any bytes, cut anywhere, end in a response or the connection's end; the next client is served."""

    @virtually
    async def run() -> None:
        async with home() as here:
            pieces, start = [], 0
            for cut in cuts:
                pieces.append(data[start : start + cut])
                start += cut
            await sent(here.port, *pieces, data[start:])
            assert b"here" in await sent(here.port, b"GET / HTTP/1.0\r\n\r\n")

    run()


SLOW = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a line": b"GE",
    "half a head": HEAD,
    "half a body": b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
    "half a second request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
    "a body after its response": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
}


@pytest.mark.parametrize("start", SLOW.values(), ids=SLOW)
@virtually
async def test_a_request_arrives_within_a_time(start: bytes) -> None:
    """XM1: who sends nothing, or half a request, is gone after ten seconds; a byte now and then doesn't prolong it."""
    loop = asyncio.get_running_loop()
    async with home() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        began = loop.time()
        writer.write(start)
        for second in range(1, 6):
            loop.call_later(second, writer.write, b"a" if b"Content-Length" in start else b"\r\n"[: start == b"\r\n"])
        await rest(reader)
        writer.close()
        assert loop.time() - began <= 11


@virtually
async def test_a_response_is_taken_within_a_time() -> None:
    """XM1: who asks for much and reads nothing is gone after half a minute."""
    async with home() as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port, limit=1)
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(45, over.set)
        await over.wait()
        assert here.refused == ["untaken"]
        writer.close()


@virtually
async def test_a_long_response_is_waited_for() -> None:
    """XM1: a gate takes minutes to respond, and nobody hurries it."""
    async with home() as here:
        asyncio.get_running_loop().call_later(300, here.let_go.set)
        assert (await sent(here.port, b"POST /slow HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc\r\n")).endswith(b"here\n")


async def test_idle_connections_shut_nobody_out() -> None:
    """XM1: each new connection is served, however many idle ones there are; the oldest of them gives way, with 503."""
    async with home(Bounds(connections=20)) as here:
        idle = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(60)]
        assert b"here" in await sent(here.port, b"GET / HTTP/1.0\r\n\r\n")
        first = await rest(idle[0][0])
        assert first.startswith(b"HTTP/1.1 503 ")
        assert here.refused == ["too_many"] * 41
        for _, writer in idle:
            writer.close()


async def test_who_opens_many_gives_way_to_others() -> None:
    """XM1: the connections of one address are closed before the single one of another."""
    async with home(Bounds(connections=10)) as here:
        other = await asyncio.open_connection("127.0.0.1", here.port, local_addr=("127.0.0.2", 0))
        idle = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(40)]
        other[1].write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"here" in await rest(other[0])
        for _, writer in (*idle, other):
            writer.close()


async def test_busy_connections_give_way_last() -> None:
    """XM1: a request under way is finished while there are idle ones to close."""
    async with home(Bounds(connections=5)) as here:
        slow = asyncio.create_task(sent(here.port, b"GET /slow HTTP/1.0\r\n\r\n"))
        await here.began.wait()
        idle = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(20)]
        assert b"here" in await sent(here.port, b"GET / HTTP/1.0\r\n\r\n")
        here.let_go.set()
        assert b"here" in await slow
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize(("soft", "most"), [(128, 32), (1024, 256), (1_000_000, 256), (-1, 256), (16, 8)])
def test_checks_keep_descriptors(soft: int, most: int) -> None:
    """XM1: the web holds at most a quarter of the descriptors that the system allows."""
    assert connections.most_connections(soft) == most


@pytest.mark.slow
async def test_headers_of_a_stranger_fill_no_memory() -> None:
    """XB3: 200 MB of headers leave the process as large as it was."""
    page = 4096

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    async with home() as here:
        block = (b"X: " + b"a" * 900 + b"\r\n") * 1000
        await sent(here.port, HEAD, block)
        before = await asyncio.to_thread(resident)
        for _ in range(230):
            await sent(here.port, HEAD, block)
        assert await asyncio.to_thread(resident) - before < 30_000_000
