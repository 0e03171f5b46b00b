"""The records that the templates show, computed from states and the plan: pure, so that a thread can make them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote, urlsplit

from judge.observation import Observation, Slo
from probes.core import Verdict
from probes.text import age, iso, latency, listed
from runner.config.errors import RefusedFile
from runner.config.windows import Covered, Maintained
from runner.sinks.health import State
from runner.web import drawing
from runner.web.headline import DOWN, PENDING, STALE, UNKNOWN, UP, Headline, causes, headline, word
from runner.web.words import moment

_RECENT = 40
_A_DAY = 86400.0  # seconds
_MOST_COVERED = 6  # names of checks in a window's line
_LONGEST, _MOST_COMPARED = 100, 1000  # of a mistyped name, and of names that it is compared with
_AT_RISK = Decimal("0.75")  # of an SLO's error budget: what is left is a warning
_SHAPES = {UP: UP, DOWN: DOWN, UNKNOWN: UNKNOWN, STALE: UNKNOWN, PENDING: PENDING}


@dataclass(frozen=True, slots=True)
class Budget:
    """An SLO since this process started: exact counts, and whether the share of good events reaches the objective."""

    name: str
    promise: str  # `95 % within 500 ms`
    events: int
    good: int
    share: str
    holds: bool | None
    state: str  # met, at risk, breached or no run yet
    used: str  # of the error budget, in percent


@dataclass(frozen=True, slots=True)
class Row:
    """One check on the page. Texts are plain: the templates escape them."""

    name: str
    href: str
    kind: str
    word: str
    shape: str
    since: str
    since_iso: str
    message: str
    reason: str
    finding: str
    last: str
    last_at: str
    bars: drawing.Bars
    phases: tuple[drawing.PhaseBar, ...]
    budgets: tuple[Budget, ...]
    where: str  # checks.yaml:29
    runbook: str
    runbook_href: str
    alert: str
    address: str
    tags: tuple[str, ...]
    depends_on: tuple[tuple[str, str], ...]  # names and hrefs
    part_of: str
    maintenance: bool
    window: str  # the maintenance window that is open now: who opened it, why, and until when
    required: bool
    trace_id: str


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A maintenance window that is open, or opens within a day."""

    name: str
    when: str
    why: str
    by: str
    covers: str
    open: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The page at /."""

    headline: Headline
    shape: str
    down: tuple[Row, ...]  # all checks that are down, the causes first
    causes: int
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    windows: tuple[WindowRow, ...]
    width: float
    now: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed run with its evidence."""

    at: str
    at_iso: str
    reason: str
    message: str
    finding: str
    took: str
    phases: tuple[drawing.PhaseBar, ...]
    trace_id: str
    request_id: str
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """The page of one check."""

    row: Row
    columns: tuple[drawing.Column, ...]
    longest: str
    legend: tuple[drawing.PhaseBar, ...]
    failures: tuple[Failure, ...]
    dependants: tuple[tuple[str, str], ...]
    parts: tuple[Row, ...]
    facts: tuple[tuple[str, str], ...]
    width: float
    now: str


@dataclass(frozen=True, slots=True)
class Banner:
    """What stands above a page while checks.yaml is refused."""

    since: str
    since_iso: str
    file: str
    errors: tuple[str, ...]


def banner(refused: RefusedFile | None, file: str, now: float) -> Banner | None:
    """The banner for a file that was refused; None while the file is in use."""
    if refused is None:
        return None
    since = f"{moment(refused.since, now)} UTC ({age(now - refused.since)} ago)"
    return Banner(since, iso(refused.since), file, refused.errors)


@dataclass(frozen=True, slots=True)
class Missing:
    """The page of a check that isn't there, with the names that are near."""

    name: str
    near: tuple[tuple[str, str], ...]
    now: str


def missing(name: str, names: Sequence[str], now: float) -> Missing:
    """A page for somebody who mistyped a name, or follows the link of a check that was removed."""
    near = difflib.get_close_matches(name[:_LONGEST], names, n=5, cutoff=0.5) if len(names) <= _MOST_COMPARED else []
    return Missing(name, tuple((one, href(one)) for one in near), f"{moment(now, now)} UTC")


def href(name: str) -> str:
    """The check's own page."""
    return f"/checks/{quote(name)}"


def overview(states: Sequence[State], file: str, now: float, windows: Sequence[Maintained] = ()) -> Overview:
    """All checks by their first tag, in the file's order; the checks that are down are repeated on top."""
    soon = tuple(_window_row(one, states, now) for one in windows if one.span.start <= now + _A_DAY)
    rows = {state.check.name: row(state, file, now) for state in states}
    groups: dict[str, list[Row]] = {}
    for state in states:
        parent = rows.get(state.check.part_of)
        tags = state.check.tags or (parent.tags if parent else ())
        groups.setdefault(tags[0] if tags else "others", []).append(rows[state.check.name])
    top = headline(states, now)
    down = [r.name for r in rows.values() if r.word == DOWN and not r.maintenance]
    first = causes(down, {state.check.name: state for state in states}) or down
    ordered = tuple(rows[name] for name in (*first, *(name for name in down if name not in first)))
    tagged = tuple((tag, tuple(members)) for tag, members in groups.items())
    return Overview(top, _SHAPES[top.word], ordered, len(first), tagged, soon, _RECENT * drawing.STEP, f"{moment(now, now)} UTC")


def row(state: State, file: str, now: float) -> Row:
    """One check's row."""
    check, seen, state_word = state.check, state.latest, word(state, now)
    return Row(
        name=check.name,
        href=href(check.name),
        kind=check.kind,
        word=state_word,
        shape=_SHAPES[state_word],
        since=f"{moment(state.since, now)} ({age(now - state.since)})" if state.since is not None else "",
        since_iso=iso(state.since) if state.since is not None else "",
        message=_message(state, state_word, now),
        reason=seen.reason.value if seen and seen.reason else "",
        finding=seen.finding if seen else "",
        last=latency(seen.seconds) if seen else "",
        last_at=moment(seen.at, now) if seen else "",
        bars=drawing.bars(state.recent, _RECENT, now),
        phases=drawing.phase_bars(drawing.stages(seen), drawing.tints((seen,))) if seen else (),
        budgets=tuple(budget(slo, *state.slos.get(slo.name, (0, 0))) for slo in check.slos),
        where=check.place(file),
        runbook=check.runbook,
        runbook_href=check.runbook if urlsplit(check.runbook).scheme in {"http", "https"} else "",
        alert=check.alert,
        address=check.address,
        tags=check.tags,
        depends_on=tuple((name, href(name)) for name in check.depends_on),
        part_of=check.part_of,
        maintenance=state.maintenance,
        window=_window(state.window, now) if state.window else "",
        required=check.required,
        trace_id=seen.trace_id if seen else "",
    )


def _window_row(one: Maintained, states: Sequence[State], now: float) -> WindowRow:
    window, span = one.window, one.span
    is_open = span.start <= now
    start = f"opens {moment(span.start, now)}, until" if not is_open else "open until"
    names = [state.check.name for state in states if state.check in window.covered and not state.check.part_of]
    covers = "all checks" if window.covered == Covered() else listed(names, _MOST_COVERED) or "no check of this runner"
    return WindowRow(window.name, f"{start} {moment(span.end, now)} UTC", window.why, window.by, covers, is_open)


def _window(one: Maintained, now: float) -> str:
    why = f": {one.window.why}" if one.window.why else ""
    return f"in maintenance until {moment(one.span.end, now)} UTC ({one.window.name}, opened by {one.window.by}){why}"


def _message(state: State, state_word: str, now: float) -> str:
    seen = state.latest
    if seen is None:
        return (
            f"no run yet; the first one is due {moment(state.due, now)}"
            if state.waits(now) and now < state.due < math.inf
            else "no run yet"
        )
    if state_word == STALE:
        return f"the last run was {age(now - seen.at)} ago; a run is due every {age(state.check.interval)}"
    return seen.message


def budget(slo: Slo, events: int, good: int) -> Budget:
    """An SLO's counts as texts. Shares are compared as Decimals, so that the verdict is exact."""
    promise = f"{slo.objective * 100:f}".rstrip("0").rstrip(".") + " %"
    if slo.threshold is not None:
        promise += f" within {latency(slo.threshold) if slo.threshold < 1 else f'{slo.threshold:g} s'}" + (
            f" in {slo.measure}" if slo.measure else ""
        )
    if not events:
        return Budget(slo.name, promise, 0, 0, "-", None, "no run yet", "-")
    used = (events - good) / (events * (1 - slo.objective))
    state = "breached" if used > 1 else "at risk" if used >= _AT_RISK else "met"
    return Budget(slo.name, promise, events, good, f"{100 * good / events:.4g} %", used <= 1, state, f"{_percent(used)} %")


def _percent(used: Decimal) -> str:
    """Whole percents: 100 only for a budget that is used up exactly, and 0 only for an untouched one."""
    if used > 1:
        return f"{max(101, round(used * 100))}"
    return "<1" if 0 < used < Decimal("0.01") else f"{math.floor(used * 100)}"


def detail(state: State, states: Iterable[State], failures: Sequence[Observation], file: str, now: float) -> Detail:
    """One check with its recent runs, its failures, and the checks that depend on it."""
    states = tuple(states)
    recent, name = state.recent, state.check.name
    shown = drawing.columns(recent, 60, now)
    colours = drawing.tints(recent)
    dependants = tuple((s.check.name, href(s.check.name)) for s in states if name in (*s.check.depends_on, s.check.compare_with))
    return Detail(
        row=row(state, file, now),
        columns=shown,
        longest=latency(drawing.longest(recent[-60:])),
        legend=drawing.phase_bars(_medians(recent, colours), colours),
        failures=tuple(_failure(seen, colours, now) for seen in failures),
        dependants=dependants,
        parts=tuple(row(s, file, now) for s in states if s.check.part_of == name),
        facts=_pairs(state.latest.facts) if state.latest else (),
        width=60 * drawing.STEP,
        now=f"{moment(now, now)} UTC",
    )


def _medians(recent: Sequence[Observation], names: Iterable[str]) -> dict[str, float]:
    """The median seconds of each stage over the recent passed runs."""
    passed = [drawing.stages(seen) for seen in recent if seen.verdict is Verdict.PASS]
    values = {name: sorted(stages[name] for stages in passed if name in stages) for name in names}
    return {name: seconds[len(seconds) // 2] for name, seconds in values.items() if seconds}


def _failure(seen: Observation, colours: Mapping[str, int], now: float) -> Failure:
    return Failure(
        at=moment(seen.at, now),
        at_iso=iso(seen.at),
        reason=seen.reason.value if seen.reason else "",
        message=seen.message,
        finding=seen.finding,
        took=latency(seen.seconds),
        phases=drawing.phase_bars(drawing.stages(seen), colours),
        trace_id=seen.trace_id,
        request_id=seen.request_id,
        evidence=_pairs(seen.evidence),
    )


def _pairs(values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value if isinstance(value, str) else _text(value)) for key, value in values.items())


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_nested(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(_text(item) for item in value)
    return str(value)


def _nested(value: object) -> str:
    """A value behind its key; a value of several lines goes below the key, indented."""
    text = _text(value)
    return "\n  " + text.replace("\n", "\n  ") if isinstance(value, Mapping | list | tuple) and value else text
