"""The report as one HTML file that needs nothing else: style and plots are in it, no script, no address that is fetched.

Every text is escaped by the template, and the page forbids its browser scripts and fetching besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from judge.verdict import Outcome
from loadtests.histogram import LatencyHistogram, merged
from loadtests.reports import charts, words
from loadtests.reports.plot import Scale
from loadtests.result import Generator, Judgement, LoadReport, Task, Worker
from probes.text import moment

SHAPE = {outcome: str(outcome) for outcome in Outcome}
_PLACES = ("report.html", "page.css")
_MOST_REASONS = 5  # before the rest is folded away
_INTERVAL = 150.0  # how wide an interval is drawn


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what stands beside it; `shape` colours it where it is good or bad."""

    name: str
    value: str
    shape: str = ""


@dataclass(frozen=True, slots=True)
class ProvenShare:
    """What is known of a share, on a scale that ends at 100 %: from `low` to `high`, observed and promised."""

    low: float
    high: float
    observed: float
    promised: float
    begins: str
    says: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One SLO of one route or journey as its row shows it."""

    judged: Judgement
    shape: str
    word: str
    promise: str
    bad: str
    share: str
    interval: ProvenShare | None
    windows: tuple[tuple[float, float, str, str], ...]  # x, width, style, text


@dataclass(frozen=True, slots=True)
class Row:
    """A task, one of its requests, or a phase of one."""

    name: str
    level: int
    done: str
    errors: str
    bad: bool
    figures: tuple[str, ...]  # p50, p95, p99, the longest, p95 of service time


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a task's errors were errors."""

    name: str
    reason: str
    count: int
    text: str


def write(report: LoadReport) -> str:
    """The whole page."""
    here = files("loadtests.reports")
    sources = {name: (here / name).read_text("utf-8") for name in _PLACES}
    environment = Environment(loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html").render(
        report=report,
        css=Markup(sources["page.css"]),  # noqa: S704 - our own file, nothing of the run is in it
        state=SHAPE[report.verdict],
        when=moment(report.started),
        headline=words.headline(report),
        reasons=[(SHAPE[reason.outcome], reason.text) for reason in report.reasons],
        most=_MOST_REASONS if len(report.reasons) > _MOST_REASONS + 1 else len(report.reasons),
        notes=[note.text for note in report.notes],
        figures=figures(report),
        verdicts=[verdict(one, report) for one in report.judgements],
        charts=charts.charts(report),
        capacity=report.capacity and capacity_words(report),
        curve=report.capacity and charts.capacity_chart(report.capacity),
        rows=[row for task in report.tasks for row in rows(task)],
        faults=list(faults(report.tasks)),
        health=health(report.generator, report.offered.arrivals),
        workers=[worker(one) for one in report.workers],
        about=list(about(report)),
        confidence=words.promise(report.judgements[0].confidence) if report.judgements else "",
    )


def figures(report: LoadReport) -> list[Fact]:
    """What is read first, under the verdict."""
    response = merged(second.response for second in report.seconds)
    done, errors = sum(s.done for s in report.seconds), sum(s.errors for s in report.seconds)
    seconds = max(len(report.seconds), 1)
    return [
        Fact("done", words.rate(done / min(seconds, report.offered.duration or seconds))),
        Fact("p50", words.span(response.quantile(0.5))),
        Fact("p95", words.span(response.quantile(0.95))),
        Fact("p99", words.span(response.quantile(0.99))),
        Fact("errors", words.percent(errors / done if done else None), "fail" if errors else ""),
        Fact("arrivals begun", words.percent(report.generator.achieved, 1)),
    ]


def verdict(one: Judgement, report: LoadReport) -> Verdict:
    """A judgement's row."""
    limit = f"{words.promise(one.objective)} {'within ' + words.threshold(one.threshold) if one.threshold is not None else 'good'}"
    promise = f"{limit}{' (' + one.measure + ')' if one.measure else ''}"
    bad = f"{one.total - one.good:,} of {one.total:,}"
    last = max(report.offered.duration, *(w.ends for w in one.windows), 1.0) if one.windows else 1.0
    x = Scale(0.0, last, 0.0, _INTERVAL)
    slid = tuple(
        (
            x(w.begins),
            max(1.0, x(w.ends) - x(w.begins)),
            "bad",
            f"breached from {w.begins:.0f} s to {w.ends:.0f} s: {w.total - w.good:,} of {w.total:,} bad",
        )
        for w in one.windows
        if w.broken
    )
    return Verdict(one, SHAPE[one.outcome], words.WORD[one.outcome], promise, bad, words.percent(one.share), interval(one), slid)


def interval(one: Judgement) -> ProvenShare | None:
    """The scale begins where all of it is seen: 0, 50, 80, 90, 95, 99, 99.5, ... %. None where nothing was counted."""
    if one.share is None:
        return None
    least = min(one.low, one.objective - (1 - one.objective), one.share)
    begins = max((edge for edge in (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999) if edge <= least), default=0.0)
    x = Scale(begins, 1.0, 2.0, _INTERVAL - 2.0)
    says = f"between {words.percent(one.low)} and {words.percent(one.high)}, objective {words.promise(one.objective)}"
    return ProvenShare(x(one.low), x(one.high), x(one.share), x(one.objective), words.promise(begins), says)


def rows(task: Task) -> Iterator[Row]:
    """A task or request, and its phases under it."""
    level = 1 if task.kind == "request" else 0
    own, errors = task.response, words.count(task.errors) if task.errors else "0"
    yield Row(
        task.name, level, words.count(task.done), errors, task.errors > 0, (*_percentiles(own), words.span(task.service.quantile(0.95)))
    )
    for name, histogram in sorted(task.phases.items()):
        if name.startswith("step."):  # a request with a row of its own
            continue
        yield Row(name.replace("_", " "), level + 1, words.count(histogram.count), "", False, (*_percentiles(histogram), ""))  # noqa: FBT003 - no error


def _percentiles(histogram: LatencyHistogram) -> tuple[str, ...]:
    return (*(words.span(histogram.quantile(share)) for share in (0.5, 0.95, 0.99)), words.span(histogram.largest))


def faults(tasks: Sequence[Task]) -> Iterator[Fault]:
    """The reasons of errors, those of requests where there are any (a task's own are the same ones again)."""
    some = [task for task in tasks if task.kind == "request" and task.reasons]
    failed_tasks = {(task.name.partition("/")[0], reason) for task in some for reason in task.reasons}
    for task in tasks:
        for reason, number in sorted(task.reasons.items(), key=lambda item: -item[1]):
            if task.kind == "request" or (task.name, reason) not in failed_tasks:
                yield Fault(task.name, reason, number, task.messages.get(reason, ""))


def health(generator: Generator, arrivals: str) -> list[Fact]:
    """Whether the generator may be believed."""
    late = generator.lag_p99
    found = [
        Fact("begun", f"{generator.started:,} of {generator.offered:,} ({words.percent(generator.achieved, 1)})"),
        Fact("dropped", f"{generator.dropped:,}", "fail" if generator.dropped else ""),
        Fact("not ended", f"{generator.unfinished:,}", "inconclusive" if generator.unfinished else ""),
        Fact("busiest worker", f"{generator.cpu_peak * 100:.0f} % of its core"),
    ]
    if arrivals != "closed":
        found.insert(1, Fact("late by", f"99 % by at most {words.span(late)}, the last by {words.span(generator.lag_max)}"))
    if generator.saturated:
        found.append(Fact("saturated", generator.saturated, "fail"))
    return found


def worker(one: Worker) -> tuple[str, str, str, str, str, str]:
    """A worker's row: name, state, sent, mean and peak of its core, its longest lag."""
    return one.name, one.state, f"{one.sent:,}", f"{one.cpu * 100:.0f} %", f"{one.cpu_peak * 100:.0f} %", words.span(one.lag)


def capacity_words(report: LoadReport) -> list[Fact]:
    """What the search has found."""
    found = report.capacity
    if found is None:
        return []
    holds = words.rate(found.holds) if found.holds else "no tried rate"
    facts = [Fact("meets the SLOs, confirmed", holds, "pass" if found.holds else "fail")]
    facts.append(Fact("doesn't meet them", words.rate(found.breaks) if found.breaks else "none up to the ceiling"))
    if found.gave_way:
        facts.append(Fact("fails first", found.gave_way))
    if found.ended:
        facts.append(Fact("the search ended early", found.ended))
    return facts


def about(report: LoadReport) -> Iterator[Fact]:
    """What it takes to run the same again."""
    offered = report.offered
    weights = sum(offered.mix.values()) or 1
    yield Fact("scenario", f"{report.scenario} ({report.config}:{report.line})" if report.config else report.scenario)
    yield Fact("target", f"{offered.target} at {offered.address}" if offered.address else offered.target)
    if report.revision_before or report.revision_after:
        same = report.revision_before == report.revision_after
        yield Fact("revision", report.revision_before if same else f"{report.revision_before or '?'}, then {report.revision_after or '?'}")
    yield Fact("load", f"{words.load(report)}, {offered.shape}, {offered.arrivals} arrivals, seed {offered.seed}")
    yield Fact("judged", f"by whole {offered.count}" if offered.count == "journeys" else f"by {offered.count}, each route for itself")
    yield Fact("mix", ", ".join(f"{name} {weight / weights * 100:.3g} %" for name, weight in offered.mix.items()))
    yield Fact("parts", ", ".join(f"{period.name} {period.begins:g} s to {period.ends:g} s" for period in report.periods))
    yield Fact("ran", f"{moment(report.started)} to {moment(report.finished)[11:]}")
    for spend in report.spends:
        allowed = f" of {spend.allowed:,.0f} in {words.duration(spend.per)}" if spend.allowed and spend.per else ""
        yield Fact(f"of {spend.what}", f"{math.ceil(spend.amount):,} {spend.unit}{allowed}, estimated before the start")
