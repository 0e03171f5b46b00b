"""Transports without a socket."""

from __future__ import annotations

import asyncio


class Nowhere(asyncio.Transport):
    """A transport whose other end nobody reads."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
