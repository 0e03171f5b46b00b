"""How one observation counts for one SLO: the only place that decides it, so that every reader counts alike."""

from __future__ import annotations

from judge.observation import Observation, Slo
from probes.core import Verdict


def event(observation: Observation, slo: Slo) -> bool | None:
    """True for a good event, False for a bad one, None for no event at all.

    No event: the run was unknown (it says nothing of the target), fell into maintenance, or failed and wasn't confirmed (the
    re-check that passed is the event). A pass that missed a threshold by no more than the time for which the runner was busy is no
    event either: nobody knows whether the target was quick enough. A failed run is a bad event, however quickly it failed. A passed
    run is good when there is no threshold, or when what was measured is at most the threshold, compared exactly; a measure that the
    run didn't reach was not quick enough.
    """
    if observation.verdict is Verdict.UNKNOWN or observation.maintenance or not observation.confirmed:
        return None
    if observation.verdict is Verdict.FAIL:
        return False
    if slo.threshold is None:
        return True
    measured = _measured(observation, slo)
    if measured is None:
        return False
    if slo.threshold < measured <= slo.threshold + observation.stalled:
        return None
    return measured <= slo.threshold


def _measured(observation: Observation, slo: Slo) -> float | None:
    """The number that the SLO names; None too where a kind noted something else than a number under that name."""
    try:
        return observation.measured(slo.measure)
    except (TypeError, ValueError):
        return None
