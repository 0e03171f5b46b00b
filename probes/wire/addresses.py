"""Which addresses a check may connect to, and in what order: decided after resolution, about the very addresses that are dialled."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from probes.text import address_text

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"),  # most clouds; AWS and Google by IPv6
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),  # Alibaba, Azure, Oracle
    )
)
_LOW_BITS = tuple(  # networks whose last 32 bits are an IPv4 address
    ipaddress.IPv6Network(network)
    for network in (
        "::/96",  # compatible: RFC 4291, section 2.5.5.1
        "::ffff:0:0:0/96",  # SIIT: RFC 2765, section 2.1
        "64:ff9b::/96",  # NAT64: RFC 6052, section 2.1
    )
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: a network may use a part of it, as a prefix of any length
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1: the 32 bits before the IPv4 address


def read(text: Any) -> str:
    """An address in its usual form. Raises ValueError with what to write instead."""
    try:
        return address_text(str(text).strip("[]"))
    except ValueError:
        raise ValueError(f"{text!r} is no address; write one like 10.0.3.7 or 2001:db8::7") from None


AddressField = Annotated[str, BeforeValidator(read), WithJsonSchema({"type": "string", "description": "an address, IPv4 or IPv6"})]


def refusal(address: str, host: str, allowed: Collection[str] = ()) -> str | None:
    """Why no check may reach this address, or None. Link-local and metadata addresses hand out credentials.

    An IPv4 address embedded in an IPv6 one (mapped, SIIT, NAT64, 6to4, Teredo, ISATAP) is judged, too. `allowed` names exceptions.
    """
    return _refusal(address, host, frozenset(allowed))


@lru_cache(maxsize=4096)  # most checks ask the same few addresses all day
def _refusal(address: str, host: str, allowed: frozenset[str]) -> str | None:
    ip = ipaddress.ip_address(address.partition("%")[0])
    exceptions = {ipaddress.ip_address(one) for one in allowed}  # values, since an address has several texts
    for one in (ip, *_embedded(ip)):
        if (one.is_link_local or one in _METADATA) and not {ip, one} & exceptions:
            leads = f"{host} leads to" if host != address else "the address is"
            return f"{leads} {address}, a link-local or metadata address; no check may connect to it unless allow_addresses lists it"
    return None


def _embedded(ip: Address) -> Iterator[Address]:
    """The IPv4 addresses at which a packet to this IPv6 address may arrive."""
    if isinstance(ip, ipaddress.IPv4Address):
        return
    if ip.ipv4_mapped:
        yield ip.ipv4_mapped
    if ip.sixtofour:
        yield ip.sixtofour
    if ip.teredo:
        yield from ip.teredo
    number = int(ip)
    if any(ip in network for network in _LOW_BITS) or number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if ip in _LOCAL_NAT64:  # RFC 6052, section 2.2: after a prefix of 48, 56, 64 or 96 bits; bits 64 to 71 are always left out
        whole = number.to_bytes(16)
        for start in (6, 7, 9, 12):
            yield ipaddress.IPv4Address((whole[start:8] + whole[9:])[:4] if start < 8 else whole[start : start + 4])  # noqa: PLR2004


def literal(host: str) -> str | None:
    """The address that a host already is, also in the forms of inet_aton (2852039166, 0xa9fea9fe); None for a name.

    For hosts that a proxy resolves. The addresses that the runner dials itself are checked after resolution.
    """
    try:
        return address_text(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except OSError:
        return None


def _family(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Family = Annotated[
    Literal["any", "4", "6", "prefer4", "prefer6"],
    BeforeValidator(_family),
    WithJsonSchema({"enum": ["any", 4, 6, "4", "6", "prefer4", "prefer6"]}),
]


def record_types(family: str) -> tuple[str, ...]:
    """The DNS record types to query, the preferred one first: AAAA and A, or one of them."""
    return {"4": ("A",), "6": ("AAAA",), "prefer4": ("A", "AAAA")}.get(family, ("AAAA", "A"))


def in_order(addresses: Sequence[str], family: str) -> list[str]:
    """The addresses to try, in order: of one family alone, or of the preferred family first."""
    if family == "any":
        return list(addresses)
    preferred = [address for address in addresses if (":" in address) == family.endswith("6")]
    return preferred + ([address for address in addresses if address not in preferred] if family.startswith("prefer") else [])
