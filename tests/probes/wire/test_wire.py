"""The wire outlives its runs: what it keeps of them is bounded, and its connections need no thread."""

from __future__ import annotations

import asyncio
import errno
import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from probes.wire.certificate import Certificate
from probes.wire.dial import connect, first_to_connect
from probes.wire.resolver import Resolver
from probes.wire.wire import CERTIFICATES_CAP, Wire, open_stream
from tests.support import odd_certificates as odd
from tests.support import servers
from tests.support.clock import RealClock
from tests.support.context import make_context


class _Evil(Resolver):
    """Another thousand addresses each time."""

    asked = 0

    async def addresses(self, host: str, within: float, kinds: object = ()) -> tuple[str, ...]:
        """None of them twice."""
        self.asked += 1
        return tuple(f"10.{self.asked}.{number // 256}.{number % 256}" for number in range(1000))


def kept(wire: Wire) -> Iterator[object]:
    """All that can be reached from a wire, types and modules aside."""
    seen: set[int] = set()
    waiting: list[object] = [wire.__dict__]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | type(sys)):
            seen.add(id(one))
            yield one
            waiting += gc.get_referents(one)


async def test_addresses_are_not_remembered() -> None:
    """XM7: a name with other addresses each time leaves nothing behind."""
    wire = Wire(resolver=_Evil())
    await wire.resolve(make_context(wire), "many.test")
    before = sum(1 for _ in kept(wire))
    for _ in range(5):
        await wire.resolve(make_context(wire), "many.test")
    assert sum(1 for _ in kept(wire)) <= before + 5


def test_certificates_are_kept_up_to_a_size(tmp_path: Path) -> None:
    """XM7: a server that presents another large certificate each time fills no memory: the bound is in bytes."""
    wire, names = Wire(), [(0x82, b"%d.test" % number) for number in range(4000)]
    certificate = odd.write(tmp_path / "odd.pem", odd.Parts(extensions=(odd.names(*names),)))
    assert len(certificate) > 40_000
    tracemalloc.start()
    try:
        for number in range(10 * CERTIFICATES_CAP // len(certificate)):
            wire.read_certificate(certificate + number.to_bytes(4))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8 * CERTIFICATES_CAP
    assert wire.read_certificate(certificate) is wire.read_certificate(certificate)
    assert Certificate.read(certificate) == wire.read_certificate(certificate)


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("a thread was asked for")


async def test_a_connection_to_an_address_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """W17: neither the loop's executor nor its resolver is asked while an address is dialled."""
    loop, wire = asyncio.get_running_loop(), Wire()
    for name in ("run_in_executor", "getaddrinfo", "sock_connect"):
        monkeypatch.setattr(loop, name, _refuse)
    async with servers.silent() as server:
        ctx = make_context(wire)
        (await open_stream(ctx, await wire.dial(ctx, "127.0.0.1", server.port))).abort()
    assert "connect" in ctx.phases


THREADS = """
import asyncio, os, uvloop
from probes.wire.dial import connect
async def main():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port, before = server.sockets[0].getsockname()[1], len(os.listdir("/proc/self/task"))
    sock, _ = await connect(asyncio.get_running_loop().time, "127.0.0.1", port)
    sock.close()
    print(len(os.listdir("/proc/self/task")) - before)
    server.close()
uvloop.run(main())
"""


def test_uvloop_begins_no_thread() -> None:
    """W17: the loop of the runner, uvloop, begins none of its threads for a connection to an address."""
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


async def test_the_number_of_a_failure_is_the_kernels() -> None:
    """W17: a refused connection keeps the kernel's number, and is said with its address."""
    async with servers.refusing() as server:
        with pytest.raises(ConnectionRefusedError, match=r"refused by 127\.0\.0\.1:") as caught:
            await first_to_connect(RealClock().monotonic, ["127.0.0.1"], server.port)
    assert caught.value.errno == errno.ECONNREFUSED


async def test_a_connection_that_is_given_up_leaves_nothing() -> None:
    """W17: a dial that is cancelled closes its socket and watches it no more."""
    async with servers.black_hole() as server:
        task = asyncio.ensure_future(connect(RealClock().monotonic, "127.0.0.1", server.port))
        await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, tuple):  # the kernel was quicker
        outcome[0].close()
    gc.collect()  # a socket that was left open is a warning, and so an error
