"""Where to look next, from what other checks say: pure. A finding changes no verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from judge.observation import Observation
from probes.core import Reason, Verdict


def finding(observation: Observation, latest: Mapping[str, Observation]) -> str:
    """What the latest observations of other checks say of this one, in a sentence; empty where they say nothing."""
    return "; ".join(dict.fromkeys(_findings(observation, latest)))


def _findings(observation: Observation, latest: Mapping[str, Observation]) -> Iterator[str]:
    check = observation.check
    if observation.reason is Reason.TIMEOUT:
        for other in latest.values():
            if other.check.name != check.name and _hangs(other):
                yield f"{other.check.name} accepts connections but doesn't respond"
    if observation.verdict is Verdict.FAIL:
        for parent in check.depends_on:
            if (above := latest.get(parent)) and above.verdict is Verdict.FAIL and not _hangs(above):
                yield f"shares the failure of {parent}"
    if same := latest.get(check.compare_with):
        yield from _compared(observation, same)


def _hangs(other: Observation) -> bool:
    """A service behind the application that takes connections and then says nothing: a stopped process, not a dead one."""
    return other.reason is Reason.TIMEOUT and not other.check.target and not other.check.part_of and "connect" in other.phases


def _compared(observation: Observation, other: Observation) -> Iterator[str]:
    """Whether the check that measures the same by itself agrees."""
    both = observation.verdict, other.verdict
    name = other.check.name
    if both == (Verdict.FAIL, Verdict.FAIL):
        yield f"{name} fails too"
    elif both == (Verdict.FAIL, Verdict.PASS):
        yield f"disagrees with {name}, which passes"
    elif both == (Verdict.PASS, Verdict.FAIL):
        yield f"disagrees with {name}, which fails"
