"""How a check's requests travel: version, proxy, addresses, connections. Read from its settings once, and handed along."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from probes.http.oauth2 import OAuth2
from probes.wire.addresses import Family
from probes.wire.proxy import Proxy
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class Route:
    """Settings of a check that say nothing of what is asked, only of how it gets there."""

    tls: Tls = field(default_factory=Tls)
    http: str = "1.1"  # "1.1", "2" or "auto"
    proxy: Proxy | None = None
    oauth2: OAuth2 | None = None
    encodings: tuple[str, ...] = ()  # asked for, the preferred first
    keep_alive: bool = False
    ip: Family = "any"
    resolve: tuple[str, str] | None = None  # a host, and the address to connect to instead of resolving it
    allowed: frozenset[str] = frozenset()  # addresses that may be reached though they are link-local or metadata
    any_address: bool = False  # for what is no check: nothing is forbidden of the host that an operator named

    def alpn(self) -> tuple[str, ...]:
        """What is offered in a TLS handshake, the preferred first."""
        return {"1.1": ("http/1.1",), "2": ("h2",)}.get(self.http, ("h2", "http/1.1"))

    def to_tokens(self, oauth2: OAuth2) -> Route:
        """The way to the token endpoint: HTTP/1.1 with its own TLS settings; the proxy and the addresses are the check's."""
        return replace(self, tls=oauth2.tls, http="1.1", oauth2=None, encodings=(), keep_alive=False, resolve=None)
