from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config.cron import CronTrigger, parse, shortest_gap, trigger
from runner.config.slots import by_trigger

ANGELES = "America/Los_Angeles"


def runs(expression: str, start: datetime, count: int, zone: str = "UTC") -> list[str]:
    """Gives the next `count` runs as APScheduler sees them, in local time with the offset."""
    return [f"{at:%a %Y-%m-%d %H:%M %z}" for at in _fires(trigger(expression, zone), start.astimezone(ZoneInfo(zone)), count)]


def _fires(asked: CronTrigger, now: datetime, count: int) -> Iterator[datetime]:
    previous = None
    for _ in range(count):
        at = asked.get_next_fire_time(previous, now)
        assert at is not None
        yield at
        previous = at
        now = (at.astimezone(UTC) + timedelta(microseconds=1)).astimezone(now.tzinfo)


@pytest.mark.parametrize("weekday", ["0", "7", "SUN", "sun"])
def test_sunday_is_sunday(weekday: str) -> None:
    """Cron's 0 and 7 are Sunday, which APScheduler counts as 6."""
    assert runs(f"0 3 * * {weekday}", datetime(2026, 11, 24, tzinfo=UTC), 1) == ["Sun 2026-11-29 03:00 +0000"]


def test_weekdays_count_from_sunday() -> None:
    """1-5 is Monday to Friday, and sat-sun and 6-7 go over the week's end."""
    start = datetime(2026, 11, 27, tzinfo=UTC)
    assert [at[:3] for at in runs("0 0 * * 1-5", start, 3)] == ["Fri", "Mon", "Tue"]
    assert [at[:3] for at in runs("0 0 * * sat-sun", start, 3)] == ["Sat", "Sun", "Sat"]
    assert [at[:3] for at in runs("0 0 * * 6-7", start, 3)] == ["Sat", "Sun", "Sat"]


def test_day_and_weekday_are_joined_by_or() -> None:
    """Where both are restricted either will do, as cron says; APScheduler by itself would wait for a Friday the 13th."""
    found = runs("0 0 13 * 5", datetime(2026, 11, 10, tzinfo=UTC), 4)
    assert found == ["Fri 2026-11-13 00:00 +0000", "Fri 2026-11-20 00:00 +0000", "Fri 2026-11-27 00:00 +0000", "Fri 2026-12-04 00:00 +0000"]


def test_a_field_that_begins_with_a_star_restricts_nothing() -> None:
    """`*/2` and a weekday are joined by and, as in Vixie cron."""
    assert runs("0 0 */2 * 5", datetime(2026, 11, 10, tzinfo=UTC), 2) == ["Fri 2026-11-13 00:00 +0000", "Fri 2026-11-27 00:00 +0000"]


SHORT = (
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
)


@pytest.mark.parametrize(("short", "long"), SHORT)
def test_short_forms_mean_what_cron_means(short: str, long: str) -> None:
    """@daily and its kin are the five fields that cron gives them."""
    assert parse(short) == parse(long)


def test_a_skipped_hour_runs_what_falls_into_it_once() -> None:
    """In spring 02:30 doesn't exist: a fixed time runs an hour later by the clock, and * skips the hour."""
    start = datetime(2026, 3, 7, 12, tzinfo=ZoneInfo(ANGELES))
    fires = [at.astimezone(UTC) for at in _fires(trigger("30 2 * * *", ANGELES), start, 2)]
    assert fires == [datetime(2026, 3, 8, 10, 30, tzinfo=UTC), datetime(2026, 3, 9, 9, 30, tzinfo=UTC)]  # 03:30 and 02:30 there
    night = datetime(2026, 3, 8, 1, 20, tzinfo=ZoneInfo(ANGELES))
    assert [at[-11:-6] for at in runs("30 * * * *", night, 3, ANGELES)] == ["01:30", "03:30", "04:30"]


@pytest.mark.parametrize("expression", ["30 1 * * *", "30 2 * * *", "*/20 * * * *", "0 */2 * * *", "15 1 1 * SUN"])
@pytest.mark.parametrize("day", [date(2026, 3, 7), date(2026, 10, 31)])
def test_the_asker_s_zone_changes_nothing(expression: str, day: date) -> None:
    """A scheduler that lives in UTC gets the same runs as one that lives in the check's zone, when the clocks change too."""
    start = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(ANGELES))
    there = [at.astimezone(UTC) for at in _fires(trigger(expression, ANGELES), start, 60)]
    assert [at.astimezone(UTC) for at in _fires(trigger(expression, ANGELES), start.astimezone(UTC), 60)] == there
    assert sorted(set(there)) == there


def test_an_hour_that_comes_twice_runs_what_falls_into_it_twice() -> None:
    """In autumn 01:30 comes twice, and so does a check at 01:30; the day after it comes once again."""
    start = datetime(2026, 11, 1, 0, 0, tzinfo=ZoneInfo(ANGELES))
    found = runs("30 1 * * *", start, 3, ANGELES)
    assert found == [
        "Sun 2026-11-01 01:30 -0700",
        "Sun 2026-11-01 01:30 -0800",
        "Mon 2026-11-02 01:30 -0800",
    ]
    assert len({at.astimezone(UTC) for at in _fires(trigger("*/20 * * * *", ANGELES), start, 15)}) == 15


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("*/7 * * * *", 240),
        ("0,1 * * * *", 60),
        ("0 * * * *", 3600),
        ("0 3 * * *", 86400),
        ("0 0,23 * * *", 3600),
        ("0 3 * * SUN", 604800),
        ("0 0 13 * 5", 86400),
        ("0 0 1 * *", 28 * 86400),
        ("0 0 29 2 *", 1461 * 86400),
    ],
)
def test_the_shortest_gap_is_that_of_the_two_nearest_runs(expression: str, seconds: int) -> None:
    """A check's interval is the shortest time between two of its runs, over midnight and over months too."""
    assert shortest_gap(expression) == seconds


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "60 is no minute; it goes from 0 to 59"),
        ("* * 0 * *", "0 is no day of month"),
        ("* * * jna *", "jna is no month; it goes from 1 to 12"),
        ("* * * * 8", "8 is no day of week"),
        ("5-1 * * * *", "'5-1' is no range of minutes"),
        ("*/0 * * * *", "'*/0' is no range of minutes"),
        ("1,,2 * * * *", "'' is no minute"),
        ("* * L * *", "'l' is no day of month"),
        ("* * * * 5#2", "'5#2' is no day of week"),
        ("@reboot", "no short form of cron"),
        ("0 0 31 4,6 *", "names a day that doesn't exist"),
        ("٣ * * * *", "is no minute"),
    ],
)
def test_what_is_no_cron_expression_is_said(expression: str, said: str) -> None:
    """The field and what may stand in it are named."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(expression)


def naive(expression: str, at: datetime) -> bool:
    """Cron, minute by minute and from the man page: what the translation is held against."""
    minute, hour, day, month, weekday = expression.split()

    def has(field: str, number: int, low: int, high: int) -> bool:
        for item in field.split(","):
            span, _, step = item.partition("/")
            first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
            if number in range(int(first), int(last or first) + 1, int(step or 1)):
                return True
        return False

    on_weekday = has(weekday, at.isoweekday() % 7, 0, 6) or (weekday[0] != "*" and has(weekday, at.isoweekday() % 7 + 7, 0, 7))
    on_day = has(day, at.day, 1, 31)
    dated = on_day and on_weekday if day[0] == "*" or weekday[0] == "*" else on_day or on_weekday
    return has(minute, at.minute, 0, 59) and has(hour, at.hour, 0, 23) and has(month, at.month, 1, 12) and dated


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    """Makes what may stand in one field."""
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(span, st.integers(1, 9)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    item = number.map(str) | span | stepped
    return st.just("*") | st.integers(1, 9).map(lambda step: f"*/{step}") | st.lists(item, min_size=1, max_size=2).map(",".join)


EXPRESSIONS = st.tuples(fields(0, 59), fields(0, 23), fields(1, 28), fields(1, 12), fields(0, 7)).map(" ".join)


@settings(max_examples=30)
@given(EXPRESSIONS, st.dates(date(2024, 1, 1), date(2031, 12, 31)))
def test_it_fires_when_cron_would(expression: str, day: date) -> None:
    """The next three runs are the three next minutes that a plain reading of the expression names."""
    now = datetime(day.year, day.month, day.day, 11, 59, 30, tzinfo=UTC)
    fires = list(_fires(trigger(expression), now, 3))
    for earlier, later in pairwise([now, *fires]):
        assert naive(expression, later)
        assert not any(naive(expression, at) for at in _minutes_between(earlier, later))


def _minutes_between(earlier: datetime, later: datetime) -> Iterator[datetime]:
    """Up to 3,000 whole minutes after `earlier` and before `later`."""
    at = earlier.replace(second=0) + timedelta(minutes=1)
    for _ in range(3000):
        if at >= later:
            return
        yield at
        at += timedelta(minutes=1)


ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Kolkata",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Santiago",
    "America/Havana",
)
TABLE = (
    "0 0 * * *",
    "30 0 * * *",
    "15 1 * * *",
    "30 2 * * *",
    "45 3 * * *",
    "0 0 * * 1-5",
    "0 0 * * 1",
    "30 0 * * 0",
    "0 0 1 * *",
    "0 12 31 * *",
    "0 2 13 * 5",
    "0 * * * *",
    "*/15 * * * *",
    "0 */2 * * *",
    "15,45 2 * * *",
    "30 23 * * *",
    "0 0 1 1 *",
)
STEP = timedelta(minutes=15)  # every change of the clocks since 1980 lies on a quarter of an hour


def minute_by_minute(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Every run of an expression, found by looking at each minute of the wall clock, skipped ones too. Times in UTC."""
    tz, found = ZoneInfo(zone), list[datetime]()
    minute, hour, *dates = expression.split()
    named: dict[int, list[int]] = {}  # by quarter of a day: the minutes in it
    for number in range(1440):
        if naive(f"{minute} {hour} * * *", datetime(2024, 1, 1, *divmod(number, 60), tzinfo=UTC)):
            named.setdefault(number // 15, []).append(number % 15)
    days: dict[date, bool] = {}

    def of_quarter(wall: datetime) -> list[int]:
        minutes = named.get(wall.hour * 4 + wall.minute // 15, [])
        if minutes and wall.date() not in days:
            days[wall.date()] = naive(" ".join(["* *", *dates]), wall)
        return minutes if minutes and days[wall.date()] else []

    at, expected = start, start.astimezone(tz).replace(tzinfo=None)
    while at < end:
        wall = at.astimezone(tz).replace(tzinfo=None)
        if wall > expected and hour != "*":  # the clocks went forward: what was skipped is made up for once
            lost = (expected + number * STEP for number in range((wall - expected) // STEP))
            found += [at + (quarter - expected) + timedelta(minutes=n) for quarter in lost for n in of_quarter(quarter)][:1]
        found += [at + timedelta(minutes=n) for n in of_quarter(wall)]
        at, expected = at + STEP, wall + STEP
    return sorted({run for run in found if start <= run < end})


def by_slots(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Every slot of a check with this expression, as the schedule finds one after the other."""
    after, found = by_trigger(trigger(expression, zone)), []
    at = after(start.timestamp() - 1)
    while at < end.timestamp():
        found.append(datetime.fromtimestamp(at, UTC))
        at = after(at)
    return found


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("zone", ZONES)
def test_no_run_is_lost_or_doubled_in_two_years(zone: str) -> None:
    """G2: in each zone each expression fires at the minutes that cron names, through two springs and two autumns."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    for expression in TABLE:
        assert by_slots(expression, zone, start, end) == minute_by_minute(expression, zone, start, end), expression


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Los_Angeles", "Australia/Sydney"])
def test_the_day_after_a_skipped_hour_has_its_midnight(zone: str) -> None:
    """G2: @daily runs 365 times in a year of each zone and @monthly 12 times, also when the clocks went forward the day before."""
    year = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)), datetime(2027, 1, 1, tzinfo=ZoneInfo(zone))
    assert [len(by_slots(expression, zone, *year)) for expression in ("@daily", "@monthly", "30 0 * * 1")] == [365, 12, 52]


@settings(max_examples=25, deadline=None)
@given(EXPRESSIONS, st.sampled_from(ZONES), st.sampled_from([date(2026, 3, 27), date(2026, 10, 3), date(2027, 4, 3), date(2026, 10, 31)]))
def test_every_change_of_the_clocks_is_passed_as_the_oracle_passes_it(expression: str, zone: str, day: date) -> None:
    """G2: any expression in any zone: the runs of the days around a change of the clocks are those of a walk over each minute."""
    start = datetime(day.year, day.month, day.day, 11, tzinfo=UTC) - timedelta(days=2)
    end = start + timedelta(days=4)
    assert by_slots(expression, zone, start, end) == minute_by_minute(expression, zone, start, end)


@settings(max_examples=60)
@given(EXPRESSIONS, st.sampled_from(ZONES), st.integers(0, 730 * 86400))
def test_a_run_does_not_depend_on_when_it_is_asked_for(expression: str, zone: str, ahead: int) -> None:
    """G2: the next run after any moment before it is the same: a restart after a change of the clocks finds what stood before it."""
    after = by_trigger(trigger(expression, zone))
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + ahead
    following = after(start)
    assert following > start
    for share in (0.25, 0.5, 0.999):
        assert after(start + share * (following - start)) == following


@settings(max_examples=30)
@given(EXPRESSIONS)
def test_no_two_runs_are_nearer_than_the_shortest_gap(expression: str) -> None:
    """What is planned as an interval holds for real runs."""
    fires = list(_fires(trigger(expression), datetime(2026, 1, 1, tzinfo=UTC), 6))
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(fires)]
    assert min(gaps) >= shortest_gap(expression)
