"""Names: what can't be resolved, what isn't answered, and what leads to where no check may go; for every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.wire.resolver import Resolver
from probes.wire.wire import Wire
from tests.faults.askings import ASKINGS, SECRET, Place, asked, kind_of
from tests.support import servers
from tests.support.engine import Observer
from tests.support.leaks import no_leaks
from tests.support.nameserver import Nameserver, Reply, nameserver, zone

pytestmark = pytest.mark.slow
WITHIN = 1.0  # seconds, of which the resolver takes 95 %
PROMPTLY = 1.0  # seconds
DNS = ("dns", "dns/udp")  # they ask a server by its address, and resolve nothing
BY_NAME = tuple(asking for asking in ASKINGS if asking not in DNS)
METADATA = "169.254.169.254"

FAILURES: dict[str, Reply] = {
    "no such name": zone(rcode=dns.rcode.NXDOMAIN),
    "the servers fail": zone(rcode=dns.rcode.SERVFAIL),
    "the servers refuse": zone(rcode=dns.rcode.REFUSED),
    "no address": zone(),
}


@asynccontextmanager
async def _names(runs: Observer, server: Nameserver | servers.Server, hosts: Path = Path("/nowhere")) -> AsyncIterator[None]:
    """The engine resolves by this server alone."""
    before, runs.wire = runs.wire, Wire(resolver=Resolver(hosts=hosts, servers=(servers.HOST,), port=server.port))
    try:
        yield
    finally:
        await runs.wire.aclose()
        runs.wire = before


async def _seen(runs: Observer, askings: tuple[str, ...], place: Place) -> dict[str, Observation]:
    """What each way of asking sees there; none of them leaves anything, or tells its secret."""
    async with no_leaks(serving=place.port):
        seen = await asyncio.gather(*(runs.observe(asked(asking, place), kind=kind_of(asking), within=WITHIN) for asking in askings))
    assert runs.longest < WITHIN + PROMPTLY
    assert not runs.log
    assert not [one for one in seen if SECRET in repr(one)]
    return dict(zip(askings, seen, strict=True))


def _told(seen: dict[str, Observation]) -> dict[str, tuple[Verdict, Reason | None]]:
    return {asking: (one.verdict, one.reason) for asking, one in seen.items()}


@pytest.mark.parametrize("how", FAILURES)
async def test_dns_failure(how: str, runs: Observer) -> None:
    """A name without an address fails every kind as dns; to kind dns that answer is the finding itself."""
    async with nameserver(FAILURES[how]) as server, _names(runs, server):
        seen = await _seen(runs, BY_NAME, Place("gone.test", server.port)) | await _seen(runs, DNS, Place(servers.HOST, server.port))
    assert _told(seen) == dict.fromkeys((*BY_NAME, *DNS), (Verdict.FAIL, Reason.DNS))
    assert not [asking for asking in BY_NAME if "gone.test" not in seen[asking].message]


async def test_dns_stall(runs: Observer) -> None:
    """DNS servers that say nothing fail every kind as dns, before the deadline could blame the target."""
    async with nameserver(lambda _: None) as server, _names(runs, server):
        seen = await _seen(runs, BY_NAME, Place("gone.test", server.port))
        direct = await _seen(runs, DNS, Place(servers.HOST, server.port))
    assert _told(seen) == dict.fromkeys(BY_NAME, (Verdict.FAIL, Reason.DNS))
    assert not [one.message for one in seen.values() if "no DNS server answered for gone.test within" not in one.message]
    assert _told(direct) == dict.fromkeys(DNS, (Verdict.FAIL, Reason.TIMEOUT))


async def test_nobody_resolves(runs: Observer) -> None:
    """Where no DNS server listens the failure is dns, too; a kind that asks that very server is refused."""
    async with servers.refusing() as server, _names(runs, server):
        seen = await _seen(runs, BY_NAME, Place("gone.test", server.port))
        direct = await _seen(runs, DNS, Place(servers.HOST, server.port))
    assert _told(seen) == dict.fromkeys(BY_NAME, (Verdict.FAIL, Reason.DNS))
    assert _told(direct) == dict.fromkeys(DNS, (Verdict.FAIL, Reason.REFUSED))


async def test_a_denied_address(runs: Observer, tmp_path: Path) -> None:
    """A harmless name that leads to the metadata service is refused, by every kind, before anything is dialled."""
    hosts = tmp_path / "hosts"
    await asyncio.to_thread(hosts.write_text, f"{METADATA} evil.test\n")
    async with servers.silent() as server, _names(runs, server, hosts):
        seen = await _seen(runs, BY_NAME, Place("evil.test", server.port))
        assert not server.connections
    assert _told(seen) == dict.fromkeys(BY_NAME, (Verdict.FAIL, Reason.POLICY))
    assert not [one.message for one in seen.values() if f"evil.test leads to {METADATA}" not in one.message]


async def test_a_redirect_to_a_name_that_has_moved(runs: Observer) -> None:
    """A redirect to the check's own name, which by then leads to the metadata service (rebinding): the new connection is refused."""
    addresses = iter(["127.0.0.1"])

    def reply(question: dns.message.Message) -> bytes | None:
        if question.question[0].rdtype is dns.rdatatype.AAAA:
            return zone()(question)
        return zone(f"moving.test. 1 IN A {next(addresses, METADATA)}")(question)

    again = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with nameserver(reply) as names, _names(runs, names), servers.canned(again, then_close=True) as server:
        seen = await _seen(runs, ("http",), Place("moving.test", server.port))
        assert server.connections == 1
    assert _told(seen) == {"http": (Verdict.FAIL, Reason.POLICY)}
    assert METADATA in seen["http"].message
