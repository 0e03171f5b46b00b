"""Names to addresses without threads: literals, /etc/hosts, then the system's DNS servers by dnspython.

`getaddrinfo` runs in a thread pool, where one dead name holds up every other check; so the wire resolves by itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from probes.core import Failed, Reason

FRESH = 10.0  # seconds for which /etc/hosts and /etc/resolv.conf are believed before they are read again
LATE_FAMILY = 0.05  # RFC 8305, section 3: how long the other address family is waited for once one has answered


@dataclass(frozen=True, slots=True)
class SystemNames:
    """What this machine knows of names: its hosts file, and a resolver for its DNS servers (None where it has none)."""

    hosts: dict[str, tuple[str, ...]]
    dns: dns.asyncresolver.Resolver | None


def read_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Addresses by name, in the file's order; what is no address is passed over, as the system does."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if not _literal(address):
            continue
        for name in names:
            found.setdefault(name.lower().rstrip("."), []).append(address)
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Resolver:
    """Resolves one name at a time, afresh each time: a cache would hide what users see."""

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
        """The addresses of a host, IPv6 and IPv4 in turns, as many as there are; DNS is asked for these types alone.

        Raises Failed(DNS) where the name doesn't exist, has no address, or no server answers within so many seconds.
        """
        name = host.lower().rstrip(".")
        if _literal(name):
            return (name,)
        names = await self._system()
        if name in names.hosts:
            return names.hosts[name]
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
            return ("::1", "127.0.0.1")
        if names.dns is None:
            raise Failed(Reason.DNS, f"can't resolve {host}: this machine names no DNS server")
        return await _ask_families(names.dns, host, within, kinds)

    async def _system(self) -> SystemNames:
        now = self._monotonic()
        if self._names is None or now - self._read_at > FRESH:
            self._names, self._read_at = await asyncio.to_thread(self._read), now
        return self._names

    def _read(self) -> SystemNames:
        try:
            hosts = read_hosts(self._hosts.read_text("utf-8", "replace"))
        except OSError:
            hosts = {}  # a machine without a hosts file is a machine without local names
        if self._servers:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = list(self._servers), self._port
            return SystemNames(hosts, resolver)
        try:
            return SystemNames(hosts, dns.asyncresolver.Resolver())
        except dns.resolver.NoResolverConfiguration:
            return SystemNames(hosts, None)


async def _ask_families(resolver: dns.asyncresolver.Resolver, host: str, within: float, kinds: Sequence[str]) -> tuple[str, ...]:
    """All at once, and never for longer: dnspython ends its last pause although its time is over."""
    tasks = {kind: asyncio.ensure_future(_ask(resolver, host, kind, within)) for kind in kinds}
    until = asyncio.get_running_loop().time() + within
    try:
        await asyncio.wait(tasks.values(), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        found = any(t.done() and not t.exception() and t.result() for t in tasks.values())
        left = max(0.0, until - asyncio.get_running_loop().time())
        await asyncio.wait(tasks.values(), timeout=min(LATE_FAMILY, left) if found else left)
        answered = [t for t in tasks.values() if t.done()]
    finally:
        for task in tasks.values():
            task.cancel()
    families = [t.result() for t in answered if not t.exception()]
    if addresses := _in_turns(*families):
        return addresses
    stalled: list[BaseException] = [dns.exception.Timeout()] if len(answered) < len(tasks) else []  # type: ignore[no-untyped-call]
    raise _why_none(host, within, [*(e for t in answered if (e := t.exception())), *stalled])


async def _ask(resolver: dns.asyncresolver.Resolver, host: str, kind: str, within: float) -> tuple[str, ...]:
    try:
        answer = await resolver.resolve(host, dns.rdatatype.from_text(kind), lifetime=within, search=True)
    except dns.resolver.NoAnswer:
        return ()
    return tuple(record.address for record in answer)


def _in_turns(*families: tuple[str, ...]) -> tuple[str, ...]:
    longest = max(map(len, families), default=0)
    return tuple(family[i] for i in range(longest) for family in families if i < len(family))


def _why_none(host: str, within: float, errors: list[BaseException]) -> Failed:
    for error in errors:
        if isinstance(error, dns.resolver.NXDOMAIN):
            return Failed(Reason.DNS, f"no such name: {host}")
    for error in errors:
        if isinstance(error, dns.exception.Timeout):
            return Failed(Reason.DNS, f"no DNS server answered for {host} within {within:.3g}s")
        return Failed(Reason.DNS, f"the DNS servers can't resolve {host}: {type(error).__name__}")
    return Failed(Reason.DNS, f"{host} has no address")
