"""Maintenance windows: what checks.yaml may say of them, and when they are open, to the second, also where the clocks change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import Check
from runner.config.cron import CronTrigger, parse
from runner.config.errors import PlanError
from runner.config.plan import Plan
from runner.config.read import read_plan
from runner.config.windows import AfterCron, Covered, Once, Span, Times, Weekly, hours, instant
from tests.support.observations import made_check

# Each zone with the days on which its clocks change; Lord Howe changes them by half an hour, at two o'clock of its own.
CHANGES = {
    "America/Los_Angeles": (date(2026, 3, 8), date(2026, 11, 1)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
}
AROUND = st.sampled_from([(zone, day) for zone, days in CHANGES.items() for day in days])


def at(text: str, zone: str = "UTC") -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def agree(times: Times, zone: str, day: date, is_open: Callable[[float], bool]) -> None:
    """Holds the spans of three days against an oracle that is asked for each minute, and for the seconds around each edge."""
    start = int(datetime.combine(day - timedelta(days=1), time(), ZoneInfo(zone)).timestamp())
    spans: list[Span] = []
    while not spans or spans[-1].end < start + 3 * 86400:
        span = times.span(spans[-1].end if spans else start)
        assert span
        assert not spans or span.start > spans[-1].end
        spans.append(span)
    for minute in range(start, start + 3 * 86400, 60):
        assert is_open(minute) == any(span.start <= minute < span.end for span in spans), minute
    for span in spans:
        assert [is_open(second) for second in (span.start - 1, span.start, span.end - 1, span.end)] == [False, True, True, False]
    middle = spans[len(spans) // 2]
    assert times.span(middle.start) == times.span(middle.end - 1) == middle


@settings(max_examples=12, deadline=None)
@given(
    around=AROUND,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.integers(0, 47).map(lambda half: half * 30 + 7),
    minutes=st.integers(1, 1439),
)
def test_hours_of_weekdays_are_those_of_the_wall_clock(around: tuple[str, date], days: frozenset[int], start: int, minutes: int) -> None:
    """A window of hours is open whenever the clock on the wall shows them: a skipped hour isn't in it, and a repeated one is twice."""
    zone = ZoneInfo(around[0])
    weekly = Weekly(days, start, (start + minutes) % 1440 or 1440, zone)

    def is_open(moment: float) -> bool:
        wall = datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
        opened = [datetime.combine(wall.date(), time()) + timedelta(days=ago, minutes=start) for ago in (-1, 0)]
        return any(one <= wall < one + timedelta(minutes=minutes) and one.isoweekday() % 7 in days for one in opened)

    agree(weekly, *around, is_open)


@settings(max_examples=12, deadline=None)
@given(
    around=AROUND,
    expression=st.sampled_from(["30 2 * * *", "0 3 * * *", "*/40 1-3 * * *", "15 1 * * sun", "0 0 * * *", "30 1 * * *", "17 * * * *"]),
    minutes=st.integers(1, 59),
)
def test_a_window_after_cron_lasts_its_time(around: tuple[str, date], expression: str, minutes: int) -> None:
    """It begins whenever cron would run, and lasts as long in seconds on the day of a change as on any other."""
    zone, day = around
    trigger = CronTrigger(parse(expression), ZoneInfo(zone))
    begun: list[float] = []
    moment: datetime | None = datetime.combine(day - timedelta(days=9), time(), UTC)
    while moment and moment < datetime.combine(day + timedelta(days=12), time(), UTC):
        if (moment := trigger.get_next_fire_time(None, moment)) is not None:
            begun.append(moment.timestamp())
            moment = moment.astimezone(UTC) + timedelta(seconds=1)
    agree(AfterCron(trigger, minutes * 60.0), zone, day, lambda now: any(one <= now < one + minutes * 60 for one in begun))


@pytest.mark.parametrize(
    ("expression", "zone", "day", "begins"),
    [
        ("30 2 * * *", "America/Los_Angeles", "2026-03-08", "2026-03-08T10:30"),  # 02:30 is skipped: 03:30 in summer time
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29T01:30"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "2026-10-03T15:45"),
    ],
)
def test_a_skipped_time_has_its_window_all_the_same(expression: str, zone: str, day: str, begins: str) -> None:
    """A nightly window of an hour that the clocks skip opens once in that night, for its whole time."""
    times = AfterCron(CronTrigger(parse(expression), ZoneInfo(zone)), 1800.0)
    assert times.span(at(day, zone)) == Span(at(begins), at(begins) + 1800.0)


def test_windows_that_touch_are_one() -> None:
    """Where cron begins the next window as the one before ends, it ends with the last of them."""
    times = AfterCron(CronTrigger(parse("0,30 1 * * *"), ZoneInfo("UTC")), 1800.0)
    assert times.span(at("2026-05-01")) == Span(at("2026-05-01T01:00"), at("2026-05-01T02:00"))


def test_a_window_that_comes_once_ends_for_ever() -> None:
    """After its end there is none."""
    once = Once(100.0, 200.0)
    assert [once.span(moment) for moment in (0.0, 199.9, 200.0)] == [Span(100.0, 200.0), Span(100.0, 200.0), None]


def test_a_moment_is_what_the_zone_shows() -> None:
    """A moment without an offset is one of the window's zone."""
    assert instant("2026-12-01T03:00", ZoneInfo("America/Los_Angeles")) == at("2026-12-01T11:00")
    assert instant("2026-12-01T03:00Z", ZoneInfo("America/Los_Angeles")) == at("2026-12-01T03:00")
    with pytest.raises(ValueError, match=r"comes twice in Europe/Berlin.* write it with its offset: 2026-10-25T02:30:00\+02:00"):
        instant("2026-10-25T02:30", ZoneInfo("Europe/Berlin"))
    with pytest.raises(ValueError, match="doesn't exist in Europe/Berlin"):
        instant("2026-03-29T02:30", ZoneInfo("Europe/Berlin"))


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,2}:[0-9]{2}-[0-9]{1,2}:[0-9]{2}", fullmatch=True))
def test_hours_are_two_times_of_a_day_or_an_error(text: str) -> None:
    """What is read lies within a day; all else is a ValueError with what to write."""
    try:
        start, end = hours(text)
    except ValueError as error:
        assert "22:00-02:00" in str(error) or "00:00-24:00" in str(error)  # noqa: PT017 - either is right
        return
    assert 0 <= start < 1440
    assert 0 <= end <= 1440
    assert start != end


API = made_check("api", tags=("smoke",), target="roadtrip")
PART = made_check("report/db", part_of="report")


@pytest.mark.parametrize(
    ("covered", "check", "expected"),
    [
        (Covered(), API, True),
        (Covered(checks=("api",)), API, True),
        (Covered(checks=("report",)), PART, True),
        (Covered(tags=("smoke", "x")), API, True),
        (Covered(targets=("roadtrip",)), API, True),
        (Covered(checks=("other",), tags=("x",), targets=("y",)), API, False),
        (Covered(targets=("y",)), PART, False),
    ],
)
def test_a_window_covers_checks_by_name_tag_or_target(covered: Covered, check: Check, *, expected: bool) -> None:
    """Any of the three is enough; a check's parts are covered with it; none of the three is all checks."""
    assert (check in covered) is expected


def read(folder: Path, *windows: str) -> Plan:
    """The plan of a file with these windows."""
    path = folder / "checks.yaml"
    listed = "".join(f"  - {{{window}}}\n" for window in windows)
    checks = "checks:\n  database: {kind: tcp, host: h, port: 1, tags: [database]}\n"
    path.write_text(f"version: 1\ndefaults: {{zone: Europe/Berlin}}\nmaintenance:\n{listed}{checks}", encoding="utf-8")
    return read_plan(path, environ={})


def test_the_file_says_when_why_and_for_which_checks(tmp_path: Path) -> None:
    """U16: maintenance is a section of checks.yaml. A window's zone is that of the defaults unless it has one."""
    vacuum, night, once = read(
        tmp_path,
        "name: vacuum, why: it locks tables, cron: 0 3 * * SUN, zone: America/Los_Angeles, for: 30m, tags: [database]",
        "name: nights, hours: 22:00-02:00, days: mon-fri",
        "name: migration, from: 2026-12-01T03:00, until: 2026-12-01T05:00, checks: [database]",
    ).maintenance
    assert (vacuum.name, vacuum.why, vacuum.by) == ("vacuum", "it locks tables", "checks.yaml:4")
    assert vacuum.covered == Covered(tags=("database",))
    assert vacuum.times.span(at("2026-12-01")) == Span(at("2026-12-06T11:00"), at("2026-12-06T11:30"))
    assert night.times.span(at("2026-12-05")) == Span(at("2026-12-04T21:00"), at("2026-12-05T01:00"))  # Friday's
    assert night.times.span(at("2026-12-05T02:00")) == Span(at("2026-12-07T21:00"), at("2026-12-08T01:00"))
    assert once.times.span(at("2026-12-01")) == Span(at("2026-12-01T02:00"), at("2026-12-01T04:00"))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("name: x", "needs one of from, cron and hours"),
        ("name: x, cron: '@daily', hours: 1:00-2:00, for: 1h", "has cron and hours; keep one"),
        ("name: x, cron: '@daily'", "has a cron and no for"),
        ("name: x, from: 2026-12-01T03:00", "needs either for or until"),
        ("name: x, hours: 1:00-2:00, until: 2026-12-01T03:00", "has an until but no from"),
        ("name: x, cron: '@daily', for: 1h, days: mon", "has days but no hours"),
        ("name: x, hours: 1:00-2:00, for: 1h", "has hours and a for"),
        ("name: x, cron: 0 * * * *, for: 60m", "for: is 3600s, and it begins again after 3600s: it would never end"),
        ("name: x, hours: 00:00-24:00", "hours: are all hours of all days"),
        ("name: x, hours: 25:00-26:00", "has a time that no clock shows"),
        ("name: x, hours: 1:00-2:00, days: funday", "days: 'funday' is no day of week"),
        ("name: x, hours: 1:00-2:00, zone: Berlin", "zone: 'Berlin' is no time zone"),
        ("name: x, from: 2026-12-01T03:00, until: 2026-12-01T03:00", "until: is not later than from"),
        ("name: x, from: tomorrow, for: 1h", "from: tomorrow is no moment; write it like 2026-12-01T03:00"),
        ("name: x, hours: 1:00-2:00, checks: [databse]", "checks, item 1: there is no check databse; did you mean database?"),
        ("name: x, hours: 1:00-2:00, tags: [data]", "tags, item 1: no check has the tag data"),
        ("name: x, hours: 1:00-2:00, targets: [api]", "targets, item 1: no check asks the target api"),
        ("hours: 1:00-2:00", "name: is missing"),
        ("name: x, hour: 1:00-2:00", "hour: no such setting of a maintenance window; did you mean hours?"),
    ],
)
def test_a_wrong_window_is_refused_with_its_place(tmp_path: Path, window: str, message: str) -> None:
    """Each mistake is told where it stands, with what to do."""
    with pytest.raises(PlanError) as refused:
        read(tmp_path, window)
    assert message in str(refused.value)
    assert "checks.yaml:4:" in str(refused.value)


def test_the_name_of_a_for_each_covers_all_that_it_made(tmp_path: Path) -> None:
    """A window for `shop` is one for each shop, as with --check."""
    path = tmp_path / "checks.yaml"
    checks = "checks:\n  shop: {for_each: [eu, us], kind: tcp, host: '${each.value}', port: 1}\n"
    path.write_text(f"version: 1\nmaintenance: [{{name: x, hours: 1:00-2:00, checks: [shop]}}]\n{checks}", encoding="utf-8")
    [window] = read_plan(path, environ={}).maintenance
    assert window.covered.checks == ("shop-eu", "shop-us")
