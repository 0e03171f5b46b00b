"""A request that is written once a check and sent in every run, where nothing but its ids changes from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from probes.core import PolicyRefused, Sender
from probes.http.exchange import OutgoingRequest
from probes.http.http1 import refuse_line_breaks, written
from probes.http.privacy import shown_headers
from probes.http.route import HttpRoute

PORTS = {"http": 80, "https": 443}
LONGEST = 16 * 1024  # bytes: what any new connection's buffer takes at once
NOBODY = Sender(
    "nobody: there is no run", "0" * 32, "0" * 16, "nobody: there is no run, either"
)  # stands for the sender until there is a run


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request to one origin over a connection of its own. Its template has a place for each header of the run's own."""

    method: str
    url: str
    shown: str  # the address, for evidence
    origin: tuple[str, str, int]
    template: bytes
    own: tuple[str, ...]  # the names of the run's own headers, in the order of their places
    headers: Mapping[str, str]  # for evidence

    @classmethod
    def of(cls, route: HttpRoute, request: httpx.Request, body: bytes) -> PlainRequest | None:
        """The request with the headers of NOBODY, as a template. None where it needs more than one connection of HTTP/1.1."""
        url, known = request.url, NOBODY.headers()
        if url.scheme not in PORTS or route.proxy or route.oauth2 or route.http != "1.1" or route.keep_alive:
            return None
        own = {(name.encode(), value.encode()): name for name, value in known.items()}
        headers = tuple((name, b"\0" if (name, value) in own else value) for name, value in request.headers.raw)
        outgoing = OutgoingRequest(request.method, url.raw_path, url.scheme, headers, body)
        try:
            refuse_line_breaks(OutgoingRequest(request.method, url.raw_path, url.scheme, tuple(request.headers.raw), body))
        except PolicyRefused:
            return None
        text = written(outgoing)
        if len(text) > LONGEST or b"\0" in url.raw_path + body:
            return None
        plain = url.copy_with(userinfo=b"") if url.userinfo else url
        return cls(
            request.method,
            str(url),
            str(plain),
            (url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]),
            text.replace(b"%", b"%%").replace(b"\0", b"%s"),
            tuple(own[pair] for pair in request.headers.raw if pair in own),
            shown_headers(request.headers.items()),
        )

    def written(self, sender: Mapping[str, str]) -> bytes:
        """The bytes of a run's request, with the headers of its sender."""
        return self.template % tuple(sender[name].encode("utf-8", "replace") for name in self.own)

    def shown_headers(self, sender: Mapping[str, str]) -> dict[str, str]:
        """The headers for evidence."""
        return {**self.headers, **{name.lower(): sender[name] for name in self.own}}
