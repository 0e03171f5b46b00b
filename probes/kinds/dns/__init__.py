"""Kind `dns`: queries a DNS server for the records of a name, and judges the response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any, ClassVar, Literal, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.reversename
from dns.rdtypes.ANY.SOA import SOA
from pydantic import AfterValidator, Field, model_validator

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, network_families, phase_family
from probes.expect.beside import beside_the_loop
from probes.facts import IP
from probes.kinds.dns.exchange import over_tcp, over_udp
from probes.kinds.dns.expected import ExpectedResponse, data_of
from probes.kinds.dns.servers import Servers, in_turn, read_server, system_servers
from probes.text import is_address, listed
from probes.wire.addresses import AddressField
from probes.wire.addresses import Family as IpFamily
from probes.wire.route import Route

SHOWN = 20  # records kept as evidence

_WITHOUT_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP)  # what a server answers that doesn't know EDNS
# fmt: off
Kind = Literal[
    "A", "AAAA", "ANY", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SSHFP", "SVCB", "TLSA", "TXT",
]
# fmt: on


def _name(text: str) -> str:
    try:
        dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError):
        raise ValueError(f"{text!r} is no name that DNS knows") from None
    return text


class Dns(Probe):
    """Queries one DNS server, or the system's in turn, for the records of a name; over TCP where a UDP response is truncated."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "api.roadtrip.app", "server": "127.0.0.1:9", "transport": "tcp"},
        {"name": "roadtrip.app", "type": "MX", "server": "127.0.0.1:9", "expect": {"answers": {"contains": "10 mail.roadtrip.app"}}},
    )
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_dns_duration_seconds", "Seconds in each phase of the query", "resolve", "connect", "request"),
        fact_family("probe_dns_query_succeeded", "1 when a DNS response was received, with any response code", "query_succeeded"),
        fact_family("probe_dns_answer_rrs", "Records in the answer section", "answer_rrs"),
        fact_family("probe_dns_authority_rrs", "Records in the authority section", "authority_rrs"),
        fact_family("probe_dns_additional_rrs", "Records in the additional section", "additional_rrs"),
        fact_family("probe_dns_serial", "The zone's serial number, where type is SOA", "serial"),
        *network_families(),
    )

    name: Annotated[str, AfterValidator(_name)] = Field(min_length=1, description="The name to query; for PTR an address is also allowed.")
    type: Kind = Field(default="A", description="The type of the records; ANY queries for all of them.")
    class_: Literal["IN", "CH", "HS"] = Field(
        default="IN", alias="class", description="The class of the records; CH is for what a server says of itself."
    )
    recursion: bool = Field(default=True, description="false: the server must know the records itself (RD is not set).")
    server: Servers = Field(
        default=(),
        description="The DNS server, as address or name with or without :port, or several, in turn; by default the system's servers.",
    )
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
    allow_addresses: tuple[AddressField, ...] = Field(
        default=(), description="Link-local or metadata addresses that checks may connect to in spite of the general rule."
    )
    transport: Literal["udp", "tcp"] = "udp"
    expect: ExpectedResponse = ExpectedResponse()

    @model_validator(mode="after")
    def _family_of_a_server(self) -> Self:
        if self.ip != "any" and not self.server:
            raise ValueError("ip goes with server: the family of the server that is asked; the family of the records is their type")
        return self

    def address(self) -> str:
        return f"{self.name} {self.type}{f' at {listed(self.server)}' if self.server else ''}"

    async def run(self, ctx: Context) -> Result:
        ctx.facts["query_succeeded"] = False
        flags = (dns.flags.RD if self.recursion else 0) | (dns.flags.AD if self.expect.authenticated is not None else 0)
        reverse = self.type == "PTR" and is_address(self.name)
        name = dns.reversename.from_address(self.name) if reverse else dns.name.from_text(self.name)
        question = dns.message.make_query(name, self.type, self.class_, use_edns=0, payload=1232, flags=flags, id=ctx.rng.getrandbits(16))
        response = await self.ask_in_turn(ctx, question, self.server or await asyncio.to_thread(system_servers))
        wire = response.wire or b""
        records = await beside_the_loop(wire, data_of, response, self.type)
        self._record_facts(ctx, response, records)
        await beside_the_loop(wire, self.expect.judge, self.name, self.type, response, records)
        more = f" and {len(records) - 3} more" if len(records) > 3 else ""  # noqa: PLR2004 - as many as a line holds
        return Result.passed(f"{self.name} {self.type} → {', '.join(records[:3]) or dns.rcode.to_text(response.rcode())}{more}")

    async def ask_in_turn(self, ctx: Context, question: dns.message.Message, servers: Sequence[str]) -> dns.message.Message:
        """The response of the first server that sends one; each server but the last gets an equal share of the time."""
        if not servers:
            raise Failed(Reason.DNS, "this machine names no DNS server; name one as server")

        async def ask(text: str, within: float) -> dns.message.Message:
            server, port = read_server(text)
            ctx.facts["server"] = host_and_port(server, port)
            response = await self._ask(ctx, question, server, port, within)
            if response.rcode() in _WITHOUT_EDNS and response.edns < 0:  # RFC 6891, section 7: the server doesn't know EDNS
                plain = copy(question)
                plain.use_edns(edns=False)
                response = await self._ask(ctx, plain, server, port, within)
            return response

        return await in_turn(ctx.remaining(), servers, ask)

    async def _ask(self, ctx: Context, question: dns.message.Message, server: str, port: int, within: float) -> dns.message.Message:
        # The system's own servers are what this machine uses anyway, such as a cache at a link-local address.
        route = Route(ip=self.ip, allowed=frozenset(self.allow_addresses), any_address=not self.server)
        if self.transport == "udp":
            addresses = await ctx.wire.resolve(ctx, server, route)
            response = await in_turn(within, addresses, lambda address, _: over_udp(ctx, question, address, port))
            if not response.flags & dns.flags.TC:
                return response
            server = ctx.facts[IP]
        return await over_tcp(ctx, question, server, port, route)

    def _record_facts(self, ctx: Context, response: dns.message.Message, records: list[str]) -> None:
        ctx.facts |= {
            "query_succeeded": True,
            "rcode": dns.rcode.to_text(response.rcode()),
            "answer_rrs": len(response.answer),
            "authority_rrs": len(response.authority),
            "additional_rrs": len(response.additional),
            "authenticated": bool(response.flags & dns.flags.AD),
        }
        serials = [record.serial for rrset in response.answer for record in rrset if isinstance(record, SOA)]
        if self.type == "SOA" and serials:
            ctx.facts["serial"] = serials[0]
        ctx.evidence["records"] = records[:SHOWN]
