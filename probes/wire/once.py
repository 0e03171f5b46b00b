"""A plain connection that carries one request, which is sent in the very event that reports the connection.

It has no transport and no protocol: two events of the socket, the connection and the first bytes, wake the run once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from probes.wire.dial import begin_to_connect
from probes.wire.pace import Pace

_PIECE = 64 * 1024  # bytes that are read at once


class Once:
    """One TCP connection for one request. Its moments are by `monotonic`; it reads from the socket only while somebody waits for bytes.

    `connected_at` and `asked_at` are 0 until the kernel has reported the connection, and until the request was given to it.
    `not_connected` is why there is no connection.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._unsent = b""
        self._received = b""
        self._ended = False
        self._error: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.not_connected: OSError | None = None
        self.tls = None
        self.peer = ""  # the address that is connected to
        self.connected_at = 0.0
        self.asked_at = 0.0
        self.last_read_at = 0.0  # when the socket last gave bytes or its end
        self.received_bytes = 0  # that were read
        self._pace = Pace(monotonic)

    def connect(self, address: str, port: int, request: bytes) -> None:
        """Begins to connect to an address; `request` is sent as soon as that has succeeded."""
        self._unsent = request
        try:
            self._socket, number = begin_to_connect(address, port)
        except OSError as error:
            self.not_connected = error
            return
        if number == errno.EINPROGRESS:
            self._loop.add_writer(self._socket.fileno(), self._connected)
        else:
            self._decide(number)

    def adopt(self, connected: socket.socket, at: float, request: bytes) -> None:
        """Takes a socket that was connected at a moment, and sends the request."""
        self._socket, self.connected_at, self._unsent, self.peer = connected, at, request, _peer(connected)
        self._loop.add_reader(connected.fileno(), self._readable)
        self._send()

    def _connected(self) -> None:
        assert self._socket is not None  # noqa: S101 - for the type checker; this is an event of that socket
        self._decide(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _decide(self, number: int) -> None:
        """Sends the request, or notes why there is no connection."""
        assert self._socket is not None  # noqa: S101 - as above
        at = self._monotonic()
        if number:
            self.not_connected = OSError(number, os.strerror(number))
            self.abort()
            self._wake()
            return
        self.connected_at, self.peer = at, _peer(self._socket)
        self._loop.add_reader(self._socket.fileno(), self._readable)  # first, so that the loop goes on watching the socket
        self._loop.remove_writer(self._socket.fileno())
        self._send()

    def _send(self) -> None:
        assert self._socket is not None  # noqa: S101 - as above
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._error, sent = error, len(self._unsent)
            self._wake()
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._socket.fileno(), self._send)
            return
        self._loop.remove_writer(self._socket.fileno())
        self.asked_at = self._monotonic()

    def _readable(self) -> None:
        assert self._socket is not None  # noqa: S101 - as above
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            self._error, data = error, b""
        self.last_read_at = self._monotonic()
        self._received += data
        self._ended = not data
        if self._ended or self._waiter is None or self._waiter.done():  # nobody waits for more
            self._loop.remove_reader(self._socket.fileno())
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def first_bytes(self) -> None:
        """Waits for the first bytes of the response or for what ends the connection before them: see `not_connected` and `read`."""
        while not (self._received or self._ended or self._error or self.not_connected):
            self._waiter = self._loop.create_future()
            await self._waiter

    async def read(self) -> bytes:
        """Bytes, as soon as there are some; b"" at the end. Raises OSError after a reset. Its pieces are those of Stream.read."""
        if self._pace.is_over():
            self._pace.waits()
            await asyncio.sleep(0)
        if not self._received and not self._ended and not self._error and self._socket:
            self._waiter = self._loop.create_future()
            self._loop.add_reader(self._socket.fileno(), self._readable)
            self._pace.waits()
            await self._waiter
        if not self._received and self._error:
            raise self._error
        most = self._pace.most
        data, self._received = self._received[:most], self._received[most:]
        self.received_bytes += len(data)
        self._pace.gives(len(data))
        return data

    def is_idle(self) -> bool:
        """Never: nothing else is asked over this connection."""
        return False

    def abort(self) -> None:
        """Closes the socket at once."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _peer(connected: socket.socket) -> str:
    """The address that a socket is connected to; "" where the other side has ended it already."""
    try:
        address: str = connected.getpeername()[0]
    except OSError:
        return ""
    return address
