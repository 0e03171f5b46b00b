"""`outrider probe` at a terminal and in a pipe: where the time went, and what a script may rely on."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from judge.observation import Observation
from probes.core import Reason, Span
from runner.reports import observations, waterfall
from tests.support.observations import failed, made_check, passed

API = made_check("api")


def drawn(seen: Observation, *, terminal: bool = True) -> list[str]:
    """What is written, without its colours."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, highlight=False, no_color=True)
    waterfall.write(console, [seen], file="checks.yaml")
    return [line.strip() for line in out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "").splitlines()]


def spans(*given: tuple[str, float, float, str]) -> dict[str, object]:
    """Spans, and the phases that they add up to."""
    sums: dict[str, float] = {}
    for name, start, end, _ in given:
        sums[name] = sums.get(name, 0.0) + end - start
    return {"spans": tuple(Span(*one) for one in given), "phases": sums}


def test_phases_that_follow_one_another_stand_on_a_line() -> None:
    """The plain case: a bar for each phase, as long as its share."""
    seen = passed(API, 0.1, **spans(("connect", 0.0, 0.01, ""), ("processing", 0.01, 0.1, "")))
    assert drawn(seen)[1] == "connect 10 ███▏processing 90 ███████████████████████████  (ms)"


def test_attempts_side_by_side_are_drawn_where_they_began() -> None:
    """Two connects that overlap: each in a row of its own, with its offset."""
    seen = passed(API, 0.3, **spans(("connect", 0.0, 0.3, ""), ("connect", 0.25, 0.3, "")))
    assert drawn(seen)[1:] == [
        "connect ▏██████████████████████████████▏ 300",
        "connect ▏                         █████▏ 50",
        "300 ms",
    ]


def test_a_journey_is_drawn_by_its_steps_and_the_failed_one_by_its_phases() -> None:
    """Where it ended badly the phases of that step stand below it."""
    given = spans(("processing", 0.0, 0.1, "login"), ("connect", 0.1, 0.2, "story"), ("processing", 0.2, 0.3, "story"))
    rows = drawn(failed(API, Reason.TIMEOUT, "no answer within 300ms in processing of step story", seconds=0.3, **given))
    assert rows[1:6] == [
        "login        ▏██████████                    ▏ 100",
        "story        ▏          ████████████████████▏ 200",
        "connect    ▏          ██████████          ▏ 100",
        "processing ▏                    ██████████▏ 100",
        "300 ms",
    ]


def test_without_a_terminal_the_words_are_plain() -> None:
    """No bar, no box: a line that a log can keep."""
    seen = passed(API, 0.3, **spans(("connect", 0.0, 0.3, ""), ("connect", 0.25, 0.3, "")))
    assert drawn(seen, terminal=False)[1] == "connect 350  (ms)"


PHASES = ("resolve", "connect", "tls", "auth", "round_trip", "processing", "transfer")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["api", "a-check-with-quite-a-long-name"])
@pytest.mark.parametrize("kind", ["in a row", "side by side", "by steps"])
def test_bars_and_messages_fit_the_console(width: int, name: str, kind: str) -> None:
    """U19: nothing is wider than the terminal, no bar is broken in its middle, and what wraps is indented."""
    made = [
        (phase, i / 10 if kind == "in a row" else i / 20, (i + 1) / 10, f"a-step-of-the-journey-{i}" if kind == "by steps" else "")
        for i, phase in enumerate(PHASES)
    ]
    message = "503, expected 200; the first bytes of the body were <html><head><title>503 Service Temporarily Unavailable</title></head>"
    seen = failed(made_check(name), Reason.STATUS, message, seconds=0.7, **spans(*made))
    out = io.StringIO()
    waterfall.write(Console(file=out, force_terminal=True, width=width, highlight=False, color_system=None), [seen], file="checks.yaml")
    lines = out.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines), lines
    indent = 8 + len(name) + 2 if width - (8 + len(name) + 2) >= 20 else 4
    assert all(line.startswith(" " * indent) for line in lines[1:]), lines
    assert all(line.count("▏") == 2 for line in lines if "▏" in line) or kind == "in a row"
    assert sum("█" in line for line in lines) == {"in a row": int(width >= 100), "side by side": 7}.get(kind, 14) or kind != "side by side"


def test_a_narrow_console_has_words_without_bars() -> None:
    """U19: the numbers are what counts: where bars have no room, the phases wrap between two of them."""
    seen = passed(API, 0.7, **spans(*((phase, i / 10, (i + 1) / 10, "") for i, phase in enumerate(PHASES))))
    out = io.StringIO()
    waterfall.write(Console(file=out, force_terminal=True, width=50, highlight=False, color_system=None), [seen], file="checks.yaml")
    assert [line.strip() for line in out.getvalue().splitlines()[1:]] == [
        "resolve 100, connect 100, tls 100,",
        "auth 100, round_trip 100, processing",
        "100, transfer 100  (ms)",
    ]


def test_times_that_may_be_ours_are_said_to_be() -> None:
    """A run that our own loop may have falsified says so."""
    seen = passed(API, 0.1, facts={"loop_lag": 0.02}, **spans(("connect", 0.0, 0.1, "")))
    assert drawn(seen)[2] == "The runner was busy for 20 ms during this run, so the times may be up to 20 ms too high."


def test_json_holds_every_span_with_its_offset() -> None:
    """Scripts can draw the waterfall themselves."""
    seen = replace(passed(API, 0.3, **spans(("connect", 0.0, 0.25, ""), ("processing", 0.25, 0.3, "story"))))
    assert observations.observation(seen)["spans"] == [
        {"name": "connect", "start": 0.0, "end": 0.25},
        {"name": "processing", "start": 0.25, "end": 0.3, "step": "story"},
    ]
