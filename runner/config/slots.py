"""When a check is due: pure. Slots stand on the epoch, not on the start, so that a restart keeps each check's rhythm."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from apscheduler.triggers.base import BaseTrigger

from runner.config.cron import trigger
from runner.config.plan import After, Cron, Every, Planned

SOON = 10.0  # seconds within which a check that was not seen lately runs for the first time, unless there are very many
_FIRST_RUNS = 50.0  # first runs that begin in a second, beside the runs of checks that were seen lately
GRACE = 5.0  # seconds by which a run may come late, where its interval isn't shorter than twice that
_CLOCKS_DIFFER = 10.0  # seconds by which the clocks of two runners of one check may differ
_TICK = timedelta(microseconds=1)


def fraction(name: str) -> float:
    """Where in [0, 1) a check's name puts it: the same everywhere and for ever, and evenly spread over many names."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()[:6], "big") / 2**48


def slots(planned: Planned) -> After:
    """The check's slots: at its own phase of each interval, shifted by its location, or when its cron expression says so."""
    if isinstance(planned.schedule, Every):
        return every(planned.schedule.seconds, (fraction(planned.check.name) + planned.shift) % 1)
    return by_trigger(trigger(planned.schedule.expression, planned.schedule.zone))


def every(interval: float, part: float) -> After:
    """A slot in each interval since the epoch, `part` of the way through it."""
    phase = part * interval

    def after(moment: float) -> float:
        number = math.floor((moment - phase) / interval) + 1
        due = number * interval + phase
        return due if due > moment else due + interval  # what rounding took

    return after


def by_trigger(cron: BaseTrigger) -> After:
    """A slot whenever the trigger fires; none any more is infinitely far away."""

    def after(moment: float) -> float:
        found = cron.get_next_fire_time(None, datetime.fromtimestamp(moment, UTC) + _TICK)
        return found.timestamp() if found else math.inf

    return after


def soon(checks: int) -> float:
    """Seconds within which so many checks run for the first time: no run waits for another one, and a start is no flood."""
    return max(SOON, checks / _FIRST_RUNS)


def first(planned: Planned, after: After, now: float, last: float | None, *, elsewhere: bool = False, within: float = SOON) -> float:
    """When a check runs first: at its next slot; soon, where it wasn't seen within its interval and a slot has passed since.

    Soon is at most `within` seconds. Where the interval is no longer than that, its slots are as soon, and evenly spread.

    A check with a cron expression keeps its hour: it runs soon only if it was seen before and has missed a slot since. `elsewhere`: it
    was another runner that saw it last, whose clock may be ahead of this one's.
    """
    regular, interval = after(now), planned.check.interval
    if last is not None and elsewhere and isinstance(planned.schedule, Every) and regular - last < min(_CLOCKS_DIFFER, interval / 2):
        return after(regular)  # the other runner, whose clock is ahead of this one's, has run this slot already
    if last is None and isinstance(planned.schedule, Cron):
        return regular
    lately = last is not None and last <= now and (now - last < interval or after(last) > now)
    return regular if lately or 0 < interval <= within else min(regular, now + fraction(planned.check.name) * within)


def grace(interval: float) -> float:
    """By how many seconds a run may come late before it is missed instead. 0 stands for a cron expression of unknown gaps."""
    return min(GRACE, interval / 2) if interval else GRACE
