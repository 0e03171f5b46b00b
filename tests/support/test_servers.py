"""The servers of tests/support misbehave as they promise: other tests are only as true as these."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.support import servers
from tests.support.ca import Authority
from tests.support.leaks import no_leaks


async def _read_all(server: servers.Server, say: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        if say:
            writer.write(say)
        return await asyncio.wait_for(reader.read(-1), 5)
    finally:
        writer.transport.abort()


async def test_silent_accepts_and_says_nothing() -> None:
    """A silent server takes what it is sent and never answers."""
    async with servers.silent() as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"hello")
        await server.asked.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        assert server.received == b"hello"
        writer.transport.abort()


async def test_closing_closes_at_once() -> None:
    """A closing server's client reads the end."""
    async with servers.closing() as server:
        assert await _read_all(server) == b""


async def test_half_closing_still_reads() -> None:
    """A half-closing server says its end and still takes what the client sends."""
    async with servers.half_closing() as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert await reader.read(-1) == b""
        writer.write(b"still there?")
        await asyncio.wait_for(server.asked.wait(), 5)
        writer.transport.abort()


@pytest.mark.parametrize("once_asked", [False, True])
async def test_resetting_resets_after_what_it_says(*, once_asked: bool) -> None:
    """A resetting server's bytes arrive, and then the connection is reset."""
    async with servers.resetting(b"12345", once_asked=once_asked) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"?")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 5)
        writer.transport.abort()


async def test_dripping_goes_on_without_end() -> None:
    """A dripping server repeats its text, a byte at a time."""
    async with servers.dripping(b"abc", every=0.001) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert await asyncio.wait_for(reader.readexactly(7), 5) == b"abcabca"
        writer.transport.abort()


async def test_endless_never_ends() -> None:
    """An endless server sends its head, and then more than anyone wants, at the client's pace."""
    async with servers.endless(b"head", b"x" * 1000) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"?")
        assert (await asyncio.wait_for(reader.readexactly(1_000_004), 5)).startswith(b"headxxx")
        writer.transport.abort()


async def test_canned_answers_in_turn() -> None:
    """A canned server greets, answers each piece with the next text, and closes when it is told to."""
    async with servers.canned(b"one", b"two", greeting=b"hello", then_close=True) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert await reader.readexactly(5) == b"hello"
        writer.write(b"?")
        assert await reader.readexactly(3) == b"one"
        writer.write(b"?")
        assert await reader.read(-1) == b"two"
        writer.transport.abort()


async def test_refusing_refuses() -> None:
    """Nobody listens on a refusing server's port."""
    async with servers.refusing() as server:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(server.host, server.port)


async def test_black_hole_never_accepts() -> None:
    """A connection to a black hole is neither made nor refused."""
    async with servers.black_hole() as server:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection(server.host, server.port), 0.1)


async def test_nothing_leads_to_the_unreachable_address() -> None:
    """The unreachable address answers ENETUNREACH, without root."""
    with pytest.raises(OSError, match="unreachable"):
        await asyncio.open_connection(servers.NO_ROUTE, 80)


async def test_speaking_talks(authority: Authority) -> None:
    """A server with a dialogue of the test's own speaks it, over TLS too."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        await reader.read()

    trust = ssl.create_default_context(cafile=authority.ca_file)
    async with servers.speaking(talk, tls=authority.good) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=trust, server_hostname="good.test")
        writer.write(b"echo\n")
        assert await reader.readline() == b"ECHO\n"
        writer.transport.abort()


@pytest.mark.parametrize("wrong", ["expired", "not_yet", "wrong_host", "self_signed", "incomplete", "stranger"])
async def test_wrong_certificates_are_refused(authority: Authority, wrong: str) -> None:
    """Each wrong certificate fails a plain client's verification."""
    trust = ssl.create_default_context(cafile=authority.ca_file)
    async with servers.silent(tls=getattr(authority, wrong)) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(server.host, server.port, ssl=trust, server_hostname="localhost")


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_a_left_task_is_seen() -> None:
    """A task that a run leaves behind is an error of the test."""
    left: list[asyncio.Task[None]] = []
    with pytest.raises(AssertionError, match="left behind: <Task"):
        async with no_leaks():
            left.append(asyncio.create_task(_forever()))
    left[0].cancel()


async def test_a_left_socket_is_seen() -> None:
    """A socket that a run leaves open is an error of the test, the server's own sockets aside."""
    async with servers.silent() as server:
        watch = no_leaks(serving=server.port)
        await watch.__aenter__()
        _, writer = await asyncio.open_connection(server.host, server.port)
        await server.connected.wait()
        with pytest.raises(AssertionError, match="left behind: fd"):
            await watch.__aexit__(None, None, None)
        writer.transport.abort()


async def test_a_closed_connection_is_no_leak() -> None:
    """A run that closes what it opened leaves nothing, although the server still holds its end."""
    async with servers.silent() as server, no_leaks(serving=server.port):
        _, writer = await asyncio.open_connection(server.host, server.port)
        await server.connected.wait()
        writer.transport.abort()
