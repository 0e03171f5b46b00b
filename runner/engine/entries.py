"""The checks of a schedule, each with its next slot, and the beats that they go with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apscheduler.triggers.base import BaseTrigger

from runner.config.cron import trigger
from runner.config.plan import After, Every, Planned
from runner.config.slots import fraction, grace
from runner.engine.cadences import Handle, regular

LONGEST_BEAT = 60.0  # seconds: a timer runs by the monotonic clock, and no longer than this out of step with the wall's
AT_ONCE = 500  # checks that one beat looks at: setting their timers takes some milliseconds


@dataclass(slots=True, eq=False)
class Entry:
    """One scheduled check, and when it is due next (seconds since the epoch)."""

    planned: Planned
    after: After
    due: float
    ahead: float  # by how many seconds its beat looks ahead
    until: float = 0.0  # what its last beat looked ahead to
    timer: Handle | None = None

    @property
    def name(self) -> str:
        """The check's."""
        return self.planned.check.name

    @property
    def grace(self) -> float:
        """By how many seconds a run may come late."""
        return grace(self.planned.check.interval)

    def unset(self) -> None:
        """Its timer won't come."""
        if self.timer:
            self.timer.cancel()
        self.timer = None


def beat_of(planned: Planned) -> tuple[str, float]:
    """The beat that a check goes with, and by how many seconds it looks ahead."""
    if isinstance(planned.schedule, Every):
        period = min(planned.schedule.seconds, LONGEST_BEAT)
        return f"every {period:g} s", period
    return f"cron {planned.schedule.expression} {planned.schedule.zone}", LONGEST_BEAT


def beats(entries: Iterable[Entry]) -> Iterator[tuple[str, BaseTrigger, tuple[Entry, ...]]]:
    """The beats that a plan needs: name, trigger and checks of each; in parts, by their phase, where they are very many."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[beat_of(entry.planned)[0]].append(entry)
    for name, group in groups.items():
        schedule = group[0].planned.schedule
        if not isinstance(schedule, Every):
            yield name, trigger(schedule.expression, schedule.zone), tuple(group)
            continue
        parts = -(-len(group) // AT_ONCE)
        for part in range(parts):
            own = tuple(entry for entry in group if int(fraction(entry.name) * parts) == part)
            yield f"{name}, part {part + 1} of {parts}", regular(group[0].ahead, group[0].ahead * part / parts), own
