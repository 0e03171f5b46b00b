"""What a gate is asked to do, and who is shown what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from judge.observation import Observation


@dataclass(frozen=True, slots=True)
class Settings:
    """One gate. Times in seconds. With `span` it judges for so long instead of `rounds` times."""

    expect: str = ""  # the revision that must answer; "": any
    wait: float = 300.0
    rounds: int = 5
    span: float | None = None
    consecutive: int = 5
    require_slo: bool = False
    fail_on_slower: float | None = None  # a share: 0.3 for 30 %
    pace: float = 1.0  # from the start of a round to that of the next
    pace_of_span: float = 2.0  # the same where it judges for a span: 2 minutes make 60 rounds, enough to decide a p95


class Shown(Protocol):
    """Who is shown what goes on while it goes on."""

    def say(self, text: str) -> None:
        """What is being waited for or done now."""
        ...

    def ran(self, seen: Observation, *, judged: bool = True) -> None:
        """One run is over."""
        ...
