"""A mark as Grafana has it, and what it should be once an event is added to what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from runner.grafana.events import OPEN, Event


@dataclass(frozen=True, slots=True)
class Written:
    """An annotation as it was read. Times in milliseconds since the epoch; a point ends when it starts.

    `ref` is its id or name; "" where Grafana doesn't tell one, so that it can be read and not changed.
    """

    ref: str
    text: str
    start: int
    end: int
    tags: tuple[str, ...]
    dashboard: str = ""

    @property
    def open(self) -> bool:
        """Whether it says of itself that it has not ended."""
        return OPEN in self.tags


class Api(Protocol):
    """One of Grafana's two ways to keep annotations. All raise Unavailable and Refused."""

    async def find(self, identity: Sequence[str]) -> list[Written]:
        """Those of this identity, the eldest first."""
        ...

    async def tagged(self, tags: Sequence[str]) -> list[Written]:
        """Those that carry all of these tags, whatever else they are: the latest 100, the eldest of them first."""
        ...

    async def write(self, event: Event, found: Sequence[Written]) -> None:
        """Brings what was found to what the event says; what is too many then is removed by `surplus` and `remove`."""
        ...

    def surplus(self, kept: Written, found: Sequence[Written]) -> list[Written]:
        """Those beside the one that is kept that should go."""
        ...

    async def remove(self, written: Written) -> None:
        """Takes one away."""
        ...


def milliseconds(seconds: float) -> int:
    """Grafana's unit."""
    return round(seconds * 1000)


def start_of(event: Event) -> int:
    """An event's start in milliseconds: its end where no start is known."""
    return milliseconds(event.start if event.start is not None else event.end or 0.0)


def end_of(event: Event) -> int:
    """Its end, never before its start (Grafana would swap the two without a word); its start while it is under way."""
    return max(start_of(event), milliseconds(event.end) if event.end is not None else 0)


def same(written: Written, event: Event) -> bool:
    """Whether this is what the event says. Where it hangs is not compared: Grafana may have moved it, and that is told apart."""
    times = (written.start, written.end) == (start_of(event), end_of(event))
    return times and written.text == event.text and set(written.tags) == set(event.all_tags)


def joined(event: Event, found: Sequence[Written]) -> Event:
    """What Grafana should hold, given what is there: the earliest start told, and the latest end.

    A start that is told late (out of the spool) doesn't open what has ended; an end that didn't know its start learns it.
    """
    starts = [w.start / 1000 for w in found] + ([event.start] if event.start is not None else [])
    start = min(starts) if starts else event.end
    ended = next((w for w in found if not w.open), None)
    if event.end is None and ended is not None:
        others = tuple(t for t in ended.tags if t not in event.identity)
        return replace(event, text=ended.text, tags=others, start=start, end=ended.end / 1000)
    return replace(event, start=start)
