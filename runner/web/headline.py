"""The sentence on top of the page: which checks are down, and which of them depend on others that are down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from judge.findings import hangs
from probes.core import Verdict
from probes.text import listed
from runner.sinks.health import State

UP, DOWN, UNKNOWN, STALE, PENDING = "up", "down", "unknown", "stale", "pending"
_MOST = 4  # names in one list


def word(state: State, now: float) -> str:
    """A check's state in a word: up, down, unknown, stale or pending."""
    if state.latest is None:
        return PENDING
    if state.stale(now):
        return STALE
    return {Verdict.PASS: UP, Verdict.FAIL: DOWN, Verdict.UNKNOWN: UNKNOWN}[state.latest.verdict]


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence, a second one for everything less urgent, and the word that gives the page its colour and icon."""

    text: str
    more: str
    word: str


def headline(states: Sequence[State], now: float) -> Headline:
    """What somebody on call needs first. A check that is down but optional or in maintenance goes to the second sentence."""
    words = {state.check.name: word(state, now) for state in states}
    by_name = {state.check.name: state for state in states}
    maintained = [name for name, state in by_name.items() if state.maintenance]
    down = [name for name, state in words.items() if state == DOWN and name not in maintained]
    required = [name for name in down if by_name[name].check.required]
    doubtful = {name: state for name, state in words.items() if state in {UNKNOWN, STALE}}
    pending = [name for name, state in words.items() if state == PENDING]
    starting = [name for name in pending if not by_name[name].waits(now)]
    if len(pending) == len(words):
        starting = pending
    more = " ".join(
        _more(down if not required else [], doubtful if down else {}, pending if down or doubtful or not starting else [], maintained)
    )
    if required:
        return Headline(_down(down, by_name), more, DOWN)
    if doubtful:
        return Headline(f"{_of_all(len(doubtful), len(states))} {_doubt(doubtful)}: {listed(list(doubtful), _MOST)}.", more, UNKNOWN)
    if starting:
        return Headline(_starting(len(pending), len(states)), more, PENDING)
    return Headline(_up(sum(state == UP for state in words.values()), len(states)), more, UP)


def _of_all(number: int, total: int) -> str:
    """`3 of 12 checks are`, for a state to follow."""
    return f"{number:,} of {total:,} checks {'is' if number == 1 else 'are'}"


def _up(number: int, total: int) -> str:
    if not total:
        return "checks.yaml has no check."
    if number < total:
        return f"{_of_all(number, total)} up."
    return f"All {total:,} checks are up." if total > 1 else "The only check is up."


def _starting(pending: int, total: int) -> str:
    if pending == total:
        return "Starting: no check has run yet."
    return f"Starting: {pending:,} of {total:,} checks {'has' if pending == 1 else 'have'} not run yet."


def _doubt(doubtful: Mapping[str, str]) -> str:
    return " or ".join(state for state in (UNKNOWN, STALE) if state in doubtful.values())


def _more(optional: Sequence[str], doubtful: Mapping[str, str], pending: Sequence[str], maintained: Sequence[str]) -> Iterator[str]:
    if optional:
        yield f"Down, but optional: {listed(optional, _MOST)}."
    if doubtful:
        yield f"{_doubt(doubtful).capitalize()}: {listed(list(doubtful), _MOST)}."
    if pending:
        yield f"Pending: {listed(pending, _MOST)}."
    if maintained:
        yield f"In maintenance: {listed(maintained, _MOST)}."


def _down(down: Sequence[str], by_name: Mapping[str, State]) -> str:
    """`3 of 12 checks are down: database, and ready and api-report which depend on it`, as a sentence."""
    roots = causes(down, by_name)
    others = [name for name in down if name not in roots]
    start = f"{_of_all(len(down), len(by_name))} down"
    if not roots or not others:
        return f"{start}: {listed(roots or down, _MOST)}."
    depended_on = [root for root in roots if any(root in above(name, by_name) for name in others)]
    whom = listed(depended_on, _MOST) if len(depended_on) < len(roots) else "it" if len(roots) == 1 else "them"
    return f"{start}: {listed(roots, _MOST)}, and {listed(others, _MOST)} which {'depends' if len(others) == 1 else 'depend'} on {whom}."


def causes(down: Sequence[str], by_name: Mapping[str, State]) -> list[str]:
    """The checks that are down and depend on no other check that is down: where to look first.

    What hangs stands before the others: a service behind the application that hangs makes the application's checks time out.
    """
    roots = [name for name in down if not (set(above(name, by_name)) & set(down))]
    return sorted(roots, key=lambda name: not ((seen := by_name[name].latest) and hangs(seen)))


def above(name: str, by_name: Mapping[str, State]) -> Iterator[str]:
    """Everything that a check depends on, directly or not: its dependencies, its parent, and the check that it is compared with."""
    seen, coming = {name}, [name]
    while coming:
        check = by_name[coming.pop()].check
        for other in (*check.depends_on, check.part_of, check.compare_with):
            if other in by_name and other not in seen:
                seen.add(other)
                coming.append(other)
                yield other
