"""TCP connections to addresses: several of them one after the other (RFC 8305), without a thread."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Collection, Sequence

from probes.core import Failed, Reason
from probes.text import host_and_port

_WITHOUT_ROUTE = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_FULL = 0.02  # seconds until a Unix socket is tried again whose queue is full: nobody is told when it has room
NEXT_ADDRESS = 0.25  # RFC 8305, section 5: seconds after which the next address is tried, too


async def first_to_connect(monotonic: Callable[[], float], addresses: Sequence[str], port: int) -> tuple[socket.socket, float]:
    """The first socket that is connected, and when it was; the other attempts are cancelled."""
    if len(addresses) == 1:  # the plain case needs no tasks
        try:
            return await connect(monotonic, addresses[0], port)
        except OSError as error:
            raise none_connected({addresses[0]: error}, port) from error
    errors: dict[str, OSError] = {}
    running: dict[asyncio.Task[tuple[socket.socket, float]], str] = {}
    waiting = list(addresses)
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(connect(monotonic, address, port))] = address
            done, _ = await asyncio.wait(running, timeout=NEXT_ADDRESS if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                address = running.pop(task)
                if (failed := task.exception()) is None:
                    return task.result()
                if not isinstance(failed, OSError):
                    raise failed
                errors[address] = failed
    finally:
        await _cancel(running)
    raise none_connected(errors, port)


async def _cancel(attempts: Collection[asyncio.Task[tuple[socket.socket, float]]]) -> None:
    """Cancels attempts; one that has connected meanwhile is closed."""
    for attempt in attempts:
        attempt.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(outcome, tuple):
            outcome[0].close()


async def connect_locally(path: str) -> socket.socket:
    """A non-blocking socket that is connected to a Unix socket. Raises OSError. While the server's queue is full it tries again."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        while (number := sock.connect_ex(path)) == errno.EAGAIN:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(_FULL)
        if number:
            raise OSError(number, os.strerror(number), path)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(monotonic: Callable[[], float], address: str, port: int) -> tuple[socket.socket, float]:
    """A non-blocking socket that is connected to an address, and when it was. Raises OSError with the kernel's number.

    By the kernel's own calls: uvloop's `sock_connect` asks a thread for the address, even for one in digits.
    """
    sock, number = begin_to_connect(address, port)
    try:
        at = monotonic()
        if number == errno.EINPROGRESS:
            at = await _when_writable(sock, monotonic)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except BaseException:
        sock.close()
        raise
    return sock, at


def begin_to_connect(address: str, port: int) -> tuple[socket.socket, int]:
    """A non-blocking socket that begins to connect, and what the kernel says of that: 0, EINPROGRESS or an error's number."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, sock.connect_ex((address, port))
    except BaseException:
        sock.close()
        raise


async def _when_writable(sock: socket.socket, monotonic: Callable[[], float]) -> float:
    """The moment at which the kernel reports the connection's success or failure."""
    loop = asyncio.get_running_loop()
    moment: asyncio.Future[float] = loop.create_future()

    def set_moment() -> None:
        if not moment.done():
            moment.set_result(monotonic())

    loop.add_writer(sock, set_moment)
    try:
        return await moment
    finally:
        loop.remove_writer(sock)


def none_connected(errors: dict[str, OSError], port: int) -> OSError | Failed:
    """One error about all addresses: the messages of all, the class and number of the first one that says something of the target.

    Where the system itself has no route for a family, the other family's error says more.
    """
    if not errors:
        return Failed(Reason.DNS, "the name has no address")
    first = next((e for e in errors.values() if e.errno not in _WITHOUT_ROUTE), next(iter(errors.values())))
    messages = [f"{host_and_port(address, port)}: {os.strerror(e.errno) if e.errno else e}" for address, e in errors.items()]
    if first.errno == errno.ECONNREFUSED and all(e.errno == errno.ECONNREFUSED for e in errors.values()):
        where = " and ".join(host_and_port(address, port) for address in errors)
        return ConnectionRefusedError(errno.ECONNREFUSED, f"Connection refused by {where}")
    return type(first)(first.errno, "; ".join(messages))
