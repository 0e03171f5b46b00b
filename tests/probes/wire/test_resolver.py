"""Names to addresses: literals, the hosts file, a real DNS server over UDP, and its silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from probes.core import Failed, Reason
from probes.wire.resolver import ADDRESSES_CAP, Resolver, read_hosts

Answering = Callable[[dns.message.Message], dns.message.Message | None]


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query.question[0].to_text())
        if (reply := self.answering(query)) is not None:
            self.transport.sendto(reply.to_wire(), addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def name_server(answering: Answering) -> AsyncIterator[int]:
    """A DNS server on a free port that sends the given responses, or none."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _NameServer(answering), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def with_addresses(**addresses: str) -> Answering:
    """Answers with these addresses by record type, and with no data for other types."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        kind = query.question[0].rdtype.name
        if kind in addresses:
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", kind, addresses[kind]))
        return reply

    return answer


def no_such_name(query: dns.message.Message) -> dns.message.Message:
    """NXDOMAIN."""
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply


def nothing(_query: dns.message.Message) -> None:
    """Silence."""


@pytest.fixture(name="hosts")
def _hosts(tmp_path: Path) -> Path:
    """A hosts file of the test's own."""
    hosts = tmp_path / "hosts"
    hosts.write_text("10.1.2.3 Database.Test db # ours\n::7 db\nnonsense line\n")
    return hosts


def resolver(hosts: Path, port: int) -> Resolver:
    """A resolver that asks the test's server alone."""
    return Resolver(hosts=hosts, servers=("127.0.0.1",), port=port)


@pytest.mark.parametrize("literal", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_is_itself(hosts: Path, literal: str) -> None:
    """No server is asked for what is an address already."""
    assert await resolver(hosts, 9).addresses(literal, 1.0) == (literal,)


async def test_the_hosts_file_comes_first(hosts: Path) -> None:
    """Names of the hosts file are found whatever their case, with all their addresses in its order."""
    names = resolver(hosts, 9)

    assert await names.addresses("database.test", 1.0) == ("10.1.2.3",)
    assert await names.addresses("DB.", 1.0) == ("10.1.2.3", "::7")


async def test_localhost_never_leaves_the_machine(hosts: Path) -> None:
    """RFC 6761: localhost is the loopback, though no file and no server says so."""
    assert await resolver(hosts, 9).addresses("api.localhost", 1.0) == ("::1", "127.0.0.1")


async def test_both_families_are_asked_and_take_turns(hosts: Path) -> None:
    """AAAA and A come from the server, IPv6 first."""
    async with name_server(with_addresses(A="10.0.0.1", AAAA="fd00::1")) as port:
        assert await resolver(hosts, port).addresses("both.test", 2.0) == ("fd00::1", "10.0.0.1")


async def test_a_response_with_very_many_addresses(hosts: Path) -> None:
    """XM7: of thousands of addresses a few are used, of both families."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        kind = query.question[0].rdtype.name
        many = [f"10.0.0.{number}" if kind == "A" else f"fd00::{number}" for number in range(1, 20)]
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", kind, *many))
        return reply

    async with name_server(answer) as port:
        found = await resolver(hosts, port).addresses("many.test", 2.0)
    assert len(found) == len(set(found)) == ADDRESSES_CAP
    assert sum(":" in address for address in found) == ADDRESSES_CAP / 2


@pytest.mark.parametrize(
    ("answering", "words"),
    [
        (no_such_name, "no such name: gone.test"),
        (with_addresses(), "gone.test has no address"),
        (nothing, "no DNS server answered for gone.test"),
    ],
)
async def test_a_name_that_cannot_be_resolved_says_why(hosts: Path, answering: Answering, words: str) -> None:
    """Missing, empty and silent have different messages, all with reason dns."""
    async with name_server(answering) as port:
        with pytest.raises(Failed, match=words) as caught:
            await resolver(hosts, port).addresses("gone.test", 0.3)

    assert caught.value.reason is Reason.DNS


def with_code(rcode: dns.rcode.Rcode) -> Answering:
    """Answers with a response code and no record."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.set_rcode(rcode)
        return reply

    return answer


def alias_of_itself(query: dns.message.Message) -> dns.message.Message:
    """Two names that are aliases of each other."""
    reply = dns.message.make_response(query)
    names = query.question[0].name.to_text(), "other.test."
    reply.answer = [dns.rrset.from_text(one, 60, "IN", "CNAME", other) for one, other in (names, names[::-1])]
    return reply


@pytest.mark.parametrize(
    ("answering", "words"),
    [
        (with_code(dns.rcode.SERVFAIL), "returned SERVFAIL"),
        (with_code(dns.rcode.REFUSED), "returned REFUSED"),
        (with_code(dns.rcode.NOTIMP), "returned NOTIMP"),
        (alias_of_itself, "returned aliases (CNAME) in a loop or in too long a chain"),
    ],
)
async def test_what_a_server_returned_instead(hosts: Path, answering: Answering, words: str) -> None:
    """W13: a failure to resolve says which server returned what, once."""
    async with name_server(answering) as port:
        with pytest.raises(Failed) as caught:
            await resolver(hosts, port).addresses("gone.test", 5.0)
    assert caught.value.message == f"the DNS servers can't resolve gone.test: 127.0.0.1:{port} {words}"


async def test_servers_that_differ(hosts: Path) -> None:
    """W13: of several servers each one's word is told."""
    async with name_server(with_code(dns.rcode.REFUSED)) as port:
        names = Resolver(hosts=hosts, servers=("127.0.0.1", "127.0.0.2"), port=port)
        with pytest.raises(Failed) as caught:
            await names.addresses("gone.test", 1.5)
    assert caught.value.message == (
        f"the DNS servers can't resolve gone.test: 127.0.0.1:{port} returned REFUSED and 127.0.0.2:{port} didn't answer"
    )


@pytest.mark.parametrize(("kind", "other", "words"), [("A", "AAAA", "IPv4"), ("AAAA", "A", "IPv6")])
async def test_a_name_without_an_address_of_a_family(hosts: Path, kind: str, other: str, words: str) -> None:
    """W13: where one family alone is asked for, the failure says which one is absent."""
    async with name_server(with_addresses(**{other: "10.0.0.1" if other == "A" else "fd00::1"})) as port:
        with pytest.raises(Failed, match=rf"^half\.test has no {words} address$"):
            await resolver(hosts, port).addresses("half.test", 2.0, (kind,))


@pytest.mark.alone
async def test_a_name_that_cannot_be_resolved_says_so_in_time(hosts: Path) -> None:
    """The wait for a silent server ends at the given timeout."""
    started = asyncio.get_running_loop().time()
    async with name_server(nothing) as port:
        with pytest.raises(Failed, match=r"no DNS server answered for gone\.test"):
            await resolver(hosts, port).addresses("gone.test", 0.3)

    assert asyncio.get_running_loop().time() - started < 1.0


def only_a(query: dns.message.Message) -> dns.message.Message | None:
    """Answers for one family, and never for the other."""
    return with_addresses(A="10.0.0.1")(query) if query.question[0].rdtype.name == "A" else None


async def test_a_family_that_stalls_does_not_hold_up_the_other(hosts: Path) -> None:
    """An answer for A is used, and AAAA, which never comes, isn't waited for: that would take longer than this test may."""
    async with name_server(only_a) as port:
        assert await resolver(hosts, port).addresses("half.test", 60.0) == ("10.0.0.1",)


@pytest.mark.alone
async def test_a_family_that_stalls_is_waited_for_a_moment(hosts: Path) -> None:
    """An answer for A is used 50 ms later, though AAAA never comes (RFC 8305, section 3)."""
    started = asyncio.get_running_loop().time()
    async with name_server(only_a) as port:
        found = await resolver(hosts, port).addresses("half.test", 5.0)

    assert found == ("10.0.0.1",)
    assert asyncio.get_running_loop().time() - started < 2.0


def test_a_hosts_file_is_read_line_by_line() -> None:
    """Comments and nonsense are passed over; a name keeps each address once."""
    assert read_hosts("1.2.3.4 a b#c\n# d\n1.2.3.4 a\n5.6.7.8\tA\nx y\n") == {"a": ("1.2.3.4", "5.6.7.8"), "b": ("1.2.3.4",)}
