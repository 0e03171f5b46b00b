"""The server under the web: really listening, really stopping, in the loop that it is started in."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from runner.web.serve import CannotListenError, _why, serve
from tests.support.site import Site, site


@pytest.fixture
def here() -> Site:
    """A site of one check."""
    return site()


async def test_port_nought_is_a_free_port_that_is_known(here: Site) -> None:
    """Two runners can listen at once; each knows where."""
    one, other = await serve(here.app, "127.0.0.1", 0), await serve(here.app, "127.0.0.1", 0)
    assert one.port != other.port
    async with httpx.AsyncClient() as client:
        for listening in (one, other):
            answer = await client.get(f"{listening.url}-/healthy")
            assert answer.text == "healthy\n"
            assert "server" not in answer.headers
    await one.stop()
    await other.stop()


async def test_after_stop_nobody_listens(here: Site) -> None:
    """The port is free again at once."""
    listening = await serve(here.app, "127.0.0.1", 0)
    await listening.stop()
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as client:
            await client.get(f"{listening.url}-/healthy")
    again = await serve(here.app, "127.0.0.1", listening.port)
    await again.stop()


async def test_a_busy_port_is_said_with_what_to_do(here: Site) -> None:
    """Which address, why, and what to change."""
    listening = await serve(here.app, "127.0.0.1", 0)
    with pytest.raises(CannotListenError, match=rf"127\.0\.0\.1:{listening.port} is busy.*server: \{{listen"):
        await serve(here.app, "127.0.0.1", listening.port)
    await listening.stop()


async def test_a_foreign_address_is_said(here: Site) -> None:
    """An address of another machine can't be listened on."""
    with pytest.raises(CannotListenError, match="is not an address of this machine"):
        await serve(here.app, "192.0.2.1", 0)


async def test_ipv6_loopback(here: Site) -> None:
    """The brackets are put where a URL needs them."""
    listening = await serve(here.app, "::1", 0)
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{listening.url}-/healthy")).status_code == 200
    await listening.stop()


async def test_signals_stay_with_the_command_line(here: Site) -> None:
    """SIGINT and SIGTERM are the runner's to handle: the server touches neither."""
    before = [signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGTERM)]
    listening = await serve(here.app, "127.0.0.1", 0)
    assert [signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGTERM)] == before
    await listening.stop()


class Slow:
    """An application whose one answer waits to be let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.let_go.wait()
        await PlainTextResponse(Request(scope).url.path)(scope, receive, send)


async def test_an_answer_under_way_is_finished() -> None:
    """A scrape in flight at the stop still gets its page."""
    slow = Slow()
    listening = await serve(slow, "127.0.0.1", 0, grace=5)
    async with httpx.AsyncClient() as client:
        asking = asyncio.create_task(client.get(f"{listening.url}metrics"))
        await slow.asked.wait()
        stopping = asyncio.create_task(listening.stop())
        slow.let_go.set()
        assert (await asking).text == "/metrics"
    await stopping


@pytest.mark.slow
async def test_a_client_that_never_reads_holds_no_stop() -> None:
    """When the grace is over, what still hangs is cut."""
    slow = Slow()
    listening = await serve(slow, "127.0.0.1", 0, grace=1)
    _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await slow.asked.wait()
    async with asyncio.timeout(10):
        await listening.stop()
    writer.close()


async def test_several_host_headers_are_refused(here: Site) -> None:
    """A request that names two hosts is no browser's and no scraper's."""
    listening = await serve(here.app, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    first = await reader.readline()
    assert first.split()[1] in {b"400", b"421"}
    writer.close()
    await listening.stop()


def test_other_reasons_are_put_in_words() -> None:
    """A port that needs rights, and whatever else the system says."""
    assert "above 1023" in _why(OSError(13, "Permission denied"), "127.0.0.1", 80)
    assert _why(OSError(97, "Address family not supported"), "::1", 80) == "can't listen on [::1]:80: Address family not supported"
