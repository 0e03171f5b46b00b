"""Prometheus' rules for the SLOs of checks.yaml: what is recorded, and the alerts on the use of error budgets.

All checks share the rules: a new check needs none, only a new SLO does. What the rules are is in templates/slo.yaml.jinja. Events and good
events are scraped together, so that the share of bad ones is exact but for a series' first scrape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from judge.burn import LEAST, Burn, IntervalRange, burns, interval_ranges, windows
from judge.observation import Slo
from probes.text import setting

STANDARD = (300, 1800, 3600, 7200, 21600, 86400, 259200, 2592000)  # seconds: windows for dashboards, whatever the SLOs are
SHORT = 7200  # the longest window that is computed often
HOLD = 120  # seconds for which an alert waits, so that CheckDown of the same outage comes first
SCRAPES = 8  # of a series, before its share is believed: increase() makes more than half of two failures more of fewer


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """One alerting rule: for one SLO and the checks of one range of intervals, the conditions by the checks' own alert level."""

    slo: Slo
    checks: IntervalRange
    severity: str  # critical or warning
    levels: tuple[tuple[str, tuple[Burn, ...]], ...]  # a matcher of the label alert, and the conditions for those checks

    @property
    def windows(self) -> str:
        """Its pairs of windows, such as 1h/5m,6h/30m."""
        return ",".join(f"{setting(float(one.long))}/{setting(float(one.short))}" for _, conditions in self.levels for one in conditions)

    @property
    def range(self) -> str:
        """The range of intervals as comparisons of PromQL."""
        above = f" > {self.checks.above:g}" if self.checks.above else ""
        return f"{above} <= {self.checks.most:g}"


def burn_alerts(slos: Sequence[Slo]) -> Iterator[BurnAlert]:
    """The alerts on error budgets. What pages for a check with alert: page is a warning for one with alert: ticket."""
    for slo in slos:
        for checks in interval_ranges(slo):
            pages = tuple(one for one in burns(slo, checks.most) if one.page)
            tickets = tuple(one for one in burns(slo, checks.most) if not one.page)
            if pages:
                yield BurnAlert(slo, checks, "critical", (('="page"', pages),))
            if levels := tuple((level, found) for level, found in (('="ticket"', pages), ('!="none"', tickets)) if found):
                yield BurnAlert(slo, checks, "warning", levels)


def slo_rules(slos: Sequence[Slo]) -> str:
    """The file of rules for these SLOs, as YAML."""
    jinja = Environment(  # noqa: S701 - it writes YAML, not HTML
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
    )
    jinja.filters |= {"span": lambda seconds: setting(float(seconds)), "number": _number, "allowed": _allowed}
    lengths = sorted({*STANDARD, *(window for slo in slos for window in windows(slo))})
    return jinja.get_template("slo.yaml.jinja").render(
        slos=slos,
        short=[one for one in lengths if one <= SHORT],
        long=[one for one in lengths if one > SHORT],
        alerts=list(burn_alerts(slos)),
        least=LEAST,
        hold=HOLD,
        scrapes=SCRAPES,
    )


def _number(one: Decimal) -> str:
    """As PromQL reads it, without an exponent."""
    return f"{one.normalize():f}"


def _allowed(objective: Decimal) -> str:
    """The share of bad runs that an objective allows, such as 0.1%."""
    return f"{_number((1 - objective) * 100)}%"
