"""What can be said of a run before it begins: whether it is long enough to decide, and what it will spend. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from judge.intervals import runs_needed
from loadtests.order import Order
from loadtests.result import Spend
from loadtests.shapes import expected
from loadtests.tasks import Playable, requests_of

_NAMED = 4  # routes; more are counted
BESIDE = 4  # requests beside the load: a login, two looks at the revision, one to spare


def undecidable(order: Order, subjects: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence for each SLO that so few samples can't prove even if all of them are good. `subjects` as loadtests.tasks.subjects.

    An SLO is proven of all that it is promised of together, so their samples are added up.
    """
    if order.arrivals == "closed":
        return
    steady = expected(order.stages, order.warm_up, order.duration - order.cool_down)
    weights = sum(order.mix.values())
    for slo in order.slos:
        members = [subject for subject, names in subjects.items() if slo.name in names]
        samples = steady * sum(order.mix[subject.partition("/")[0]] / weights for subject in members)
        needed = runs_needed(slo.objective, order.confidence)
        if members and needed is not None and samples < needed:
            longer = order.duration * needed / max(samples, 1e-9)
            whose = ", ".join(members) if len(members) <= _NAMED else f"{len(members)} routes together"
            yield (
                f"too short to decide {slo.name} of {whose}: about {samples:,.0f} samples, but it takes {needed:,} without a bad one "
                f"to prove {slo.objective * 100:.6g} %; at this rate the run must last {math.ceil(longer)} s"
            )


@dataclass(frozen=True, slots=True)
class Purse:
    """A limit of which requests take: all of them, or those that `pays_for` names by method and path."""

    what: str
    name: str  # in the ledger
    most: float
    window: float  # seconds
    pays_for: Callable[[str, str], bool] | None = None


def spends(order: Order, tasks: Mapping[str, Playable], purses: Sequence[Purse]) -> Iterator[Spend]:
    """What the run takes at most: of each purse that has to pay for something, and of the target where it has no limit.

    Nothing can be said of a closed loop that may send any number.
    """
    if order.arrivals == "closed" and not order.most_requests:
        return
    if all(purse.pays_for for purse in purses):
        yield Spend(f"target {order.target['name']}", requests_at_most(order, tasks, requests_of(tasks), beside=True), "requests")
    for purse in purses:
        paid = {name: tuple(_paid(task, purse)) for name, task in tasks.items()}
        if any(paid.values()):
            counts = {name: len(steps) for name, steps in paid.items()}
            amount = requests_at_most(order, tasks, counts, beside=purse.pays_for is None)
            subjects = () if purse.pays_for is None else tuple(f"{name}/{step}" for name, steps in paid.items() for step in steps)
            yield Spend(purse.what, amount, "requests", purse.most, purse.window, purse.name, subjects)


def _paid(task: Playable, purse: Purse) -> Iterator[str]:
    """The steps of a task for which a purse pays, in any of its variants."""
    for index, step in enumerate(task.steps):
        if purse.pays_for is None or any(purse.pays_for(steps[index].method, steps[index].path) for steps in task.variants):
            yield step.name


def requests_at_most(order: Order, tasks: Mapping[str, Playable], counted: Mapping[str, int], *, beside: bool = False) -> int:
    """How many requests the run may send, by the most that chance makes likely (six standard deviations).

    `counted` are those of each task that are meant. A redirect is not followed, so that every step is one request; `beside` counts
    the logins and the two looks at the revision, too.
    """
    mean = playings(order, tasks) * _each(order, counted)
    most = max((counted[task] for task in order.mix), default=1)
    drawn = order.arrivals != "even" or len(order.mix) > 1
    amount = math.ceil(mean + (6 * math.sqrt(mean * most) if drawn else most))
    if order.arrivals == "closed":
        amount = min(amount, order.most_requests)
    return amount + (BESIDE + max(1, order.workers, order.expect_workers) if beside else 0)


def playings(order: Order, tasks: Mapping[str, Playable]) -> float:
    """How many tasks are played on average: as many as arrive, or as many as a closed loop's requests suffice for."""
    if order.arrivals == "closed":
        return order.most_requests / max(1.0, _each(order, requests_of(tasks)))
    return expected(order.stages)


def _each(order: Order, counted: Mapping[str, int]) -> float:
    """Requests of one task, on average."""
    return sum(weight * counted[task] for task, weight in order.mix.items()) / sum(order.mix.values())
