"""Standard five-field cron, translated for APScheduler.

APScheduler counts weekdays from Monday = 0 and joins day of month and day of week by "and"; cron counts from Sunday = 0
(7 as well) and joins them by "or" where both are restricted. A field that begins with * restricts nothing in that
sense, `*/2` included, as in Vixie cron.

When the clocks change: where an hour is skipped, `*` skips it too, and an expression whose next time falls into it runs
once for it, as long after the last hour as it would have without the change (02:30 becomes 03:30). Where an hour comes
twice, what falls into it runs twice.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runner.config.errors import did_you_mean

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if number}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_ITEM = re.compile(r"(?:(\*)|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,3}))?\Z")
_CYCLE_DAYS = 28 * 366  # weekdays and leap years come round in 28 years
_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class _Range:
    name: str
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS = (
    _Range("minute", 0, 59, {}),
    _Range("hour", 0, 23, {}),
    _Range("day of month", 1, 31, {}),
    _Range("month", 1, 12, _MONTHS),
    _Range("day of week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Times:
    """What a cron expression names. Weekdays count from Sunday = 0; `either`: day and weekday are joined by "or"."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def on(self, day: date) -> bool:
        """Whether it comes on this day."""
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((by_day or by_weekday) if self.either else (by_day and by_weekday))


def parse(expression: str) -> Times:
    """Reads five fields or a short form such as @hourly. Raises ValueError with what is wrong with which field."""
    text = expression.strip().lower()
    if text.startswith("@") and text not in _SHORT:
        raise ValueError(f"{text} is no short form of cron ({', '.join(_SHORT)}){did_you_mean(text, _SHORT)}")
    fields = _SHORT.get(text, text).split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"cron has five fields (minute hour day month weekday), not {len(fields)}")
    minutes, hours, days, months, weekdays = (_field(text, of) for text, of in zip(fields, _FIELDS, strict=True))
    times = Times(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    if not times.either and not any(min(days) <= calendar.monthrange(2024, month)[1] for month in months):
        raise ValueError("names a day that doesn't exist")
    return times


def _field(text: str, of: _Range) -> frozenset[int]:
    numbers: set[int] = set()
    for item in text.split(","):
        found = _ITEM.match(item)
        if not found:
            raise ValueError(f"{item!r} is no {of.name}; write it like 5, 1-5, */10 or 1,15")
        step = int(found[4] or 1)
        if found[1]:
            low, high = of.low, 6 if of.high == 7 else of.high  # noqa: PLR2004 - Sunday once
        else:
            low = _number(found[2], of)
            high = _number(found[3], of) if found[3] else low
            if found[3] == "sun" and low:
                high = 7  # fri-sun
            if found[4] and not found[3]:
                raise ValueError(f"{item!r} has a step but no range; write {found[2]}-{of.high}/{found[4]}")
        if low > high or not step:
            raise ValueError(f"{item!r} is no range of {of.name}s")
        numbers |= set(range(low, high + 1, step))
    return frozenset(numbers)


def _number(text: str, of: _Range) -> int:
    number = int(text) if text.isdigit() else of.names.get(text, -1)
    if not of.low <= number <= of.high:
        raise ValueError(f"{text} is no {of.name}; it goes from {of.low} to {of.high}{did_you_mean(text, of.names)}")
    return number


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write one such as UTC or America/Los_Angeles") from None


def trigger(expression: str, zone_name: str = "UTC") -> BaseTrigger:
    """The APScheduler trigger that fires when cron would. Raises ValueError. Ask it with times whose zone is `zone_name` or UTC."""
    from apscheduler.triggers.combining import OrTrigger  # noqa: PLC0415 - takes 140 ms: a load needs the gaps alone
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 - as above

    times, tz = parse(expression), zone(zone_name)
    common = {
        "second": "0",
        "minute": _written(times.minutes, 60),
        "hour": _written(times.hours, 24),
        "month": _written(times.months, 12),
        "timezone": tz,
    }
    day = _written(times.days, 31)
    weekday = "*" if len(times.weekdays) == len(_DAYS) else ",".join(name for name, number in _DAYS.items() if number in times.weekdays)
    if not times.either:
        return CronTrigger(day=day, day_of_week=weekday, **common)
    return OrTrigger([CronTrigger(day=day, **common), CronTrigger(day_of_week=weekday, **common)])


def _written(numbers: frozenset[int], all_of_them: int) -> str:
    return "*" if len(numbers) == all_of_them else ",".join(map(str, sorted(numbers)))


def shortest_gap(expression: str) -> float:
    """Seconds between the two runs that lie nearest to each other, by the wall clock. Raises ValueError."""
    times = parse(expression)
    within = sorted(hour * 60 + minute for hour in times.hours for minute in times.minutes)
    gaps = [later - earlier for earlier, later in pairwise(within)]
    night = within[0] - within[-1]
    nearest = _CYCLE_DAYS  # days between two days on which it comes
    last: date | None = None
    day = date(2000, 1, 1)
    for _ in range(_CYCLE_DAYS):
        if times.on(day):
            nearest = min(nearest, (day - last).days) if last else nearest
            if nearest == 1:
                break
            last = day
        day += timedelta(days=1)
    return 60.0 * min([*gaps, nearest * _DAY_MINUTES + night])
