"""What can't be written down is counted in memory: at the start and later alike, until the folder can be used again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from judge.observation import Check, Observation
from probes.core import QuotaRefused, Verdict
from runner.state import STATE_FILE, StateLedger, StateRefused
from tests.support.clock import NOON, FakeClock
from tests.support.ledgers import ledger_in

DAY = 86400.0
LATER = 11.0  # seconds, after which a folder is tried again
Break = Callable[[StateLedger, Path], Awaitable[None]]


async def remove(_: StateLedger, folder: Path) -> None:
    """Somebody deletes the folder under a runner."""
    await asyncio.to_thread(shutil.rmtree, folder)


async def replace(_: StateLedger, folder: Path) -> None:
    """Somebody puts another file in its place."""
    await asyncio.to_thread((folder / STATE_FILE).rename, folder / "old.db")
    await asyncio.to_thread((folder / STATE_FILE).touch)


async def break_tables(ledger: StateLedger, _: Path) -> None:
    """The file doesn't hold what it should."""
    await ledger._in_thread(lambda: ledger._connection.execute("ALTER TABLE slots RENAME TO lost"))


@pytest.mark.parametrize("make", [remove, replace, break_tables], ids=["removed", "replaced", "damaged"])
async def test_a_state_that_breaks_while_it_is_used_is_counted_on_in_memory(tmp_path: Path, make: Break) -> None:
    """G6, m10: limits go on, budgets and logins are withheld, and it is said once, with the reason."""
    folder, said = tmp_path / "state", list[tuple[bool, str]]()
    async with ledger_in(folder) as ledger:
        ledger.watch(lambda: said.append((ledger.durable, ledger.why)))
        await ledger.limit("api", 1, 3, 60)
        await make(ledger, folder)
        await ledger.limit("api", 1, 3, 60)
        await ledger.limit("web", 1, 3, 60)
        for refused in (ledger.reserve("b", 1, 10, DAY), ledger.held("login"), ledger.hold("login", 60, "refused")):
            with pytest.raises(StateRefused, match="the state can't be read or written"):
                await refused
        assert not ledger.durable
    assert [durable for durable, _ in said] == [False]
    assert f"{folder} can't be used" in said[0][1]


@pytest.mark.parametrize("make", [remove, replace], ids=["removed", "replaced"])
async def test_what_was_counted_before_and_meanwhile_counts_on(tmp_path: Path, make: Break) -> None:
    """G6, m10: a limit holds over the break and over the recovery, and so does what was spent and held."""
    folder, clock, said = tmp_path / "state", FakeClock(), list[bool]()
    async with ledger_in(folder, clock) as ledger:
        ledger.watch(lambda: said.append(ledger.durable))
        await ledger.reserve("b", 6, 10, DAY)
        await ledger.hold("login", 3600, "refused")
        await ledger.limit("api", 1, 3, 600)
        await make(ledger, folder)
        slots = await ledger.limit("api", 2, 3, 600)
        with pytest.raises(QuotaRefused, match="limit of api: 3 of 3"):
            await ledger.limit("api", 1, 3, 600)
        clock.advance(LATER)
        with pytest.raises(QuotaRefused, match="limit of api: 3 of 3"):
            await ledger.limit("api", 1, 3, 600)
        assert ledger.durable
        await ledger.sent((), slots[:1])
        await ledger.limit("api", 1, 3, 600)
        with pytest.raises(QuotaRefused, match="budget b: 6 of 10"):
            await ledger.reserve("b", 5, 10, DAY)
        with pytest.raises(QuotaRefused, match="held until"):
            await ledger.held("login")
    assert said == [False, True]
    async with ledger_in(folder, clock) as after:
        assert (await after.spent("b"), await after.taken("api", 600)) == (6, 3)


async def test_slots_that_are_given_back_meanwhile_are_free_afterwards(tmp_path: Path) -> None:
    """G6: a run took its slots before the break and gives them back in it: the file learns that as it recovers."""
    folder, clock = tmp_path / "state", FakeClock()
    async with ledger_in(folder, clock) as ledger:
        slots = await ledger.limit("api", 2, 3, 600)
        await remove(ledger, folder)
        await ledger.sent(slots[:1], slots[1:])
        clock.advance(LATER)
        assert await ledger.taken("api", 600) == 1
        assert ledger.durable


async def test_a_folder_that_is_unusable_at_the_start_is_the_same_case(tmp_path: Path) -> None:
    """G6: limits in memory, budgets and logins withheld, and the folder is used as soon as it can be."""
    folder, clock = tmp_path / "file" / "state", FakeClock()
    await asyncio.to_thread((tmp_path / "file").write_text, "no folder")
    async with ledger_in(folder, clock) as ledger:
        await ledger.limit("api", 2, 2, 600)
        with pytest.raises(StateRefused):
            await ledger.reserve("b", 1, 10, DAY)
        await asyncio.to_thread((tmp_path / "file").unlink)
        clock.advance(LATER)
        await ledger.reserve("b", 1, 10, DAY)
        with pytest.raises(QuotaRefused, match="2 of 2"):
            await ledger.limit("api", 1, 2, 600)
        assert ledger.durable


async def test_without_a_folder_everything_is_in_memory() -> None:
    """G6: who configures no folder has chosen that: budgets and logins work, and nothing is called broken."""
    async with ledger_in(None) as ledger:
        await ledger.reserve("b", 1, 10, DAY)
        await ledger.held("login")
        assert (ledger.durable, ledger.broken) == (False, False)


async def test_a_sighting_that_is_not_written_is_a_failure_of_the_sink(tmp_path: Path) -> None:
    """G6: each observation that no restart will know of is counted."""
    folder, failed = tmp_path / "state", list[int]()
    async with ledger_in(folder) as ledger:
        ledger.failed = lambda: failed.append(1)
        await remove(ledger, folder)
        ledger.record(Observation(Check("api", "http", 1), Verdict.PASS, None, "", NOON, 0.1))
        assert await ledger.last_seen() == {"api": NOON}
    assert failed == [1]


_SMALL = """
import asyncio, resource, sys
from pathlib import Path
from runner.state import StateRefused
from tests.support.ledgers import ledger_in

async def main(folder):
    async with ledger_in(folder) as ledger:
        await ledger.limit("api", 1, 100_000, 600)
        size = max(path.stat().st_size for path in folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        for _ in range(20):
            await ledger.limit("api", 500, 100_000, 600)
        print(ledger.durable, await ledger.taken("api", 600), ledger.why)
        try:
            await ledger.reserve("b", 1, 10, 86400)
        except StateRefused as refused:
            print(refused.message)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_full_disk_stops_no_limit(tmp_path: Path) -> None:
    """G6: files may not grow any more: 10,001 slots are counted all the same, and a budget is refused."""
    told = subprocess.run([sys.executable, "-c", _SMALL, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    first, second = told.splitlines()
    assert first.startswith("False 10001 ")
    assert "can't be used" in first
    assert second.startswith("the state can't be read or written: ")
