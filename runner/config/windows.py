"""When a window is open: once, after each time of a cron expression, or at hours of weekdays by a zone's wall clock. Pure.

Moments are seconds since the epoch. A window has its start in it, and not its end.

When the clocks change, a window after a cron expression lasts as long as ever, from the moment when cron would run. Hours of weekdays are
read from the wall clock: an hour that is skipped is no part of the window, and an hour that comes twice is part of it both times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Protocol
from zoneinfo import ZoneInfo

from judge.observation import Check
from probes.text import did_you_mean
from runner.config.cron import CronTrigger

_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})\Z")
_DAY_MINUTES = 1440
_MOST_JOINED = 1000  # times of a cron expression whose windows touch, joined to one
_LONGEST_DAYS = 8  # a window of weekdays ends within a week, and begins again within one


@dataclass(frozen=True, slots=True)
class Span:
    """An open window: from `start` to before `end`, in seconds since the epoch."""

    start: float
    end: float


class Times(Protocol):
    """When a window is open."""

    def span(self, moment: float) -> Span | None:
        """The first span that ends after a moment: the one that is open then, or else the next one. None where none comes."""
        ...


@dataclass(frozen=True, slots=True)
class Once:
    """A single span."""

    start: float
    end: float

    def span(self, moment: float) -> Span | None:
        """The span, until it has ended."""
        return Span(self.start, self.end) if moment < self.end else None


@dataclass(frozen=True, slots=True)
class AfterCron:
    """Open for `seconds` from each time of a cron expression."""

    cron: CronTrigger
    seconds: float

    def span(self, moment: float) -> Span | None:
        """The open span, or the next one. Where one begins before another has ended, they are one."""
        start = self._first_after(moment - self.seconds)
        if start is None:
            return None
        end = start + self.seconds
        for _ in range(_MOST_JOINED):
            later = self._first_after(end - self.seconds)
            if later is None or later > end:
                break
            end = later + self.seconds
        return Span(start, end)

    def _first_after(self, moment: float) -> float | None:
        found = self.cron.get_next_fire_time(None, datetime.fromtimestamp(moment, UTC) + timedelta(microseconds=1))
        return found.timestamp() if found else None


@dataclass(frozen=True, slots=True)
class Weekly:
    """Open on some weekdays (Sunday is 0) from one minute of the day to another. Where the end isn't later, it is on the next day."""

    days: frozenset[int]
    start: int  # minutes after midnight, by the wall clock
    end: int
    zone: ZoneInfo

    def is_open(self, moment: float) -> bool:
        """Whether the wall clock shows a time of the window."""
        local = datetime.fromtimestamp(moment, self.zone)
        minute, today = local.hour * 60 + local.minute, local.isoweekday() % 7
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        return (today in self.days and minute >= self.start) or ((today - 1) % 7 in self.days and minute < self.end)

    def span(self, moment: float) -> Span | None:
        """The open span, or the next one."""
        edges = sorted(self._edges(datetime.fromtimestamp(moment, self.zone).date()))
        start = None
        for edge, following in pairwise(edges):
            if not self.is_open(edge):
                start = None
                continue
            start = edge if start is None else start
            if following > moment and not self.is_open(following):
                return Span(start, following)
        return None

    def _edges(self, day: date) -> Iterator[float]:
        """All moments around a day at which the window may open or close: its hours, midnight, and the changes of the clocks."""
        walls = {time(minute // 60, minute % 60) for minute in (0, self.start, self.end % _DAY_MINUTES)}
        for number in range(-_LONGEST_DAYS, 2 * _LONGEST_DAYS):
            each = day + timedelta(days=number)
            begins = datetime.combine(each, time(), UTC).timestamp()
            yield from _changes(begins, begins + 60 * _DAY_MINUTES, self.zone)
            for wall in walls:
                for fold in (0, 1):
                    yield datetime.combine(each, wall, self.zone).replace(fold=fold).timestamp()


def _changes(low: float, high: float, zone: ZoneInfo) -> Iterator[float]:
    """The moment between two others, a day apart, at which a zone's clocks are changed, to the second."""
    offset = datetime.fromtimestamp(low, zone).utcoffset()
    if datetime.fromtimestamp(high, zone).utcoffset() == offset:
        return
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    yield high


@dataclass(frozen=True, slots=True)
class Covered:
    """The checks that something is about: by name, tag or target; all of them where none of the three is given."""

    checks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def __contains__(self, check: Check) -> bool:
        if not (self.checks or self.tags or self.targets):
            return True
        named = check.name in self.checks or check.part_of in self.checks
        return named or check.target in self.targets or not set(self.tags).isdisjoint(check.tags)

    def unknown(self, checks: Iterable[Check]) -> Iterator[tuple[str, int, str]]:
        """What no check has: the key, the place in its list, and a message with what may have been meant."""
        checks = tuple(checks)
        for key, words, known in (
            ("checks", self.checks, {check.name for check in checks}),
            ("tags", self.tags, {tag for check in checks for tag in check.tags}),
            ("targets", self.targets, {check.target for check in checks if check.target}),
        ):
            for place, word in enumerate(words):
                if word not in known:
                    what = {"checks": "there is no check", "tags": "no check has the tag", "targets": "no check asks the target"}[key]
                    yield key, place, f"{what} {word}{did_you_mean(word, known)}"


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window: when it is open, for which checks, and who opened it and why."""

    name: str
    times: Times
    covered: Covered
    why: str = ""
    by: str = ""  # who opened it; `checks.yaml:12` for one of the file
    id: str = ""  # of one that was opened by hand


@dataclass(frozen=True, slots=True)
class Maintained:
    """A window, and when it is open now or next."""

    window: Window
    span: Span


def hours(text: str) -> tuple[int, int]:
    """`22:00-02:00` as minutes after midnight; 24:00 is the end of a day. Raises ValueError."""
    found = _HOURS.match(text)
    if found is None:
        raise ValueError("write two times of the day, such as 22:00-02:00")
    numbers = [int(part) for part in found.groups()]
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if max(numbers[1], numbers[3]) > 59 or start >= _DAY_MINUTES or end > _DAY_MINUTES:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f"{text} has a time that no clock shows; write them like 22:00-02:00, and 24:00 for the end of a day")
    if start == end:
        raise ValueError(f"{text} begins and ends at the same time; write 00:00-24:00 for whole days")
    return start, end


def instant(text: str, zone: ZoneInfo) -> float:
    """The moment of 2026-12-01T03:00 by a zone's wall clock, or with an offset of its own. Raises ValueError."""
    try:
        wall = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no moment; write it like 2026-12-01T03:00") from None
    if wall.tzinfo is not None:
        return wall.timestamp()
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.timestamp()
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall:
        raise ValueError(f"{text} doesn't exist in {zone.key}: the clocks skip it; write a time before or after it")
    raise ValueError(f"{text} comes twice in {zone.key}, since the clocks are set back; write it with its offset: {first.isoformat()}")
