"""A ledger for one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from runner.state import StateLedger, open_ledger
from tests.support.clock import FakeClock


@asynccontextmanager
async def ledger_in(
    folder: Path | None, clock: FakeClock | None = None, windows: Mapping[str, float] | None = None
) -> AsyncIterator[StateLedger]:
    """An open ledger, closed at the end."""
    ledger = await asyncio.to_thread(open_ledger, folder, clock or FakeClock(), windows)
    try:
        yield ledger
    finally:
        await ledger.aclose()
