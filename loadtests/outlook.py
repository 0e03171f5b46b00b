"""What can be said of a run before it begins: whether it is long enough to decide, and what it will spend. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from loadtests.order import Order
from loadtests.result import Spend
from loadtests.shapes import expected
from loadtests.tasks import Playable
from runner.judge.intervals import runs_needed


def undecidable(order: Order, subjects: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence for each SLO that so few samples can't prove even if all of them are good. `subjects` as loadtests.tasks.subjects.

    Routes that share all their SLOs are proven together, so their samples are added up.
    """
    if order.arrivals == "closed":
        return
    steady = expected(order.stages, order.warm_up, order.duration - order.cool_down)
    weights = sum(order.mix.values())
    objectives = {slo.name: slo.objective for slo in order.slos}
    families: dict[tuple[str, ...], float] = {}
    for subject, names in subjects.items():
        weight = order.mix[subject.partition("/")[0]] / weights
        families[tuple(names)] = families.get(tuple(names), 0.0) + steady * weight
    for names, samples in families.items():
        for name in names:
            needed = runs_needed(objectives[name], order.confidence)
            if needed is not None and samples < needed:
                longer = order.duration * needed / max(samples, 1e-9)
                members = [subject for subject, theirs in subjects.items() if tuple(theirs) == names]
                yield (
                    f"too short to decide {name} of {', '.join(members)}: about {samples:,.0f} samples, and {needed:,} without a bad one "
                    f"prove {objectives[name] * 100:.6g} %; {math.ceil(longer)} s would do at this rate"
                )


def spends(order: Order, tasks: Mapping[str, Playable], allowed: float | None, per: float | None) -> Iterator[Spend]:
    """What the run takes at most: requests of the target's limit, and stories, each of which costs the target a call of its model.

    Nothing can be said of a closed loop, which sends as much as it can.
    """
    if order.arrivals == "closed":
        return
    requests = {name: len(task.steps) for name, task in tasks.items()}
    yield Spend(f"target {order.target['name']}", requests_at_most(order, requests), "requests", allowed, per)
    stories = {name: sum("/stories/" in step.path for step in task.steps) for name, task in tasks.items()}
    if any(stories.values()):
        yield Spend("the story model", requests_at_most(order, stories), "stories")


def requests_at_most(order: Order, requests: Mapping[str, int]) -> int:
    """How many requests the run may send, by the most that chance makes likely (six standard deviations). `requests` by task.

    A redirect is not followed, so that every step is one request; the login and the two looks at the revision are among them.
    """
    weights = sum(order.mix.values())
    mean = expected(order.stages) * sum(order.mix[task] / weights * requests[task] for task in order.mix)
    most = max((requests[task] for task in order.mix), default=1)
    spread = 6 * math.sqrt(mean * most) if order.arrivals == "poisson" or len(order.mix) > 1 else most
    return math.ceil(mean + spread) + 4 + max(1, order.workers)
