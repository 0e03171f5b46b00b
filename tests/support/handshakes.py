"""A TLS server that says why it refuses, as servers in the wild do: asyncio's own drops the alert with the connection."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support import servers


class _Shaking(servers.Behaviour):
    """Shakes hands over memory buffers, and answers whatever is asked with the same bytes."""

    context: ssl.SSLContext
    answer: bytes

    def begin(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False

    def data_received(self, data: bytes) -> None:
        """Goes on as far as the bytes lead; an alert goes out before the connection ends."""
        self._incoming.write(data)
        try:
            self._go_on()
        except ssl.SSLWantReadError:
            self.transport.write(self._outgoing.read())
        except ssl.SSLError:  # the client's farewell among them
            self.transport.write(self._outgoing.read())
            self.transport.close()

    def _go_on(self) -> None:
        if not self._shaken:
            self._tls.do_handshake()
            self._shaken = True
        while self._tls.read(65536):
            self._tls.write(self.answer)
            self.server.asked.set()
        raise ssl.SSLZeroReturnError


@asynccontextmanager
async def shaking(context: ssl.SSLContext, answer: bytes = b"") -> AsyncIterator[servers.Server]:
    """Such a server; `answer` is what it says to whatever it is asked."""
    kind = type("_Shaking", (_Shaking,), {"context": context, "answer": answer})
    async with servers.serve(kind) as server:
        yield server
