"""What is known of a run before it begins: whether it is long enough to decide, and what it will spend. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from judge.intervals import runs_needed
from loadtests.order import Order, SloOrder, UserTask
from loadtests.result import Spend
from loadtests.shapes import expected
from loadtests.tasks import requests_of

_NAMED = 4  # routes; more are counted
BESIDE = 4  # requests beside the load: a login, two for the revision, one to spare


def undecidable(order: Order, subjects: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence for each SLO that can't be proven by so few samples. `subjects` are the names of SLOs by subject."""
    for slo, members, samples, needed in _samples(order, subjects):
        if samples < needed:
            longer = order.duration * needed / max(samples, 1e-9)
            whose = ", ".join(members) if len(members) <= _NAMED else f"{len(members)} routes together"
            yield (
                f"too short to decide {slo.name} of {whose}: about {samples:,.0f} samples, but it takes {needed:,} without a bad one "
                f"to prove {slo.objective * 100:.6g} %; at this rate the run must last {math.ceil(longer)} s"
            )


def seconds_to_decide(order: Order, subjects: Mapping[str, Sequence[str]]) -> float:
    """How long a run at this rate must last so that chance leaves no SLO with too few samples; its own duration where that will do.

    The arrivals of a run vary by chance: three standard deviations more than needed are planned for.
    """
    planned = [(needed + 3 * math.sqrt(needed)) / max(samples, 1e-9) for _, _, samples, needed in _samples(order, subjects)]
    longest = math.ceil(order.duration * max(planned, default=0.0))
    return max(order.duration, float(longest))


def _samples(order: Order, subjects: Mapping[str, Sequence[str]]) -> Iterator[tuple[SloOrder, list[str], float, int]]:
    """For each SLO of an open load: the subjects that it is promised of, the samples to expect of them together, and those needed."""
    if order.arrivals == "closed":
        return
    steady = expected(order.stages, order.warm_up, order.duration - order.cool_down)
    weights = sum(order.mix.values())
    for slo in order.slos:
        members = [subject for subject, names in subjects.items() if slo.name in names]
        needed = runs_needed(slo.objective, order.confidence)
        if members and needed is not None:
            yield slo, members, steady * sum(order.mix[subject.partition("/")[0]] / weights for subject in members), needed


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit that requests count towards: all of them, or those for which `counts(method, path)` is true."""

    what: str
    name: str  # in the ledger
    most: float
    window: float  # seconds
    counts: Callable[[str, str], bool] | None = None

    def counted(self, task: UserTask) -> Iterator[str]:
        """The steps of a task that count, in any of its variants."""
        for index, step in enumerate(task.steps):
            if self.counts is None or any(self.counts(steps[index].method, steps[index].path) for steps in task.variants):
                yield step.name


def spends(order: Order, quotas: Sequence[Quota]) -> Iterator[Spend]:
    """What the run takes at most: of each quota that something counts towards, and of the target where it has no limit.

    Nothing is known of a closed loop that may send any number.
    """
    if order.arrivals == "closed" and not order.most_requests:
        return
    if all(quota.counts for quota in quotas):
        yield Spend(f"target {order.target.name}", requests_at_most(order, requests_of(order.tasks), beside=True), "requests")
    for quota in quotas:
        counted = {name: tuple(quota.counted(task)) for name, task in order.tasks.items()}
        if any(counted.values()):
            amount = requests_at_most(order, {name: len(steps) for name, steps in counted.items()}, beside=quota.counts is None)
            subjects = () if quota.counts is None else tuple(f"{name}/{step}" for name, steps in counted.items() for step in steps)
            yield Spend(quota.what, amount, "requests", quota.most, quota.window, quota.name, subjects)


def requests_at_most(order: Order, counted: Mapping[str, int], *, beside: bool = False) -> int:
    """How many requests the run may send, by the most that chance makes likely (six standard deviations).

    `counted` says how many requests of each task are meant. A redirect is not followed, so that every step is one request; `beside`
    counts the logins and the two requests for the revision, too.
    """
    closed = order.arrivals == "closed"
    tasks = order.most_requests / max(1.0, _mean_of(order, requests_of(order.tasks))) if closed else expected(order.stages)
    mean = tasks * _mean_of(order, counted)
    most = max((counted[task] for task in order.mix), default=1)
    drawn = order.arrivals != "even" or len(order.mix) > 1
    amount = math.ceil(mean + (6 * math.sqrt(mean * most) if drawn else most))
    if closed:
        amount = min(amount, order.most_requests)
    return amount + (BESIDE + max(1, order.workers, order.expect_workers) if beside else 0)


def _mean_of(order: Order, counted: Mapping[str, int]) -> float:
    """Requests of one task, on average over the mix."""
    return sum(weight * counted[task] for task, weight in order.mix.items()) / sum(order.mix.values())
