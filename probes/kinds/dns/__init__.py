"""Kind `dns`: queries a DNS server for the records of a name, and judges the response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.resolver
import dns.reversename
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from probes import Context, Failed, Family, Probe, Reason, Result, fact_family, host_and_port, network_families, phase_family
from probes.expect.patterns import Pattern
from probes.kinds.dns.exchange import over_tcp, over_udp
from probes.text import address_text, is_address

SHOWN = 20  # records kept as evidence

Rcode = Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
Kind = Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _server(text: str) -> str:
    address_and_port(text)
    return text


def address_and_port(text: str) -> tuple[str, int]:
    """10.0.0.2, 10.0.0.2:5353, 2001:db8::1 or [2001:db8::1]:5353. Raises ValueError."""
    address, colon, port = text.rpartition(":")
    if not colon or (":" in address and not address.endswith("]")):
        address, port = text, "53"
    try:
        number = int(port)
        plain = address_text(address.strip("[]"))
    except ValueError:
        number, plain = 0, ""
    if not 0 < number <= 65535:  # noqa: PLR2004 - the largest port
        raise ValueError("write an address, such as 10.0.0.2 or [2001:db8::1]:5353: a name would need another DNS server first")
    return plain, number


def _name(text: str) -> str:
    try:
        dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError):
        raise ValueError(f"{text!r} is no name that DNS knows") from None
    return text


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
Rcodes = Annotated[tuple[Rcode, ...], BeforeValidator(_listed, json_schema_input_type=Rcode | list[Rcode])]


class ExpectedRecords(BaseModel):
    """Conditions for the records; names are compared without the last dot and without case."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    equals: Texts | None = Field(default=None, description="Exactly these records, in any order.")
    contains: Texts = Field(default=(), description="These records, among others.")
    regex: Pattern | None = Field(default=None, description="A regular expression (RE2) found in at least one record.")
    at_least: int | None = Field(default=None, ge=0, description="The least number of records; 1 by default if the server returns NOERROR.")


class ExpectedResponse(BaseModel):
    """Conditions for the response."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    rcode: Rcodes = Field(default=("NOERROR",), description="The expected response code, or several.")
    answers: ExpectedRecords = ExpectedRecords()
    authenticated: bool | None = Field(default=None, description="Whether the server must report that it validated the response (AD).")


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
    type: Kind = "A"
    server: Annotated[str, AfterValidator(_server)] | None = Field(
        default=None, description="address:port of the DNS server; by default the system's servers."
    )
    transport: Literal["udp", "tcp"] = "udp"
    expect: ExpectedResponse = ExpectedResponse()

    def address(self) -> str:
        return f"{self.name} {self.type}{f' at {self.server}' if self.server else ''}"

    async def run(self, ctx: Context) -> Result:
        ctx.facts["query_succeeded"] = False
        flags = dns.flags.RD | (dns.flags.AD if self.expect.authenticated is not None else 0)
        reverse = self.type == "PTR" and is_address(self.name)
        name = dns.reversename.from_address(self.name) if reverse else dns.name.from_text(self.name)
        question = dns.message.make_query(name, self.type, use_edns=0, payload=1232, flags=flags, id=ctx.rng.getrandbits(16))
        servers = [self.server] if self.server else await asyncio.to_thread(system_servers)
        response = await self.ask_in_turn(ctx, question, servers)
        records = self._record_facts(ctx, response)
        self._judge(response, records)
        more = f" and {len(records) - 3} more" if len(records) > 3 else ""  # noqa: PLR2004 - as many as a line holds
        return Result.passed(f"{self.name} {self.type} → {', '.join(records[:3]) or dns.rcode.to_text(response.rcode())}{more}")

    async def ask_in_turn(self, ctx: Context, question: dns.message.Message, servers: Sequence[str]) -> dns.message.Message:
        """The response of the first server that sends one; each server but the last gets an equal share of the time."""
        for left in range(len(servers), 0, -1):
            server, port = address_and_port(servers[-left])
            ctx.facts["server"] = host_and_port(server, port)
            try:
                async with asyncio.timeout(ctx.remaining() / left if left > 1 else None):
                    return await self._ask(ctx, question, server, port)
            except OSError:
                if left == 1:
                    raise
        raise Failed(Reason.DNS, "this machine names no DNS server; name one as server")

    async def _ask(self, ctx: Context, question: dns.message.Message, server: str, port: int) -> dns.message.Message:
        if self.transport == "udp":
            response = await over_udp(ctx, question, server, port)
            if not response.flags & dns.flags.TC:
                return response
        return await over_tcp(ctx, question, server, port)

    def _record_facts(self, ctx: Context, response: dns.message.Message) -> list[str]:
        kind = dns.rdatatype.from_text(self.type)
        found = [record for rrset in response.answer if rrset.rdtype == kind for record in rrset]
        records = sorted(in_text(record) for record in found)
        ctx.facts |= {
            "query_succeeded": True,
            "rcode": dns.rcode.to_text(response.rcode()),
            "answer_rrs": sum(map(len, response.answer)),
            "authority_rrs": sum(map(len, response.authority)),
            "additional_rrs": sum(map(len, response.additional)),
            "authenticated": bool(response.flags & dns.flags.AD),
        }
        if kind == dns.rdatatype.SOA and found:
            ctx.facts["serial"] = int(found[0].serial)
        ctx.evidence["records"] = records[:SHOWN]
        return records

    def _judge(self, response: dns.message.Message, records: list[str]) -> None:
        rcode, wanted = dns.rcode.to_text(response.rcode()), self.expect.answers
        if rcode not in self.expect.rcode:
            raise Failed(Reason.DNS, f"{self.name} {self.type}: the server returned {rcode}, expected {' or '.join(self.expect.rcode)}")
        least = wanted.at_least if wanted.at_least is not None else int(rcode == "NOERROR")
        if len(records) < least:
            raise Failed(Reason.DNS, f"{self.name} has {len(records) or 'no'} {self.type} records, expected at least {least}")
        have = {_normalized(each) for each in records}
        if missing := [each for each in wanted.contains if _normalized(each) not in have]:
            raise Failed(Reason.BODY, f"{', '.join(missing)} is not among {_list(records)}")
        if wanted.equals is not None and have != {_normalized(each) for each in wanted.equals}:
            raise Failed(Reason.BODY, f"{self.name} {self.type} is {_list(records)}, expected {_list(wanted.equals)}")
        if wanted.regex is not None and not any(wanted.regex.search(each) for each in records):
            raise Failed(Reason.BODY, f"nothing among {_list(records)} matches {wanted.regex}")
        if self.expect.authenticated is not None and self.expect.authenticated != bool(response.flags & dns.flags.AD):
            raise Failed(Reason.BODY, f"the server has {'not ' if self.expect.authenticated else ''}validated the response (AD)")


def system_servers(file: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The addresses of this machine's DNS servers; empty where it has none."""
    try:
        return [str(server) for server in dns.resolver.Resolver(str(file)).nameservers]
    except dns.resolver.NoResolverConfiguration:
        return []


def in_text(record: dns.rdata.Rdata) -> str:
    """A record as people write it: TXT joined and without quotes, names without the last dot."""
    if record.rdtype == dns.rdatatype.TXT:
        return b"".join(record.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]
    text = record.to_text()
    return text if record.rdtype == dns.rdatatype.CAA else " ".join(word.rstrip(".") or "." for word in text.split())


def _normalized(text: str) -> str:
    return text.rstrip(".").lower()


def _list(records: list[str] | tuple[str, ...]) -> str:
    return ", ".join(records[:5]) or "nothing"
