"""A small proxy of HTTP: relays plain requests, opens tunnels, requires credentials where the test says so."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support import servers

REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Proxy:
    """What it was asked, and how it answers CONNECT instead of opening a tunnel, where it shall."""

    user: str = ""  # name:password, wanted where it is given
    says: bytes = b""
    heads: list[bytes] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.user and base64.b64encode(self.user.encode()) not in head:
            writer.write(REFUSED)
        elif self.says:
            writer.write(self.says)
        else:
            await self._pass_on(head, reader, writer)
            return
        await writer.drain()
        await reader.read()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, where, _ = head.split(b" ", 2)
        split = urlsplit("//" + where.decode() if method == b"CONNECT" else where.decode())
        there, onward = await asyncio.open_connection(split.hostname, split.port)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            onward.write(head)
        try:
            await asyncio.gather(_copy(reader, onward), _copy(there, writer))
        finally:
            onward.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65536):
        sink.write(piece)
    if sink.can_write_eof() and not sink.is_closing():
        sink.write_eof()


@asynccontextmanager
async def proxying(user: str = "", says: bytes = b"") -> AsyncIterator[tuple[servers.Server, Proxy]]:
    """A proxy on a free port."""
    proxy = Proxy(user, says)
    async with servers.speaking(proxy.talk) as server:
        yield server, proxy
