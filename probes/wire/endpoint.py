"""Where a run's connection goes, and how: a diagnosis tries its parts one by one, without knowing the kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.wire.addresses import Family
from probes.wire.route import Route
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host and port. `secure`: TLS from the first byte, by the route's settings; a handshake is no other protocol's business.

    `alpn`: the protocols that a handshake offers; None for those of the route.
    """

    host: str
    port: int
    route: Route = field(default_factory=Route)
    secure: bool = False
    alpn: tuple[str, ...] | None = None

    @classmethod
    def of(cls, host: str, port: int, tls: Tls | None, ip: Family = "any", alpn: tuple[str, ...] = ()) -> Endpoint:
        """An endpoint by a kind's own settings; without `tls` the connection uses no TLS, or only later."""
        return cls(host, port, Route(tls=tls or Tls(), ip=ip), tls is not None, alpn)

    def protocols(self) -> tuple[str, ...]:
        """What a TLS handshake offers by ALPN, the preferred one first."""
        return self.route.alpn() if self.alpn is None else self.alpn


@dataclass(frozen=True, slots=True)
class Variation:
    """The one thing that a trial changes in a run that failed."""

    address: str = ""  # connect to this address instead of resolving the host
    verify: bool = True  # False: accept any certificate
    proxy: bool = True  # False: connect directly
