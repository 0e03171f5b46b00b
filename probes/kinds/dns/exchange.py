"""DNS questions and their answers on the wire: datagrams on a connected UDP socket, and messages on a TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.message

from probes import Context, Failed, Reason

AGAIN = 1.0  # seconds after which a datagram is sent again: one that is lost is no outage


class Datagrams(asyncio.DatagramProtocol):
    """What comes on a connected UDP socket; `last_read_at` is when something last did."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._came: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=64)  # more is a flood, and dropped
        self._transport: asyncio.DatagramTransport | None = None
        self.last_read_at = 0.0

    @classmethod
    async def open(cls, address: str, port: int, monotonic: Callable[[], float]) -> Datagrams:
        """A socket connected to an address (no name). Raises OSError."""
        _, made = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(monotonic), remote_addr=(address, port))
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's signature; the kernel lets only one sender in
        """Keeps what came."""
        self._keep(data)

    def error_received(self, exc: Exception) -> None:
        """Keeps what the network said of a send: refused, unreachable."""
        self._keep(exc)

    def _keep(self, came: bytes | Exception) -> None:
        self.last_read_at = self._monotonic()
        if not self._came.full():
            self._came.put_nowait(came)

    def send(self, data: bytes) -> None:
        """Sends one datagram; what the network says of it comes out of `receive`."""
        assert self._transport is not None  # noqa: S101 - for the type checker; an open socket has one
        self._transport.sendto(data)

    async def receive(self) -> bytes:
        """The next datagram. Raises the OSError that the network answered a send with."""
        came = await self._came.get()
        if isinstance(came, Exception):
            raise came
        return came

    def close(self) -> None:
        """Closes the socket."""
        if self._transport:
            self._transport.abort()


async def over_udp(ctx: Context, question: dns.message.Message, server: str, port: int) -> dns.message.Message:
    """Asks by datagrams, again each second. Raises OSError where the network says that nobody is there."""
    with ctx.phase("connect"):
        socket = await Datagrams.open(server, port, ctx.clock.monotonic)
    try:
        with ctx.phase("request") as interval:
            answer = await _asked_again(socket, question)
            interval.end = socket.last_read_at
    except ConnectionRefusedError as error:
        raise ConnectionRefusedError(error.errno, f"nothing listens on UDP port {port} of {server}") from error
    finally:
        socket.close()
    return answer


async def _asked_again(socket: Datagrams, question: dns.message.Message) -> dns.message.Message:
    while True:
        socket.send(question.to_wire())
        try:
            async with asyncio.timeout(AGAIN):
                while not question.is_response(answer := read_message(await socket.receive())):
                    pass  # the answer to somebody else's question, or a forged one
                return answer
        except TimeoutError:
            continue


async def over_tcp(ctx: Context, question: dns.message.Message, server: str, port: int) -> dns.message.Message:
    """Asks over a connection of the wire, each message behind its length (RFC 1035, section 4.2.2)."""
    stream = await ctx.wire.stream(ctx, server, port)
    try:
        with ctx.phase("request") as interval:
            await stream.write(question.to_wire(prepend_length=True))
            came = b""
            while len(came) < 2 or len(came) < 2 + int.from_bytes(came[:2]):  # noqa: PLR2004 - the length's own length
                piece = await stream.read()
                came += piece
                if not piece:
                    raise Failed(
                        Reason.TRUNCATED, f"the connection ended after {len(came)} bytes, before the response was complete, in request"
                    )
            interval.end = stream.last_read_at
    finally:
        stream.abort()
    answer = read_message(came[2 : 2 + int.from_bytes(came[:2])])
    if not question.is_response(answer):
        raise Failed(Reason.PROTOCOL, "the response belongs to another question")
    return answer


def read_message(data: bytes) -> dns.message.Message:
    """A message off the wire. Raises Failed(protocol) for what is none."""
    try:
        return dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError) as error:
        raise Failed(Reason.PROTOCOL, f"the response is not a DNS message: {error}") from error
