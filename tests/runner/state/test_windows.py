"""What counts in a window is kept for as long as the window: whatever is pruned, by whom and when."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core import QuotaRefused
from tests.support.clock import FakeClock
from tests.support.ledgers import ledger_in
from tests.support.properties import AS_FOUND

DAY = 86400.0


@pytest.mark.parametrize("window", [60.0, 3600.0, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 366 * DAY])
async def test_a_slot_is_kept_as_long_as_its_window(tmp_path: Path, window: float) -> None:
    """H2: However long the window is: pruned meanwhile, and by others who know no plan, a limit holds to its last second."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.limit("partner", 3, 3, window)
        for wait in (window / 2, window / 2 - 1):
            clock.advance(wait)
            await ledger.prune()
            async with ledger_in(tmp_path, clock):
                pass
        with pytest.raises(QuotaRefused, match="limit of partner: 3 of 3"):
            await ledger.limit("partner", 1, 3, window)
        clock.advance(1)
        await ledger.limit("partner", 3, 3, window)


async def test_a_slot_is_kept_for_the_longest_window_that_anybody_named(tmp_path: Path) -> None:
    """Two plans share a target and a state: what the one with the shorter window sends counts for the other one's week."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as weekly, ledger_in(tmp_path, clock) as hourly:
        await weekly.limit("partner", 1, 3, 7 * DAY)
        await hourly.limit("partner", 2, 100, 3600, until=clock.time() + 60)
        clock.advance(6 * DAY)
        await hourly.prune()
        with pytest.raises(QuotaRefused, match="limit of partner: 3 of 3 in 7 d are taken"):
            await weekly.limit("partner", 1, 3, 7 * DAY)


async def test_a_window_counts_from_when_a_plan_names_it(tmp_path: Path) -> None:
    """Opened or reloaded with a limit over a month, nothing that it counts is forgotten before its first run, or where it is withheld."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.limit("opened", 2, 2, 60)
        await ledger.limit("reloaded", 2, 2, 60)
        await ledger.limit("withheld", 2, 2, 60)
        with pytest.raises(QuotaRefused):
            await ledger.limit("withheld", 1, 2, 30 * DAY)
        async with ledger_in(tmp_path, clock, {"opened": 30 * DAY}):
            pass
        await ledger.know({"reloaded": 30 * DAY})
        clock.advance(29 * DAY)
        await ledger.prune()
        assert [await ledger.taken(name, 30 * DAY) for name in ("opened", "reloaded", "withheld")] == [2, 2, 2]


async def test_spending_is_kept_for_the_longest_window_of_its_budget(tmp_path: Path) -> None:
    """A budget by the day and one by the week share a name: the days of the week stay spent for the week."""
    clock = FakeClock()  # a Tuesday; weeks of the epoch begin on Thursday
    clock.advance(3 * DAY)
    async with ledger_in(tmp_path, clock) as ledger:
        with pytest.raises(QuotaRefused):
            await ledger.reserve("b", 101, 100, 7 * DAY)
        await ledger.reserve("b", 60, 60, DAY)
        clock.advance(4 * DAY)
        await ledger.prune()
        with pytest.raises(QuotaRefused, match="60 of 100 are spent"):
            await ledger.reserve("b", 41, 100, 7 * DAY)


async def test_a_clock_that_is_set_back_finds_its_slots_again(tmp_path: Path) -> None:
    """Pruned while the clock ran a day ahead, a limit still counts what it counted before."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.limit("api", 2, 2, 3600)
        clock.step(DAY)
        await ledger.prune()
        clock.step(-DAY)
        with pytest.raises(QuotaRefused):
            await ledger.limit("api", 1, 2, 3600)


async def test_a_run_longer_than_an_hour_keeps_its_slots(tmp_path: Path) -> None:
    """A check with a timeout of six hours, or a soak: its slots lie that far ahead, and no prune takes them for a wrong clock's."""
    clock = FakeClock()
    async with ledger_in(tmp_path, clock) as ledger:
        await ledger.limit("api", 2, 2, 60, until=clock.time() + 6 * 3600)
        async with ledger_in(tmp_path, clock) as another:
            await another.know({"api": 7 * DAY})
            await another.prune()
        clock.advance(3600)
        await ledger.prune()
        with pytest.raises(QuotaRefused, match="2 of 2"):
            await ledger.limit("api", 1, 2, 60)


WINDOWS = (60.0, 3600.0, 2 * DAY, 7 * DAY, 30 * DAY)
a_step = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1.0, 59.0, 3600.0, DAY - 1, 1.5 * DAY, 6 * DAY, 20 * DAY])),
    st.tuples(st.sampled_from(["send", "send long", "another plan"]), st.integers(0, len(WINDOWS) - 1)),
    st.tuples(st.just("prune"), st.just(0)),
)


@given(steps=st.lists(a_step, min_size=10, max_size=80), most=st.lists(st.integers(1, 5), min_size=len(WINDOWS), max_size=len(WINDOWS)))
@settings(max_examples=40, deadline=None, phases=AS_FOUND)
def test_no_window_is_exceeded_whatever_is_pruned(steps: list[tuple[str, float]], most: list[int]) -> None:
    """Plans with windows of a minute to a month share one limit: none of them ever sends one too many in a window of its own."""
    asyncio.run(_kept_whatever_is_pruned(steps, most))


async def _kept_whatever_is_pruned(steps: list[tuple[str, float]], most: list[int]) -> None:
    clock, sends = FakeClock(), list[float]()
    windows = list(zip(WINDOWS, most, strict=True))
    async with ledger_in(None, clock, {"partner": max(WINDOWS)}) as ledger:
        for what, value in steps:
            if what == "wait":
                clock.advance(value)
            elif what == "prune":
                await ledger.prune()
            elif what == "another plan":
                await ledger.know({"partner": WINDOWS[int(value)]})
            else:
                window, count = windows[int(value)]
                length = 2 * 3600.0 if what == "send long" else 1.0
                with suppress(QuotaRefused):
                    await ledger.limit("partner", 1, count, window, until=clock.time() + length)
                    sends.append(clock.time() + length)
                    assert sum(clock.time() - window < at for at in sends) <= count
