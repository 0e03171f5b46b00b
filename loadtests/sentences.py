"""A judgement in one line for a person."""

from __future__ import annotations

from collections.abc import Sequence

from judge.verdict import Outcome
from loadtests.order import SloOrder
from loadtests.record import TaskCounts
from loadtests.result import Window
from probes.text import exact, one_line

_MOST_REASONS = 3  # reasons in a sentence; the rest is a number


def sentence(
    subject: str,
    slo: SloOrder,
    counted: tuple[int, int],
    outcome: Outcome,
    found: Sequence[Window],
    needed: int | None,
    relatives: int,
    alone: bool,  # noqa: FBT001 - whether its own counts prove it
) -> str:
    """One line for a person: `search/availability p95: 12 of 300 slower than 500 ms or failed (4 %), at most 5 % allowed`."""
    good, total = counted
    if not total:
        return f"{subject} {slo.name}: no event was counted in the steady part"
    bad = total - good
    what = f"slower than {exact(slo.threshold)} or failed" if slo.threshold is not None else "failed"
    text = f"{subject} {slo.name}: {bad:,} of {total:,} {what} ({percent(bad / total)}), at most {percent(1 - slo.objective)} allowed"
    worst = min((w for w in found if w.broken), key=lambda w: w.good / w.total, default=None)
    if outcome is Outcome.FAIL and worst is not None:
        return f"{text}; worst from {worst.begins:.0f} s to {worst.ends:.0f} s: {worst.total - worst.good:,} of {worst.total:,}"
    if outcome is Outcome.INCONCLUSIVE:
        tail = "more than allowed, but too few to be sure" if good / total < slo.objective else "too few to be sure"
        return f"{text}; {tail}" + (f": {needed:,} without a bad one would prove it" if needed and not bad else "")
    return text if outcome is Outcome.FAIL or alone or relatives < 2 else f"{text}; proven by all {relatives} that share it"  # noqa: PLR2004 - more than itself


def failures(counts: TaskCounts | None) -> str:
    """The errors of a task or a request by reason, the commonest first: `status 12 (503, expected 200), timeout 2`."""
    if counts is None:
        return ""
    commonest = sorted(counts.reasons.items(), key=lambda item: -item[1])
    named = []
    for reason, number in commonest[:_MOST_REASONS]:
        message = one_line(counts.messages.get(reason, ""))
        named.append(f"{reason} {number:,}" + (f" ({message})" if message else ""))
    rest = sum(number for _, number in commonest[_MOST_REASONS:])
    return ", ".join([*named, *([f"others {rest:,}"] if rest else [])])


def percent(value: float) -> str:
    """A percentage with the digits that it needs: 4 %, 0.1 %, 99.95 %."""
    return f"{value * 100:.4g} %"
