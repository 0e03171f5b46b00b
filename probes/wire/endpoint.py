"""Where a run's connection goes, and how: what a diagnosis may try in its parts, without knowing the kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.wire.settings import Way
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class Door:
    """One host and port. `secure`: TLS from the first byte, by the way's settings."""

    host: str
    port: int
    way: Way = field(default_factory=Way)
    secure: bool = False

    @classmethod
    def speaking(cls, host: str, port: int, tls: Tls | None) -> Door:
        """A door by a kind's own settings; without `tls` no TLS is spoken there, or only later."""
        return cls(host, port, Way(tls=tls or Tls()), tls is not None)


@dataclass(frozen=True, slots=True)
class Variation:
    """The one thing that a trial does differently from the run that failed."""

    address: str = ""  # connect to this one instead of resolving the host
    verify: bool = True  # False: accept any certificate
    proxy: bool = True  # False: go straight there
