"""DNS: codes, sections and records, classes and types, transports and families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from tests.exporter.scenario import FAIL, PASS, RELEASE, Scenario, Serve
from tests.support.ca import Authority
from tests.support.nameserver import Nameserver, nameserver, zone

NAMES = "which addresses localhost has, and on which of them a server listens, differs from machine to machine"
AT_LOAD = f"release {RELEASE} refuses its whole file for this"


def _recursive(question: dns.message.Message) -> bytes:
    if not question.flags & dns.flags.RD:
        return zone(rcode=dns.rcode.REFUSED)(question)
    return zone("example.com. 3600 IN A 127.0.0.1", "example.com. 3600 IN A 127.0.0.2")(question)


def _authoritative(question: dns.message.Message) -> bytes:
    asked = question.question[0]
    record = "example.com. 3600 IN A 127.0.0.1"
    if asked.rdtype == dns.rdatatype.SOA:
        record = "example.com. 3600 IN SOA ns.example.com. noc.example.com. 1000 7200 3600 1209600 3600"
    elif (asked.rdclass, asked.rdtype) == (dns.rdataclass.CH, dns.rdatatype.TXT):
        record = 'example.com. 3600 CH TXT "goCHAOS"'
    authority = ("example.com. 7200 IN NS ns1.isp.net.", "example.com. 7200 IN NS ns2.isp.net.")
    additional = ("ns1.isp.net. 7200 IN A 127.0.0.1", "ns1.isp.net. 7200 IN AAAA ::1", "ns2.isp.net. 7200 IN A 127.0.0.2")
    return zone(record, authority=authority, additional=additional)(question)


def recursive(_: Authority) -> AbstractAsyncContextManager[Nameserver]:
    """Answers for others, if it is asked to."""
    return nameserver(_recursive)


def authoritative(_: Authority) -> AbstractAsyncContextManager[Nameserver]:
    """Answers for its own zone, with all sections."""
    return nameserver(_authoritative)


def failing(_: Authority) -> AbstractAsyncContextManager[Nameserver]:
    """SERVFAIL to everything."""
    return nameserver(zone(rcode=dns.rcode.SERVFAIL))


def query(
    name: str,
    serve: Serve,
    passes: bool,  # noqa: FBT001 - as in every row
    module: Mapping[str, Any] | None = None,
    check: Mapping[str, Any] | None = None,
    host: str = "127.0.0.1",
    **more: Any,
) -> Iterator[Scenario]:
    """The rows of a query, over UDP and over TCP; it asks for all types, as theirs does where nothing is said."""
    for transport in ("udp", "tcp"):
        settings = {"query_name": "example.com", "preferred_ip_protocol": "ip4", "transport_protocol": transport, **(module or {})}
        asked = {"kind": "dns", "name": "example.com", "type": "ANY", "server": f"{host}:<port>", "transport": transport, **(check or {})}
        more = {"target": f"{host}:<port>", **more}
        yield Scenario(f"dns: {name}, {transport}", passes, serve, {"prober": "dns", "dns": settings}, check=asked, **more)


def rule(section: str, ours: Mapping[str, str], **theirs: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One section's rules, as both write them."""
    names = {"none": "fail_if_matches_regexp", "all": "fail_if_not_matches_regexp", "any": "fail_if_none_matches_regexp"}
    written = {**{names[how]: [pattern] for how, pattern in ours.items()}, **{how: [pattern] for how, pattern in theirs.items()}}
    return {f"validate_{section}_rrs": written}, {"expect": {"sections": {section: dict(ours)}}}


def recursions() -> Iterator[Scenario]:
    """A server that answers for others."""
    codes = ["SERVFAIL", "NXDOMAIN"]
    yield from query("a recursive query", recursive, passes=PASS)
    yield from query("another code is wanted", recursive, FAIL, {"valid_rcodes": codes}, {"expect": {"rcode": codes}})
    yield from query("every TTL is 3600", recursive, PASS, *rule("answer", {"none": ".*7200.*", "all": ".*3600.*"}))
    yield from query("no TTL is 7200 in an empty section", recursive, PASS, *rule("authority", {"none": ".*7200.*"}))
    yield from query("every TTL is 3600 in an empty section", recursive, FAIL, *rule("additional", {"all": ".*3600.*"}))
    yield from query("no recursion", recursive, FAIL, {"recursion_desired": False}, {"recursion": False})


def authorities() -> Iterator[Scenario]:
    """A server that answers for its own zone."""
    yield from query("a zone of its own", authoritative, passes=PASS)
    yield from query("the zone's serial", authoritative, PASS, {"query_type": "SOA"}, {"type": "SOA"})
    module, check = rule("answer", {"none": ".*IN.*", "all": ".*CH.*"})
    chaos = {"query_class": "CH", "query_type": "TXT"}, {"class": "CH", "type": "TXT"}
    yield from query("class CH", authoritative, PASS, {**module, **chaos[0]}, {**check, **chaos[1]})
    codes = ["SERVFAIL", "NXDOMAIN"]
    yield from query("another code", authoritative, FAIL, {"valid_rcodes": codes}, {"expect": {"rcode": codes}})
    yield from query("TTLs that must and must not", authoritative, FAIL, *rule("answer", {"none": ".*3600.*", "all": ".*3600.*"}))
    yield from query("TTLs that are others", authoritative, FAIL, *rule("answer", {"none": ".*7200.*", "all": ".*7200.*"}))
    yield from query("every name server", authoritative, PASS, *rule("authority", {"all": "ns.*.isp.net"}))
    yield from query("every address", authoritative, PASS, *rule("additional", {"all": "^ns.*.isp"}))
    yield from query("no address", authoritative, FAIL, *rule("additional", {"none": "^ns.*.isp"}))
    # In spite of its name this rule fails as soon as one record doesn't match, which our `all` says in so many words.
    module = rule("additional", {}, fail_if_all_match_regexp=".*127.0.0.*")[0]
    yield from query("addresses that match or not", authoritative, FAIL, module, rule("additional", {"all": ".*127.0.0.*"})[1])
    yield from query("any address", authoritative, FAIL, *rule("additional", {"any": ".*127.0.0.3.*"}))


def failures() -> Iterator[Scenario]:
    """A server that fails, and questions that are none."""
    codes = ["SERVFAIL", "NXDOMAIN"]
    yield from query("SERVFAIL", failing, passes=FAIL)
    yield from query("SERVFAIL is wanted", failing, PASS, {"valid_rcodes": codes}, {"expect": {"rcode": codes}})
    kind: dict[str, Any] = {"check": {"type": "NOT_A_VALID_QUERY_TYPE"}, "refused": "type", "unasked": AT_LOAD}
    yield from query("a type that is none", failing, FAIL, {}, **kind)
    code: dict[str, Any] = {"check": {"expect": {"rcode": "NOT_A_VALID_RCODE"}}, "refused": "rcode", "unasked": AT_LOAD}
    yield from query("a code that is none", failing, FAIL, {}, **code)


def families() -> Iterator[Scenario]:
    """A server by its name, in either family."""
    six = {"preferred_ip_protocol": "ip6", "ip_protocol_fallback": True}
    for name, check in (("IPv6 first", {"ip": "prefer6"}), ("no word of the family", {})):
        yield from query(f"a server by name, {name}", recursive, PASS, six, check, "localhost", unasked=NAMES)
    yield from query("a server by name, IPv4", recursive, PASS, {}, {"ip": 4}, "localhost")
    yield next(query("its metrics", recursive, PASS, {}, {"ip": 4}, "localhost"))


SCENARIOS = (*recursions(), *authorities(), *failures(), *families())
