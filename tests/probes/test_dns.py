from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.kinds.dns import Dns
from probes.kinds.dns.exchange import read_message
from probes.kinds.dns.expected import data_of
from tests.support import servers
from tests.support.engine import Observer
from tests.support.leaks import no_leaks
from tests.support.nameserver import Nameserver, nameserver, zone

ADDRESSES = zone("api.roadtrip.app. 60 IN A 192.0.2.7", "api.roadtrip.app. 60 IN A 192.0.2.8")


def probe(server: Nameserver | servers.Server | Sequence[str], **more: Any) -> Dns:
    """A check of a server's answer for api.roadtrip.app."""
    address = [server.address] if isinstance(server, Nameserver) else server
    address = [f"{address.host}:{address.port}"] if isinstance(address, servers.Server) else address
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
        ({"answers": {"not_regex": "^192"}}, Reason.BODY, 'api.roadtrip.app A is "192.0.2.7", which matches ^192'),
        ({"answers": {"not_regex": ["^10", "8$"]}}, Reason.BODY, 'api.roadtrip.app A is "192.0.2.8", which matches 8$'),
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
    async with nameserver(zone(rcode=dns.rcode.from_text(rcode), authority=["x. 60 IN SOA a. b. 1 2 3 4 5"])) as server:
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


async def test_a_forged_answer_is_passed_over(runs: Observer) -> None:
    """An answer with another id is not believed: the right one is waited for."""

    def forged(question: dns.message.Message) -> bytes:
        response = dns.message.from_wire(ADDRESSES(question) or b"")
        response.id ^= 1
        return response.to_wire()

    async with nameserver(forged) as server:
        seen = await runs.observe(probe(server), within=0.3)
    other = "what came belongs to another query, or is forged: 1 datagram"
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, f"no answer within 300ms in request; {other}")
    assert filled(seen)["probe_dns_query_succeeded"] == [((), 0.0)]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_what_is_no_message(runs: Observer, transport: str) -> None:
    """Bytes that are no DNS message fail as protocol."""
    async with nameserver(lambda question: question.id.to_bytes(2) + b"nonsense") as server:
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


RECORDS = (
    "api.roadtrip.app. 60 IN A 192.0.2.7",
    "api.roadtrip.app. 3600 IN A 192.0.2.8",
)
NAMESERVERS = ("roadtrip.app. 7200 IN NS ns1.roadtrip.app.", "roadtrip.app. 7200 IN NS ns2.roadtrip.app.")
GLUE = ("ns1.roadtrip.app. 7200 IN A 192.0.2.1", "ns1.roadtrip.app. 7200 IN AAAA 2001:db8::1")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"answer": {"all": " IN A 192", "any": [" 60 ", " 3600 "], "none": " 7200 "}}, ""),
        ({"authority": {"all": r"NS ns\d\.roadtrip\.app\.$"}, "additional": {"any": "AAAA 2001:db8::1$"}}, ""),
        (
            {"answer": {"all": " 60 "}},
            '"api.roadtrip.app. 3600 IN A 192.0.2.8" in the answer section doesn\'t match  60 ',
        ),
        (
            {"answer": {"any": [" 60 ", " 7200 "]}},
            'no record in the answer section matches  7200 ; the first is "api.roadtrip.app. 60 IN A 192.0.2.7"',
        ),
        ({"authority": {"none": "ns2"}}, '"roadtrip.app. 7200 IN NS ns2.roadtrip.app." in the authority section matches ns2'),
        ({"additional": {"all": "^ns2"}}, '"ns1.roadtrip.app. 7200 IN A 192.0.2.1" in the additional section doesn\'t match ^ns2'),
    ],
)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_whole_records_by_section(runs: Observer, sections: Any, message: str, transport: str) -> None:
    """The whole record, with its own TTL, is judged in each section: in all, in any, in none."""
    async with nameserver(zone(*RECORDS, authority=NAMESERVERS, additional=GLUE)) as server:
        seen = await runs.observe(probe(server, transport=transport, expect={"sections": sections}))
    assert (seen.verdict, seen.message if message else "") == (Verdict.FAIL if message else Verdict.PASS, message)
    assert [seen.facts[f"{section}_rrs"] for section in ("answer", "authority", "additional")] == [2, 2, 2]


@pytest.mark.parametrize("how", ["all", "any"])
async def test_an_empty_section_has_no_record_that_matches(runs: Observer, how: str) -> None:
    """Where a section is empty, neither `all` nor `any` holds, and `none` does."""
    async with nameserver(ADDRESSES) as server:
        seen = await runs.observe(probe(server, expect={"sections": {"additional": {how: "x"}}}))
        none = await runs.observe(probe(server, expect={"sections": {"additional": {"none": "x"}}}))
    assert (seen.reason, seen.message) == (Reason.BODY, "the additional section is empty, expected a record that matches x")
    assert none.verdict is Verdict.PASS


async def test_a_blocked_name(runs: Observer) -> None:
    """0.0.0.0, the answer of a filter, can be written as a failure."""
    async with nameserver(zone("api.roadtrip.app. 60 IN A 0.0.0.0")) as server:
        seen = await runs.observe(probe(server, expect={"answers": {"not_regex": r"^0\.0\.0\.0$"}}))
    assert (seen.reason, seen.message) == (Reason.BODY, r'api.roadtrip.app A is "0.0.0.0", which matches ^0\.0\.0\.0$')


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("settings", "flag", "rdclass"), [({}, True, "IN"), ({"recursion": False}, False, "IN"), ({"class": "CH"}, True, "CH")]
)
async def test_the_question(runs: Observer, transport: str, settings: dict[str, Any], flag: bool, rdclass: str) -> None:  # noqa: FBT001
    """`recursion: false` leaves out RD, and `class: CH` queries what a server says of itself."""
    asked: list[tuple[bool, str]] = []

    def reply(question: dns.message.Message) -> bytes | None:
        asked.append((bool(question.flags & dns.flags.RD), dns.rdataclass.to_text(question.question[0].rdclass)))
        return zone('version.bind. 0 CH TXT "9.18"')(question)

    async with nameserver(reply) as server:
        expect = {"answers": {"equals": "9.18"}, "sections": {"answer": {"all": '^version.bind. 0 CH TXT "9.18"$'}}}
        seen = await runs.observe(probe(server, name="version.bind", type="TXT", transport=transport, expect=expect, **settings))
    assert (seen.verdict, asked) == (Verdict.PASS, [(flag, rdclass)])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_every_type_at_once(runs: Observer, transport: str) -> None:
    """ANY queries for all types, and all that come are judged."""
    async with nameserver(zone(*RECORDS, "api.roadtrip.app. 60 IN AAAA 2001:db8::7")) as server:
        seen = await runs.observe(probe(server, type="ANY", transport=transport))
    assert seen.message == "api.roadtrip.app ANY → 192.0.2.7, 192.0.2.8, 2001:db8::7"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("rcode", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_a_server_that_does_not_know_edns(runs: Observer, transport: str, rcode: dns.rcode.Rcode) -> None:
    """W13: a server that refuses the form of EDNS is asked again without it, as RFC 6891 has it."""
    edns: list[int] = []

    def reply(question: dns.message.Message) -> bytes | None:
        edns.append(question.edns)
        if question.edns < 0:
            return ADDRESSES(question)
        return question.id.to_bytes(2) + (0x8000 | rcode).to_bytes(2) + bytes(8)  # the head alone, as old servers answer

    async with nameserver(reply) as server:
        seen = await runs.observe(probe(server, transport=transport))
    assert (seen.verdict, edns) == (Verdict.PASS, [0, -1])


async def test_a_server_that_refuses_any_form(runs: Observer) -> None:
    """W13: FORMERR to a query without EDNS is the finding, after two queries."""
    async with nameserver(lambda question: question.id.to_bytes(2) + bytes.fromhex("8001") + bytes(8)) as server:
        seen = await runs.observe(probe(server))
        assert server.asked == ["udp", "udp"]
    assert seen.message == "api.roadtrip.app A: the server returned FORMERR, expected NOERROR"


@pytest.mark.parametrize("left", [12, 30, 34, 40, 47, 50, 60])
async def test_an_answer_that_is_cut_in_the_middle_of_a_record(runs: Observer, left: int) -> None:
    """W13: wherever a datagram with TC ends, also within a record, the whole answer is fetched over TCP."""

    def cut(question: dns.message.Message) -> bytes | None:
        question.use_edns(edns=False)
        return zone(*RECORDS, flags=dns.flags.TC)(question)[:left]

    async with nameserver(cut, ADDRESSES) as server:
        seen = await runs.observe(probe(server))
        assert server.asked == ["udp", "tcp"]
    assert (seen.verdict, seen.message) == (Verdict.PASS, "api.roadtrip.app A → 192.0.2.7, 192.0.2.8")


def test_many_records_are_read_as_they_came() -> None:
    """Each record counts by itself, with its own TTL, also twice the same one."""
    response = dns.message.make_response(dns.message.make_query("x", "A"))
    response.answer = [dns.rrset.from_text("x.", ttl, "IN", "A", "192.0.2.7") for ttl in (60, 60, 3600)]
    read = read_message(response.to_wire())
    assert [rrset.to_text() for rrset in read.answer] == ["x. 60 IN A 192.0.2.7"] * 2 + ["x. 3600 IN A 192.0.2.7"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_records_without_end(runs: Observer, transport: str) -> None:
    """XM4, XM7: more than a thousand, OPT among them, are not read, however they come."""

    def many(question: dns.message.Message, count: int) -> bytes:
        listed = [f"10.{number >> 8}.{number & 255}.1" for number in range(count)]
        response = dns.message.make_response(question)
        response.answer = [dns.rrset.from_text_list("api.roadtrip.app.", 60, "IN", "A", listed)]
        return response.to_wire(max_size=65535)

    async with nameserver(lambda question: many(question, 999)) as server:
        assert (await runs.observe(probe(server, transport=transport))).verdict is Verdict.PASS
    async with nameserver(lambda question: many(question, 3900)) as server:
        seen = await runs.observe(probe(server, transport=transport))
    assert (seen.reason, seen.message) == (Reason.SIZE, "the response has 3,901 records; at most 1,000 are read")


@given(st.integers(0, 300), st.sampled_from([1, 3, 4, 255]), st.binary(max_size=60))
@settings(max_examples=300)
def test_any_record_has_a_text(kind: int, rdclass: int, data: bytes) -> None:
    """Whatever a record holds, it is text, or the message is none."""
    head = bytes.fromhex("000181800001000100000000 017800 0001 0001 c00c")
    with contextlib.suppress(Failed):
        response = read_message(head + kind.to_bytes(2) + rdclass.to_bytes(2) + bytes(4) + len(data).to_bytes(2) + data)
        assert len(response.answer) <= 1
        assert all(rrset.to_text() for rrset in response.answer)
        assert len(data_of(response, "ANY")) == len(response.answer)
