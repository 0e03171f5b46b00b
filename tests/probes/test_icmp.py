from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.kinds.icmp import Icmp
from probes.kinds.icmp.echo import V4, V6, Echoes, Version, checksum, open_socket
from probes.wire.resolver import Resolver
from probes.wire.wire import Wire
from tests.support.clock import RealClock
from tests.support.context import context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

PAYLOAD = b"0123456789abcdef"
IDENT = 77


def may_ping(version: Version = V4) -> bool:
    """Whether this machine lets the tests send ICMP at all: where not, `icmp` must say so."""
    try:
        sock, _ = open_socket(version)
    except (Failed, OSError):
        return False
    sock.close()
    return True


def filled(seen: Observation, name: str) -> list[tuple[tuple[str, ...], float]]:
    """The samples of one of the kind's families."""
    (family,) = (family for family in Icmp.families if family.name == name)
    return list(family.read(seen.phases, seen.facts))


async def test_this_machine_answers_itself(runs: Observer) -> None:
    """Requests to the loopback are answered and timed; or, without permission, nothing is said of the target and what to do is."""
    async with no_leaks():
        seen = await runs.observe(Icmp.model_validate({"host": "127.0.0.1", "count": 3, "every": "1ms", "ttl": 9}))
    if not may_ping():
        assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
        assert "net.ipv4.ping_group_range" in seen.message
        return
    assert seen.verdict is Verdict.PASS, seen.message
    assert seen.message.startswith("127.0.0.1: 3 of 3 answered, ")
    assert list(seen.phases) == ["resolve", "setup", "rtt"]
    assert [label for label, _ in filled(seen, "probe_icmp_duration_seconds")] == [("resolve",), ("setup",), ("rtt",)]
    assert (filled(seen, "probe_icmp_sent"), filled(seen, "probe_icmp_received")) == ([((), 3.0)], [((), 3.0)])
    (shortest, mean, longest) = (value for _, value in filled(seen, "probe_icmp_round_trip_seconds"))
    assert 0 < shortest <= mean <= longest < 1
    assert 0 < filled(seen, "probe_icmp_reply_hop_limit")[0][1] <= 255


def _forbidden(_family: int, _kind: int, _protocol: int) -> socket.socket:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_without_permission_it_is_ours() -> None:
    """Where neither socket is allowed the reason is one of ours, and the message says what to do."""
    with pytest.raises(Failed, match="ping_group_range, or give it CAP_NET_RAW") as failed:
        open_socket(V4, _forbidden)
    assert failed.value.reason is Reason.INTERNAL


def test_the_socket_without_privilege_is_tried_first() -> None:
    """A datagram socket comes first, a raw one only where that is refused."""
    asked = []

    def make(family: int, kind: int, _protocol: int) -> socket.socket:
        asked.append(kind & ~socket.SOCK_NONBLOCK)
        if len(asked) == 1:
            raise PermissionError
        return socket.socket(family, socket.SOCK_DGRAM)

    sock, raw = open_socket(V6, make)
    sock.close()
    assert (asked, raw) == ([socket.SOCK_DGRAM, socket.SOCK_RAW], True)


NO_ROUTE = "255.255.255.255"  # a socket can't be connected to the broadcast address


@pytest.mark.parametrize("settings", [{}, {"count": 3, "every": "1ms"}, {"ip": "prefer4"}])
async def test_an_address_without_a_route(runs: Observer, tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> None:
    """W4: an address that the system can't send to is passed over for the next; where none is left, the message names all."""
    hosts = await asyncio.to_thread(tmp_path_factory.mktemp, "hosts") / "hosts"
    await asyncio.to_thread(hosts.write_text, f"{NO_ROUTE} two.test none.test\n127.0.0.1 two.test\n::1 both.test\n127.0.0.1 both.test\n")
    runs.wire = Wire(resolver=Resolver(hosts=hosts, servers=("127.0.0.1",), port=9))
    if not may_ping():
        pytest.skip("this machine lets nobody ping")
    seen = await runs.observe(Icmp.model_validate({"host": "two.test"} | settings))
    assert (seen.verdict, seen.facts["ip"]) == (Verdict.PASS, "127.0.0.1"), seen.message
    seen = await runs.observe(Icmp.model_validate({"host": "none.test"} | settings))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.UNREACHABLE)
    assert seen.message.startswith(f"{NO_ROUTE}: ")
    seen = await runs.observe(Icmp.model_validate({"host": "both.test", "ip": "prefer4"}))
    assert (seen.verdict, seen.facts["ip_protocol"]) == (Verdict.PASS, 4)


async def test_a_name_that_is_none(runs: Observer) -> None:
    """Addresses come from the wire: metadata addresses are refused here, too."""
    seen = await runs.observe(Icmp(host="169.254.169.254"))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.POLICY)
    seen = await runs.observe(Icmp.model_validate({"host": "127.0.0.1", "ip": 6}))
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, Reason.DNS, "127.0.0.1 has no IPv6 address")


@asynccontextmanager
async def echoing(version: Version = V4, *, raw: bool = False) -> AsyncIterator[tuple[Echoes, socket.socket]]:
    """Echoes on one end of a pair of sockets, and the network's end for the test."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)  # noqa: FBT003 - the standard library's signature
        far.setblocking(False)  # noqa: FBT003 - as above
        echoes = Echoes(near, version, raw=raw, ident=IDENT, payload=PAYLOAD, clock=RealClock())
        try:
            yield echoes, far
        finally:
            echoes.close()


def reply(sequence: int, *, kind: int = 0, code: int = 0, ident: int = IDENT, payload: bytes = PAYLOAD) -> bytes:
    """A reply without an IP header."""
    return struct.pack("!BBHHH", kind, code, 0, ident, sequence) + payload


async def test_replies_of_others_do_not_count() -> None:
    """Only a reply with our id, sequence and payload is one; requests, complaints and short packets pass by."""
    header = b"\x45" + bytes(19)
    async with echoing(raw=True) as (echoes, far):
        for packet in (
            b"",
            b"\x45",
            header + reply(1, kind=8),
            header + reply(1, ident=1),
            header + reply(1, payload=b"x"),
            header + b"\0",
        ):
            far.send(packet)
        far.send(header + reply(4))
        assert (await echoes.receive()).sequence == 4
    async with echoing(V6) as (echoes, far):
        far.send(reply(2))
        far.send(reply(3, kind=129, ident=5))
        assert (await echoes.receive()).sequence == 3


async def test_lost_replies() -> None:
    """Replies that don't come are counted as lost when the time is nearly over; late ones and doubles count once."""
    probe = Icmp.model_validate({"host": "x", "count": 3, "every": "1ms", "allow_lost": 1})
    async with echoing() as (echoes, far), context(timeout=0.2) as ctx:
        ctx.facts["sent"] = 0
        trips: dict[int, float] = {}
        task = asyncio.create_task(probe.ping_repeatedly(ctx, echoes, trips))
        for packet in (await _sent(far), await _sent(far), await _sent(far))[:2]:
            sequence = struct.unpack("!HHHH", packet[:8])[3]
            far.send(reply(sequence))
            far.send(reply(sequence))
        far.send(reply(9))
        await task
    assert sorted(trips) == [1, 2]
    assert (ctx.facts["sent"], ctx.facts["received"]) == (3, 2)
    assert len(ctx.spans) == 2


async def _sent(far: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(far, 65535)


def test_the_checksum() -> None:
    """A packet with its checksum sums up to nothing, however long it is (RFC 1071)."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D


@given(st.binary(max_size=50), st.integers(0, 65535))
async def test_a_packet_that_sums_up(payload: bytes, sequence: int) -> None:
    """A raw IPv4 request carries its own checksum."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)  # noqa: FBT003 - the standard library's signature
        echoes = Echoes(near, V4, raw=True, ident=IDENT, payload=payload, clock=RealClock())
        assert checksum(echoes.packet(sequence)) == 0
        echoes.close()


def queue_entry(
    number: int, origin: int, kind: int, *, info: int = 0, level: int = socket.IPPROTO_IP, option: int = 11
) -> list[tuple[int, int, bytes]]:
    """What the kernel queues about an error: linux/errqueue.h."""
    offender = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes([10, 0, 0, 1]))
    if level == socket.IPPROTO_IPV6:
        offender = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, bytes(15) + b"\1", 0)
    return [(level, option, struct.pack("=IBBBBII", number, origin, kind, 0, 0, info, 0) + offender)]


@pytest.mark.parametrize(
    ("version", "ancillary", "reason", "message"),
    [
        (
            V4,
            queue_entry(errno.EHOSTUNREACH, 2, 11),
            Reason.UNREACHABLE,
            "10.0.0.1 reports: time exceeded; the path has more hops than the hop limit allows, or a loop",
        ),
        (V4, queue_entry(errno.EHOSTUNREACH, 2, 3), Reason.UNREACHABLE, "10.0.0.1 reports: no route to host"),
        (V4, queue_entry(errno.ENETUNREACH, 2, 3), Reason.UNREACHABLE, "10.0.0.1 reports: network is unreachable"),
        (
            V4,
            queue_entry(errno.EMSGSIZE, 2, 3, info=1300),
            Reason.SIZE,
            "the request is too long to be sent in one piece: at most 1300 bytes are possible",
        ),
        (V4, queue_entry(errno.EHOSTUNREACH, 1, 0), Reason.UNREACHABLE, "No route to host"),
        (
            V6,
            queue_entry(errno.EHOSTUNREACH, 3, 3, level=socket.IPPROTO_IPV6, option=25),
            Reason.UNREACHABLE,
            "::1 reports: time exceeded; the path has more hops than the hop limit allows, or a loop",
        ),
    ],
    ids=["time exceeded", "no host", "no network", "too long", "on this machine", "time exceeded, IPv6"],
)
async def test_what_the_network_says(version: Version, ancillary: list[tuple[int, int, bytes]], reason: Reason, message: str) -> None:
    """A router's complaint names the router and what it says; one about another's packet is passed over."""
    async with echoing(version, raw=True) as (echoes, _):
        complaint = echoes.read_error(echoes.packet(1), ancillary)
        assert complaint is not None
        assert (complaint.reason, complaint.message) == (reason, message)
        assert echoes.read_error(reply(1, kind=8, ident=IDENT + 1), ancillary) is None


async def test_the_moment_is_the_kernels() -> None:
    """A reply came when the kernel got it, not when our loop came round to it; a clock that was set is not believed."""
    async with echoing() as (echoes, _):
        clock = RealClock()
        for delay, counted in ((0.5, 0.5), (-5.0, 0.0), (500.0, 0.0)):
            seconds = clock.time() - delay
            stamp = struct.pack("@qq", int(seconds), int(seconds % 1 * 1e9))
            hops = (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("=i", 57))
            came = echoes.read(reply(1), [(socket.SOL_SOCKET, 35, stamp), hops])
            assert came is not None
            assert came.at == pytest.approx(clock.monotonic() - counted, abs=0.1)
            assert came.hops == 57


@given(st.binary(max_size=60), st.sampled_from([V4, V6]), st.booleans())
def test_no_bytes_are_an_accident(data: bytes, version: Version, raw: bool) -> None:  # noqa: FBT001 - drawn by name
    """Whatever a socket gives is a reply of ours or nothing."""
    for echoes in _unconnected(version, raw=raw):
        assert echoes.read(data, []) is None


def _unconnected(version: Version, *, raw: bool) -> Iterator[Echoes]:
    loop = asyncio.new_event_loop()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    async def make() -> Echoes:
        return Echoes(near, version, raw=raw, ident=IDENT, payload=PAYLOAD, clock=RealClock())

    try:
        yield loop.run_until_complete(make())
    finally:
        loop.remove_reader(near)
        near.close()
        far.close()
        loop.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 2, "allow_lost": 2}, "less than count"),
        ({"ttl": 0}, "ttl"),
        ({"payload_size": 65508}, "payload_size"),
        ({"host": "http://x"}, "neither a name nor an address"),
    ],
)
def test_settings_that_can_never_work_are_refused(settings: dict[str, Any], message: str) -> None:
    """What no run can do is an error when the file is read."""
    with pytest.raises(ValidationError, match=message):
        Icmp.model_validate({"host": "x"} | settings)
