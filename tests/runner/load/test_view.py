"""What a person sees of a load: lines without a terminal, a bar on one, the verdict at the end."""

from __future__ import annotations

import io
import re
from dataclasses import replace

from rich.console import Console

from loadtests.result import LoadReport, Progress
from runner.load.view import View, show_report
from tests.loadtests.reporting import report, searched

NOW = Progress(
    at=42.0,
    duration=60.0,
    rate=49.8,
    offered=50.0,
    p95=0.301,
    errors=1,
    done=5000,
    in_flight=3,
    lag=0.001,
    cpu=0.2,
    budget={"browse/me p95": 0.43},
)


def console(*, terminal: bool = False) -> Console:
    """One that keeps what is written."""
    return Console(file=io.StringIO(), width=200, force_terminal=terminal, highlight=False, _environ={})


def written(one: Console) -> str:
    """What was."""
    assert isinstance(one.file, io.StringIO)
    return one.file.getvalue()


def test_without_a_terminal_it_is_a_line_now_and_then() -> None:
    """Rate, p95, errors and the budget, every ten seconds: a CI's log is read afterwards, if at all."""
    one = console()
    view = View(one, "roadtrip")
    with view.live():
        for second in range(40, 61):
            view.show(replace(NOW, at=float(second)))

    lines = written(one).splitlines()
    assert lines[0] == "roadtrip  40 s of 60 s · 50/s due, 49.8/s begun · p95 301 ms · errors 0.02 %"
    assert lines[1] == "error budget used: 43 % (browse/me p95)"
    assert [line.split("  ")[1][:4] for line in lines if line.startswith("roadtrip")] == ["40 s", "50 s", "60 s"]
    assert "\x1b" not in written(one)


def test_another_run_of_a_search_is_told_from_its_beginning() -> None:
    """Its seconds begin anew."""
    one = console()
    view = View(one, "roadtrip")
    view.show(replace(NOW, at=60.0))
    view.show(replace(NOW, at=1.0))
    assert written(one).count("of 60 s") == 2


def test_on_a_terminal_it_is_a_bar() -> None:
    """As long as what is done, in place, and gone at the end."""
    one = console(terminal=True)
    view = View(one, "roadtrip")
    with view.live():
        view.show(NOW)
        view.show(replace(NOW, at=63.0))

    said = written(one)
    assert "█" * 20 in said
    assert "░" * 8 in said
    assert "waiting for 3 arrivals in flight" in said


def test_a_narrow_terminal_gets_its_figures_below_the_bar() -> None:
    """80 columns hold every line, so that the bar stays in its place."""
    one = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False, _environ={})
    view = View(one, "roadtrip")
    with view.live():
        view.show(NOW)

    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written(one)).replace("\r", "\n")
    lines = [line.rstrip() for line in plain.splitlines()]
    assert "roadtrip  ████████████████████░░░░░░░░  42 s of 60 s" in lines
    assert "  50/s due, 49.8/s begun · p95 301 ms · errors 0.02 %" in lines
    assert max(map(len, lines)) <= 80


def test_a_budget_that_is_gone_is_said() -> None:
    """How many times over: the sooner a person ends a hopeless run, the better."""
    one = console()
    View(one, "roadtrip").show(replace(NOW, budget={"a p95": 0.2, "b p95": 12.34}, lag=1.2))
    assert "error budget used: 1234 % (b p95)" in written(one)
    assert "started 1.20 s late" in written(one)


def end(made: LoadReport) -> list[str]:
    """The lines at the end of a run."""
    one = console()
    show_report(one, made)
    return written(one).splitlines()


def test_the_verdict_comes_first_then_why() -> None:
    """In a word, then route, SLO and counts, then whether the generator may be believed."""
    lines = end(report(slow_from=6.0))
    assert lines[0] == "FAIL  roadtrip breaches its SLOs at 10/s for 20 s"
    assert lines[1].startswith("  browse/me ")
    assert any(line.startswith("  200 of 200 arrivals begun (100 %), 0 dropped") for line in lines)


def test_a_run_ends_with_a_table_by_route() -> None:
    """U13: requests, rate, percentiles, the longest, and errors by reason, in columns that fit 80 characters."""
    table = [line for line in end(report(slow_from=6.0)) if "requests" in line or line.startswith("  browse/me    ")]
    assert table == [
        "             requests  rate    p50     p95     p99     max  errors",
        "  browse/me       200  10/s  40 ms  900 ms  900 ms  900 ms  7.00 % (status 14)",
    ]


def test_a_search_ends_with_its_curve() -> None:
    """Every rate that was tried, what holds, and what gives way first."""
    lines = end(searched())
    assert "      20/s  pass          p95    50 ms  errors 0 %" in lines
    assert "  40/s meets the SLOs, confirmed by a second run; 80/s doesn't meet them" in lines
    assert "  what fails first: browse/me p95" in lines


def test_no_text_of_a_run_is_taken_for_colour() -> None:
    """Square brackets are square brackets."""
    assert any("[red]" in line for line in end(report(slow_from=6.0, name="[red]")))
