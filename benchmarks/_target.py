"""A target that costs as little as one can: answers every request at once. `python benchmarks/_target.py` prints its port.

With a certificate (a file with its key) as argument, it prints a second port as well, where it speaks TLS.

`/counts` says how many requests came for each path. Responses for `/timed` have the header X-Sent, the moment in seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections import Counter
from typing import cast

import uvloop

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nContent-Type: application/json\r\n\r\n{"status":"ready"}'
TIMED = ANSWER.replace(b"\r\n\r\n", b"\r\nX-Sent: %.6f\r\n\r\n")
COUNTS: Counter[str] = Counter()


class Target(asyncio.Protocol):
    """Whatever comes is a request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answers."""
        path = data.split(b" ", 2)[1].decode()
        if path == "/counts":
            body = json.dumps(COUNTS).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        elif path == "/timed":
            self.transport.write(TIMED % time.time())
        else:
            COUNTS[path] += 1
            self.transport.write(ANSWER)


async def _serve(certificate: str = "") -> None:
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0, backlog=1024)
    ports = [server.sockets[0].getsockname()[1]]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        secure = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0, backlog=1024, ssl=context)
        ports.append(secure.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it ends
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
