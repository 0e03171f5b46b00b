"""Standard five-field cron, and a trigger for APScheduler that fires when cron would.

Cron counts weekdays from Sunday = 0 (7 as well), and joins day of month and day of week by "or" where both are restricted. A
field that begins with * restricts nothing in that sense, `*/2` included, as in Vixie cron.

When the clocks change: where an hour is skipped, `*` skips it too, and an expression whose next time falls into it runs
once for it, as long after the last hour as it would have without the change (02:30 becomes 03:30). Where an hour comes
twice, what falls into it runs twice.

APScheduler's own CronTrigger isn't used: it loses the run at 00:30 of the day after an hour was skipped.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from probes.text import did_you_mean

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
_FURTHEST = timedelta(days=40 * 366)  # a leap day that is a Sunday: 40 years where the century's end has none
_DAY = timedelta(days=1)
_DAY_MINUTES = 1440
_AN_INSTANT = timedelta(microseconds=1)


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


def weekdays(text: str) -> frozenset[int]:
    """The weekdays that a text such as mon-fri or sat,sun names, counted from Sunday = 0. Raises ValueError."""
    return frozenset(day % 7 for day in _field(text.strip().lower(), _FIELDS[4]))


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


class CronTrigger:
    """Fires when cron would, by the wall clock of a zone, whatever the zone of the times that it is asked with.

    It has the one method of APScheduler's triggers, and isn't derived from them: their import takes 40 ms, and a load needs no trigger.
    """

    def __init__(self, times: Times, tz: ZoneInfo) -> None:
        self._times = times
        self._hours, self._minutes = sorted(times.hours), sorted(times.minutes)
        self._zone = tz

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time that is not before `now` and after the previous one, by the contract of APScheduler's triggers."""
        now = now.astimezone(UTC)
        start = now if previous_fire_time is None else max(now, previous_fire_time.astimezone(UTC) + _AN_INSTANT)
        found = self._first(start.replace(tzinfo=None))
        return found.replace(tzinfo=UTC).astimezone(self._zone) if found else None

    def _first(self, start: datetime) -> datetime | None:
        """The first run from `start` on. Both are in UTC, without a zone.

        Between two changes of the clocks the wall is UTC and a constant, so each such span is searched by itself. The search begins
        a day before, since a run of a skipped hour may still be to come.
        """
        here, end = start - _DAY, start + _FURTHEST
        while here < end:
            offset = self._offset(here)
            wall = self._first_wall(max(here, start) + offset)
            if wall is None:
                return None
            changed = self._changed(here, wall - offset)
            if changed is None:
                return wall - offset
            later = self._offset(changed)
            skipped = self._first_wall(max(changed, start) + offset)
            hours_left = len(self._hours) < 24 and later > offset  # noqa: PLR2004 - a * skips the hour
            first_skipped = self._first_wall(changed + offset)
            if hours_left and skipped is not None and skipped == first_skipped and skipped < changed + later:
                regular = self._first_wall(max(changed, start) + later)
                return min(skipped - offset, regular - later) if regular else skipped - offset
            here = changed
        return None

    def _offset(self, moment: datetime) -> timedelta:
        """What the zone's wall clock is ahead of UTC."""
        return moment.replace(tzinfo=UTC).astimezone(self._zone).utcoffset() or timedelta()

    def _changed(self, here: datetime, end: datetime) -> datetime | None:
        """When the offset first changes after `here`, and not later than `end`; None where it doesn't."""
        offset = self._offset(here)
        while here < end:
            there = min(here + _DAY, end)
            if self._offset(there) != offset:
                low, high = here, there
                while high - low > _AN_INSTANT:
                    middle = low + (high - low) / 2
                    low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
                return high.replace(microsecond=0)
            here = there
        return None

    def _first_wall(self, wall: datetime) -> datetime | None:
        """The first time of the expression from `wall` on, as if no clock were ever changed."""
        day = wall.date()
        within = -(-(wall - datetime.combine(day, time())) // timedelta(minutes=1))  # whole minutes, rounded up
        last = day + _FURTHEST
        while day < last:
            if day.month not in self._times.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            elif self._times.on(day) and (minutes := self._first_minute(within)) is not None:
                return datetime.combine(day, time()) + timedelta(minutes=minutes)
            else:
                day += _DAY
            within = 0
        return None

    def _first_minute(self, within: int) -> int | None:
        """The first minute of a day, counted from midnight, that is not before `within`."""
        hour, minute = divmod(within, 60)
        if hour in self._times.hours and minute <= self._minutes[-1]:
            return hour * 60 + self._minutes[bisect_left(self._minutes, minute)]
        later = bisect_left(self._hours, hour + 1)
        return self._hours[later] * 60 + self._minutes[0] if later < len(self._hours) else None


def trigger(expression: str, zone_name: str = "UTC") -> CronTrigger:
    """The trigger that fires when cron would. Raises ValueError."""
    return CronTrigger(parse(expression), zone(zone_name))


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
