"""Names to addresses without threads: literals, /etc/hosts, then the system's DNS servers by dnspython.

`getaddrinfo` runs in a thread pool, where one name without an answer delays every other check; so the wire has a resolver of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.message
import dns.rdatatype
import dns.resolver

from probes.core import Failed, Reason
from probes.text import ascii_host, host_and_port, is_address, listed

FRESH = 10.0  # seconds for which /etc/hosts and /etc/resolv.conf are used before they are read again
ADDRESSES_CAP = 16  # addresses of a response that are used: more could not be tried within any timeout, and a server may name thousands
DNS_PORT = 53
MESSAGES = 4  # servers' words that a message shows
LATE_FAMILY = 0.05  # RFC 8305, section 3: seconds to wait for the other address family once one has answered


@dataclass(frozen=True, slots=True)
class SystemNames:
    """The machine's hosts file, and a resolver for its DNS servers (None where it has none)."""

    hosts: dict[str, tuple[str, ...]]
    dns: dns.asyncresolver.Resolver | None


def read_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Addresses by name, in the file's order; lines without an address are ignored, as the system does."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if not is_address(address):
            continue
        for name in names:
            found.setdefault(name.lower().rstrip("."), []).append(address)
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}


class Resolver:
    """Resolves one name at a time, without a cache: it would hide what users see."""

    def __init__(
        self,
        *,
        hosts: Path = Path("/etc/hosts"),
        servers: tuple[str, ...] = (),
        port: int = 53,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._servers = servers  # instead of the system's
        self._port = port
        self._monotonic = monotonic
        self._names: SystemNames | None = None
        self._read_at = 0.0

    async def addresses(self, host: str, within: float, kinds: Sequence[str] = ("AAAA", "A")) -> tuple[str, ...]:
        """The addresses of a host, IPv6 and IPv4 alternating, at most ADDRESSES_CAP; only these record types are queried.

        Raises Failed(DNS) where the name doesn't exist, has no address, or no server answers within `within` seconds.
        """
        if is_address(host):
            return (host.lower(),)
        try:
            host = ascii_host(host)
        except ValueError as error:
            raise Failed(Reason.DNS, f"can't resolve the name: {error}") from None
        name = host.lower().rstrip(".")
        names = await self.system_names()
        if name in names.hosts:
            return names.hosts[name]
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
            return ("::1", "127.0.0.1")
        if names.dns is None:
            raise Failed(Reason.DNS, f"can't resolve {host}: this machine names no DNS server")
        return await _query(names.dns, host, within, kinds)

    async def system_names(self) -> SystemNames:
        """The machine's names, read again in a thread where they are old: do it before a phase begins, it is no work of the network."""
        now = self._monotonic()
        if self._names is None or now - self._read_at > FRESH:
            self._names, self._read_at = await asyncio.to_thread(self._read), now
        return self._names

    def _read(self) -> SystemNames:
        try:
            hosts = read_hosts(self._hosts.read_text("utf-8", "replace"))
        except OSError:
            hosts = {}  # without a hosts file there are no local names
        if self._servers:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = list(self._servers), self._port
            return SystemNames(hosts, resolver)
        try:
            return SystemNames(hosts, dns.asyncresolver.Resolver())
        except dns.resolver.NoResolverConfiguration:
            return SystemNames(hosts, None)


async def _query(resolver: dns.asyncresolver.Resolver, host: str, within: float, kinds: Sequence[str]) -> tuple[str, ...]:
    """Queries all record types at once. Cancels them after `within` seconds, since dnspython's last pause may last longer."""
    tasks = {kind: asyncio.ensure_future(_query_type(resolver, host, kind, within)) for kind in kinds}
    until = asyncio.get_running_loop().time() + within
    try:
        await asyncio.wait(tasks.values(), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        found = any(t.done() and not t.exception() and t.result() for t in tasks.values())
        left = max(0.0, until - asyncio.get_running_loop().time())
        await asyncio.wait(tasks.values(), timeout=min(LATE_FAMILY, left) if found else left)
        finished = [t for t in tasks.values() if t.done()]
    finally:
        for task in tasks.values():
            task.cancel()
    families = [t.result() for t in finished if not t.exception()]
    longest = min(max(map(len, families), default=0), ADDRESSES_CAP)
    if addresses := tuple(family[i] for i in range(longest) for family in families if i < len(family)):
        return addresses[:ADDRESSES_CAP]
    errors = [error for t in finished if (error := t.exception())]
    if any(isinstance(error, dns.resolver.NXDOMAIN) for error in errors):
        raise Failed(Reason.DNS, f"no such name: {host}")
    tried = [one for error in errors for one in getattr(error, "kwargs", {}).get("errors", ())]
    if any(not isinstance(what, dns.exception.Timeout) for *_, what, _ in tried):
        outcomes = listed(list(dict.fromkeys(_outcome(server, port, what) for server, _, port, what, _ in tried)), MESSAGES)
        raise Failed(Reason.DNS, f"the DNS servers can't resolve {host}: {outcomes}")
    if errors and not isinstance(errors[0], dns.exception.Timeout):
        raise Failed(Reason.DNS, f"the DNS servers can't resolve {host}: {errors[0]}")
    if errors or len(finished) < len(tasks):
        raise Failed(Reason.DNS, f"no DNS server answered for {host} within {within:.3g}s")
    family = {"A": "IPv4 ", "AAAA": "IPv6 "}.get(" ".join(kinds), "")
    raise Failed(Reason.DNS, f"{host} has no {family}address")


def _outcome(server: str, port: int, what: str | Exception) -> str:
    """What one try at a DNS server led to: dnspython's name of the server, and a response code or an exception."""
    address = server.removeprefix("Do53:").rpartition("@")[0]
    where = address if port == DNS_PORT else host_and_port(address, port)
    if isinstance(what, str):
        return f"{where} returned {what}"
    if isinstance(what, dns.message.ChainTooLong):
        return f"{where} returned aliases (CNAME) in a loop or in too long a chain"
    if isinstance(what, dns.exception.Timeout):
        return f"{where} didn't answer"
    if isinstance(what, ConnectionRefusedError):
        return f"nothing listens at {where}"
    if isinstance(what, OSError):
        return f"{where}: {what.strerror or what}"
    return f"{where} sent a response that can't be read ({what})"


async def _query_type(resolver: dns.asyncresolver.Resolver, host: str, kind: str, within: float) -> tuple[str, ...]:
    try:
        # It ends a little before it would be cancelled, so that it says what each server did.
        response = await resolver.resolve(host, dns.rdatatype.from_text(kind), lifetime=within * 0.9, search=True)
    except dns.resolver.NoAnswer:
        return ()
    return tuple(record.address for record in itertools.islice(response, ADDRESSES_CAP))
