"""redis-py's connection on a stream of the wire, and the text of the server's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection

from probes.text import clipped, one_line
from probes.wire.handover import StreamTransport
from probes.wire.stream import Stream

MOST_LINES = 10_000  # of a run's responses: each is read on the loop, and a mebibyte of short ones would hold it for a second


class _Reader(asyncio.StreamReader):
    """Ends where the server sends more than MOST_LINES."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = 0
        self.flooded = False

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # it is bytes that a transport gives
        self._lines += data.count(b"\n")
        if self._lines > MOST_LINES:
            self.flooded = True
            self.feed_eof()
        else:
            super().feed_data(data)


class Connection(AbstractConnection):
    """redis-py's connection, on a stream that the wire has opened. It logs in when it is told to."""

    def __init__(self, stream: Stream, address: str, monotonic: Callable[[], float]) -> None:
        # The check's own deadline counts: the library's 5 s would end a run earlier, as if the server had closed.
        super().__init__(protocol=2, driver_info=None, socket_timeout=None, socket_connect_timeout=None)
        self._address = address
        reader = _Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        self.transport = StreamTransport(stream, protocol, monotonic)
        self._pair = reader, asyncio.StreamWriter(self.transport, protocol, reader, asyncio.get_running_loop())
        self.command = ""  # the last one that was sent, with what may be shown of it
        self.logged_in = False  # whether AUTH has passed

    @property
    def overflowed(self) -> bool:
        """Whether the server sent more bytes or lines than a run may receive."""
        return self.transport.overflowed or self._pair[0].flooded

    async def _connect(self) -> None:
        self._reader, self._writer = self._pair

    def _host_error(self) -> str:
        return self._address

    def repr_pieces(self) -> list[tuple[str, str]]:
        return [("at", self._address)]

    async def execute(self, *words: str | int) -> Any:
        """Sends one command and returns its response. Raises redis-py's errors."""
        self.command = f"SELECT {words[1]}" if words[0] == "SELECT" else str(words[0])
        await self.send_command(*words)
        return await self.read_response()


def error_text(error: Exception) -> str:
    """The server's error text in one line, with the code that redis-py removes, at most 200 characters."""
    code, text = getattr(error, "status_code", None), one_line(str(error)).rstrip(".")
    return clipped(f"{code} {text}" if code and code != "ERR" and not text.startswith(code) else text, 200)
