"""Real TCP servers on 127.0.0.1 that misbehave, each in one way, as async context managers.

    async with servers.silent() as server:
        ... server.host, server.port, await server.connected.wait() ...

They listen on a free port and wait by `loop.call_later`, never by sleeping. Leaving the context closes every connection.
Any behaviour speaks TLS when it is given a server's `ssl.SSLContext` as `tls`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
NO_ROUTE = "127.255.255.255"  # TCP to it is ENETUNREACH, without root
_LINGER_0 = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Server:
    """Where a server listens, and what it received."""

    host: str
    port: int
    connected: asyncio.Event = field(default_factory=asyncio.Event)  # a client's connection was accepted
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # a client has sent something
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a client has closed, or half-closed
    connections: int = 0
    received: bytearray = field(default_factory=bytearray)  # from all clients
    open: set[asyncio.Transport] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where an HTTP client finds it."""
        return f"http://{self.host}:{self.port}/"


class Behaviour(asyncio.Protocol):
    """One connection of a misbehaving server: accepts, reads and sends nothing."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts the connection, then begins to misbehave."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections += 1
        self.server.open.add(transport)
        self.server.connected.set()
        self.begin()

    def data_received(self, data: bytes) -> None:
        """Keeps what was sent."""
        self.server.received += data
        self.server.asked.set()
        self.respond()

    def eof_received(self) -> bool:
        """Stays open (without TLS) when the client half-closes."""
        self.server.left.set()
        return not self.transport.get_extra_info("ssl_object")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self.server.open.discard(self.transport)
        self.server.left.set()
        self.ended()

    def begin(self) -> None:
        """Called when a client has come."""

    def respond(self) -> None:
        """Called when a client has sent something."""

    def ended(self) -> None:
        """Called when a client has gone."""


class _Closing(Behaviour):
    def begin(self) -> None:
        self.transport.close()


class _HalfClosing(Behaviour):
    def begin(self) -> None:
        self.transport.write_eof()


@dataclass
class _Reset:
    """How a resetting server ends: after these bytes, and only once it was asked where `once_asked`."""

    say: bytes = b""
    once_asked: bool = False


class _Resetting(Behaviour):
    how = _Reset()

    def begin(self) -> None:
        if not self.how.once_asked:
            self._reset()

    def respond(self) -> None:
        if self.how.once_asked:
            self._reset()

    def _reset(self) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(self.how.say)
        reset(self.transport)


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection with RST instead of FIN."""
    raw: socket.socket = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    transport.abort()


class _Dripping(Behaviour):
    """One byte at a time, for ever: the text again and again."""

    text = b"H"
    every = 0.005

    def begin(self) -> None:
        self._at = 0
        self._next = self.loop.call_later(self.every, self._drip)

    def _drip(self) -> None:
        self.transport.write(self.text[self._at % len(self.text) :][:1])
        self._at += 1
        self._next = self.loop.call_later(self.every, self._drip)

    def ended(self) -> None:
        self._next.cancel()


class _Endless(Behaviour):
    """A beginning once it was asked, then the same piece as fast as the client takes it."""

    head = b""
    piece = b"x" * 65536

    def begin(self) -> None:
        self._may_write = True
        self._begun = False

    def respond(self) -> None:
        if not self._begun:
            self._begun = True
            self.transport.write(self.head)
            self._pour()

    def _pour(self) -> None:
        if self._may_write and not self.transport.is_closing():
            self.transport.write(self.piece)
            self.loop.call_soon(self._pour)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._pour()


class _Canned(Behaviour):
    """The next of the given answers for each piece that the client sends; after the last one it closes or falls silent."""

    answers: Sequence[bytes] = ()
    then_close = False
    greeting = b""

    def begin(self) -> None:
        self._left = list(self.answers)
        if self.greeting:
            self.transport.write(self.greeting)

    def respond(self) -> None:
        if not self._left:
            return
        self.transport.write(self._left.pop(0))
        if not self._left and self.then_close:
            self.transport.close()


def _port(listening: asyncio.Server) -> int:
    port: int = listening.sockets[0].getsockname()[1]
    return port


@asynccontextmanager
async def serve(
    behaviour: Callable[[Server], asyncio.Protocol],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = HOST,
) -> AsyncIterator[Server]:
    """Listens on a free port with a behaviour of the test's own."""
    loop = asyncio.get_running_loop()
    server = Server(host, 0)
    listening = await loop.create_server(lambda: behaviour(server), host, 0, ssl=tls, start_serving=False)
    server.port = _port(listening)
    await listening.start_serving()
    try:
        yield server
    finally:
        listening.close()
        for transport in list(server.open):
            transport.abort()
        await listening.wait_closed()


def _variant(kind: type[Behaviour], **settings: object) -> type[Behaviour]:
    return type(kind.__name__, (kind,), settings)


@asynccontextmanager
async def silent(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Accepts, reads, never answers."""
    async with serve(Behaviour, tls=tls) as server:
        yield server


@asynccontextmanager
async def closing(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Closes every connection at once."""
    async with serve(_Closing, tls=tls) as server:
        yield server


@asynccontextmanager
async def half_closing() -> AsyncIterator[Server]:
    """Says at once that it will say nothing more, and goes on reading."""
    async with serve(_HalfClosing) as server:
        yield server


@asynccontextmanager
async def resetting(say: bytes = b"", *, once_asked: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Says these bytes, then resets (RST): at once, or when the client has asked."""
    async with serve(_variant(_Resetting, how=_Reset(say, once_asked)), tls=tls) as server:
        yield server


@asynccontextmanager
async def dripping(text: bytes = b"H", *, every: float = 0.005, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """One byte of the text every so many seconds, and from the start again, without end."""
    async with serve(_variant(_Dripping, text=text, every=every), tls=tls) as server:
        yield server


@asynccontextmanager
async def endless(head: bytes = b"", piece: bytes = b"x" * 65536, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """When asked: a beginning, then the same piece without end, as fast as the client takes it."""
    async with serve(_variant(_Endless, head=head, piece=piece), tls=tls) as server:
        yield server


@asynccontextmanager
async def canned(
    *answers: bytes, greeting: bytes = b"", then_close: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Answers each piece that comes with the next of these; then it closes, or stays and is silent."""
    async with serve(_variant(_Canned, answers=answers, greeting=greeting, then_close=then_close), tls=tls) as server:
        yield server


@asynccontextmanager
async def refusing() -> AsyncIterator[Server]:
    """A port that is kept, and on which nobody listens: connections to it are refused."""
    with socket.socket() as kept:
        kept.bind((HOST, 0))
        yield Server(HOST, kept.getsockname()[1])


@contextmanager
def _full() -> Iterator[int]:
    with ExitStack() as kept:
        listening = kept.enter_context(socket.socket())
        listening.bind((HOST, 0))
        listening.listen(0)
        for _ in range(4):
            filler = kept.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the standard library's signature
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@asynccontextmanager
async def black_hole() -> AsyncIterator[Server]:
    """Connections to it are never made: its queue is full, and nobody accepts."""
    with _full() as port:
        yield Server(HOST, port)


@asynccontextmanager
async def speaking(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A dialogue of the test's own, written as a coroutine over streams; it is cancelled when the context ends."""
    tasks: set[asyncio.Task[object]] = set()
    server = Server(HOST, 0)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        server.connections += 1
        server.connected.set()
        try:
            outcome = talk(reader, writer)
            if asyncio.iscoroutine(outcome):
                await outcome
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client left or doesn't trust us, or the test is over
        finally:
            writer.transport.abort()
            server.left.set()

    listening = await asyncio.start_server(accept, HOST, 0, ssl=tls)
    server.port = _port(listening)
    try:
        yield server
    finally:
        listening.close()
        for task in (talks := list(tasks)):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await listening.wait_closed()
