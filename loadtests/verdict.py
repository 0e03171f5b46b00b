"""The verdict of a load run, from its counts alone. Pure: a merged record and what is known of the generator in, a report out.

- A breach that is proven of one route or journey fails: over the steady part of the run, or within one of its sliding windows.
  Routes are never pooled to hide one of them.
- Passing needs proof: each SLO over all routes that it is promised of (the same objective at the same threshold; different SLOs
  are never added up), and no route below it. Neither proven: inconclusive.
- A saturated generator, a lost worker, another revision, nothing sent: inconclusive, whatever was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from judge.intervals import runs_needed
from judge.revision import same_revision
from judge.verdict import Outcome, combined
from loadtests.order import Order, SloOrder
from loadtests.proof import blocks_between, breaks, pooled, share, windows
from loadtests.record import Record, SecondCounts
from loadtests.result import Generator, Judgement, LoadReport, Offered, Period, Second, Task, VerdictReason, Window, Worker
from loadtests.sentences import failures, percent, sentence
from loadtests.shapes import peak
from probes.core import Reason
from probes.text import count, exact, latency

ACHIEVED = 0.98  # of what was due; below, the generator did not offer what it says
BUSY = 0.92  # of a core, over the busiest tenth of a worker's seconds, three at least
LATE = 0.1  # seconds that 1 % of the starts may lag behind
_NAMED = 4  # routes in a sentence; more are counted


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the counts."""

    started: float  # seconds since the epoch
    finished: float
    workers: tuple[Worker, ...] = ()
    revision_before: str = ""
    revision_after: str = ""
    interrupted: bool = False
    aborted: str = ""  # why --abort-on-breach ended it
    trouble: tuple[VerdictReason, ...] = field(default=())  # a refused login, a process that broke, ...
    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the SLOs of each subject, whether anything is counted or not


def judge(order: Order, record: Record, facts: Facts) -> LoadReport:
    """The whole report. Never raises, whatever is missing."""
    periods = periods_of(order, facts)
    judgements = judgements_of(order, record, periods, facts.wanted)
    generator = generator_of(order, record, facts.workers)
    reasons = [*_generator_reasons(order, record, generator, facts), *facts.trouble]
    invalid = any(reason.cause in ("saturated", "worker", "revision") for reason in reasons)
    found = list(_judged_reasons(judgements, order.slos))
    notes = list(_notes(order, facts))
    if invalid:
        notes += [VerdictReason(Outcome.PASS, "note", f"measured, but not judged: {r.text}", r.task, r.slo) for r in found]
    else:
        reasons += found
    order_of = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1, Outcome.PASS: 2}
    verdict = combined(r.outcome for r in reasons) if reasons else Outcome.PASS
    return LoadReport(
        order.scenario,
        verdict,
        tuple(sorted(reasons, key=lambda r: order_of[r.outcome])),
        tuple(notes),
        facts.started,
        facts.finished,
        offered_of(order),
        periods,
        judgements,
        seconds_of(record),
        tasks_of(order, record, periods),
        generator,
        facts.workers,
        facts.revision_before,
        facts.revision_after,
        order.spends,
        config=order.config,
        line=order.line,
    )


def offered_of(order: Order) -> Offered:
    """What was meant to be sent."""
    rate = peak(order.stages) if order.stages else 0.0
    name, address = order.target.name, order.target.url
    return Offered(
        order.arrivals, order.shape, order.stages, rate, order.duration, order.seed, order.mix, order.count, name, address, order.users
    )


def periods_of(order: Order, facts: Facts) -> tuple[Period, ...]:
    """Warm-up, steady and cool-down, in seconds from the start; cut where the run was."""
    end = order.duration
    if facts.interrupted or facts.aborted:
        end = min(end, max(0.0, facts.finished - facts.started))
    warm = min(order.warm_up, end)
    cool = min(order.cool_down, end - warm) if end == order.duration else 0.0  # a run that was cut has no end of its own
    found = (Period("warm-up", 0.0, warm), Period("steady", warm, end - cool), Period("cool-down", end - cool, end))
    return tuple(period for period in found if period.ends > period.begins)


def steady_of(periods: Sequence[Period]) -> Period:
    """The part that is judged."""
    return next((period for period in periods if period.name == "steady"), Period("steady", 0.0, 0.0))


def judgements_of(order: Order, record: Record, periods: Sequence[Period], wanted: Mapping[str, Sequence[str]]) -> tuple[Judgement, ...]:
    """Every subject's SLOs, those of which nothing was counted too: they prove nothing.

    An SLO is proven of all that it is promised of together: one objective, at one threshold.
    """
    steady = steady_of(periods)
    slos = {slo.name: slo for slo in order.slos}
    counted = record.by_slo()
    keys = sorted(counted.keys() | {(subject, name) for subject, names in wanted.items() for name in names})
    chance = (1 - order.confidence) / max(1, len(keys))
    relatives = {name: [counts for (_, slo), counts in counted.items() if slo == name] for name in slos}
    whole = {
        name: share(blocks_between(pooled(theirs), steady.begins, steady.ends), order.confidence).low for name, theirs in relatives.items()
    }
    return tuple(
        _judgement(
            order,
            subject,
            slos[name],
            counted.get((subject, name), {}),
            (whole[name], len(relatives[name])),
            steady,
            chance,
            failures(record.tasks.get(subject)),
        )
        for subject, name in keys
    )


def _judgement(
    order: Order,
    subject: str,
    slo: SloOrder,
    counts: Mapping[int, Sequence[int]],
    together: tuple[float, int],  # what all that share the SLO prove of it, and how many they are
    steady: Period,
    chance: float,
    errors: str,
) -> Judgement:
    own = share(blocks_between(counts, steady.begins, steady.ends), order.confidence, 1 - chance)
    whole, relatives = together
    found = tuple(_windows(order, counts, slo, steady, chance))
    needed = runs_needed(slo.objective, order.confidence)
    outcome = _outcome(own.observed, own.high, max(own.low, whole), slo.objective, found)
    text = sentence(subject, slo, (own.good, own.total), outcome, found, needed, relatives, own.low >= slo.objective)
    if errors and outcome is not Outcome.PASS:
        text += f"; errors of the whole run: {errors}"
    return Judgement(
        subject,
        slo.name,
        slo.objective,
        slo.threshold,
        slo.measure,
        own.good,
        own.total,
        own.low,
        own.high,
        order.confidence,
        own.effect,
        needed,
        outcome,
        text,
        found,
    )


def _outcome(observed: float | None, high: float, low: float, objective: float, found: Iterable[Window]) -> Outcome:
    if high < objective or any(window.broken for window in found):
        return Outcome.FAIL
    if observed is not None and observed >= objective and low >= objective:
        return Outcome.PASS
    return Outcome.INCONCLUSIVE


def _windows(order: Order, counts: Mapping[int, Sequence[int]], slo: SloOrder, steady: Period, chance: float) -> Iterator[Window]:
    """Windows that hold something; a breach within one must be surer, since many windows are looked at."""
    slid = [blocks for blocks in windows(counts, steady.begins, steady.ends, order.window) if any(total for _, total in blocks.pairs)]
    whole = sum(total for _, total in blocks_between(counts, steady.begins, steady.ends))
    for blocks in slid:
        broken = breaks(blocks.pairs, slo.objective, chance / len(slid), spare=whole * (1 - slo.objective))
        yield Window(blocks.begins, blocks.ends, sum(good for good, _ in blocks.pairs), sum(total for _, total in blocks.pairs), broken)


def generator_of(order: Order, record: Record, workers: Sequence[Worker]) -> Generator:
    """The generator's own health, and why it was saturated where it was."""
    offered = sum(second.offered for second in record.seconds.values())
    started = sum(second.started for second in record.seconds.values())
    dropped = sum(second.dropped for second in record.seconds.values())
    achieved = started / offered if offered else None
    late = record.lags.quantile(0.99)
    cpu = max((worker.cpu_peak for worker in workers), default=0.0)
    why = []
    if order.arrivals != "closed":
        if achieved is not None and (started + dropped) / offered < ACHIEVED:
            why.append(f"it began {percent(achieved)} of the arrivals that were due, and at least {percent(ACHIEVED)} is needed")
        if late is not None and late > LATE:
            why.append(f"1 % of the arrivals began {latency(late)} or more late, and at most {exact(LATE)} is allowed")
    if cpu > BUSY:
        why.append(f"a worker used {percent(cpu)} of its CPU core, and above {percent(BUSY)} its times can't be trusted")
    starved = [task for task in record.tasks.values() if task.kind == "request" and Reason.STARVED in task.reasons]
    if starved:
        unsent = sum(task.reasons[Reason.STARVED] for task in starved)
        why.append(f"{count(unsent, 'request')} could not be sent: {starved[0].messages[Reason.STARVED]}")
    largest = record.lags.largest or 0.0
    return Generator(offered, started, dropped, record.unfinished, achieved, late, largest, cpu, "; ".join(why))


def _generator_reasons(order: Order, record: Record, generator: Generator, facts: Facts) -> Iterator[VerdictReason]:
    if not any(one.done for one in record.tasks.values()) and not generator.dropped:
        yield VerdictReason(Outcome.INCONCLUSIVE, "nothing", "nothing was sent")
    if generator.saturated:
        yield VerdictReason(
            Outcome.INCONCLUSIVE, "saturated", f"the generator was saturated: {generator.saturated}; use more workers or a lower rate"
        )
    if generator.dropped:
        text = (
            f"{generator.dropped:,} of {generator.offered:,} arrivals could not begin, "
            f"because {order.most_in_flight:,} were in flight in a worker"
        )
        yield VerdictReason(Outcome.INCONCLUSIVE, "dropped", text)
    for worker in facts.workers:
        if worker.state != "done":
            yield VerdictReason(Outcome.INCONCLUSIVE, "worker", f"worker {worker.name} was lost: its part was not sent, or not counted")
    broke = generator.started - sum(second.done for second in record.seconds.values())
    if broke > 0 and all(worker.state == "done" for worker in facts.workers) and facts.workers:
        yield VerdictReason(
            Outcome.INCONCLUSIVE, "broken", f"{broke:,} arrivals began but were never counted as ended: this is an error of the generator"
        )
    before, after = facts.revision_before, facts.revision_after
    if before and after and not same_revision(before, after):
        yield VerdictReason(Outcome.INCONCLUSIVE, "revision", f"the target's revision changed from {before} to {after} during the run")
    if facts.interrupted:
        yield VerdictReason(
            Outcome.INCONCLUSIVE, "interrupted", f"interrupted after {facts.finished - facts.started:.0f} s of {order.duration:.0f} s"
        )


def _judged_reasons(judgements: Sequence[Judgement], slos: Sequence[SloOrder]) -> Iterator[VerdictReason]:
    for one in judgements:
        if one.outcome is Outcome.FAIL:
            whole = one.high < one.objective
            yield VerdictReason(Outcome.FAIL, "breach" if whole else "window", one.text, one.subject, one.slo)
        elif one.outcome is Outcome.INCONCLUSIVE and not _clean(one):
            yield VerdictReason(Outcome.INCONCLUSIVE, "short", one.text, one.subject, one.slo)
    for slo in slos:
        if slo.name not in {one.slo for one in judgements}:
            text = f"{slo.name}: the run measured nothing that this SLO applies to"
            yield VerdictReason(Outcome.INCONCLUSIVE, "nothing", text, slo=slo.name)
    yield from _too_few([one for one in judgements if one.outcome is Outcome.INCONCLUSIVE and _clean(one)])
    if not judgements:
        yield VerdictReason(Outcome.INCONCLUSIVE, "nothing", "no SLO was judged: no SLO of the scenario applies to its tasks")


def _clean(one: Judgement) -> bool:
    """Whether all that is wrong with it is that there are too few samples."""
    return one.share is not None and one.share >= one.objective


def _too_few(unproven: Sequence[Judgement]) -> Iterator[VerdictReason]:
    """One sentence for each SLO: what was counted of the routes that it couldn't be proven of."""
    for slo in dict.fromkeys(one.slo for one in unproven):
        mine = [one for one in unproven if one.slo == slo]
        counted, bad = sum(one.total for one in mine), sum(one.total - one.good for one in mine)
        whose = ", ".join(one.subject for one in mine) if len(mine) <= _NAMED else f"{len(mine)} routes"
        text = f"{slo}: too few samples to be sure of {whose}: {bad:,} of {counted:,} were bad"
        needed = mine[0].needed
        more = f"; {needed:,} without a bad one would prove {percent(mine[0].objective)}" if needed and not bad else ""
        yield VerdictReason(Outcome.INCONCLUSIVE, "short", text + more, slo=slo)


def _notes(order: Order, facts: Facts) -> Iterator[VerdictReason]:
    if facts.aborted:
        yield VerdictReason(Outcome.PASS, "aborted", f"ended early: {facts.aborted}")
    if order.arrivals == "closed":
        text = (
            "closed loop: users wait for responses, so a stalled target receives fewer requests; response time is the same as service time"
        )
        yield VerdictReason(Outcome.PASS, "note", text)


def seconds_of(record: Record) -> tuple[Second, ...]:
    """Every second from the first to the last, empty ones too."""
    if not record.seconds:
        return ()
    found = []
    for at in range(max(record.seconds) + 1):
        one = record.seconds.get(at, SecondCounts())
        found.append(Second(at, one.offered, one.started, one.dropped, one.done, one.errors, one.lag, one.response, one.service))
    return tuple(found)


def tasks_of(order: Order, record: Record, periods: Sequence[Period]) -> tuple[Task, ...]:
    """Tasks first, each with its requests behind it."""
    steady = steady_of(periods)
    found = []
    for name in sorted(record.tasks, key=lambda n: (list(order.mix).index(n.split("/")[0]) if n.split("/")[0] in order.mix else 999, n)):
        one = record.tasks[name]
        judged = max(
            (sum(t for _, t in blocks_between(c, steady.begins, steady.ends)) for c in record.counts.get(name, {}).values()), default=0
        )
        found.append(
            Task(
                name,
                one.kind,
                order.mix.get(name, 0.0),
                one.offered,
                one.started,
                one.dropped,
                one.done,
                judged,
                one.errors,
                one.reasons,
                one.messages,
                one.response,
                one.service,
                one.phases,
            )
        )
    return tuple(found)
