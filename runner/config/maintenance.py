"""The section `maintenance:`: planned windows, once or again and again, and the checks that each one covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from judge.observation import Check
from probes.fields import Duration
from runner.config import cron
from runner.config.errors import Path
from runner.config.nodes import Entry, Items
from runner.config.placeholders import Source
from runner.config.sections import Section, Tag
from runner.config.validation import ConfigPart, Reading
from runner.config.windows import AfterCron, Covered, Once, Times, Weekly, Window, hours, instant

_DAY_MINUTES = 1440
_A_WEEK = 7  # days


class WindowKeys(Section):
    """A window in which no failure counts for an SLO or calls anybody.

    Once: from, and for or until. Again and again: cron and for, or hours. The checks go on running. Without checks, tags or targets it
    covers every check.
    """

    name: str = Field(min_length=1, max_length=100, description="What is done, such as: weekly vacuum.")
    why: str = Field(default="", max_length=500, description="Why, for whoever reads the page.")
    from_: str | None = Field(
        default=None, alias="from", description="When it begins, such as 2026-12-01T03:00.", examples=["2026-12-01T03:00"]
    )
    until: str | None = Field(default=None, description="When it ends, such as 2026-12-01T05:00.", examples=["2026-12-01T05:00"])
    cron: str | None = Field(default=None, description="A cron expression at whose times it begins.", examples=["@weekly"])
    for_: Duration | None = Field(default=None, alias="for", description="How long it lasts, such as 30m; with from or cron.")
    hours: str | None = Field(default=None, description="Times of the day, such as 22:00-02:00.", examples=["22:00-02:00"])
    days: str | None = Field(default=None, description="With hours: weekdays, such as mon-fri or sat,sun.", examples=["mon-fri"])
    zone: str | None = Field(default=None, description="Its time zone; by default that of defaults.", examples=["UTC"])
    checks: tuple[str, ...] = Field(default=(), description="The checks that it covers, by name.")
    tags: tuple[Tag, ...] = Field(default=(), description="It covers the checks that have one of these tags.")
    targets: tuple[str, ...] = Field(default=(), description="It covers the checks of these targets.")

    @model_validator(mode="after")
    def _one_of_from_cron_and_hours(self) -> Self:
        given = [key for key, value in (("from", self.from_), ("cron", self.cron), ("hours", self.hours)) if value is not None]
        if len(given) != 1:
            raise ValueError(
                "needs one of from, cron and hours, which say when it begins" if not given else f"has {' and '.join(given)}; keep one"
            )
        if self.days is not None and self.hours is None:
            raise ValueError("has days but no hours")
        if self.until is not None and self.from_ is None:
            raise ValueError("has an until but no from")
        if self.cron is not None and self.for_ is None:
            raise ValueError("has a cron and no for, which says how long it lasts")
        if self.from_ is not None and (self.for_ is None) == (self.until is None):
            raise ValueError("has a from, and needs either for or until")
        if self.hours is not None and self.for_ is not None:
            raise ValueError("has hours and a for; keep one of them")
        return self


def windows_of(
    reading: Reading, source: Source, zone: str, names: Mapping[str, tuple[str, ...]], planned: Mapping[str, Check | None]
) -> tuple[Window, ...]:
    """The windows of the file, in its order; what is wrong with them is reported. `zone` is that of a window which names none.

    `names` are the names by which checks may be meant, with the checks. `planned` has None for a check that is wrong: it may have any
    tag and target.
    """
    entry = reading.root.entries.get("maintenance")
    if entry is None:
        return ()
    if not isinstance(entry.node, Items):
        reading.report(entry.node.at, ("maintenance",), "must be a list of windows: - {name: ..., cron: ..., for: 30m}")
        return ()
    found, checks = [], [check for check in planned.values() if check]
    for number, node in enumerate(entry.node.items):
        path: Path = ("maintenance", number)
        valid = reading.validated(WindowKeys, ConfigPart(node, path, node.at, "a maintenance window"), source)
        if valid is None or valid.missing:
            continue
        keys, inside = valid.model, Entry("", node.at, node)
        covered = Covered(keys.checks, keys.tags, keys.targets)
        for key, place, message in covered.unknown(checks):
            if keys.checks[place] not in names if key == "checks" else len(checks) == len(planned):
                reading.report_inside(inside, path, (key, place), message)
        if (times := _times(keys, zone, lambda key, text: reading.report_inside(inside, path, (key,), text))) is not None:  # noqa: B023
            meant = tuple(one for name in keys.checks for one in names.get(name, ()))
            by = f"{node.at.named(reading.file.name)}:{node.at.line}"
            found.append(Window(keys.name, times, replace(covered, checks=meant), keys.why, by))
    return tuple(found)


def _times(keys: WindowKeys, zone: str, report: Callable[[str, str], None]) -> Times | None:
    """When the window is open; None after a problem."""
    key = "zone"
    try:
        tz = cron.zone(keys.zone if keys.zone is not None else zone)
        if keys.cron is not None and keys.for_ is not None:
            key = "cron"
            gap = cron.shortest_gap(keys.cron)
            key = "for"
            if keys.for_ >= gap:
                raise ValueError(f"is {keys.for_:g}s, and it begins again after {gap:g}s: it would never end; write a shorter one")
            return AfterCron(cron.CronTrigger(cron.parse(keys.cron), tz), keys.for_)
        if keys.hours is not None:
            key = "hours"
            start, end = hours(keys.hours)
            key = "days"
            days = cron.weekdays(keys.days) if keys.days is not None else frozenset(range(_A_WEEK))
            if len(days) == _A_WEEK and end - start == _DAY_MINUTES:
                key = "hours"
                raise ValueError("are all hours of all days: it would never end")
            return Weekly(days, start, end, tz)
        key = "from"
        begins = instant(keys.from_ or "", tz)
        key = "until"
        ends = instant(keys.until, tz) if keys.until is not None else begins + (keys.for_ or 0.0)
        if ends <= begins:
            raise ValueError("is not later than from")
        return Once(begins, ends)
    except (ValueError, OverflowError) as error:
        report(key, str(error))
        return None
