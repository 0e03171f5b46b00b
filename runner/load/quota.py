"""What a load run may send is taken from every limit before it begins, or from none; what it didn't send is given back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from loadtests.outlook import BESIDE
from loadtests.result import LoadReport, Spend
from probes.core import QuotaRefused
from runner.clock import SystemClock
from runner.state import StateLedger, open_ledger

Slots = list[tuple[Spend, tuple[int, ...]]]


async def acquire(state: Path | None, spends: Sequence[Spend], lasting: float) -> Slots:
    """Takes slots of each limit for a run of `lasting` seconds, from the ledger that the probes share.

    Raises QuotaRefused where one of them has no room; then nothing is taken from any.
    """
    taken: Slots = []
    counted = [spend for spend in spends if spend.quota]
    if not counted:
        return taken
    async with _ledger(state, {spend.quota: spend.per or 0.0 for spend in counted}) as (ledger, now):
        if not ledger.durable:
            raise QuotaRefused(f"the requests of the run can't be counted: {ledger.why}")
        for spend in counted:
            count, most, window = math.ceil(spend.amount), int(spend.allowed or 0), spend.per or 0.0
            try:
                taken.append((spend, await ledger.limit(spend.quota, count, most, window, until=now + lasting)))
            except QuotaRefused as refused:
                for _, slots in taken:
                    await ledger.sent((), slots)
                raise QuotaRefused(f"the run would send up to {count:,} {spend.unit}: {refused.message}") from refused
    return taken


async def settle(state: Path | None, taken: Slots, report: LoadReport) -> None:
    """Gives back what wasn't sent. A run that broke off before keeps all that it took, and so does one that has lost a worker."""
    whole = all(worker.state == "done" for worker in report.workers)
    async with _ledger(state, {}) as (ledger, _):
        for spend, slots in taken:
            used = requests_sent(report, spend) if whole else len(slots)
            await ledger.sent(slots[:used], slots[used:])


def requests_sent(report: LoadReport, spend: Spend) -> int:
    """How many of the run's requests a limit counts; those that were sent beside the load count too."""
    done = {task.name: task.done for task in report.tasks if task.kind == "request"}
    if spend.requests:
        return sum(done.get(name, 0) for name in spend.requests)
    return sum(done.values()) + BESIDE + len(report.workers)


@asynccontextmanager
async def _ledger(state: Path | None, windows: Mapping[str, float]) -> AsyncIterator[tuple[StateLedger, float]]:
    """The ledger, and what time it is."""
    clock = SystemClock()
    ledger = await asyncio.to_thread(open_ledger, state, clock, windows)
    try:
        yield ledger, clock.time()
    finally:
        await ledger.aclose()
