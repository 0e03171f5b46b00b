"""What a person sees of a load: a bar while it runs on a terminal, plain lines otherwise, and the verdict at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.text import Text

from loadtests.reports import words
from loadtests.result import Capacity, LoadReport, Progress

EVERY = 10.0  # seconds between two plain lines
_BAR = 28
_WIDE = 120  # columns from which on all of it stands in one line
_MOST_LINES = 8  # of reasons, and of what was judged
_COLOUR = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
_FULL = 1.0


class View:
    """Shows a run while it goes on, on standard error, so that data on standard output isn't mixed with it."""

    def __init__(self, console: Console, scenario: str, *, every: float = EVERY) -> None:
        self._console, self._scenario, self._every = console, scenario, every
        self._live: Live | None = None
        self._due = 0.0

    def live(self) -> AbstractContextManager[object]:
        """The bar's place, for as long as the run goes on."""
        if not self._console.is_terminal:
            return nullcontext()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        return self._live

    def show(self, now: Progress) -> None:
        """Draws the bar again; without a terminal prints a line every `every` seconds."""
        if self._live is not None:
            done = round(_BAR * min(1.0, now.at / now.duration)) if now.duration else _BAR
            when, _, figures = now_line(now).partition(" · ")
            text = Text.assemble(
                (self._scenario, "bold"), "  ", ("█" * done, "cyan"), ("░" * (_BAR - done), "dim"), f"  {when}", overflow="ellipsis"
            )
            text.append(f" · {figures}" if self._console.width >= _WIDE else f"\n  {figures}")
            for line in budget_line(now):
                text.append(f"\n  {line}", style="red" if max(now.budget.values()) > _FULL else "dim")
            text.no_wrap = True
            self._live.update(text, refresh=True)
        elif now.at >= self._due or now.at + self._every < self._due:  # the second: another run of a search has begun
            self._due = now.at + self._every
            self._console.print("\n".join(("  ".join((self._scenario, now_line(now))), *budget_line(now))), soft_wrap=True, markup=False)


def now_line(now: Progress) -> str:
    """`42 s of 60 s · 50/s due, 49.8/s begun · p95 301 ms · errors 0.02 %`; the rates and the p95 of the last second."""
    when = f"{now.at:.0f} s of {now.duration:.0f} s" if now.at <= now.duration else f"waiting for {now.in_flight} arrivals in flight"
    sent = f"{words.rate(now.offered)} due, {words.rate(now.rate)} begun"
    p95 = f"p95 {words.span(now.p95)}" if now.p95 is not None else "no response in this second"
    errors = f"errors {words.percent(now.errors / now.done)}" if now.done else "no response yet"
    parts = [when, *([sent] if now.at <= now.duration else []), p95, errors]
    late = [f"started {words.span(now.lag)} late"] if now.lag > 0.1 else []  # noqa: PLR2004 - what the verdict allows for 1 %
    return " · ".join([*parts, *late, *([now.note] if now.note else [])])


def budget_line(now: Progress) -> list[str]:
    """How much of its error budget the SLO that has used most of it has used."""
    if not now.budget:
        return []
    name, used = max(now.budget.items(), key=lambda item: item[1])
    return [f"error budget used: {words.percent_of_budget(used)} ({name})" if used else "error budget used: 0 %"]


def show_report(console: Console, report: LoadReport) -> None:
    """Prints the verdict first, then why, what was judged, and whether the generator was fast enough."""
    verdict = str(report.verdict)
    first = Text.assemble((verdict.upper(), f"bold {_COLOUR[verdict]}"), "  ", words.headline(report))
    console.print(first, soft_wrap=True)
    for line in lines(report):
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)


def lines(report: LoadReport) -> Iterator[str]:
    """What stands under the verdict."""
    reasons = [reason.text for reason in report.reasons]
    yield from _most(reasons)
    if not reasons:
        yield "every SLO is proven to be met"
        yield from _most([one.text for one in report.judgements])
    yield from _table(report)
    health = report.generator
    yield (
        "no arrival was due"
        if not health.offered
        else f"{health.started:,} of {health.offered:,} arrivals begun ({words.percent(health.achieved, 1)}), {health.dropped:,} dropped; "
        f"99 % of them began within {words.span(health.lag_p99)} of their due time"
    )
    if report.capacity is not None:
        yield from _capacity(report.capacity)
    yield from (note.text for note in report.notes)


def _table(report: LoadReport) -> Iterator[str]:
    """What each route did over the whole run: response times count from when its user was due."""
    seconds = max((period.ends for period in report.periods), default=0.0)
    rows: list[tuple[str, ...]] = [("", "requests", "rate", "p50", "p95", "p99", "max", "errors")]
    for task in report.tasks:
        if not task.done or (task.kind != "request" and report.offered.count != "journeys"):
            continue
        times = [words.span(task.response.quantile(share)) for share in (0.5, 0.95, 0.99)]
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(task.reasons.items(), key=lambda item: -item[1]))
        errors = f"{words.percent(task.errors / task.done)} ({reasons})" if task.errors else "0 %"
        rate = words.rate(task.done / seconds) if seconds else ""
        rows.append((task.name, f"{task.done:,}", rate, *times, words.span(task.response.largest), errors))
    if len(rows) == 1:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *figures, errors in rows:
        columns = (figure.rjust(width) for figure, width in zip(figures, widths[1:-1], strict=True))
        yield "  ".join([name.ljust(widths[0]), *columns, errors])


def _capacity(found: Capacity) -> Iterator[str]:
    """The curve by rate, and what was found."""
    for point in found.curve:
        figures = f"p95 {words.span(point.p95):>8}  errors {words.percent(point.errors)}"
        yield f"{words.rate(point.rate):>8}  {point.outcome:<12}  {figures}{'  (confirming)' if point.confirming else ''}"
    holds = f"{words.rate(found.holds)} meets the SLOs, confirmed by a second run" if found.holds else "no rate met the SLOs twice"
    above = f"; {words.rate(found.breaks)} doesn't meet them" if found.breaks else "" if found.ended else "; the ceiling was reached"
    yield holds + above
    if found.gave_way:
        yield f"what fails first: {found.gave_way}"
    if found.ended:
        yield f"the search ended early: {found.ended}"


def _most(texts: list[str]) -> list[str]:
    if len(texts) <= _MOST_LINES + 1:
        return texts
    return [*texts[:_MOST_LINES], f"and {len(texts) - _MOST_LINES} more, in the report (--html FILE)"]


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error, coloured where they are terminals and NO_COLOR isn't set."""
    return Console(highlight=False), Console(file=sys.stderr, highlight=False)
