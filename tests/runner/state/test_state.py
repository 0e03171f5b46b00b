"""What may be spent is never exceeded: not by a restart, a second process, a crash, or a clock that is set."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import Check, Observation, Outage
from probes.core import QuotaRefused, Verdict
from runner.state import STATE_FILE
from runner.state._ledger import SEEN_EVERY
from tests.support.clock import NOON, FakeClock
from tests.support.ledgers import ledger_in
from tests.support.properties import AS_FOUND
from tests.support.virtual import virtually

DAY = 86400.0


def observed(name: str, at: float) -> Observation:
    """A passed run."""
    return Observation(Check(name, "http", 1), Verdict.PASS, None, "", at, 0.1)


async def test_a_budget_is_spent_to_its_last_unit_and_no_further(tmp_path: Path) -> None:
    """Reservations count until they are settled, and what was settled counts instead."""
    async with ledger_in(tmp_path) as ledger:
        first = await ledger.reserve("ai/tokens", 60, 100, DAY)
        with pytest.raises(QuotaRefused, match=r"budget ai/tokens: 60 of 100 are spent until 2025-11-26 00:00:00 UTC, 41 more"):
            await ledger.reserve("ai/tokens", 41, 100, DAY)
        await ledger.settle(first, 10)
        await ledger.reserve("ai/tokens", 90, 100, DAY)
        assert await ledger.spent("ai/tokens") == 100


async def test_amounts_of_money_may_be_spent_whole(tmp_path: Path) -> None:
    """Three reservations of 0.10 fit into 0.30, whatever their sum in binary is."""
    async with ledger_in(tmp_path) as ledger:
        for _ in range(3):
            await ledger.reserve("cost", 0.1, 0.3, DAY)


async def test_a_new_window_begins_at_midnight_utc(tmp_path: Path) -> None:
    """A day is a UTC day: what was spent before midnight doesn't count after it."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.reserve("b", 100, 100, DAY)
        clock.advance(DAY / 2 - 1)
        with pytest.raises(QuotaRefused):
            await ledger.reserve("b", 1, 100, DAY)
        clock.advance(1)
        await ledger.reserve("b", 100, 100, DAY)
        assert await ledger.spent("b") == 100


async def test_a_clock_that_is_set_back_spends_nothing_twice(tmp_path: Path) -> None:
    """After the wall clock goes back a day, that day's spending still stands."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.reserve("b", 100, 100, DAY)
        clock.advance(DAY)
        await ledger.reserve("b", 100, 100, DAY)
        clock.step(-DAY)
        with pytest.raises(QuotaRefused):
            await ledger.reserve("b", 1, 100, DAY)


async def test_what_was_spent_outlives_the_process(tmp_path: Path) -> None:
    """Budgets, limits, holds and when checks were seen are there after a restart."""
    async with ledger_in(tmp_path) as ledger:
        await ledger.reserve("b", 5, 10, DAY)
        await ledger.limit("api", 3, 4, 3600)
        await ledger.hold("login", 1800, "the login was refused")
        ledger.record(observed("api", 17.5))
        ledger.record(observed("cache", 18.5))
    async with ledger_in(tmp_path) as ledger:
        assert ledger.durable
        assert ledger.why == ""
        assert await ledger.spent("b") == 5
        assert await ledger.taken("api", 3600) == 3
        assert await ledger.last_seen() == {"api": 17.5, "cache": 18.5}
        with pytest.raises(QuotaRefused, match=r"held until 2025-11-25 12:30:00 UTC: the login was refused"):
            await ledger.held("login")


@virtually
async def test_when_checks_were_seen_is_written_once_a_second(tmp_path: Path) -> None:
    """However many runs end: nothing goes to the disk before a second is over, and then all of it does; the end writes the rest."""

    def written() -> dict[str, float]:
        with closing(sqlite3.connect(tmp_path / STATE_FILE)) as file:
            return dict(file.execute("SELECT name, at FROM seen"))

    async with ledger_in(tmp_path) as ledger:
        for number in range(100):
            ledger.record(observed(f"check-{number % 10}", float(number)))
            await asyncio.sleep(SEEN_EVERY / 200)
        assert written() == {}
        await asyncio.sleep(SEEN_EVERY)
        assert await ledger.taken("api", 60) == 0  # what its thread did before is done
        assert written() == {f"check-{number}": 90.0 + number for number in range(10)}
        ledger.record(observed("last", 17.5))
    assert written()["last"] == 17.5


async def test_a_hold_ends_and_is_never_shortened(tmp_path: Path) -> None:
    """A lock-out lasts as long as was said, also when a shorter one is asked for meanwhile."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.hold("login", 1800, "locked out")
        await ledger.hold("login", 60, "again")
        await ledger.held("another")
        clock.advance(1799)
        with pytest.raises(QuotaRefused, match="locked out"):
            await ledger.held("login")
        clock.advance(1)
        await ledger.held("login")


async def test_an_open_outage_is_known_until_it_is_closed(tmp_path: Path) -> None:
    """After a restart and however long it lasts; what one outage's end takes away is that outage alone."""
    clock = FakeClock()
    first, second = Outage("api", NOON, "refused", "trips", "test"), Outage("cache", NOON + 0.25, "reset", "trips", "test")
    async with ledger_in(tmp_path, clock) as ledger:
        for outage in (second, first, first):
            await ledger.open_outage("/etc/checks.yaml", outage)
    clock.advance(400 * DAY)
    async with ledger_in(tmp_path, clock) as ledger:
        assert await ledger.open_outages("/etc/checks.yaml", "trips", "test") == (first, second)
        await ledger.close_outage("/etc/checks.yaml", replace(first, ended=NOON + 9, until="it was removed"))
        assert await ledger.open_outages("/etc/checks.yaml", "trips", "test") == (second,)


async def test_an_outages_end_leaves_the_other_outage_of_its_check(tmp_path: Path) -> None:
    """Two runners that share a state saw one check fail at different moments: whoever ends its own leaves the other's open."""
    async with ledger_in(tmp_path) as ledger:
        first, second = (Outage("api", NOON + later, "refused", "trips", "test") for later in (0, 9))
        for outage in (first, second):
            await ledger.open_outage("/etc/checks.yaml", outage)
        await ledger.close_outage("/etc/checks.yaml", first)
        assert await ledger.open_outages("/etc/checks.yaml", "trips", "test") == (second,)


async def test_runners_that_share_a_state_see_none_of_the_others_outages(tmp_path: Path) -> None:
    """Of another file, another service or another environment: whoever starts closes nothing that isn't its own."""
    async with ledger_in(tmp_path) as ledger, ledger_in(tmp_path) as other:
        outage = Outage("api", NOON, "refused", "trips", "test")
        await ledger.open_outage("/etc/checks.yaml", outage)
        for whose in (("/srv/checks.yaml", "trips", "test"), ("/etc/checks.yaml", "tours", "test"), ("/etc/checks.yaml", "trips", "live")):
            assert await other.open_outages(*whose) == ()
        assert await other.open_outages("/etc/checks.yaml", "trips", "test") == (outage,)


async def test_a_limit_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    """A journey of four isn't begun with three slots left, and takes none of them."""
    async with ledger_in(tmp_path) as ledger:
        await ledger.limit("api", 7, 10, 3600)
        with pytest.raises(QuotaRefused, match="limit of api: 7 of 10 in 1 h are taken, and this needs 4"):
            await ledger.limit("api", 4, 10, 3600)
        await ledger.limit("api", 3, 10, 3600)
        await ledger.limit("model", 10, 10, 3600)


async def test_unused_slots_are_given_back(tmp_path: Path) -> None:
    """A run that sent less than it might have leaves the rest to others."""
    async with ledger_in(tmp_path) as ledger:
        slots = await ledger.limit("api", 4, 4, 3600)
        await ledger.sent(slots[:1], slots[1:])
        assert await ledger.taken("api", 3600) == 1


async def test_slots_count_from_the_send_and_not_from_the_payment(tmp_path: Path) -> None:
    """A slot that was paid at 0 s and sent at 30 s is free again at 90 s of a minute's window, no second earlier."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        slots = await ledger.limit("api", 1, 1, 60, until=clock.time() + 40)
        clock.advance(30)
        await ledger.sent(slots)
        clock.advance(59.9)
        with pytest.raises(QuotaRefused):
            await ledger.limit("api", 1, 1, 60)
        clock.advance(0.1)
        await ledger.limit("api", 1, 1, 60)


HOW = ("at once", "at the end", "untold")
a_run = st.tuples(st.floats(0, 8), st.integers(1, 4), st.floats(0, 10), st.sampled_from(HOW))
moments = st.lists(a_run, min_size=1, max_size=60)


@given(runs=moments, most=st.integers(1, 8))
@settings(max_examples=40, deadline=None, phases=AS_FOUND)
def test_no_window_ever_holds_more_than_the_limit(runs: list[tuple[float, int, float, str]], most: int) -> None:
    """Whenever runs come, however long they take, whether they tell of their sends or crash before: never one too many."""
    asyncio.run(_never_exceeded(runs, most, 20.0))


async def _never_exceeded(runs: list[tuple[float, int, float, str]], most: int, window: float) -> None:
    clock, sends = FakeClock(), list[float]()
    pending: list[tuple[float, tuple[int, ...]]] = []
    async with ledger_in(None, clock) as ledger:
        for gap, count, length, how in runs:
            begins = clock.time() + gap
            for end, slots in sorted(p for p in pending if p[0] <= begins):
                clock.advance(max(0.0, end - clock.time()))
                sends += [clock.time()] * len(slots)
                await ledger.sent(slots)
                pending.remove((end, slots))
            clock.advance(max(0.0, begins - clock.time()))
            try:
                slots = await ledger.limit("api", count, most, window, until=clock.time() + 10)
            except QuotaRefused:
                continue
            if how == "at the end":
                pending.append((clock.time() + length, slots))
            elif how == "untold":
                sends += [clock.time() + length] * count
            else:
                sends += [clock.time()] * count
                await ledger.sent(slots)
    for end in sends:
        assert sum(end - window < at <= end for at in sends) <= most


SPENDER = """
import asyncio, random, sys, time
from pathlib import Path
from probes.core import QuotaRefused
from runner.clock import SystemClock
from runner.state import open_ledger

async def main():
    ledger, rng, won = open_ledger(Path(sys.argv[1]), SystemClock()), random.Random(sys.argv[2]), []
    for _ in range(60):
        try:
            count = rng.randint(1, 3)
            await ledger.limit("api", count, 25, 0.25)
            won.append((time.time(), count))
            await ledger.reserve("budget", 1.0, 50, 1e9)
            print("paid")
        except QuotaRefused as withheld:
            print(withheld)
    await ledger.aclose()
asyncio.run(main())
"""


def test_several_processes_share_one_ledger(tmp_path: Path) -> None:
    """Three runners at once on one state spend what one may, to the last unit, and exceed no sliding limit."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen([sys.executable, "-c", SPENDER, str(tmp_path), str(n)], env=environment, stdout=subprocess.PIPE) for n in range(3)
    ]
    said = b"".join(process.communicate()[0] for process in started)
    assert b"can't be" not in said  # they wait for each other, and none is withheld for that
    paid = said.count(b"paid")
    assert [process.returncode for process in started] == [0, 0, 0]
    with sqlite3.connect(tmp_path / STATE_FILE) as connection:
        [(spent, count)] = connection.execute("SELECT sum(amount), count(*) FROM spending")
        slots = [at for (at,) in connection.execute("SELECT at FROM slots")]
    connection.close()
    assert paid == spent == count <= 50
    assert slots
    for end in slots:
        assert sum(end - 0.25 < at <= end for at in slots) <= 25


CRASHER = """
import asyncio, os, signal, sys
from pathlib import Path
from runner.state import open_ledger
from tests.support.clock import FakeClock

async def main():
    ledger = open_ledger(Path(sys.argv[1]), FakeClock())
    await ledger.reserve("ai/tokens", 70, 100, 86400.0)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_a_reservation_outlives_a_kill(tmp_path: Path) -> None:
    """Killed between the reservation and its settling: the reservation stays spent."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    assert subprocess.run([sys.executable, "-c", CRASHER, str(tmp_path)], env=environment, check=False).returncode == -signal.SIGKILL
    asyncio.run(_still_reserved(tmp_path))


async def _still_reserved(folder: Path) -> None:
    async with ledger_in(folder) as ledger:
        assert await ledger.spent("ai/tokens") == 70
        with pytest.raises(QuotaRefused):
            await ledger.reserve("ai/tokens", 31, 100, DAY)


async def test_what_may_be_lost_least_is_on_the_disk_when_it_is_told(tmp_path: Path) -> None:
    """A reservation and a hold are synced to the disk itself, so that a power failure forgets none; the rest is left to the system."""
    async with ledger_in(tmp_path) as ledger:
        said: list[str] = []
        await ledger._in_thread(lambda: ledger._connection.set_trace_callback(said.append))
        await ledger.reserve("b", 1, 10, DAY)
        await ledger.hold("login", 60, "why")
        synced = [word for word in said if word.startswith(("PRAGMA", "COMMIT"))]
        said.clear()
        await ledger.limit("api", 1, 10, 60)
    whole = ["PRAGMA synchronous=FULL", "COMMIT", "PRAGMA synchronous=NORMAL"]
    assert synced == [*whole, *whole]
    assert not [word for word in said if word.startswith("PRAGMA")]


async def test_a_run_cut_short_while_it_pays_has_paid(tmp_path: Path) -> None:
    """A cancelled reservation is spent, not half done, and the ledger goes on."""
    async with ledger_in(tmp_path) as ledger:
        paying = asyncio.ensure_future(ledger.reserve("b", 1, 10, DAY))
        await asyncio.sleep(0)
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying
        assert await ledger.spent("b") == 1


def _as_folder_below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("no folder")
    return folder / "file" / "state"


def _with_newer_file(folder: Path) -> Path:
    connection = sqlite3.connect(folder / STATE_FILE)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    return folder


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "no state folder is configured"),
        (_as_folder_below_a_file, "can't be used: Not a directory"),
        (lambda _: Path("/proc/outrider"), "can't be used: No such file or directory"),
        (_with_newer_file, "can't be used: it was written by a newer Outrider"),
    ],
)
async def test_without_a_folder_to_write_it_works_in_memory_and_says_so(
    tmp_path: Path, make: Callable[[Path], Path | None], said: str
) -> None:
    """Nothing to write to is no reason to stop watching; the limits hold while the process lives."""
    folder = await asyncio.to_thread(make, tmp_path)
    async with ledger_in(folder) as ledger:
        assert not ledger.durable
        assert said in ledger.why
        assert "in memory" in ledger.why
        await ledger.limit("api", 2, 2, 60)
        with pytest.raises(QuotaRefused):
            await ledger.limit("api", 1, 2, 60)


async def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path) -> None:
    """Garbage where the database should be: kept for whoever wants to look, and a new one begun."""
    await asyncio.to_thread((tmp_path / STATE_FILE).write_bytes, b"this is no database, by any means " * 100)
    async with ledger_in(tmp_path) as ledger:
        assert ledger.durable
        assert "was damaged" in ledger.why
        await ledger.reserve("b", 1, 10, DAY)
    assert await asyncio.to_thread((tmp_path / f"{STATE_FILE}.damaged-{int(NOON)}").exists)


async def test_a_state_that_breaks_while_it_is_used_withholds(tmp_path: Path) -> None:
    """What can't be written down isn't sent."""
    async with ledger_in(tmp_path) as ledger:
        await asyncio.to_thread(_drop_tables, tmp_path / STATE_FILE)
        with pytest.raises(QuotaRefused, match="the state can't be read or written"):
            await ledger.reserve("b", 1, 10, DAY)


def _drop_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE spending")
    connection.close()


async def test_old_rows_are_forgotten_and_live_ones_kept(tmp_path: Path) -> None:
    """The file doesn't grow for ever; and slots from a clock that ran years ahead don't block a limit for years."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.limit("api", 1, 9, 60)
        await ledger.reserve("b", 1, 9, 60)
        await ledger.hold("k", 60, "why")
        clock.advance(3 * DAY)
        await ledger.limit("api", 2, 9, 60)
        clock.step(365 * DAY)
        await ledger.limit("ahead", 9, 9, 60, until=clock.time() + 10)
        clock.step(-365 * DAY)
        await ledger.prune()
        await ledger.limit("ahead", 9, 9, 60)
        counts = await ledger._transaction(
            lambda: [ledger._connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("slots", "spending", "holds")]  # noqa: S608 - our own names
        )
    assert counts == [11, 0, 0]


def test_the_file_is_nobody_elses(tmp_path: Path) -> None:
    """Only its owner may read the state."""
    folder = tmp_path / "deep" / "state"
    asyncio.run(_opened_once(folder))
    assert stat.S_IMODE((folder / STATE_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def _opened_once(folder: Path) -> None:
    async with ledger_in(folder):
        pass
