"""The one sentence on top of the page: what is closed, and what is so only because of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from probes.core import Verdict
from runner.sinks.health import State
from runner.web.words import count, listed

OPEN, CLOSED, UNSURE, STALE, WAITING = "open", "closed", "can't tell", "no news", "not seen yet"


def word(state: State, now: float) -> str:
    """A check's state in a word: one of the five above."""
    if state.latest is None:
        return WAITING
    if state.stale(now):
        return STALE
    return {Verdict.PASS: OPEN, Verdict.FAIL: CLOSED, Verdict.UNKNOWN: UNSURE}[state.latest.verdict]


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence, a second one where there is more to say, and the word that gives the page its colour and icon."""

    text: str
    more: str
    word: str


def headline(states: Sequence[State], now: float) -> Headline:
    """What somebody on call needs first. Checks in maintenance are told apart, and optional ones don't close the road."""
    words = {state.check.name: word(state, now) for state in states}
    by_name = {state.check.name: state for state in states}
    at_work = [name for name, state in by_name.items() if state.latest is not None and state.latest.maintenance]
    closed = [name for name, told in words.items() if told == CLOSED and name not in at_work]
    needed = [name for name in closed if by_name[name].check.required]
    unsure = [name for name, told in words.items() if told in {UNSURE, STALE}]
    waiting = [name for name, told in words.items() if told == WAITING]
    more = " ".join(_more(closed if not needed else [], unsure if closed else [], waiting if closed or unsure else [], at_work))
    if needed:
        return Headline(_closed(closed, by_name), more, CLOSED)
    if unsure:
        return Headline(f"We can't tell about {count(len(unsure))} of {_roads(len(states))}: {listed(unsure)}.", more, UNSURE)
    if waiting:
        return Headline(_on_the_way(waiting, len(states)), more, WAITING)
    return Headline("Everything that users need is open." if states else "No road is watched: checks.yaml has no check.", more, OPEN)


def _roads(number: int) -> str:
    return f"{count(number)} road{'' if number == 1 else 's'}"


def _on_the_way(waiting: Sequence[str], total: int) -> str:
    if len(waiting) == total:
        return "Just set out: no road is seen yet."
    return f"Just set out: {count(len(waiting))} of {_roads(total)} {'is' if len(waiting) == 1 else 'are'} not seen yet."


def _more(optional: Sequence[str], unsure: Sequence[str], waiting: Sequence[str], at_work: Sequence[str]) -> Iterator[str]:
    if optional:
        yield f"{listed(optional)} {'is' if len(optional) == 1 else 'are'} closed, and optional."
    if unsure:
        yield f"We can't tell about {listed(unsure)}."
    if waiting:
        yield f"Not seen yet: {listed(waiting)}."
    if at_work:
        yield f"In maintenance: {listed(at_work)}."


def _closed(closed: Sequence[str], by_name: Mapping[str, State]) -> str:
    """Says `Two of fourteen roads are closed: database, and what depends on it`."""
    roots = causes(closed, by_name)
    start = f"{count(len(closed)).capitalize()} of {_roads(len(by_name))} {'is' if len(closed) == 1 else 'are'} closed"
    if len(roots) == len(closed) or not roots:
        return f"{start}: {listed(closed)}."
    return f"{start}: {listed(roots)}, and what depends on {'it' if len(roots) == 1 else 'them'}."


def causes(closed: Sequence[str], by_name: Mapping[str, State]) -> list[str]:
    """Of the closed checks those that stand on no other closed one: where to look first."""
    return [name for name in closed if not (set(above(name, by_name)) & set(closed))]


def above(name: str, by_name: Mapping[str, State]) -> Iterator[str]:
    """What a check stands on, however far below: its dependencies, its parent, and the check that measures the same."""
    seen, coming = {name}, [name]
    while coming:
        check = by_name[coming.pop()].check
        for other in (*check.depends_on, check.part_of, check.compare_with):
            if other in by_name and other not in seen:
                seen.add(other)
                coming.append(other)
                yield other
