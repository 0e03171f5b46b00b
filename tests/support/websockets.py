"""A real WebSocket server on 127.0.0.1 for one test: wsproto's other side, and a talk of the test's own."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, RejectConnection, RejectData, Request, TextMessage

from tests.support import servers


class Peer:
    """The server's end of one WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._wire = WSConnection(ConnectionType.SERVER)
        self._events: deque[Event] = deque()

    async def event(self) -> Event:
        """What the client says next. Raises ConnectionError at its end."""
        while not self._events:
            if not (data := await self._reader.read(65536)):
                raise ConnectionResetError
            self._wire.receive_data(data)
            self._events.extend(self._wire.events())
        return self._events.popleft()

    async def request(self) -> Request:
        """The handshake."""
        event = await self.event()
        assert isinstance(event, Request)
        return event

    def say(self, *events: Event) -> None:
        """Sends."""
        for event in events:
            self.writer.write(self._wire.send(event))

    def reject(self, status: int, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Answers the handshake with a status."""
        length = (b"content-length", str(len(body)).encode())
        self.say(RejectConnection(status_code=status, headers=[*headers, length], has_body=True), RejectData(body, body_finished=True))

    async def accepted(self, subprotocol: str | None = None) -> Request:
        """Opens, and answers the client's ping."""
        request = await self.request()
        self.say(AcceptConnection(subprotocol=subprotocol))
        await self.pong()
        return request

    async def pong(self) -> None:
        """Answers a ping."""
        event = await self.event()
        assert isinstance(event, Ping)
        self.say(event.response())

    async def text(self) -> str:
        """The next text message, whole."""
        said = ""
        while True:
            event = await self.event()
            if isinstance(event, TextMessage):
                said += event.data
                if event.message_finished:
                    return said
            elif not isinstance(event, Pong):
                raise ConnectionResetError

    async def goodbye(self) -> int:
        """Waits for the client's close and answers it; its code."""
        while not isinstance(event := await self.event(), CloseConnection):
            pass
        self.say(event.response())
        return int(event.code)


@asynccontextmanager
async def websocket(talk: Callable[[Peer], Awaitable[object]], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[servers.Server]:
    """Talks so with every client."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(Peer(reader, writer))
        await writer.drain()
        await reader.read()

    async with servers.speaking(accept, tls=tls) as server:
        yield server
