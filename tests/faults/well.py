"""A server that is well for each way of asking, and a front that can be stopped and started before any of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from demo import servers as real
from tests.faults.askings import SECRET
from tests.faults.rows import HTTP, Make
from tests.support import http2, servers
from tests.support.ca import Authority
from tests.support.calls import Call, calls
from tests.support.databases import join, postgres_front
from tests.support.nameserver import nameserver, zone
from tests.support.websockets import Peer, websocket

BEHIND_TLS = ("tls", "tcp/starttls")  # what they ask is a handshake that holds

_CHAT: tuple[Any, ...] = ({"choices": [{"delta": {"content": "bridge"}, "finish_reason": "stop"}]},)
_ANSWERS: Mapping[str, Any] = {
    "/availability": {"time_slots": [{"time": "19:00"}]},
    "/search": {"restaurants": [{"id": "a", "name": "The Mill"}]},
    "/api/v1/query": {"status": "success", "data": {"resultType": "scalar", "result": [1, "0.5"]}},
    "POST /": {"candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}]},
    "GET /": {"status": "ready", "db_healthy": True},
}


class _Site(servers.Behaviour):
    """HTTP/1.1 with an answer for each kind that asks, by its path."""

    def data_received(self, data: bytes) -> None:
        """A request, whose head comes in one piece."""
        super().data_received(data)
        if data.startswith((b"GET ", b"POST ")):
            self.transport.write(_answer(data.partition(b" HTTP/")[0].decode()))


def _answer(request: str) -> bytes:
    kind, body = "application/json", json.dumps(next(answer for piece, answer in _ANSWERS.items() if piece in request)).encode()
    if request == "GET /metrics":
        kind, body = "text/plain; version=0.0.4", b"# TYPE http_requests_total counter\nhttp_requests_total 3\n"
    if "chat" in request:
        kind = "text/event-stream"
        body = b"".join(b"data: %s\n\n" % piece.encode() for piece in (*map(json.dumps, _CHAT), "[DONE]"))
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind.encode(), len(body), body)


@asynccontextmanager
async def _site2(_: Authority) -> AsyncIterator[servers.Server]:
    kept: list[list[dict[str, str]]] = []

    def page(_headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        for asked in kept:
            asked.clear()  # nobody looks, and 10,000 runs would be remembered
        return 200, {}, b"fine"

    async with http2.site(page) as (server, asked):
        kept.append(asked)
        yield server


@asynccontextmanager
async def _resolving(_: Authority) -> AsyncIterator[servers.Server]:
    async with nameserver(zone("api.roadtrip.app. 60 IN A 192.0.2.7")) as server:
        yield servers.Server(servers.HOST, server.port)


async def _open(peer: Peer) -> None:
    await peer.accepted()
    await peer.goodbye()


def _of(server: real.PostgresServer | real.RedisServer) -> Make:
    @asynccontextmanager
    async def there(_: Authority) -> AsyncIterator[servers.Server]:
        yield servers.Server(server.host, server.port)

    return there


def well(postgres: real.PostgresServer, redis: real.RedisServer) -> dict[str, Make]:
    """For each way of asking over TCP, and for dns/udp, a server whose answer is all that it wants."""
    return {
        **dict.fromkeys(HTTP, lambda _: servers.serve(_Site)),
        "http/2": _site2,
        "websocket": lambda _: websocket(_open),
        "grpc": lambda _: calls(Call.serving),
        "tcp": lambda _: servers.silent(),
        "tcp/dialogue": lambda _: servers.canned(b"+PONG\r\n"),
        "tcp/starttls": lambda authority: postgres_front(9, authority.good),  # nothing is asked behind the handshake
        "tls": lambda authority: servers.silent(tls=authority.good),
        "dns": _resolving,
        "dns/udp": _resolving,
        "postgres": _of(postgres),
        "redis": _of(redis),
    }


async def let_in(redis: real.RedisServer) -> None:
    """Gives the probe's user the suite's secret as another password."""
    await redis._command("ACL", "SETUSER", real.PROBE, f">{SECRET}")


class Front:
    """Takes connections for a server, on a port that it keeps when it is stopped and started again."""

    def __init__(self, behind: int) -> None:
        self.port = real.free_port()
        self._behind = behind
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens."""
        self._listening = await asyncio.start_server(self._accept, servers.HOST, self.port)

    async def stop(self) -> None:
        """Ends every connection; its port refuses from now on."""
        if self._listening is not None:
            self._listening.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        if self._listening is not None:
            await self._listening.wait_closed()
        self._listening = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await join(reader, writer, self._behind)
        except ConnectionError:
            pass  # one side has left
        finally:
            writer.transport.abort()


@asynccontextmanager
async def fronting(behind: int) -> AsyncIterator[Front]:
    """A front that is up, and down at the end."""
    front = Front(behind)
    await front.start()
    try:
        yield front
    finally:
        await front.stop()
