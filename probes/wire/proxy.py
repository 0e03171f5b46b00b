"""HTTP proxies: their address, the tunnel through one (CONNECT), and which failures are the proxy's and not the target's."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from probes.core import Failed, Reason
from probes.fields import split_url
from probes.text import host_and_port

_AUTH = 407
# The status of a proxy that can't, or may not, reach the target.
_TUNNEL = {
    403: (Reason.POLICY, "doesn't allow it"),
    _AUTH: (Reason.AUTH, "refuses the credentials"),
    429: (Reason.THROTTLED, "received too many requests"),
    502: (Reason.UNREACHABLE, "can't reach the target"),
    503: (Reason.UNREACHABLE, "can't reach the target"),
    504: (Reason.TIMEOUT, "got no response from the target"),
}
_ITS_OWN = ("proxy-status", "x-squid-error")  # headers of a response that the proxy itself generated (RFC 9209; Squid)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address and credentials. `authorization` is a secret."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def read(cls, text: str, *, port: int = 8080) -> Proxy:
        """Reads http://user:password@host:port; `port` is the default. Raises ValueError with what to write instead."""
        if not text.lower().startswith("http://"):
            raise ValueError("must be written like http://proxy.example:3128: the connection to a proxy is plain HTTP")
        split = split_url(text, example="http://proxy.example:3128")
        if split.path.strip("/") or split.query:
            raise ValueError("must be written like http://proxy.example:3128: the connection to a proxy is plain HTTP")
        user = split.netloc.rpartition("@")[0]
        return cls(split.hostname or "", split.port or port, f"Basic {base64.b64encode(unquote_to_bytes(user)).decode()}" if user else "")

    def __str__(self) -> str:
        return f"the proxy {host_and_port(self.host, self.port)}"

    def headers(self) -> dict[str, str]:
        """Headers for the proxy itself, never for a target behind its tunnel."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def failure(self, error: Failed | OSError) -> Failed | OSError:
        """The same failure with a message that names the proxy."""
        if isinstance(error, Failed):
            return Failed(error.reason, f"{self}: {error.message}", answered=error.answered)
        return type(error)(error.errno, f"{self}: {error.strerror or error}")

    def judge_tunnel(self, status: int) -> None:
        """Raises Failed where the response to CONNECT is not a success."""
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, 9.3.6
            return
        reason, words = _TUNNEL.get(status, (Reason.STATUS, "opens no tunnel"))
        raise Failed(reason, f"{self} {words}: it answered CONNECT with {status}", answered=True)

    def judge_response(self, status: int, fields: tuple[tuple[str, str], ...]) -> None:
        """Raises Failed for a response to a relayed request that the proxy itself generated, as far as its headers show that."""
        if status == _AUTH:
            raise Failed(Reason.AUTH, f"{self} refuses the credentials: it answered {status}")
        own: Any = next((f"{name}: {value}" for name, value in fields if name in _ITS_OWN), None)
        if own and status in _TUNNEL:
            reason, words = _TUNNEL[status]
            raise Failed(reason, f"{self} {words}: it answered {status} ({own})")
