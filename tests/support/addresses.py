"""One name with several addresses: what each of them does is the test's choice."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from probes.wire.resolver import Resolver
from probes.wire.wire import Wire

NAME = "several.test"


@dataclass
class Several:
    """The name, its port, and for each address how many connections and requests it had."""

    port: int
    wire: Wire
    connections: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{NAME}:{self.port}/"


@contextmanager
def _kept_ports(addresses: list[str]) -> Iterator[int]:
    """One port that is ours at each of these addresses, so that nobody else listens where a test wants a refusal."""
    for _ in range(20):
        with ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    kept = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
                    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    kept.bind((address, port))
                    port = kept.getsockname()[1]
            except OSError:
                continue
            yield port
            return
    raise AssertionError("no port is free at all of the addresses")


@asynccontextmanager
async def several(folder: Path, does: Mapping[str, bytes | None], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Several]:
    """A name whose addresses answer everything with these bytes, say nothing (b""), or refuse (None)."""
    hosts = folder / "hosts"
    await asyncio.to_thread(hosts.write_text, "".join(f"{address} {NAME}\n" for address in does))
    async with AsyncExitStack() as stack:
        port = stack.enter_context(_kept_ports(list(does)))
        made = Several(port, Wire(resolver=Resolver(hosts=hosts)), dict.fromkeys(does, 0), dict.fromkeys(does, 0))
        stack.push_async_callback(made.wire.aclose)
        for address, answer in does.items():
            if answer is not None:
                await stack.enter_async_context(_serve(made, address, answer, tls))
        yield made


@asynccontextmanager
async def _serve(made: Several, address: str, answer: bytes, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    open_ones: set[asyncio.Transport] = set()

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            open_ones.add(transport)
            made.connections[address] += 1

        def data_received(self, data: bytes) -> None:
            made.requests[address] += data.count(b"\r\n\r\n")
            if answer and b"\r\n\r\n" in data:
                self.transport.write(answer)

        def connection_lost(self, exc: Exception | None) -> None:
            open_ones.discard(self.transport)

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Answering, address, made.port, ssl=tls, reuse_port=True)
    try:
        yield
    finally:
        listening.close()
        for transport in list(open_ones):
            transport.abort()
        await listening.wait_closed()
