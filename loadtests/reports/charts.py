"""The plots of a load report: what was offered and begun, response time by percentile and as a heat map, errors, lag, capacity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from judge.verdict import Outcome
from loadtests.histogram import LatencyHistogram, merged
from loadtests.reports import plot
from loadtests.reports.words import count, percent, rate, span, threshold
from loadtests.result import Capacity, LoadReport, Second

MOST_COLUMNS = 240  # more would be narrower than a person sees
SHADES = 7
ROWS_PER_DOUBLING = 3
_RATE, _LATENCY, _HEAT, _SMALL = 190.0, 260.0, 260.0, 110.0


@dataclass(frozen=True, slots=True)
class Column:
    """One or more seconds of a run, added up exactly."""

    begins: float
    ends: float
    offered: int
    started: int
    dropped: int
    done: int
    errors: int
    lag: float
    response: LatencyHistogram
    service: LatencyHistogram

    @property
    def middle(self) -> float:
        """Where a point of it stands."""
        return (self.begins + self.ends) / 2

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.ends - self.begins


def columns(seconds: Sequence[Second]) -> list[Column]:
    """The seconds of a run, put together so that no more than MOST_COLUMNS are left."""
    size = max(1, math.ceil(len(seconds) / MOST_COLUMNS))
    return [_column(seconds[start : start + size]) for start in range(0, len(seconds), size)]


def _column(some: Sequence[Second]) -> Column:
    return Column(
        some[0].at,
        some[-1].at + 1,
        sum(s.offered for s in some),
        sum(s.started for s in some),
        sum(s.dropped for s in some),
        sum(s.done for s in some),
        sum(s.errors for s in some),
        max(s.lag for s in some),
        merged(s.response for s in some),
        merged(s.service for s in some),
    )


def charts(report: LoadReport) -> list[plot.Chart]:
    """The plots that this run has something for, in the order in which they are read."""
    cut = columns(report.seconds)
    if not cut:
        return []
    made = [_rates(report, cut)]
    if any(column.response.count for column in cut):
        made += [_latency(report, cut), _heat(report, cut)]
    if any(column.errors for column in cut):
        made.append(_errors(report, cut))
    if report.offered.arrivals != "closed":
        made.append(_lag(report, cut))
    return made


def _time(report: LoadReport, cut: Sequence[Column]) -> tuple[plot.Scale, tuple[plot.Tick, ...], tuple[plot.Band, ...]]:
    """The axis of time, which all plots share, and the marked stretches."""
    last = max(cut[-1].ends, 1.0)
    x = plot.across(0.0, last)
    ticks = tuple(plot.Tick(x(tick.at), tick.text) for tick in plot.clock(last))
    bands = tuple(plot.Band(x(m.begins), round(x(m.ends) - x(m.begins), 1), m.name) for m in report.periods if m.name != "steady")
    return x, ticks, bands


def _rates(report: LoadReport, cut: Sequence[Column]) -> plot.Chart:
    x, across, bands = _time(report, cut)
    ticks = plot.nice(max(max(c.offered, c.started, c.done) / c.seconds for c in cut))
    y = plot.up(0.0, ticks[-1], _RATE)

    def line(of: Sequence[int]) -> str:
        return plot.path(plot.stairs([(c.begins, c.ends, n / c.seconds) for c, n in zip(cut, of, strict=True)]), x, y)

    dropped = [plot.Cell(x(c.begins), y(c.dropped / c.seconds), _w(x, c), y(0) - y(c.dropped / c.seconds), "bad", _dropped(c)) for c in cut]
    text = f"{count(sum(c.offered for c in cut))} arrivals were due, {count(sum(c.started for c in cut))} begun"
    good = plot.Line(line([c.done - c.errors for c in cut]), "good", "done without error")
    return plot.Chart(
        "rate",
        "Arrivals a second",
        f"Arrivals a second over time: {text}.",
        _RATE,
        across,
        tuple(plot.Tick(y(t), rate(t)) for t in ticks),
        lines=(plot.Line(line([c.offered for c in cut]), "meant", "due"), plot.Line(line([c.started for c in cut]), "main", "begun"), good),
        cells=tuple(cell for cell, c in zip(dropped, cut, strict=True) if c.dropped),
        bands=bands,
        under="An arrival belongs to the second in which it was due, even if it ended later."
        + (" Red: dropped, because too many were in flight." if any(c.dropped for c in cut) else ""),
    )


def _dropped(column: Column) -> str:
    return f"{column.begins:.0f} s: {column.dropped} dropped"


def _w(x: plot.Scale, column: Column) -> float:
    return round(max(0.5, x(column.ends) - x(column.begins)), 1)


def _latency(report: LoadReport, cut: Sequence[Column]) -> plot.Chart:
    x, across, bands = _time(report, cut)
    low, high = _range(report, cut)
    y = plot.up(low, high, _LATENCY, log=True)
    whole = merged(c.response for c in cut)
    lines = [
        plot.Line(plot.path([(c.middle, c.response.quantile(share)) for c in cut], x, y), style, name, span(whole.quantile(share)))
        for share, style, name in ((0.99, "high", "p99"), (0.95, "main", "p95"), (0.5, "low", "p50"))
    ]
    service = plot.path([(c.middle, c.service.quantile(0.95)) for c in cut], x, y)
    own = merged(c.service for c in cut).quantile(0.95)
    lines.append(plot.Line(service, "aside", "p95 of service time", span(own)))
    figures = ", ".join(f"{line.name} {line.ends}" for line in lines)
    return plot.Chart(
        "latency",
        "Response time",
        f"Response time by percentile over time; over the whole run {figures}.",
        _LATENCY,
        across,
        tuple(plot.Tick(y(t), threshold(t)) for t in plot.decades(low, high)),
        lines=tuple(lines),
        bands=bands,
        rules=tuple(_thresholds(report, y, low, high)),
        under="From the moment at which an arrival was due until its response was complete; service time starts when it is sent. "
        "Figures include the warm-up. The scale is logarithmic.",
    )


def _thresholds(report: LoadReport, y: plot.Scale, low: float, high: float) -> Iterator[plot.Rule]:
    """The thresholds of SLOs over whole answers; those of a phase or a step belong to no line here."""
    by_value: dict[float, list[str]] = {}
    for one in report.judgements:
        if one.threshold is not None and not one.measure and low < one.threshold < high:
            names = by_value.setdefault(one.threshold, [])
            names += [one.slo] if one.slo not in names else []
    for value, names in sorted(by_value.items()):
        yield plot.Rule(y(value), f"{threshold(value)}: {', '.join(names)}")


def _range(report: LoadReport, cut: Sequence[Column]) -> tuple[float, float]:
    """What the logarithmic axes of both latency plots span: all answers and all thresholds, in whole rows of the heat map."""
    promised = [one.threshold for one in report.judgements if one.threshold is not None and not one.measure]
    smallest = min(*promised, *(c.response.smallest for c in cut if c.response.smallest is not None), math.inf)
    largest = max(*promised, *(c.response.largest for c in cut if c.response.largest is not None), 0.0)
    low, high = max(smallest, 1e-4), max(largest, 4e-4)
    high = max(high, 4 * low)
    return 2.0 ** (_row(low) / ROWS_PER_DOUBLING), 2.0 ** ((_row(high * 1.2) + 1) / ROWS_PER_DOUBLING)


def _row(seconds: float) -> int:
    return math.floor(math.log2(max(seconds, 1e-9)) * ROWS_PER_DOUBLING + 1e-9)


def _heat(report: LoadReport, cut: Sequence[Column]) -> plot.Chart:
    x, across, bands = _time(report, cut)
    low, high = _range(report, cut)
    y = plot.up(low, high, _HEAT, log=True)
    by_column = [_rows_of(c.response) for c in cut]
    most = max((n for rows in by_column for n in rows.values()), default=1)
    cells = []
    for column, rows in zip(cut, by_column, strict=True):
        for row, number in sorted(rows.items()):
            below, above = 2.0 ** (row / ROWS_PER_DOUBLING), 2.0 ** ((row + 1) / ROWS_PER_DOUBLING)
            text = f"{column.begins:.0f} s: {count(number)} of {span(below)} to {span(above)}"
            height = max(0.5, round(y(below) - y(above), 1))
            cells.append(plot.Cell(x(column.begins), y(above), _w(x, column), height, f"heat{_shade(number, most)}", text))
    return plot.Chart(
        "heat",
        "Every response, by when it was due and how long it took",
        f"A heat map of response times over time; the darkest cell has {count(most)}.",
        _HEAT,
        across,
        tuple(plot.Tick(y(t), threshold(t)) for t in plot.decades(low, high)),
        cells=tuple(cells),
        bands=bands,
        rules=tuple(_thresholds(report, y, low, high)),
        under=f"Darker cells have more responses, on a logarithmic scale; the darkest has {count(most)}.",
    )


def _rows_of(histogram: LatencyHistogram) -> Counter[int]:
    rows: Counter[int] = Counter()
    for low, high, number in histogram.bars():
        rows[_row(max(math.sqrt(low * high) if low else high, 1e-4))] += number
    return rows


def _shade(number: int, most: int) -> int:
    """1 to SHADES, by the logarithm: one odd answer must be seen beside thousands."""
    return 1 + round((SHADES - 1) * math.log1p(number - 1) / math.log1p(max(most - 1, 1)))


def _errors(report: LoadReport, cut: Sequence[Column]) -> plot.Chart:
    x, across, bands = _time(report, cut)
    ticks = plot.nice(max(c.errors / c.seconds for c in cut), 2)
    y = plot.up(0.0, ticks[-1], _SMALL)
    cells = tuple(
        plot.Cell(
            x(c.begins),
            y(c.errors / c.seconds),
            _w(x, c),
            round(y(0) - y(c.errors / c.seconds), 1),
            "bad",
            f"{c.begins:.0f} s: {c.errors} of {c.done} failed",
        )
        for c in cut
        if c.errors
    )
    failed, done = sum(c.errors for c in cut), sum(c.done for c in cut)
    text = f"{count(failed)} of {count(done)} failed ({percent(failed / done if done else None)})"
    return plot.Chart(
        "errors",
        "Errors a second",
        f"Errors a second over time: {text}.",
        _SMALL,
        across,
        tuple(plot.Tick(y(t), rate(t)) for t in ticks),
        cells=cells,
        bands=bands,
        under=f"{text[0].upper()}{text[1:]}; the table below shows what failed and why.",
    )


def _lag(report: LoadReport, cut: Sequence[Column]) -> plot.Chart:
    x, across, bands = _time(report, cut)
    ticks = plot.nice(max(0.02, *(c.lag for c in cut)), 2)
    y = plot.up(0.0, ticks[-1], _SMALL)
    corners = plot.stairs([(c.begins, c.ends, c.lag) for c in cut])
    return plot.Chart(
        "lag",
        "How late the generator began",
        f"The longest delay of a start over time, at most {span(report.generator.lag_max)}.",
        _SMALL,
        across,
        tuple(plot.Tick(y(t), "0" if not t else threshold(round(t, 6))) for t in ticks),
        lines=(plot.Line(plot.path(corners, x, y), "aside solid", "longest in its second", f"at most {span(report.generator.lag_max)}"),),
        bands=bands,
        under="The generator's own delay; response times include it. If 1 % of the arrivals begin more than 100 ms late, "
        "the run is inconclusive.",
    )


_DOT = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.INCONCLUSIVE: "inconclusive"}


def capacity_chart(capacity: Capacity) -> plot.Chart | None:
    """The curve of a search: response time by rate, each tried rate a point that says whether it held. None without a point."""
    curve = sorted((p for p in capacity.curve if p.p95), key=lambda p: p.rate)
    if not curve:
        return None
    ticks = plot.nice(curve[-1].rate * 1.02, 8)
    x = plot.across(0.0, ticks[-1])
    figures = [f for p in curve for f in (p.p50, p.p95, p.p99) if f]
    low, high = min(figures) / 1.3, max(figures) * 1.3
    y = plot.up(low, high, _LATENCY, log=True)
    lines = [
        plot.Line(plot.path([(p.rate, getattr(p, name)) for p in curve], x, y), style, name)
        for name, style in (("p99", "high"), ("p95", "main"), ("p50", "low"))
    ]
    dots = tuple(
        plot.Dot(x(p.rate), y(p.p95 or low), _DOT[p.outcome], f"{rate(p.rate)}: {p.outcome}, p95 {span(p.p95)}, {percent(p.errors)} errors")
        for p in curve
    )
    held = f"{rate(capacity.holds)} meets the SLOs" if capacity.holds else "no tried rate meets the SLOs"
    broke = f", {rate(capacity.breaks)} doesn't" if capacity.breaks else ""
    return plot.Chart(
        "capacity",
        "Response time by rate",
        f"Response time by offered rate: {held}{broke}.",
        _LATENCY,
        tuple(plot.Tick(x(t), rate(t) if t else "0") for t in ticks),
        tuple(plot.Tick(y(t), threshold(t)) for t in plot.decades(low, high)),
        lines=tuple(lines),
        dots=dots,
        under="Disc: the rate met its SLOs. Cross: it did not. Ring: not proven. Each verdict uses the SLO's own threshold.",
    )
