"""The servers of the scenarios: what they do is said in one line each, where a scenario is written."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tests.exporter.scenario import Serve
from tests.support import servers
from tests.support.ca import Authority
from tests.support.servers import Behaviour, Server

_LENGTH = re.compile(rb"(?i)content-length: *([0-9]+)")
Page = Callable[[str, str, str], bytes]  # of method, path, and head and body: the whole response


def response(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A response with a length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class _Site(Behaviour):
    page: Page

    def begin(self) -> None:
        self._came = b""

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and len(body) >= (int(length[1]) if length else 0):
            method, path, _ = head.split(b" ", 2)
            self.transport.write(type(self).page(method.decode(), path.decode(), self._came.decode("latin-1")))
            self._came = b""


def site(page: bytes | Page, tls: str = "") -> Serve:
    """A site that answers every request with the same response, or by a function; `tls` names one of the authority's contexts."""
    answering = page if callable(page) else lambda _method, _path, _request: page

    def serve(authority: Authority) -> AbstractAsyncContextManager[Server]:
        context: ssl.SSLContext | None = getattr(authority, tls) if tls else None
        return servers.serve(type("Site", (_Site,), {"page": staticmethod(answering)}), tls=context)

    return serve


def lines(*says: bytes, greeting: bytes = b"", then_close: bool = True, tls: str = "") -> Serve:
    """A server that says a greeting, then one of these for each piece that comes."""

    def serve(authority: Authority) -> AbstractAsyncContextManager[Server]:
        context: ssl.SSLContext | None = getattr(authority, tls) if tls else None
        if says:
            return servers.canned(*says, greeting=greeting, then_close=then_close, tls=context)
        return servers.serve(type("Greeting", (_Greeting,), {"greeting": greeting}), tls=context)

    return serve


class _Greeting(Behaviour):
    greeting = b""

    def begin(self) -> None:
        self.transport.write(self.greeting)
        self.transport.close()


def refusing(_: Authority) -> AbstractAsyncContextManager[Server]:
    """Nobody listens."""
    return servers.refusing()


def closing(_: Authority) -> AbstractAsyncContextManager[Server]:
    """Closes each connection at once."""
    return servers.closing()


def silent(_: Authority) -> AbstractAsyncContextManager[Server]:
    """Says nothing."""
    return servers.silent()


@dataclass(frozen=True)
class Pair:
    """Where two servers listen, of which the first is asked."""

    port: int
    other: int


def beside(second: Serve, first: Callable[[int], Serve]) -> Serve:
    """Two servers: the one that is asked is made with the port of the other."""

    @asynccontextmanager
    async def serve(authority: Authority) -> AsyncIterator[Pair]:
        async with second(authority) as other, first(other.port)(authority) as asked:
            yield Pair(asked.port, other.port)

    return serve


def headers(name: str, values: Sequence[str]) -> Serve:
    """A site that sends a header so often."""
    return site(response(b"", *(f"{name}: {value}" for value in values)))
