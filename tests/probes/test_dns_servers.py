"""Which servers the kind dns asks: by address and by name, several, of one family, and the machine's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rrset
import pytest
from pydantic import ValidationError

from probes.core import Failed, Measurements, Reason, Verdict
from probes.kinds.dns import Dns
from probes.kinds.dns.servers import read_server, system_servers
from probes.wire.resolver import Resolver
from probes.wire.route import Route
from probes.wire.wire import Wire
from tests.probes.test_dns import ADDRESSES, filled, probe
from tests.support import servers
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.nameserver import nameserver


async def test_the_next_server_is_asked_where_one_is_dead_or_silent() -> None:
    """The system's servers are asked in turn: one that refuses and one that is silent cost their share, and no verdict."""
    async with servers.refusing() as dead, nameserver(lambda _: None) as silent, nameserver(ADDRESSES) as well:
        ctx = make_context(Wire(), timeout=0.6)
        question = dns.message.make_query("api.roadtrip.app", "A")
        response = await probe(well).ask_in_turn(ctx, question, [f"127.0.0.1:{dead.port}", silent.address, well.address])
        assert question.is_response(response)
        assert ctx.facts["server"] == well.address
        assert silent.asked == ["udp"]


async def test_a_machine_without_servers() -> None:
    """Where no server is named at all the failure says what to write."""
    with pytest.raises(Failed, match="this machine names no DNS server; name one as server"):
        await Dns(name="x").ask_in_turn(make_context(Wire()), dns.message.make_query("x", "A"), [])


def test_the_servers_of_the_system(tmp_path: Path) -> None:
    """They are those of resolv.conf, in its order; a machine without that file has none."""
    (tmp_path / "resolv.conf").write_text("search x\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    assert system_servers(tmp_path / "resolv.conf") == ["192.0.2.53", "2001:db8::53"]
    assert system_servers(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("10.0.0.2", ("10.0.0.2", 53)),
        ("10.0.0.2:5353", ("10.0.0.2", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("ns1.roadtrip.app", ("ns1.roadtrip.app", 53)),
        ("localhost:5353", ("localhost", 5353)),
    ],
)
def test_a_server_is_an_address_or_a_name(text: str, where: tuple[str, int]) -> None:
    """A server is an address or a name, with a port where it isn't 53."""
    assert read_server(text) == where


@pytest.mark.parametrize(
    "text", ["10.0.0.2:0", "10.0.0.2:x", "10.0.0.2:65536", "", ":53", "1:2:3", "udp://10.0.0.2", "a b", ["10.0.0.2", "x:0"]]
)
def test_what_is_no_server(text: str | list[str]) -> None:
    """What is neither is refused at load, in words that say what to write, also in a list."""
    with pytest.raises(ValidationError, match=r"write an address or a name, such as 10\.0\.0\.2"):
        Dns.model_validate({"name": "x", "server": text})


async def test_a_server_by_name_and_family(runs: Observer) -> None:
    """A server may have a name, of which `ip` takes one family; the name is resolved in phase resolve."""
    async with nameserver(ADDRESSES) as server:
        seen = await runs.observe(probe([f"localhost:{server.port}"], ip=4))
        either = await runs.observe(probe([f"localhost:{server.port}"]))
    assert (seen.verdict, seen.facts["ip"], seen.facts["server"]) == (Verdict.PASS, "127.0.0.1", f"localhost:{server.port}")
    assert seen.facts["dns_lookup"] >= 0
    assert (either.verdict, either.facts["ip"]) == (Verdict.PASS, "127.0.0.1")  # nobody listens at ::1: the next address


async def test_the_family_of_a_literal_server(runs: Observer) -> None:
    """W13: an address of the other family is no server for `ip`; the failure says which family is absent."""
    async with nameserver(ADDRESSES) as server:
        seen = await runs.observe(probe(server, ip=6))
    assert (seen.reason, seen.message) == (Reason.DNS, "127.0.0.1 has no IPv6 address")
    assert filled(seen)["probe_dns_lookup_time_seconds"]  # it was looked up all the same


def test_a_family_without_a_server() -> None:
    """`ip` is about the server that is asked: without one it would be mistaken for the family of the records."""
    with pytest.raises(ValidationError, match="ip goes with server"):
        Dns.model_validate({"name": "x", "ip": 4})


async def test_several_servers(runs: Observer) -> None:
    """The servers of a list are asked in turn: one that refuses, one without a name and a silent one cost their share alone."""
    async with servers.refusing() as dead, nameserver(lambda _: None) as silent, nameserver(ADDRESSES) as well:
        several = [f"127.0.0.1:{dead.port}", "no-such-name.invalid", silent.address, well.address]
        ctx = make_context(Wire(resolver=Resolver(servers=("127.0.0.1",), port=dead.port)), timeout=0.8)
        check = probe(several)
        result = await check.run(ctx)
    assert (result.verdict, ctx.facts["server"]) == (Verdict.PASS, well.address)
    assert check.address() == f"api.roadtrip.app A at {', '.join(several[:3])} and {well.address}"


class _Routes(Wire):
    """Reaches nothing, and keeps by which routes it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: list[Route | None] = []

    async def resolve(self, ctx: Measurements, host: str, route: Route | None = None) -> Sequence[str]:
        """Keeps the route."""
        self.routes.append(route)
        raise Failed(Reason.DNS, f"nothing is at {host}")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_link_local_server(transport: str) -> None:
    """m5: what the machine itself names (a node's cache) may be link-local, and what `allow_addresses` lists; no other server."""
    local, wire = "169.254.20.10", _Routes()
    listed = {"server": local, "allow_addresses": [local]}
    for settings_ in ({}, listed, {"server": local}):
        check = Dns.model_validate({"name": "x", "transport": transport, **settings_})
        with pytest.raises(Failed, match=f"nothing is at {local}"):
            await check.ask_in_turn(make_context(wire), dns.message.make_query("x", "A"), [local])
    system, allowed, other = filter(None, wire.routes)
    assert [system.any_address, allowed.any_address, other.any_address] == [True, False, False]
    assert [allowed.allowed, other.allowed] == [{local}, frozenset()]
