"""A real gRPC server on 127.0.0.1 for one test: h2's other side, one call a connection, answered by the test's own talk."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.support import servers

Fields = Sequence[tuple[str, str]]
GRPC = ((":status", "200"), ("content-type", "application/grpc"))
SERVING = b"\x00\x00\x00\x00\x02\x08\x01"  # HealthCheckResponse{SERVING} as a message


class Call:
    """One call: what was asked, and the ways to answer it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.headers: dict[str, str] = {}
        self.body = b""
        self.stream = 0

    async def heard(self) -> None:
        """Waits until the client has asked everything."""
        self.h2.initiate_connection()
        self.flush()
        while data := await self._reader.read(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.stream = event.stream_id
                    self.headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, DataReceived):
                    self.body += event.data
                elif isinstance(event, StreamEnded):
                    self.flush()
                    return
            self.flush()
        raise ConnectionResetError

    def flush(self) -> None:
        """Sends what h2 has to say."""
        self.writer.write(self.h2.data_to_send())

    def answer(self, headers: Fields = GRPC, body: bytes = b"", trailers: Fields = ()) -> None:
        """Headers, then a body, then trailers; what is empty is left out, and the last thing ends the stream."""
        self.h2.send_headers(self.stream, list(headers), end_stream=not body and not trailers)
        if body:
            self.h2.send_data(self.stream, body, end_stream=not trailers)
        if trailers:
            self.h2.send_headers(self.stream, list(trailers), end_stream=True)
        self.flush()

    def serving(self, message: bytes = SERVING, *, code: int = 0) -> None:
        """An ordinary answer: a message, and the status in the trailers."""
        self.answer(GRPC, message, [("grpc-status", str(code))])

    def refused(self, code: int, message: str = "") -> None:
        """An answer of headers alone, as servers refuse calls."""
        self.answer([*GRPC, ("grpc-status", str(code)), *([("grpc-message", message)] if message else [])])


@asynccontextmanager
async def calls(talk: Callable[[Call], object], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[servers.Server]:
    """Answers so each call, when all of it is there."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = Call(reader, writer)
        await call.heard()
        answered = talk(call)
        if isinstance(answered, Awaitable):
            await answered
        await reader.read()

    async with servers.speaking(accept, tls=tls) as server:
        yield server
