"""How a check's connections are made: TLS, proxy and addresses. Read from its settings once and handed along."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.wire.addresses import Family
from probes.wire.proxy import Proxy
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class Route:
    """The settings of a check that don't say what is requested, only how the request gets there."""

    tls: Tls = field(default_factory=Tls)
    http: str = "1.1"  # "1.1", "2" or "auto"
    proxy: Proxy | None = None
    ip: Family = "any"
    resolve: tuple[str, str] | None = None  # a host, and the address to connect to instead of resolving it
    allowed: frozenset[str] = frozenset()  # link-local or metadata addresses that may be connected to all the same
    any_address: bool = False  # for requests outside of a check: the operator named the host, so no address is refused

    def alpn(self) -> tuple[str, ...]:
        """The protocols to offer in a TLS handshake, the preferred one first."""
        return {"1.1": ("http/1.1",), "2": ("h2",)}.get(self.http, ("h2", "http/1.1"))
