"""Each slot of a check ends as one run or one missed run with its reason, whatever happens to time, plan or loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import Observation
from probes.core import LoginHeld, QuotaRefused, Reason, Verdict
from runner.config.cron import zone
from runner.config.plan import Cron, Planned
from runner.config.slots import fraction, grace
from runner.state import StateRefused
from tests.support.clock import NOON
from tests.support.scheduling import Runs, World, plan, planned, slots_of

HOUR = 3600.0


@pytest.fixture(autouse=True, scope="module")
def _zones() -> Iterator[None]:
    """Zones are read from their files when a plan is loaded, off the loop, and kept while it runs."""
    kept = [zone("UTC"), zone("America/Los_Angeles")]
    yield
    kept.clear()


async def test_each_check_runs_once_in_each_of_itsslots_of() -> None:
    """Within an hour each check runs at its own phase of each interval, and at no other moment, from the epoch's rhythm."""
    intervals = {"a": 15.0, "b": 30.0, "c": 30.0, "d": 300.0, "e": 1.0, "f": 7.5, "g": 3 * HOUR}
    world = World(seen=dict.fromkeys(intervals, NOON - 0.01))
    world.start(*(planned(name, interval) for name, interval in intervals.items()))
    await world.simulation.run_for(HOUR)
    for name, interval in intervals.items():
        assert world.runs.of(name) == pytest.approx(slots_of(name, interval, NOON, NOON + HOUR), abs=1e-3), name
    assert world.missed == []
    assert max(world.lags) < 1e-6


async def test_a_check_not_seen_lately_runs_soon() -> None:
    """After a start every check has been seen within 10 s, or within its interval where that is shorter."""
    world = World(seen={"old": NOON - 301, "fresh": NOON - 299, "future": NOON + 5000})
    world.start(planned("old", 300), planned("fresh", 300), planned("never", 300), planned("future", 300), planned("quick", 2))
    await world.simulation.run_for(10)
    ran = Counter(name for name, _ in world.runs.began)
    slot_of_fresh = len(slots_of("fresh", 300, NOON, NOON + 10))
    assert {name: ran[name] for name in ("old", "never", "future")} == {"old": 1, "never": 1, "future": 1}
    assert ran["fresh"] == slot_of_fresh
    assert world.runs.of("quick")[0] <= NOON + 2


@pytest.mark.parametrize(("interval", "within"), [(20, 20), (3600, 40)])
async def test_a_start_of_very_many_checks_is_spread(interval: float, within: float) -> None:
    """Of 2,000 checks each runs once within its interval, or 50 a second where that is long; nothing waits at the cap or is dropped."""
    world, names = World(takes=0.5), [f"c{n}" for n in range(2000)]
    world.start(*(planned(name, interval) for name in names))
    await world.simulation.run_for(within)
    seconds = Counter(int(at - NOON) for _, at in world.runs.began)
    assert {name for name, _ in world.runs.began} == set(names)
    assert len(world.runs.began) <= 2000 * (1 + within / interval) * 1.1
    assert max(seconds.values()) < 2 * 2000 / within
    assert world.missed == []


async def test_after_its_first_run_a_check_misses_no_slot() -> None:
    """A slot that comes between the first run, soon after the start, and the next tick is used."""
    names = [f"c{n}" for n in range(30)]
    world = World()
    world.start(*(planned(name, 30) for name in names))
    await world.simulation.run_for(300)
    for name in names:
        slots = slots_of(name, 30, NOON, NOON + 300)
        first = [] if slots[0] <= world.runs.of(name)[0] + 1e-3 else world.runs.of(name)[:1]
        assert world.runs.of(name) == pytest.approx(first + slots, abs=1e-3)
    assert world.missed == []


async def test_very_many_checks_share_their_ticks_in_parts() -> None:
    """Twelve hundred checks of one interval: no tick looks at more than some five hundred, and each slot is used once."""
    names = [f"c{n}" for n in range(1200)]
    world = World(seen=dict.fromkeys(names, NOON))
    world.start(*(planned(name, 60) for name in names))
    assert len(world.simulation._ticks) == 3
    await world.simulation.run_for(125)
    ran = Counter(name for name, _ in world.runs.began)
    assert {name: ran[name] for name in names} == {name: len(slots_of(name, 60, NOON, NOON + 125)) for name in names}
    assert world.missed == []


async def test_a_restart_keeps_the_rhythm() -> None:
    """What was observed half an interval before the restart isn't asked again before its own slot."""
    first = World()
    first.start(planned("a", 60))
    await first.simulation.run_for(300)
    last = first.runs.of("a")[-1]
    second = World(seen={"a": last}, now=last + 7)
    second.start(planned("a", 60))
    await second.simulation.run_for(120)
    assert second.runs.of("a") == pytest.approx([last + 60, last + 120], abs=1e-3)


@given(count=st.integers(100, 400), interval=st.sampled_from([1.0, 15.0, 60.0, 3600.0]))
@settings(max_examples=20, deadline=None)
def test_checks_are_spread_over_their_interval(count: int, interval: float) -> None:
    """No tenth of an interval holds more than three times its share of a hundred checks and more."""
    tenths = Counter(int(fraction(f"check-{n}-{interval}") * 10) for n in range(count))
    assert max(tenths.values()) < 3 * count / 10
    assert len(tenths) == 10


async def test_a_check_never_overlaps_itself() -> None:
    """A run that takes longer than the interval makes the slots that it covers missed, for `overlap`."""
    world = World(takes=25.0, seen={"a": NOON})
    world.start(planned("a", 10))
    await world.simulation.run_for(300)
    began = world.runs.of("a")
    assert all(later - earlier >= 25 for earlier, later in pairwise(began))
    assert len(began) + world.missed.count(("a", "overlap")) == len(slots_of("a", 10, NOON, NOON + 300))


async def test_runs_in_flight_are_capped() -> None:
    """Above the cap a slot is missed, and said."""
    world = World(takes=1000.0, cap=3, seen={f"c{n}": NOON for n in range(8)})
    world.start(*(planned(f"c{n}", 60) for n in range(8)))
    await world.simulation.run_for(60)
    assert len(world.runs.began) == 3
    assert Counter(reason for _, reason in world.missed) == {"cap": 5}


async def test_a_refused_run_is_missed_and_not_observed() -> None:
    """A limit that is reached leaves a count and no observation, and is said once until the check runs again."""
    world = World(seen={"a": NOON, "b": NOON})
    world.runs.raises["a"] = QuotaRefused("limit")
    world.start(planned("a", 30), planned("b", 30))
    await world.simulation.run_for(60)
    assert world.missed == [("a", "quota")] * 2
    assert [o.check.name for o in world.emitted] == ["b", "b"]
    assert world.logged == ["a doesn't run for now: limit"]
    world.runs.raises.clear()
    await world.simulation.run_for(30)
    world.runs.raises["a"] = QuotaRefused("again")
    await world.simulation.run_for(30)
    assert world.logged[1:] == ["a doesn't run for now: again"]


async def test_while_a_login_is_held_the_last_verdict_stands() -> None:
    """R9: runs are missed as held and not observed; after a restart, where no verdict could stand, the failure is told once."""
    world = World(seen={"a": NOON, "b": NOON})
    world.start(planned("a", 30), planned("b", 30))
    await world.simulation.run_for(30)
    world.runs.raises |= dict.fromkeys("ab", LoginHeld("held until noon: its login was refused (401)"))
    world.start(planned("a", 30), planned("b", 60))  # b is another check by its name now
    await world.simulation.run_for(60)
    assert set(world.missed) == {("a", "held"), ("b", "held")}
    told = [(seen.check.name, seen.verdict, seen.reason, seen.message) for seen in world.emitted[2:]]
    assert told == [("b", Verdict.FAIL, Reason.AUTH, "held until noon: its login was refused (401)")]


async def test_a_stalled_loop_starts_nothing_that_is_past_its_grace() -> None:
    """After a stall of a minute the missed slots are counted as late, and each check goes on in its rhythm."""
    names = [f"c{n}" for n in range(20)]
    world = World(seen=dict.fromkeys(names, NOON))
    world.start(*(planned(name, 30) for name in names))
    await world.simulation.run_for(30)
    before = len(world.runs.began)
    world.simulation.jump(60)
    await world.simulation.run_for(0)
    woken = len(world.runs.began) - before
    assert woken <= 20 * 5 / 30 * 2  # those that came within the grace of 5 s
    await world.simulation.run_for(30)
    for name in names:
        done = len(world.runs.of(name)) + world.missed.count((name, "late"))
        assert done == len(slots_of(name, 30, NOON, world.simulation.time())), name
    assert max(world.lags) > 5


async def test_a_machine_that_slept_counts_and_goes_on() -> None:
    """The monotonic clock sleeps too, so the wall's tells: an hour's slots are late, not run all at once."""
    world = World(seen={"a": NOON, "b": NOON})
    world.start(planned("a", 60), planned("b", 600))
    await world.simulation.run_for(120)
    world.simulation.step(HOUR)
    await world.simulation.run_for(600)
    for name, interval in (("a", 60.0), ("b", 600.0)):
        done = len(world.runs.of(name)) + world.missed.count((name, "late"))
        assert done == len(slots_of(name, interval, NOON, world.simulation.time())), name
    assert len(world.runs.of("a")) <= 2 + 10 + 1


@pytest.mark.parametrize(("stall", "ran"), [(5.0, True), (5.5, False)])
async def test_a_run_may_come_as_late_as_its_grace(stall: float, ran: bool) -> None:  # noqa: FBT001 - what is expected
    """Five seconds after its slot a check still runs; later than that the slot is missed."""
    world = World(seen={"a": NOON})
    world.start(planned("a", 60, cron=Cron("* * * * *")))
    world.simulation.jump(60 + stall)
    await world.simulation.run_for(0)
    assert (len(world.runs.of("a")), world.missed) == ((1, []) if ran else (0, [("a", "late")]))


async def test_a_slot_that_a_sleep_made_old_is_late() -> None:
    """The machine slept between the timer's setting and its ringing: the monotonic clock saw nothing of it, and nothing old is run."""
    world = World(seen={"a": NOON})
    world.start(planned("a", 60))
    due = slots_of("a", 60, NOON, NOON + 60)[0]
    await world.simulation.run_for(due - NOON - 1)
    world.simulation.step(600)
    await world.simulation.run_for(2)
    assert world.missed[:1] == [("a", "late")]
    assert [at for at in world.runs.of("a") if (at - due) % 60 > grace(60)] == []
    assert max(world.lags) < 1e-6  # of the machine's sleep, and not of our loop's


async def test_a_clock_that_is_set_back_stops_nothing() -> None:
    """After the wall's clock goes back by a day the checks go on within their interval."""
    world = World(seen={"a": NOON})
    world.start(planned("a", 30))
    await world.simulation.run_for(60)
    world.simulation.step(-86400)
    world.simulation._ticks = {n: type(b)(b.trigger, b.call, world.simulation.time()) for n, b in world.simulation._ticks.items()}
    ran = len(world.runs.began)
    await world.simulation.run_for(300)
    assert len(world.runs.began) - ran in (9, 10, 11)


async def test_a_jump_of_years_is_counted_up_to_a_bound() -> None:
    """A machine that boots in 1970 and learns the time doesn't count millions of slots one by one."""
    world = World(now=1000.0, seen={"a": 1000.0})
    world.start(planned("a", 1))
    await world.simulation.run_for(5)
    world.simulation.step(NOON)
    await world.simulation.run_for(5)
    assert len(world.missed) <= 1002
    assert len(world.runs.of("a")) >= 9


async def test_cron_runs_by_the_wall_of_its_zone() -> None:
    """03:00 in Los Angeles and every ten minutes in UTC, each at its moment."""
    world = World(seen={"night": NOON, "often": NOON})
    world.start(planned("night", 86400, cron=Cron("0 3 * * *", "America/Los_Angeles")), planned("often", 600, cron=Cron("*/10 * * * *")))
    await world.simulation.run_for(24 * HOUR)
    assert world.runs.of("night") == pytest.approx([NOON - HOUR + 24 * HOUR], abs=0.01)
    assert world.runs.of("often") == pytest.approx([NOON + n * 600 for n in range(1, 145)], abs=0.01)
    assert world.missed == []


async def test_a_cron_check_that_was_seen_at_its_last_time_waits_for_the_next() -> None:
    """On Sunday, a check of working days that was seen on Friday isn't run because a day has passed."""
    sunday = NOON + 5 * 86400
    friday = sunday - 2 * 86400 - 3 * HOUR
    world = World(now=sunday, seen={"workdays": friday, "missed": friday - 86400})
    world.start(*(planned(name, 86400, cron=Cron("0 9 * * 1-5")) for name in ("workdays", "missed")))
    await world.simulation.run_for(60)
    assert [name for name, _ in world.runs.began] == ["missed"]


async def test_a_cron_check_keeps_its_hour() -> None:
    """G9: neither the first start nor an edit of the check runs it off its schedule; its next time does."""
    six = Cron("0 18 * * *")  # it is noon
    world = World()
    world.start(planned("nightly", 86400, cron=six))
    await world.simulation.run_for(600)
    world.schedule.swap(plan(planned("nightly", 86400, cron=six, mark="b")), world.runs)
    await world.simulation.run_for(600)
    assert world.runs.began == []
    await world.simulation.run_for(6 * HOUR)
    assert world.runs.of("nightly") == [NOON + 6 * HOUR]


async def test_what_a_stop_has_cost_is_one_line() -> None:
    """GM12: the machine stood still for half a minute: the journal says how many runs were missed, and of which checks."""
    world = World(seen={f"c{number}": NOON for number in range(5)})
    world.start(*(planned(f"c{number}", 2) for number in range(5)))
    await world.simulation.run_for(10)
    world.simulation.jump(30)
    await world.simulation.run_for(10)
    late = world.missed.count(("c0", "late"))
    assert 11 <= late <= 15
    [line] = world.logged
    assert line.startswith(f"{len(world.missed)} runs were missed, too late to start (c")
    assert line.endswith(" and 2 more): the runner was busy or stopped, or the clock was set")


@pytest.mark.parametrize("by", [-HOUR, -86400.0, 2 * 86400.0])
async def test_a_step_of_the_clock_is_told(by: float) -> None:
    """GM12: by how much the clock was set, in one line; and no run is lost uncounted."""
    world = World(seen={"a": NOON})
    world.start(planned("a", 2))
    await world.simulation.run_for(20)
    world.simulation.step(by)
    await world.simulation.run_for(10)
    for tick in world.simulation._ticks.values():  # APScheduler's are set anew once the clock was found to be set back
        tick.next = tick._after(None, world.simulation.time())
    await world.simulation.run_for(60)
    [step] = [line for line in world.logged if line.startswith("the wall clock was set")]
    assert step.endswith(f"by {abs(by):,.0f} s")
    if by < 0:
        assert len(world.runs.began) + len(world.missed) >= 90 / 2 - 2


async def test_draining_waits_and_then_cuts_short() -> None:
    """No new run begins; what is in flight has its time, then is cut short, and is emitted all the same."""
    ended = asyncio.Event()

    class Stubborn(Runs):
        async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
            await ended.wait()
            return (Observation(planned.check, Verdict.UNKNOWN, None, "cut", 0.0, 0.0),)

        def cut_short(self) -> None:
            self.cut = True
            ended.set()

    world = World(seen={"a": NOON})
    runs = Stubborn(world.simulation)
    world.schedule.start(plan(planned("a", 5)), runs)
    await world.simulation.run_for(6)
    assert len(world.schedule.in_flight) == 1
    await world.schedule.drain(0.01)
    assert runs.cut
    assert [o.message for o in world.emitted] == ["cut"]
    await world.simulation.run_for(60)
    assert [*world.schedule.in_flight] == []
    assert len(world.emitted) == 1


async def test_what_breaks_in_one_run_is_reported_and_touches_no_other() -> None:
    """An observer that raises what it never should is told to the loop's handler; its check and the others go on."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    world = World(seen={"a": NOON, "b": NOON})
    world.runs.raises["a"] = RuntimeError("the engine's own fault")
    world.start(planned("a", 30), planned("b", 30))
    await world.simulation.run_for(60)
    assert told == ["the run of check a broke"] * 2
    assert len(world.runs.of("b")) == 2


async def test_a_run_that_breaks_reports_all_the_same() -> None:
    """XM5: whatever the observer raises, each run of the check is emitted as unknown / internal, and its message says what broke."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    world = World(seen={"a": NOON})
    world.runs.raises["a"] = RuntimeError("with hunter2 in it")
    world.start(planned("a", 30))
    await world.simulation.run_for(60)
    assert [(one.verdict, one.reason) for one in world.emitted] == [(Verdict.UNKNOWN, Reason.INTERNAL)] * 2
    assert {one.message for one in world.emitted} == {"the runner broke and can't report this run: RuntimeError"}


async def test_a_run_that_the_state_refuses_is_missed_for_the_state() -> None:
    """G6: it costs money or logs in, and the state can't be written: the reason is `state`, and no limit is blamed."""
    world = World(seen={"a": NOON})
    world.runs.raises["a"] = StateRefused("the state can't be read or written: disk full")
    world.start(planned("a", 30))
    await world.simulation.run_for(30)
    assert world.missed == [("a", "state")]
    assert world.logged == ["a doesn't run for now: the state can't be read or written: disk full"]
