"""How a check's HTTP requests travel, beyond what the wire itself needs to know."""

from __future__ import annotations

from dataclasses import dataclass, replace

from probes.http.oauth2 import OAuth2
from probes.wire.route import Route


@dataclass(frozen=True, slots=True)
class HttpRoute(Route):
    """A route with the settings that only the HTTP client reads."""

    oauth2: OAuth2 | None = None
    encodings: tuple[str, ...] = ()  # for Accept-Encoding, the preferred one first
    framing: str = "lenient"  # or strict: a response that the RFCs don't allow fails
    charset: str = ""  # of response bodies, instead of what they declare
    keep_alive: bool = False  # keep the connection for the check's next run

    def to_tokens(self, oauth2: OAuth2) -> HttpRoute:
        """The route to the token endpoint: HTTP/1.1 with TLS settings of its own; the proxy and the address rules are the check's."""
        return replace(self, tls=oauth2.tls, http="1.1", oauth2=None, encodings=(), charset="", keep_alive=False, resolve=None)
