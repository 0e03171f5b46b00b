from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.kinds.dns import Dns, address_and_port, system_servers
from probes.kinds.dns.exchange import read_message
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks
from tests.support.nameserver import Nameserver, nameserver, zone

ADDRESSES = zone("api.roadtrip.app. 60 IN A 192.0.2.7", "api.roadtrip.app. 60 IN A 192.0.2.8")


def probe(server: Nameserver | servers.Server, **more: Any) -> Dns:
    """A check of a server's answer for api.roadtrip.app."""
    address = server.address if isinstance(server, Nameserver) else f"{server.host}:{server.port}"
    return Dns.model_validate({"name": "api.roadtrip.app", "server": address} | more)


def filled(seen: Observation) -> dict[str, list[Any]]:
    """The samples of every family that the run filled."""
    return {family.name: list(family.read(seen.phases, seen.facts)) for family in Dns.families}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_server_that_no_check_may_reach(runs: Observer, transport: str) -> None:
    """m5: a link-local or metadata address is refused over UDP as over TCP, in whatever form it stands there."""
    for server in ("169.254.169.254", "[::ffff:169.254.169.254]:53", "[fd00::5efe:a9fe:a9fe]:53"):
        seen = await runs.observe(Dns.model_validate({"name": "api.roadtrip.app", "server": server, "transport": transport}))
        assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.POLICY), seen.message


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_asks_for_records(runs: Observer, transport: str) -> None:
    """Over either transport the records are in the message, the phases and counts in the blackbox_exporter's families."""
    async with nameserver(ADDRESSES) as server:
        async with no_leaks(serving=server.port):
            seen = await runs.observe(probe(server, transport=transport))
        assert server.asked == [transport]
    assert (seen.verdict, seen.message) == (Verdict.PASS, "api.roadtrip.app A → 192.0.2.7, 192.0.2.8")
    assert list(seen.phases) == ["resolve", "connect", "request"]
    assert (seen.facts["ip"], seen.facts["ip_protocol"]) == ("127.0.0.1", 4)
    samples = filled(seen)
    assert samples["probe_dns_answer_rrs"] == [((), 2.0)]
    assert samples["probe_dns_authority_rrs"] == samples["probe_dns_additional_rrs"] == [((), 0.0)]
    assert samples["probe_dns_query_succeeded"] == [((), 1.0)]
    assert samples["probe_dns_serial"] == []


@pytest.mark.parametrize(
    ("kind", "record", "text"),
    [
        ("AAAA", "x. 60 IN AAAA 2001:db8::7", "2001:db8::7"),
        ("CNAME", "x. 60 IN CNAME lb.roadtrip.app.", "lb.roadtrip.app"),
        ("MX", "x. 60 IN MX 10 mail.roadtrip.app.", "10 mail.roadtrip.app"),
        ("TXT", 'x. 60 IN TXT "v=spf1 " "-all"', "v=spf1 -all"),
        ("NS", "x. 60 IN NS ns1.roadtrip.app.", "ns1.roadtrip.app"),
        ("SRV", "x. 60 IN SRV 1 2 443 api.roadtrip.app.", "1 2 443 api.roadtrip.app"),
        ("CAA", 'x. 60 IN CAA 0 issue "letsencrypt.org"', '0 issue "letsencrypt.org"'),
        ("PTR", "x. 60 IN PTR host.roadtrip.app.", "host.roadtrip.app"),
        ("SOA", "x. 60 IN SOA ns1.x. admin.x. 2026112401 7200 900 1209600 300", "ns1.x admin.x 2026112401 7200 900 1209600 300"),
    ],
)
async def test_records_read_as_people_write_them(runs: Observer, kind: str, record: str, text: str) -> None:
    """Each type of record is told, and compared, without last dots and quotes of the wire; SOA gives its serial."""
    async with nameserver(zone(record)) as server:
        seen = await runs.observe(probe(server, type=kind, expect={"answers": {"equals": text.upper()}}))
    assert (seen.verdict, seen.message) == (Verdict.PASS, f"api.roadtrip.app {kind} → {text}")
    assert filled(seen)["probe_dns_serial"] == ([((), 2026112401.0)] if kind == "SOA" else [])


async def test_an_alias_counts_by_what_it_leads_to(runs: Observer) -> None:
    """Where the name is an alias, the records of the asked type are those that are judged."""
    async with nameserver(zone("api.roadtrip.app. 60 IN CNAME lb.x.", "lb.x. 60 IN A 192.0.2.9")) as server:
        seen = await runs.observe(probe(server, expect={"answers": {"equals": "192.0.2.9"}}))
    assert seen.verdict is Verdict.PASS
    assert filled(seen)["probe_dns_answer_rrs"] == [((), 2.0)]


@pytest.mark.parametrize(
    ("expect", "reason", "message"),
    [
        ({"rcode": "NXDOMAIN"}, Reason.DNS, "api.roadtrip.app A: the server returned NOERROR, expected NXDOMAIN"),
        ({"answers": {"contains": ["192.0.2.7", "192.0.2.9"]}}, Reason.BODY, "192.0.2.9 is not among 192.0.2.7, 192.0.2.8"),
        ({"answers": {"equals": "192.0.2.7"}}, Reason.BODY, "api.roadtrip.app A is 192.0.2.7, 192.0.2.8, expected 192.0.2.7"),
        ({"answers": {"regex": "^10\\."}}, Reason.BODY, "nothing among 192.0.2.7, 192.0.2.8 matches ^10\\."),
        ({"answers": {"at_least": 3}}, Reason.DNS, "api.roadtrip.app has 2 A records, expected at least 3"),
        ({"authenticated": True}, Reason.BODY, "the server has not validated the response (AD)"),
    ],
)
async def test_another_answer_is_a_failure(runs: Observer, expect: Any, reason: Reason, message: str) -> None:
    """What is not as expected fails, and the message says what came instead."""
    async with nameserver(ADDRESSES) as server:
        seen = await runs.observe(probe(server, expect=expect))
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, reason, message)
    assert filled(seen)["probe_dns_query_succeeded"] == [((), 1.0)]


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
async def test_an_error_code_is_a_failure_unless_it_is_wanted(runs: Observer, rcode: str) -> None:
    """A response code other than NOERROR fails as dns; a check may want it, and then needs no record."""
    async with nameserver(zone(rcode=dns.rcode.from_text(rcode), authority="x. 60 IN SOA a. b. 1 2 3 4 5")) as server:
        seen = await runs.observe(probe(server))
        wanted = await runs.observe(probe(server, expect={"rcode": [rcode]}))
    assert (seen.reason, seen.message) == (Reason.DNS, f"api.roadtrip.app A: the server returned {rcode}, expected NOERROR")
    assert filled(seen)["probe_dns_authority_rrs"] == [((), 1.0)]
    assert (wanted.verdict, wanted.message) == (Verdict.PASS, f"api.roadtrip.app A → {rcode}")


async def test_no_record_is_a_failure(runs: Observer) -> None:
    """A name that is there without a record of the type fails as dns, unless no record is expected."""
    async with nameserver(zone()) as server:
        seen = await runs.observe(probe(server, type="AAAA"))
        none = await runs.observe(probe(server, type="AAAA", expect={"answers": {"at_least": 0}}))
    assert (seen.reason, seen.message) == (Reason.DNS, "api.roadtrip.app has no AAAA records, expected at least 1")
    assert none.verdict is Verdict.PASS


async def test_a_validated_answer(runs: Observer) -> None:
    """`authenticated` asks for the AD flag and sees it."""
    async with nameserver(zone("api.roadtrip.app. 60 IN A 192.0.2.7", flags=dns.flags.AD)) as server:
        seen = await runs.observe(probe(server, expect={"authenticated": True}))
    assert seen.verdict is Verdict.PASS


async def test_a_cut_answer_is_asked_for_again_over_tcp(runs: Observer) -> None:
    """An answer with the TC flag is fetched whole over TCP, as every resolver does."""
    async with nameserver(zone(flags=dns.flags.TC), ADDRESSES) as server:
        seen = await runs.observe(probe(server))
        assert server.asked == ["udp", "tcp"]
    assert seen.verdict is Verdict.PASS


@pytest.mark.slow
async def test_a_lost_datagram_is_sent_again(runs: Observer) -> None:
    """One lost datagram is no outage: the question goes out again after a second."""
    lost = iter([True])
    async with nameserver(lambda question: None if next(lost, False) else ADDRESSES(question)) as server:
        seen = await runs.observe(probe(server))
        assert server.asked == ["udp", "udp"]
    assert seen.verdict is Verdict.PASS
    assert 1.0 <= seen.phases["request"] < 3.0


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


async def test_a_forged_answer_is_passed_over(runs: Observer) -> None:
    """An answer with another id is not believed: the right one is waited for."""

    def forged(question: dns.message.Message) -> bytes:
        response = dns.message.from_wire(ADDRESSES(question) or b"")
        response.id ^= 1
        return response.to_wire()

    async with nameserver(forged) as server:
        seen = await runs.observe(probe(server), within=0.3)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 300ms in request")
    assert filled(seen)["probe_dns_query_succeeded"] == [((), 0.0)]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_what_is_no_message(runs: Observer, transport: str) -> None:
    """Bytes that are no DNS message fail as protocol."""
    async with nameserver(lambda _: b"\x00\x01nonsense") as server:
        seen = await runs.observe(probe(server, transport=transport))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.PROTOCOL)
    assert seen.message.startswith("the response is not a DNS message")


async def test_nobody_on_the_udp_port(runs: Observer) -> None:
    """Where nobody listens, the network says so at once: refused, with the port."""
    async with servers.refusing() as server, no_leaks():
        seen = await runs.observe(probe(server))
    assert (seen.reason, seen.message) == (Reason.REFUSED, f"nothing listens on UDP port {server.port} of 127.0.0.1 in request")


async def test_a_silent_udp_server(runs: Observer) -> None:
    """A server that doesn't answer times out in request, and nothing is left behind."""
    async with nameserver(lambda _: None) as server, no_leaks(serving=server.port):
        seen = await runs.observe(probe(server), within=0.2)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 200ms in request")


async def test_a_cancelled_run_leaves_nothing(runs: Observer) -> None:
    """A run that is cut short over UDP closes its socket."""
    async with nameserver(lambda _: None) as server, no_leaks(serving=server.port):
        run = asyncio.create_task(runs.observe(probe(server)))
        await server.came.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("10.0.0.2", ("10.0.0.2", 53)),
        ("10.0.0.2:5353", ("10.0.0.2", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_a_server_is_an_address(text: str, where: tuple[str, int]) -> None:
    """A server is an address, with a port where it isn't 53."""
    assert address_and_port(text) == where


@pytest.mark.parametrize("text", ["dns.internal", "10.0.0.2:0", "10.0.0.2:x", "10.0.0.2:65536", "", ":53", "1:2:3"])
def test_a_name_is_no_server(text: str) -> None:
    """A server by name would need another server first: refused at load, in words that say what to write."""
    with pytest.raises(ValidationError, match=r"write an address, such as 10\.0\.0\.2"):
        Dns.model_validate({"name": "x", "server": text})


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name(name: str) -> None:
    """What DNS knows as no name is refused at load."""
    with pytest.raises(ValidationError, match="is no name that DNS knows"):
        Dns.model_validate({"name": name})


async def test_an_address_is_looked_up_backwards(runs: Observer) -> None:
    """For PTR an address is turned into its name in in-addr.arpa."""
    asked: list[str] = []

    def reply(question: dns.message.Message) -> bytes | None:
        asked.append(question.question[0].name.to_text())
        return zone("x. 60 IN PTR host.roadtrip.app.")(question)

    async with nameserver(reply) as server:
        seen = await runs.observe(probe(server, name="192.0.2.7", type="PTR"))
    assert (seen.verdict, asked) == (Verdict.PASS, ["7.2.0.192.in-addr.arpa."])


@given(st.binary(max_size=80))
@settings(max_examples=150)
def test_no_bytes_break_the_reading(data: bytes) -> None:
    """Whatever comes, it is a message or Failed(protocol)."""
    try:
        read_message(data)
    except Failed as failed:
        assert failed.reason is Reason.PROTOCOL  # noqa: PT017 - either way is right
