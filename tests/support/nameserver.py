"""A DNS server of the test's own on one port, over UDP and TCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tests.support.servers import HOST

Reply = Callable[[dns.message.Message], bytes | None]  # None: no answer
Zone = Callable[[dns.message.Message], bytes]


@dataclass
class Nameserver:
    """Where it listens, and which transports it was asked over, in order."""

    port: int
    asked: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)  # a question has come

    @property
    def address(self) -> str:
        """As a check's `server`."""
        return f"{HOST}:{self.port}"


def zone(*records: str, rcode: int = 0, flags: int = 0, authority: Sequence[str] = (), additional: Sequence[str] = ()) -> Zone:
    """Answers each question with these records (`name ttl class type data`), whatever it asks for."""

    def reply(question: dns.message.Message) -> bytes:
        answer = dns.message.make_response(question)
        answer.set_rcode(dns.rcode.Rcode.make(rcode))
        answer.flags |= flags
        answer.answer = [_rrset(record) for record in records]
        answer.authority = [_rrset(record) for record in authority]
        answer.additional = [_rrset(record) for record in additional]
        return answer.to_wire()

    return reply


def _rrset(record: str) -> dns.rrset.RRset:
    name, ttl, rdclass, kind, data = record.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), rdclass, kind, data)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Nameserver, reply: Reply) -> None:
        self.server, self.reply = server, reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.server.asked.append("udp")
        self.server.came.set()
        if answer := self.reply(dns.message.from_wire(data)):
            self.transport.sendto(answer, addr)


class _Messages(asyncio.Protocol):
    def __init__(self, server: Nameserver, reply: Reply) -> None:
        self.server, self.reply, self.came = server, reply, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.came += data
        if len(self.came) >= 2 and len(self.came) >= 2 + int.from_bytes(self.came[:2]):
            self.server.asked.append("tcp")
            self.server.came.set()
            if answer := self.reply(dns.message.from_wire(self.came[2:])):
                self.transport.write(len(answer).to_bytes(2) + answer)


async def _both(server: Nameserver, udp: Reply, tcp: Reply) -> tuple[asyncio.Server, asyncio.BaseTransport]:
    """A port that is free for both: TCP's is given by the system, and UDP's may be taken."""
    loop = asyncio.get_running_loop()
    while True:
        messages = await loop.create_server(lambda: _Messages(server, tcp), HOST, 0)
        server.port = messages.sockets[0].getsockname()[1]
        try:
            datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server, udp), local_addr=(HOST, server.port))
        except OSError:
            messages.close()
            continue
        return messages, datagrams


@asynccontextmanager
async def nameserver(udp: Reply, tcp: Reply | None = None) -> AsyncIterator[Nameserver]:
    """Listens on one free port; over TCP it answers as over UDP, unless the test gives another answer."""
    server = Nameserver(0)
    messages, datagrams = await _both(server, udp, tcp or udp)
    try:
        yield server
    finally:
        datagrams.close()
        messages.close()
        await messages.wait_closed()
