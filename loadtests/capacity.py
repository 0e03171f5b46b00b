"""The search for the highest rate that holds the SLOs. Pure: it asks for runs and takes their reports."""

from __future__ import annotations

from collections.abc import Generator as Generating
from dataclasses import dataclass

from loadtests.histogram import merged
from loadtests.result import Capacity, LoadReport, Point
from runner.judge.verdict import Outcome

_GROWS = 2.0  # times as long in the last third as in the first
_FELT = 0.1  # seconds more, at least


@dataclass(frozen=True, slots=True)
class Search:
    """Where to begin, what may never be exceeded, and when two rates are near enough (a share of the higher one)."""

    rate: float
    ceiling: float
    near: float = 0.1
    most_runs: int = 16


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that the search wants: a rate, and whether it confirms one that held."""

    rate: float
    confirming: bool = False


def search(plan: Search) -> Generating[Trial, LoadReport, Capacity]:
    """Yields trials, is sent their reports, and returns what was found.

    Doubles until a rate doesn't hold or the ceiling is reached, then halves the gap; the highest that held must hold once more,
    else it counts as one that doesn't, and the search goes on below. An inconclusive run (a
    saturated generator, most often) is no proof that a rate holds, and no more is one in which a queue grew: it is tried once
    more, and then bounds the search from above like one that doesn't.
    """
    curve: list[Point] = []
    holds: float | None = None
    confirmed: float | None = None
    breaks: float | None = None
    rate = min(plan.rate, plan.ceiling)
    while len(curve) < plan.most_runs:
        point = yield from _try(Trial(rate, confirming=rate == holds), curve, plan)
        if point.outcome is Outcome.PASS and rate == holds:
            confirmed = rate
            if _near(holds, breaks, plan):
                break
        elif point.outcome is Outcome.PASS:
            holds = rate
        else:
            breaks = min(rate, breaks) if breaks is not None else rate
            holds = confirmed if holds is not None and holds >= rate else holds
        if holds is not None and (_near(holds, breaks, plan)) and confirmed != holds:
            rate = holds
            continue
        if holds is not None and confirmed == holds and _near(holds, breaks, plan):
            break
        rate = _next(holds, breaks, plan)
        if rate <= 0:
            break
    return Capacity(confirmed, breaks, tuple(sorted(curve, key=lambda p: p.rate)), _gave_way(curve, breaks))


def _try(trial: Trial, curve: list[Point], plan: Search) -> Generating[Trial, LoadReport, Point]:
    point = point_of((yield trial), trial)
    curve.append(point)
    if point.outcome is Outcome.INCONCLUSIVE and len(curve) < plan.most_runs:
        point = point_of((yield trial), trial)
        curve.append(point)
    return point


def _near(holds: float, breaks: float | None, plan: Search) -> bool:
    return holds >= plan.ceiling if breaks is None else breaks - holds <= plan.near * breaks


def _next(holds: float | None, breaks: float | None, plan: Search) -> float:
    if breaks is None:
        return min(plan.ceiling, 2 * (holds or plan.rate))
    if holds is None:
        lower = breaks / 2
        return lower if lower >= plan.rate / 64 else 0.0
    return (holds + breaks) / 2


def point_of(report: LoadReport, trial: Trial) -> Point:
    """One point of the curve."""
    whole = merged(second.response for second in report.seconds)
    done = sum(second.done for second in report.seconds)
    errors = sum(second.errors for second in report.seconds)
    grows = growth(report) if report.verdict is Outcome.PASS else ""
    failed = sorted((j for j in report.judgements if j.outcome is Outcome.FAIL), key=lambda j: j.high - j.objective)
    return Point(
        trial.rate,
        Outcome.INCONCLUSIVE if grows else report.verdict,
        report.generator.achieved,
        whole.quantile(0.5),
        whole.quantile(0.95),
        whole.quantile(0.99),
        errors / done if done else 0.0,
        trial.confirming,
        tuple(f"{j.subject} {j.slo}" for j in failed) or tuple(reason.text for reason in report.reasons[:1]) or ((grows,) if grows else ()),
    )


def growth(report: LoadReport) -> str:
    """Whether users waited longer and longer while the rate stayed the same: such a rate would break the SLOs in a longer run.

    The mean response time of the last third of the steady part against that of its first third.
    """
    steady = next((mark for mark in report.marks if mark.name == "steady"), None)
    if steady is None:
        return ""
    third = (steady.ends - steady.begins) / 3
    first, last = (
        merged(s.response for s in report.seconds if begins <= s.at < begins + third).mean
        for begins in (steady.begins, steady.ends - third)
    )
    if first is None or last is None or last < _GROWS * first or last - first < _FELT:
        return ""
    return f"the wait grew from {first * 1000:.0f} ms to {last * 1000:.0f} ms within {steady.ends - steady.begins:.0f} s: a queue"


def _gave_way(curve: list[Point], breaks: float | None) -> str:
    """What broke at the lowest rate that did."""
    at = [point for point in curve if point.rate == breaks and point.outcome is not Outcome.PASS]
    return next((point.broke[0] for point in at if point.broke), "")
