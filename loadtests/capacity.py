"""The search for the highest rate that holds the SLOs. Pure: it asks for runs and takes their reports."""

from __future__ import annotations

from collections.abc import Generator as Generating
from collections.abc import Mapping
from dataclasses import dataclass, replace

from judge.verdict import Outcome
from loadtests.histogram import merged
from loadtests.result import Capacity, LoadReport, Point, VerdictReason

_GROWS = 2.0  # times as long in the last third as in the first
_FELT = 0.1  # seconds more, at least
_LOWEST = 64  # parts of the first rate: below it the search gives up


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The first rate, the highest that is allowed, and how near two rates must be to end the search (a share of the higher one)."""

    rate: float
    ceiling: float
    near: float = 0.1
    most_runs: int = 16


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that the search wants: a rate, and whether it confirms one that held."""

    rate: float
    confirming: bool = False


class SearchStopped(Exception):  # noqa: N818 - what is thrown into a search to end it
    """No further trial can be run; its text says why."""


def search(plan: SearchPlan) -> Generating[Trial, LoadReport, Capacity]:
    """A generator: it yields trials, takes their reports, and returns the result.

    Doubles until a rate doesn't hold or the ceiling is reached, then halves the gap; the highest that held must hold once more,
    else it counts as one that doesn't, and the search goes on below. An inconclusive run (a saturated generator, most often) is
    no proof that a rate holds, and no more is one in which a queue grew: it is tried once more, and then bounds the search from
    above like one that doesn't. SearchStopped, thrown in instead of a report, ends it with what was found until then.
    """
    found = _SearchState(plan)
    try:
        yield from found.moves()
    except SearchStopped as why:
        found.ended = str(why)
    return found.capacity()


def ended(moves: Generating[Trial, LoadReport, Capacity], why: str) -> Capacity:
    """The result of a search that is stopped before its end."""
    try:
        moves.throw(SearchStopped(why))
    except StopIteration as over:
        found: Capacity = over.value
        return found
    raise AssertionError("a search ends when SearchStopped is thrown in")


def shown(found: Capacity, reports: Mapping[float, LoadReport]) -> LoadReport:
    """The report of the rate that holds, else of the lowest that was tried, which can't be a pass: nothing held twice."""
    if found.holds is not None:
        return replace(reports[found.holds], capacity=found)
    lowest = replace(reports[min(reports)], capacity=found)
    if lowest.verdict is not Outcome.PASS:
        return lowest
    why = VerdictReason(Outcome.INCONCLUSIVE, "search", f"no rate met the SLOs twice: {found.ended or 'the search has used all its runs'}")
    return replace(lowest, verdict=Outcome.INCONCLUSIVE, reasons=(why, *lowest.reasons))


class _SearchState:
    """The highest rate that held so far, the one that held twice, and the lowest that didn't hold."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._curve: list[Point] = []
        self._holds: float | None = None
        self._confirmed: float | None = None
        self._breaks: float | None = None
        self.ended = ""

    def capacity(self) -> Capacity:
        curve = tuple(sorted(self._curve, key=lambda point: point.rate))
        broke = [point.broke for point in self._curve if point.rate == self._breaks and point.outcome is not Outcome.PASS and point.broke]
        return Capacity(self._confirmed, self._breaks, curve, broke[0][0] if broke else "", self.ended)

    def moves(self) -> Generating[Trial, LoadReport, None]:
        rate = min(self._plan.rate, self._plan.ceiling)
        while rate > 0 and len(self._curve) < self._plan.most_runs:
            point = yield from self._try(Trial(rate, confirming=rate == self._holds))
            if point.outcome is not Outcome.PASS:
                self._breaks = point.rate if self._breaks is None else min(point.rate, self._breaks)
                passed = (tried.rate for tried in self._curve if tried.outcome is Outcome.PASS and tried.rate < self._breaks)
                self._holds = max(passed, default=None)
            elif point.rate == self._holds:
                self._confirmed = point.rate
            else:
                self._holds = point.rate
            if self._holds is None or not self._near():
                rate = self._next()
            elif self._confirmed == self._holds:
                return
            else:
                rate = self._holds

    def _try(self, trial: Trial) -> Generating[Trial, LoadReport, Point]:
        """Runs a trial, and repeats it once where it is inconclusive."""
        point = point_of((yield trial), trial)
        self._curve.append(point)
        if point.outcome is Outcome.INCONCLUSIVE and len(self._curve) < self._plan.most_runs:
            point = point_of((yield trial), trial)
            self._curve.append(point)
        return point

    def _near(self) -> bool:
        if self._holds is None:
            return False
        return self._holds >= self._plan.ceiling if self._breaks is None else self._breaks - self._holds <= self._plan.near * self._breaks

    def _next(self) -> float:
        """The next rate to try; 0 where there is none."""
        if self._breaks is None:
            return min(self._plan.ceiling, 2 * (self._holds or self._plan.rate))
        if self._holds is None:
            lower = self._breaks / 2
            return lower if lower >= self._plan.rate / _LOWEST else 0.0
        return (self._holds + self._breaks) / 2


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
    steady = next((period for period in report.periods if period.name == "steady"), None)
    if steady is None:
        return ""
    third = (steady.ends - steady.begins) / 3
    first, last = (
        merged(s.response for s in report.seconds if begins <= s.at < begins + third).mean
        for begins in (steady.begins, steady.ends - third)
    )
    if first is None or last is None or last < _GROWS * first or last - first < _FELT:
        return ""
    return f"the wait grew from {first * 1000:.0f} ms to {last * 1000:.0f} ms within {steady.ends - steady.begins:.0f} s: a queue builds up"
