"""What the alerts will do, in words, before anything is down: after how long an outage is told, and how little is enough."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from judge.burn import Burn, burns
from judge.observation import Check, Slo
from probes.text import count, listed, setting
from runner.config.plan import Every, Plan

HELD = 60.0  # seconds for which CheckDown waits: a failure that ends before isn't told
RETENTION = 15 * 86400.0  # seconds of data that Prometheus keeps unless it is told otherwise
_NAMED = 5  # checks that a sentence names
_EXACT = 600.0  # seconds; longer delays are told in minutes


def rehearsal(plan: Plan) -> list[str]:
    """A line for each thing that surprises people: the delay of a page, alerts by one failed run, budgets, what can never fire."""
    return [*_outages(plan), *_single_failures(plan), *(line for slo in plan.slos for line in _budget(plan, slo)), *_retention(plan)]


def _outages(plan: Plan) -> Iterator[str]:
    """After how long a full outage pages: the next run, its timeout, and the wait of CheckDown."""
    by_delay: dict[float, list[str]] = {}
    for planned in plan.checks:
        if planned.check.alert == "page" and isinstance(planned.schedule, Every):
            by_delay.setdefault(planned.schedule.seconds + planned.timeout + HELD, []).append(planned.check.name)
    if by_delay:
        delays = [
            f"{listed(names, _NAMED)} after at most {setting(delay if delay < _EXACT else ceil(delay / 60) * 60.0)}"
            for delay, names in sorted(by_delay.items())
        ]
        yield f"a full outage pages: {'; '.join(delays)}, and the time until Prometheus' next scrape"


def _single_failures(plan: Plan) -> Iterator[str]:
    """The checks of which one failed run is enough, since the next one comes after the wait of CheckDown."""
    alone = [one for one in plan.checks if one.check.alert != "none" and one.check.interval > HELD and not one.confirm]
    for level, does in (("page", "pages"), ("ticket", "raises a warning")):
        if found := [one.check.name for one in alone if one.check.alert == level]:
            yield f"one failed run {does}: {listed(found, _NAMED)}; with confirm: 1 a quick re-check must fail too"


def _budget(plan: Plan, slo: Slo) -> Iterator[str]:
    """From how many failed runs on the budget of an SLO pages, or raises a warning, by check."""
    by_words: dict[str, list[str]] = {}
    for check in [one.check for one in plan.checks if slo in one.check.slos and one.check.alert != "none"]:
        by_words.setdefault(_first(slo, check), []).append(check.name)
    for words, names in by_words.items():
        yield f"{slo.name} of {listed(names, _NAMED)}: {words}"


def _first(slo: Slo, check: Check) -> str:
    conditions = burns(slo, check.interval)
    found = [first for page in (True, False) if (first := _least([one for one in conditions if one.page is page], check.interval))]
    if not found:
        return "its error budget can't raise an alert: its runs are too rare, or its objective is too low"
    parts = []
    for burn, failures in found:
        does = "page" if burn.page and check.alert == "page" else "raise a warning"
        parts.append(f"{count(failures, 'bad run')} in {setting(float(burn.long))} {does}")
    if check.alert == "page" and not any(burn.page for burn, _ in found):
        parts.append("none can page by its error budget")
    return ", ".join(dict.fromkeys(parts))


def _least(conditions: list[Burn], interval: float) -> tuple[Burn, int] | None:
    """The condition that the fewest failed runs meet, and how many these are."""
    met = [(burn, failures) for burn in conditions if interval and (failures := burn.failures(interval))]
    return min(met, key=lambda one: one[1], default=None)


def _retention(plan: Plan) -> Iterator[str]:
    longest = max((slo.window for slo in plan.slos), default=0.0)
    if longest > RETENTION:
        yield (
            f"the SLOs look back {setting(longest)}, and Prometheus keeps {setting(RETENTION)} by default: "
            f"start it with --storage.tsdb.retention.time={setting(longest + 5 * 86400)}"
        )
