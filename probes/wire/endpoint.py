"""Where a run's connection goes, and how: what a diagnosis may try in its parts, without knowing the kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.wire.route import Route
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host and port. `secure`: TLS from the first byte, by the way's settings."""

    host: str
    port: int
    route: Route = field(default_factory=Route)
    secure: bool = False

    @classmethod
    def speaking(cls, host: str, port: int, tls: Tls | None) -> Endpoint:
        """A door by a kind's own settings; without `tls` no TLS is spoken there, or only later."""
        return cls(host, port, Route(tls=tls or Tls()), tls is not None)


@dataclass(frozen=True, slots=True)
class Variation:
    """The one thing that a trial does differently from the run that failed."""

    address: str = ""  # connect to this one instead of resolving the host
    verify: bool = True  # False: accept any certificate
    proxy: bool = True  # False: go straight there
