"""DNS queries and responses: datagrams on a connected UDP socket, and messages on a TCP connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message

from probes import Context, Failed, Reason
from probes.expect.beside import beside_the_loop
from probes.facts import IP, IP_PROTOCOL
from probes.text import count
from probes.wire.route import Route

_CUT = dns.flags.QR | dns.flags.TC  # a response that was cut
MOST_RECORDS = 1000  # of a response: to read 4,000 takes a tenth of a second from all other runs
_SHORTEST = 11  # bytes of a record
AGAIN = 1.0  # seconds after which a datagram is sent again, since a lost datagram is no outage


class Datagrams(asyncio.DatagramProtocol):
    """A connected UDP socket; `last_read_at` is the time of the last received datagram (`clock.monotonic()` seconds)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._queue: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=64)  # more is a flood and is dropped
        self._transport: asyncio.DatagramTransport | None = None
        self.last_read_at = 0.0

    @classmethod
    async def open(cls, address: str, port: int, monotonic: Callable[[], float]) -> Datagrams:
        """Opens a socket that is connected to an IP address. Raises OSError.

        The kernel connects it at once: uvloop's `remote_addr` asks a thread for the address, even for one in digits.
        """
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            sock.connect((address, port))
            _, made = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(monotonic), sock=sock)
        except BaseException:
            sock.close()
            raise
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's signature; the kernel lets only one sender in
        self._enqueue(data)

    def error_received(self, exc: Exception) -> None:
        """Called for an error of the network about a send: refused, unreachable."""
        self._enqueue(exc)

    def _enqueue(self, received: bytes | Exception) -> None:
        self.last_read_at = self._monotonic()
        if not self._queue.full():
            self._queue.put_nowait(received)

    def send(self, data: bytes) -> None:
        """Sends one datagram; `receive` raises the network's error about it."""
        assert self._transport is not None  # noqa: S101 - for the type checker; an open socket has one
        self._transport.sendto(data)

    async def receive(self) -> bytes:
        """The next datagram. Raises the OSError that the network reported about a send."""
        received = await self._queue.get()
        if isinstance(received, Exception):
            raise received
        return received

    def close(self) -> None:
        if self._transport:
            self._transport.abort()


async def over_udp(ctx: Context, question: dns.message.Message, address: str, port: int) -> dns.message.Message:
    """Sends the query in datagrams to an IP address, again each second. Raises OSError where the network reports that nobody listens."""
    ctx.facts |= {IP: address, IP_PROTOCOL: 6 if ":" in address else 4}
    with ctx.phase("connect"):
        datagrams = await Datagrams.open(address, port, ctx.clock.monotonic)
    query = question.to_wire()
    number, passed_over = query[:2], 0
    try:
        with ctx.phase("request") as interval:
            while True:
                datagrams.send(query)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        while True:
                            data = await datagrams.receive()
                            if data[:2] != number:  # whether it can be read is of no matter
                                passed_over += 1
                                ctx.unfinished = f"what came belongs to another query, or is forged: {count(passed_over, 'datagram')}"
                                continue
                            response = read_message(data)
                            # So much may be cut that the question, which it repeats, is lost.
                            cut = response.flags & _CUT == _CUT and not response.question
                            if cut or question.is_response(response):
                                interval.end, ctx.unfinished = datagrams.last_read_at, ""
                                return response
    except ConnectionRefusedError as error:
        raise ConnectionRefusedError(error.errno, f"nothing listens on UDP port {port} of {address}") from error
    finally:
        datagrams.close()


async def over_tcp(ctx: Context, question: dns.message.Message, server: str, port: int, route: Route) -> dns.message.Message:
    """Sends the query over TCP, where the length stands before each message (RFC 1035, section 4.2.2)."""
    stream = await ctx.wire.stream(ctx, server, port, route=route)
    try:
        with ctx.phase("request") as interval:
            await stream.write(question.to_wire(prepend_length=True))
            data = b""
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):  # noqa: PLR2004 - the length's own length
                piece = await stream.read()
                data += piece
                if not piece:
                    raise Failed(
                        Reason.TRUNCATED, f"the connection ended after {len(data)} bytes, before the response was complete, in request"
                    )
            interval.end = stream.last_read_at
    finally:
        stream.abort()
    message = data[2 : 2 + int.from_bytes(data[:2])]
    response = await beside_the_loop(message, read_message, message)
    if not question.is_response(response):
        raise Failed(Reason.PROTOCOL, "the response belongs to another question")
    return response


def read_message(data: bytes) -> dns.message.Message:
    """A DNS message from its bytes, each record by itself; of one that was cut (TC) what came. Its attribute `wire` is the bytes.

    Raises Failed(protocol) for other bytes, and Failed(size) for more than MOST_RECORDS records.
    """
    if (records := sum(int.from_bytes(data[at : at + 2]) for at in (6, 8, 10))) > MOST_RECORDS < len(data) // _SHORTEST:
        raise Failed(Reason.SIZE, f"the response has {records:,} records; at most {MOST_RECORDS:,} are read")
    try:
        message = dns.message.from_wire(data, one_rr_per_rrset=True, raise_on_truncation=True)
    except dns.message.Truncated as cut:
        message = cut.kwargs["message"]
    except (dns.exception.DNSException, ValueError) as error:
        raise Failed(Reason.PROTOCOL, f"the response is not a DNS message: {error}") from error
    message.wire = data
    return message
