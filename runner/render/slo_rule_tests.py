"""promtool's unit tests of the rules for SLOs: for every alert what fires it, what doesn't, and that it ends.

A check runs well, then fails so often in a row. One more failure than the conditions allow fires the alert, one fewer doesn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import yaml

from judge.burn import Burn, burns, interval_ranges
from judge.observation import Slo
from runner.render.slo_rules import HOLD

INTERVALS = (15, 300, 1800, 3600, 10800, 21600)  # seconds: the usual ones, of which each range of intervals gets its shortest
YOUNG = (120, 600, 1800, 3000)  # seconds for which a check has run when it fails
FAST, SLOW = 15, 300  # seconds between two evaluations: days would take too long at the first, minutes need it
_HEAD = "# Written by outrider render from the SLOs of checks.yaml: don't edit it. To run it: promtool test rules FILE\n"
ORDER = ["slo-short-windows", "slo-long-windows", "slo-budgets", "slo-alerts"]


@dataclass(frozen=True, slots=True)
class Story:
    """What becomes of one check: `good` runs, then `failed` ones in a row, then `after` good ones, and more after the test's moment."""

    check: str
    alert: str
    good: int
    failed: int
    after: int = 0


def slo_rule_tests(slos: Sequence[Slo], *, step: int) -> str:
    """The file of tests of what is evaluated every `step` seconds: FAST for the pages of checks that run often, SLOW for the rest."""
    groups = [
        _group(slo, conditions, interval, step)
        for slo in slos
        for checks in interval_ranges(slo)
        for interval in [one for one in INTERVALS if checks.above < one <= checks.most][:1]
        for page in (True, False)
        if step == (FAST if page and interval < SLOW else SLOW)
        and (conditions := [one for one in burns(slo, checks.most) if one.page is page and one.failures(interval)])
    ]
    body = {"rule_files": ["../rules/slo.yaml"], "evaluation_interval": f"{step}s", "group_eval_order": ORDER, "tests": groups}
    return _HEAD + yaml.safe_dump(body, sort_keys=False, width=10_000)


def _group(slo: Slo, conditions: Sequence[Burn], interval: int, step: int) -> dict[str, Any]:
    """Checks of one interval, all at once: they begin apart, and are judged at the same moment."""
    page = conditions[0].page
    # Failed runs are held against the planned ones, so that their number doesn't depend on the past: only the quick tests have all of it.
    past = conditions[0].long if step == FAST else max(one.short for one in conditions)
    good = past // interval * 11 // 10 + 1
    failed = min(needed for one in conditions if (needed := one.failures(interval)))
    longer = failed - -max(HOLD, step) // interval  # the conditions hold for as long as the alert waits
    stories = [
        Story("broken", "page", good, longer),
        Story("blip", "page", good, failed - 1, longer - failed + 1),
        Story("of-tickets", "ticket", good, longer),
        Story("without-alert", "none", good, longer),
    ]
    for age in YOUNG if step == FAST else ():
        if longer * interval < age:
            stories += [
                Story(f"young-{age}s", "page", age // interval - longer, longer),
                Story(f"young-blip-{age}s", "page", age // interval - longer, failed - 1, longer - failed + 1),
            ]
    length = (good + longer) * interval
    length += -length % step
    recovered = length + max(one.short for one in conditions) + 2 * max(interval, step)
    firing = [one.check for one in stories if one.alert == "page" and one.failed == longer]
    moments = (length - step, length, recovered) if step == FAST else (length, recovered)  # the wait is shorter than a slow step
    expected = {"critical": firing} if page else {"warning": ["of-tickets", *firing]}
    return {
        "name": f"{slo.name}, {'pages' if page else 'tickets'} of checks that run every {interval} s",
        "interval": f"{step}s",
        "input_series": [
            series for story in stories for series in _series(slo, story, interval=interval, scrape=step, last=length, end=recovered)
        ],
        "promql_expr_test": [
            _expected(at, severity, found if at == length else []) for severity, found in expected.items() for at in moments
        ],
    }


def _expected(at: int, severity: str, checks: Sequence[str]) -> dict[str, Any]:
    return {
        "expr": f'sum by (check) (ALERTS{{alertname="ErrorBudgetBurn", alertstate="firing", severity="{severity}"}})',
        "eval_time": f"{at}s",
        "exp_samples": [{"labels": f'{{check="{one}"}}', "value": 1} for one in sorted(checks)],
    }


def _series(slo: Slo, story: Story, *, interval: int, scrape: int, last: int, end: int) -> list[dict[str, str]]:
    """The series of a check whose story is over at `last`, up to `end`; seconds since the test began."""
    begin = last - (story.good + story.failed + story.after) * interval

    def counts(at: int) -> tuple[int, int]:
        events = (at - begin) // interval
        return events, events - min(max(events - story.good, 0), story.failed)

    scraped = [counts(at) for at in range(begin - begin % -scrape, end + 1, scrape)]
    gap = f"_x{(end // scrape + 1) - len(scraped)} " if end // scrape + 1 > len(scraped) else ""
    labels = f'job="outrider", instance="outrider:9797", check="{story.check}", kind="http"'
    constant = f"x{len(scraped) - 1}"
    return [
        {"series": f'probe_slo_events_total{{{labels}, slo="{slo.name}"}}', "values": gap + _values([events for events, _ in scraped])},
        {"series": f'probe_slo_good_events_total{{{labels}, slo="{slo.name}"}}', "values": gap + _values([good for _, good in scraped])},
        {"series": f"probe_interval_seconds{{{labels}}}", "values": f"{gap}{interval}{constant}"},
        {"series": f'probe_check_info{{{labels}, alert="{story.alert}", service="roadtrip"}}', "values": f"{gap}1{constant}"},
    ]


def _values(numbers: Sequence[int]) -> str:
    """Numbers in promtool's form: `0+1x3 3x2` are 0 1 2 3 3 3 3."""
    words, start = [], 0
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    for step, same in groupby(steps):
        length = sum(1 for _ in same)
        words.append(f"{numbers[start] + (step if start else 0)}{f'+{step}' if step else ''}x{length - 1 if start else length}")
        start += length
    return " ".join(words) or f"{numbers[0]}"
