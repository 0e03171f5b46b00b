"""How a run stands while it goes on: its rates, how much of each error budget is used, and which SLO is breached already. Pure."""

from __future__ import annotations

from loadtests.histogram import merged
from loadtests.order import Order
from loadtests.proof import blocks_between, share
from loadtests.record import Record
from loadtests.result import Progress


def progress(order: Order, whole: Record, recent: Record, at: float, *, in_flight: int, cpu: float) -> Progress:
    """What is shown while it runs: `recent` is what was counted since it was last shown, `at` the seconds since the start."""
    response = merged(second.response for second in recent.seconds.values())
    return Progress(
        at=max(0.0, at),
        duration=order.duration,
        rate=float(sum(second.started for second in recent.seconds.values())),
        offered=float(sum(second.offered for second in recent.seconds.values())),
        p95=response.quantile(0.95),
        errors=sum(second.errors for second in whole.seconds.values()),
        done=sum(second.done for second in whole.seconds.values()),
        in_flight=in_flight,
        lag=max((second.lag for second in recent.seconds.values()), default=0.0),
        cpu=cpu,
        budget=budget_used(order, whole),
        due=sum(second.offered for second in whole.seconds.values()),
        begun=sum(second.started for second in whole.seconds.values()),
    )


def breach(order: Order, record: Record, until: float) -> str:
    """For --abort-on-breach: the surest breach up to a time (seconds from the start), or "".

    Only seconds count whose arrivals have all come to an end: failures are quick, and what is still under way may yet be good.

    It is looked at again and again, so the chance of a false alarm is shared out over all the seconds of the run.
    """
    counted = record.by_slo()
    chance = (1 - order.confidence) / max(1.0, len(counted) * max(1.0, order.duration - order.warm_up))
    slos = {slo.name: slo for slo in order.slos}
    over = {at for at, second in record.seconds.items() if at + 1 <= until and second.done >= second.started}
    found: list[tuple[float, str]] = []
    for (subject, name), counts in counted.items():
        own = share(blocks_between({at: counts[at] for at in counts.keys() & over}, order.warm_up, until), order.confidence, 1 - chance)
        if own.high < slos[name].objective and own.observed is not None:
            text = f"{subject} {name}: {own.total - own.good:,} of {own.total:,} were bad after {until:.0f} s"
            found.append((own.high - slos[name].objective, text))
    return min(found)[1] if found else ""


def budget_used(order: Order, record: Record) -> dict[str, float]:
    """By subject and SLO, the share of the bad events that it may have which it has had so far; above 1 it is overspent."""
    objectives = {slo.name: slo.objective for slo in order.slos}
    used = {}
    for (subject, name), counts in record.by_slo().items():
        good, total = sum(p[0] for p in counts.values()), sum(p[1] for p in counts.values())
        allowed = total * (1 - objectives[name])
        used[f"{subject} {name}"] = (total - good) / allowed if allowed else 0.0
    return used
