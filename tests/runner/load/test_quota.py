"""What a load pays beforehand stays paid for as long as it may be sending."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtests.result import Spend
from probes.core import QuotaRefused
from runner.load.quota import acquire
from runner.state import open_ledger
from tests.support.clock import ShiftedClock

HOUR = 3600.0


async def test_a_long_load_pays_and_keeps_what_it_paid(tmp_path: Path) -> None:
    """A soak of eight hours takes its limit whole; nobody who opens or prunes the state meanwhile gives any of it away."""
    spend = Spend("target api", 50, "requests", 50, 7 * 24 * HOUR, "api")
    [(paid, slots)] = await acquire(tmp_path, [spend], 8 * HOUR)
    assert (paid, len(slots)) == (spend, 50)
    clock = ShiftedClock()
    ledger = await asyncio.to_thread(open_ledger, tmp_path, clock)
    try:
        clock.advance(6 * 24 * HOUR)
        await ledger.prune()
        with pytest.raises(QuotaRefused, match="limit of api: 50 of 50 in 7 d are taken"):
            await ledger.limit("api", 1, 50, 7 * 24 * HOUR)
    finally:
        await ledger.aclose()
