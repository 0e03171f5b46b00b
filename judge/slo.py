"""How one event counts for one SLO: the only place that decides it, for the runs of probes and the requests of loads alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from judge.observation import Observation, Slo
from probes.core import Verdict


def good(*, passed: bool, measured: float | None, threshold: float | None, tolerance: float = 0.0) -> bool | None:
    """True for a good event, False for a bad one, None for no event at all.

    What failed is a bad event, however quickly it failed. What passed is good when there is no threshold, or when what was measured is
    at most the threshold, compared exactly; a measure that wasn't reached was not quick enough. What missed the threshold by no more
    than `tolerance`, the seconds by which the measurement may be too long, is no event: nobody knows whether it was quick enough.
    """
    if not passed:
        return False
    if threshold is None:
        return True
    if measured is None:
        return False
    if threshold < measured <= threshold + tolerance:
        return None
    return measured <= threshold


def event(observation: Observation, slo: Slo) -> bool | None:
    """How a probe's run counts for an SLO.

    A run is no event when it was unknown (it says nothing of the target), fell into maintenance, or failed and wasn't confirmed (the
    re-check that passed is the event). Its times may be too long by as much as the runner was busy meanwhile.
    """
    if observation.verdict is Verdict.UNKNOWN or observation.maintenance or not observation.confirmed:
        return None
    try:
        measured = observation.measured(slo.measure)
    except (TypeError, ValueError):  # a kind noted something else than a number under that name
        measured = None
    return good(passed=observation.verdict is Verdict.PASS, measured=measured, threshold=slo.threshold, tolerance=observation.stalled)


def count_events(observation: Observation, slos: Iterable[Slo], before: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Events and good ones of each SLO, by its name, with one more run counted."""
    counts = {}
    for slo in slos:
        events, goods = before.get(slo.name, (0, 0))
        found = event(observation, slo)
        counts[slo.name] = (events, goods) if found is None else (events + 1, goods + found)
    return counts
