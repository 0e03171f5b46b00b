"""The wire outlives its runs: what it keeps of them is bounded, and its connections need no thread."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from probes.core import Failed, Reason
from probes.kinds.grpc import Grpc
from probes.kinds.tcp import Tcp
from probes.kinds.tls import Handshake
from probes.probe import Probe
from probes.wire.certificate import Certificate
from probes.wire.dial import connect, first_to_connect, none_connected
from probes.wire.resolver import Resolver, SystemNames
from probes.wire.wire import CERTIFICATES_CAP, Wire, open_stream
from tests.support import odd_certificates as odd
from tests.support import servers
from tests.support.clock import FakeClock, RealClock
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
    wire, names = Wire(), [(0x82, b"%d.test" % number) for number in range(1000)]
    certificate = odd.write(tmp_path / "odd.pem", odd.Parts(extensions=(odd.names(*names),)))
    assert len(certificate) > 10_000
    filling = CERTIFICATES_CAP // len(certificate) + 1
    peaks = []
    tracemalloc.start()
    try:
        for number in range(3 * filling):
            wire.read_certificate(certificate + number.to_bytes(4))
            if number % filling == filling - 1:
                peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[0]
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


async def test_the_machines_names_are_read_before_the_phase() -> None:
    """W17: the phase `resolve` holds no thread of ours: the hosts file is read before it begins."""
    clock = FakeClock()

    class Slow(Resolver):
        async def system_names(self) -> SystemNames:
            names = await super().system_names()
            if not self.known:
                clock.advance(3)
                self.known = True
            return names

        known = False

    wire = Wire(resolver=Slow())
    ctx = make_context(wire, clock=clock)
    await wire.resolve(ctx, "localhost")
    assert ctx.phases["resolve"] < 1
    assert ctx.facts["dns_lookup"] < 1


THREADS = """
import asyncio, os, socket, uvloop
def bound():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock
from probes.kinds.dns.exchange import Datagrams
from probes.wire.dial import connect
async def main():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port, before = server.sockets[0].getsockname()[1], len(os.listdir("/proc/self/task"))
    sock, _ = await connect(asyncio.get_running_loop().time, "127.0.0.1", port)
    sock.close()
    receiver, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Datagrams(asyncio.get_running_loop().time), sock=bound())
    datagrams = await Datagrams.open("127.0.0.1", receiver.get_extra_info("sockname")[1], asyncio.get_running_loop().time)
    datagrams.send(b"query")
    assert await receiver.get_protocol().receive() == b"query"
    datagrams.close()
    receiver.abort()
    print(len(os.listdir("/proc/self/task")) - before)
    server.close()
uvloop.run(main())
"""


def test_uvloop_begins_no_thread() -> None:
    """W17: the loop of the runner, uvloop, begins none of its threads for a connection or datagrams to an address."""
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


@pytest.mark.parametrize("without_route", [errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_the_family_without_a_route_decides_nothing(without_route: int) -> None:
    """W4: where the system has no IPv6 route and IPv4 is refused, the failure is the refusal; the message has both."""
    errors = {"2001:db8::1": OSError(without_route, os.strerror(without_route)), "192.0.2.1": OSError(errno.ECONNREFUSED, "refused")}
    failure = none_connected(errors, 80)
    assert isinstance(failure, ConnectionRefusedError)
    assert "[2001:db8::1]:80: " in str(failure)
    assert "192.0.2.1:80: Connection refused" in str(failure)


@pytest.mark.parametrize("kind", [Tcp, Handshake, Grpc])
@pytest.mark.parametrize(("family", "reason"), [(4, None), ("prefer6", None), (6, Reason.DNS)])
async def test_a_family_for_every_kind(
    tmp_path_factory: pytest.TempPathFactory, kind: type[Probe], family: object, reason: Reason | None
) -> None:
    """W4: `ip` holds for tcp, tls and grpc as for http: 6 alone finds no address, prefer6 falls back."""
    hosts = await asyncio.to_thread(tmp_path_factory.mktemp, "hosts") / "hosts"
    await asyncio.to_thread(hosts.write_text, "127.0.0.1 four.test\n")
    wire = Wire(resolver=Resolver(hosts=hosts, servers=("127.0.0.1",), port=9))
    async with servers.closing() as server:
        ctx = make_context(wire)
        probe = kind.model_validate({"host": "four.test", "port": server.port, "ip": family})
        with contextlib.suppress(Failed, OSError) if reason is None else pytest.raises(Failed, match=r"four\.test has no IPv6 address"):
            await probe.run(ctx)
    assert ctx.facts.get("ip_protocol") == (None if reason else 4)
    assert (endpoint := probe.endpoint())
    assert endpoint.route.ip == str(family)
