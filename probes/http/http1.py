"""HTTP/1.1 on a stream, parsed by httptools (the C parser of Node.js)."""

from __future__ import annotations

import httptools

from probes.core import Failed, Measurements, PolicyRefused, Reason
from probes.http.exchange import Connection, Exchange, OutgoingRequest
from probes.wire.stream import Stream

_BODILESS = {204, 304}


class Http1(Connection):
    """A connection of HTTP/1.1."""

    async def send(self, ctx: Measurements, request: OutgoingRequest) -> Exchange:
        exchange = Exchange1(ctx, self.stream, request.method)
        lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.target)]
        lines += [name + b": " + value for name, value in request.headers]
        await self.stream.write(b"\r\n".join([*lines, b"", request.body]))
        return exchange

    def alive(self) -> bool:
        return self.stream.is_idle()


def refuse_line_breaks(request: OutgoingRequest) -> None:
    """Raises PolicyRefused for a header that would smuggle in another one, before a byte is sent."""
    for name, value in request.headers:
        if any(character in name + value for character in b"\r\n\0"):
            raise PolicyRefused(f"header {name.decode('ascii', 'replace')!r} has a line break or a NUL")


class Exchange1(Exchange):
    """One request and its response; the C parser calls the `on_` methods."""

    def __init__(self, ctx: Measurements, stream: Stream, method: str) -> None:
        super().__init__(ctx, stream, method)
        self._keep = False
        self._surplus = False
        self._is_tunnel = method == "CONNECT"  # what follows the response's head belongs to the tunnel (RFC 9110, 9.3.6)
        self._parser = httptools.HttpResponseParser(self)

    # -- the parser's calls

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.done:
            return
        self.status = self._parser.get_status_code()
        self.version = self._parser.get_http_version()
        if self.status >= 200:  # noqa: PLR2004 - below are interim responses (RFC 9110, 15.2)
            self._keep = self._parser.should_keep_alive()
            self.head_done = True
            self.done = self._head_only or self.status in _BODILESS or self._is_tunnel

    def on_message_begin(self) -> None:
        self._surplus = self._surplus or self.done

    def on_body(self, piece: bytes) -> None:
        if self.done:
            self._surplus = True
            return
        self.body_bytes += len(piece)
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if self.head_done:
            self.done = True
        else:
            self.headers.clear()

    # -- the probe's side

    async def feed(self, data: bytes) -> None:
        self._surplus = self._surplus or self.done
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise Failed(Reason.PROTOCOL, f"the server switched protocols ({self.status}), which the request didn't ask for") from error
        except httptools.HttpParserError as error:
            self._surplus = True
            if not self.done:  # bytes after a complete response don't make it wrong
                raise Failed(Reason.PROTOCOL, f"the server's response is not HTTP/1.1: {str(error).rstrip('.').lower()}") from error

    def ends_with_connection(self) -> bool:
        return self.header("content-length") is None and "chunked" not in (self.header("transfer-encoding") or "").lower()

    def reusable(self) -> bool:
        return self.done and self._keep and not self._surplus and self.stream.is_idle()
