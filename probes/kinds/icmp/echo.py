"""ICMP echo on Linux sockets: requests and replies of both versions, errors of the network, and the kernel's timestamps.

A datagram socket needs no privilege where net.ipv4.ping_group_range allows the group; a raw one needs CAP_NET_RAW.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from probes import Clock, Failed, Reason

# Numbers of linux/in.h, linux/in6.h, asm-generic/socket.h and linux/errqueue.h that Python doesn't name
_SO_TIMESTAMPNS = 35
_IP_MTU_DISCOVER, _IP_RECVERR, _IP_RECVTTL, _PMTUDISC_DO = 10, 11, 12, 2
_IPV6_MTU_DISCOVER, _IPV6_RECVERR, _IPV6_DONTFRAG = 23, 25, 62
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # errno, origin, type, code, padding, info, data
_TIMESPEC = struct.Struct("@qq")
_FROM_NETWORK = {2, 3}  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_TOO_OLD = 60.0  # seconds; no reply waits longer in the kernel, so a greater delay means that the wall clock was set

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, id, sequence
_ANCILLARY = socket.CMSG_SPACE(256)
_DATAGRAM = 65535


@dataclass(frozen=True, slots=True)
class Version:
    """The differences between ICMP and ICMPv6."""

    family: int
    protocol: int
    level: int
    request: int
    reply: int
    unreachable: int
    time_exceeded: int
    hops: int  # the option that sets the hop limit
    receive_hops: int  # the option that makes the kernel report a reply's hop limit
    received_hops: int  # the control message with that hop limit


V4 = Version(socket.AF_INET, socket.IPPROTO_ICMP, socket.IPPROTO_IP, 8, 0, 3, 11, socket.IP_TTL, _IP_RECVTTL, socket.IP_TTL)
V6 = Version(
    socket.AF_INET6,
    socket.IPPROTO_ICMPV6,
    socket.IPPROTO_IPV6,
    128,
    129,
    1,
    3,
    socket.IPV6_UNICAST_HOPS,
    socket.IPV6_RECVHOPLIMIT,
    socket.IPV6_HOPLIMIT,
)


@dataclass(frozen=True, slots=True)
class EchoReply:
    """One reply: the request's sequence number, when the kernel received it (`clock.monotonic()` seconds), and its hop limit."""

    sequence: int
    at: float
    hops: int | None


def open_socket(version: Version, make: Callable[[int, int, int], socket.socket] = socket.socket) -> tuple[socket.socket, bool]:
    """A socket for echo requests, and whether it is raw. Raises Failed(internal) where this process may open neither kind."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return make(version.family, kind | socket.SOCK_NONBLOCK, version.protocol), kind == socket.SOCK_RAW
        except PermissionError:
            continue
        except OSError as error:
            if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                raise
    raise Failed(
        Reason.INTERNAL,
        "this runner may not send ICMP: add its group to the sysctl net.ipv4.ping_group_range, or give it CAP_NET_RAW",
    )


def prepare(sock: socket.socket, version: Version, *, hops: int | None, whole: bool) -> None:
    """Sets a socket's options: network errors, timestamps, hop limits; `whole` forbids fragments. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(version.level, version.receive_hops, 1)
    sock.setsockopt(version.level, _IP_RECVERR if version is V4 else _IPV6_RECVERR, 1)
    if hops is not None:
        sock.setsockopt(version.level, version.hops, hops)
    if whole:
        sock.setsockopt(version.level, _IP_MTU_DISCOVER if version is V4 else _IPV6_MTU_DISCOVER, _PMTUDISC_DO)
        if version is V6:
            sock.setsockopt(version.level, _IPV6_DONTFRAG, 1)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Echoes:
    """A connected socket that sends requests and receives their replies among the traffic of other processes."""

    def __init__(self, sock: socket.socket, version: Version, *, raw: bool, ident: int, payload: bytes, clock: Clock) -> None:
        self._sock = sock
        self._version = version
        self._raw = raw
        self._ident = ident
        self._payload = payload
        self._clock = clock
        self._received: deque[EchoReply | Exception] = deque()
        self._waiter: asyncio.Future[None] | None = None
        asyncio.get_running_loop().add_reader(sock, self._readable)

    def close(self) -> None:
        """Closes the socket."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def send(self, sequence: int) -> float:
        """Sends a request and returns its time (`clock.monotonic()`). Also raises a network error about an earlier request."""
        packet = self.packet(sequence)
        at = self._clock.monotonic()
        try:
            self._sock.send(packet)
        except OSError as error:
            if failure := self._read_error_queue():
                raise failure from error
            if error.errno == errno.EMSGSIZE:
                raise Failed(Reason.SIZE, f"the request of {len(packet)} bytes is too long to be sent in one piece") from error
            raise type(error)(error.errno, f"the request to {self._sock.getpeername()[0]} can't be sent: {error.strerror}") from error
        return at

    def packet(self, sequence: int) -> bytes:
        """The bytes of a request. The kernel fills in a datagram socket's id and every checksum except a raw IPv4 socket's."""
        head = _HEADER.pack(self._version.request, 0, 0, self._ident, sequence)
        if self._raw and self._version is V4:
            head = _HEADER.pack(self._version.request, 0, checksum(head + self._payload), self._ident, sequence)
        return head + self._payload

    async def receive(self) -> EchoReply:
        """The next reply to one of our requests. Raises Failed for an error that the network reports."""
        while not self._received:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        received = self._received.popleft()
        if isinstance(received, Exception):
            raise received
        return received

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(_DATAGRAM, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            received: EchoReply | Exception | None = self._read_error_queue()
        except OSError as error:
            received = self._read_error_queue() or error
        else:
            received = self.read(data, ancillary)
        if received is not None:
            self._received.append(received)
            if self._waiter and not self._waiter.done():
                self._waiter.set_result(None)

    def read(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> EchoReply | None:
        """A reply to one of our requests, or None for any other packet."""
        if self._raw and self._version is V4:
            data = data[(data[0] & 0x0F) * 4 :] if data else b""
        if len(data) < _HEADER.size:
            return None
        kind, code, _, ident, sequence = _HEADER.unpack_from(data)
        if (kind, code) != (self._version.reply, 0) or data[_HEADER.size :] != self._payload:
            return None
        if self._raw and ident != self._ident:
            return None
        hops = None
        delay = 0.0
        for level, which, value in ancillary:
            if (level, which) == (self._version.level, self._version.received_hops):
                hops = int.from_bytes(value[:4], "little" if struct.pack("=H", 1)[0] else "big")
            elif (level, which) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(value) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(value)
                delay = self._clock.time() - seconds - nanoseconds / 1e9
        return EchoReply(sequence, self._clock.monotonic() - (delay if 0 <= delay < _TOO_OLD else 0.0), hops)

    def _read_error_queue(self) -> Failed | None:
        """The network's first error about one of our requests, from the socket's error queue."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self._sock.recvmsg(_DATAGRAM, _ANCILLARY, _MSG_ERRQUEUE)
                if failure := self.read_error(data, ancillary):
                    return failure
        return None

    def read_error(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> Failed | None:
        """The failure in an entry of the error queue, or None where it is about another process's request."""
        if self._raw and len(data) >= _HEADER.size and _HEADER.unpack_from(data)[3] != self._ident:
            return None
        for level, which, value in ancillary:
            if (level, which) == (self._version.level, _IP_RECVERR if self._version is V4 else _IPV6_RECVERR):
                return _network_failure(self._version, value)
        return None


def _network_failure(version: Version, value: bytes) -> Failed:
    number, origin, kind, _, _, info, _ = _EXTENDED_ERROR.unpack_from(value)
    if number == errno.EMSGSIZE:
        return Failed(Reason.SIZE, f"the request is too long to be sent in one piece: at most {info} bytes are possible")
    if origin not in _FROM_NETWORK:
        return Failed(Reason.UNREACHABLE, os.strerror(number))
    who = _reporter(value[_EXTENDED_ERROR.size :])
    if kind == version.time_exceeded:
        return Failed(Reason.UNREACHABLE, f"{who} reports: time exceeded; the path has more hops than the hop limit allows, or a loop")
    return Failed(Reason.UNREACHABLE, f"{who} reports: {os.strerror(number).lower()}")


def _reporter(address: bytes) -> str:
    """The address inside a sockaddr, as text."""
    family = struct.unpack_from("=H", address)[0] if len(address) >= 2 else 0  # noqa: PLR2004 - the family's own length
    if family == socket.AF_INET and len(address) >= 8:  # noqa: PLR2004 - sockaddr_in up to its address
        return socket.inet_ntop(socket.AF_INET, address[4:8])
    if family == socket.AF_INET6 and len(address) >= 24:  # noqa: PLR2004 - sockaddr_in6 up to its address
        return socket.inet_ntop(socket.AF_INET6, address[8:24])
    return "a router"
