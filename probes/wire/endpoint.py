"""Where a run's connection goes, and how: a diagnosis tries its parts one by one, without knowing the kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.wire.addresses import Family
from probes.wire.route import Route
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host and port. `secure`: TLS from the first byte, by the route's settings."""

    host: str
    port: int
    route: Route = field(default_factory=Route)
    secure: bool = False

    @classmethod
    def of(cls, host: str, port: int, tls: Tls | None, ip: Family = "any") -> Endpoint:
        """An endpoint by a kind's own settings; without `tls` the connection uses no TLS, or only later."""
        return cls(host, port, Route(tls=tls or Tls(), ip=ip), tls is not None)


@dataclass(frozen=True, slots=True)
class Variation:
    """The one thing that a trial changes in a run that failed."""

    address: str = ""  # connect to this address instead of resolving the host
    verify: bool = True  # False: accept any certificate
    proxy: bool = True  # False: connect directly
