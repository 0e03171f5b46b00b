"""What every format of a report has in common."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from judge.observation import Check, Observation
from judge.redact import Redactor
from judge.report import CheckRow, Report, from_json, redacted, to_json
from judge.verdict import Finding, Outcome
from probes.core import Verdict
from runner.reports import deliver, formats, table
from runner.reports import github as actions
from runner.reports.markdown import escaped
from runner.reports.table import Board

ANY_TEXT = st.text(max_size=60)
TEXT = ANY_TEXT.filter(lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text))


def of_texts(texts: list[str]) -> Report:
    """A report that holds these seven texts, one in each place where a text from outside may stand."""
    failed = CheckRow("api", "http", 29, True, Outcome.FAIL, "body", texts[0], 2, 1, 0, 0, 0.1, (texts[1],), texts[2], "abc", {})  # noqa: FBT003
    flaky = replace(failed, check="ready", verdict=Outcome.PASS)
    optional = replace(failed, check="partner", required=False)
    reasons = (Finding(Outcome.FAIL, texts[3]), Finding(Outcome.INCONCLUSIVE, texts[3], "api", 29))
    return Report(Outcome.FAIL, reasons, (Finding(Outcome.PASS, texts[4]),), (failed, flaky, optional), 0.0, 11.0, texts[5], (texts[6],))


def everything(report: Report, folder: Path) -> str:
    """All that all formats write, the files of the environment too."""
    said: list[str] = []
    environ = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    (folder / "summary.md").unlink(missing_ok=True)
    for form in formats().values():
        deliver(form, report, "-", environ=environ, out=said.append)
    return "\n".join([*said, (folder / "summary.md").read_text(encoding="utf-8")])


def test_one_file_is_one_format() -> None:
    """Each public file of the room is a format that says in a line what it is for."""
    assert set(formats()) == {"github", "json", "junit", "markdown", "table", "tap"}
    assert all(form.help.endswith(".") for form in formats().values())


@settings(max_examples=40)
@given(st.text(alphabet=st.characters(categories=["L", "N", "P"]), min_size=6, max_size=40), TEXT, TEXT)
def test_no_secret_is_in_any_report(tmp_path_factory: pytest.TempPathFactory, secret: str, before: str, after: str) -> None:
    """Wherever a secret gets into a text, even into a target's revision, no format shows it, in none of its own escapings."""
    folder = tmp_path_factory.getbasetemp()
    innocent = everything(of_texts([before + after] * 7), folder)
    written = everything(redacted(of_texts([f"{before}{secret}{after}"] * 7), Redactor([secret]).text), folder)
    for form in {secret, json.dumps(secret)[1:-1], escaped(secret)}:
        assert form not in written or form in innocent


@settings(max_examples=40)
@given(st.lists(TEXT, min_size=7, max_size=7))
def test_a_report_comes_back_from_json_as_it_was(texts: list[str]) -> None:
    """What another runner sends gives the same reports, to the letter."""
    report = of_texts(texts)
    again = from_json(json.loads(json.dumps(to_json(report))))
    assert again == report
    assert {name: form.write(again) for name, form in formats().items()} == {name: form.write(report) for name, form in formats().items()}


def test_a_gate_comes_back_from_json_with_its_slos(good: Report, mixed: Report) -> None:
    """The bounds and the numbers of runs needed survive, too."""
    for report in (good, mixed):
        assert from_json(json.loads(formats()["json"].write(report))) == report


def test_json_has_the_keys_that_users_script_against(mixed: Report) -> None:
    """HOUSE section 4: verdict, reasons, revision, started, finished, and of each check check, line, verdict, reason, runs, passed, slo."""
    told = json.loads(formats()["json"].write(mixed))
    assert {"verdict", "reasons", "revision", "started", "finished", "checks"} <= set(told)
    assert {"check", "line", "verdict", "reason", "runs", "passed", "slo"} <= set(told["checks"][0])
    assert (told["verdict"], told["started"]) == ("fail", "2025-11-24T16:00:00.250000Z")
    assert (told["checks"][0]["reason"], told["checks"][0]["line"]) == ("status", 29)


def test_plain_text_says_the_verdict_first_and_where(mixed: Report) -> None:
    """The verdict, the failing check with its line of checks.yaml, and where to look next."""
    text = formats()["table"].write(mixed)
    assert "FAIL  smoke gate of 3f2c91a0b1c2: 6 checks, 6 runs in 11 s\n" in text
    assert "      api: status: 503 from 10.0.3.7, expected 200  checks.yaml:29\n" in text
    assert "evidence: outrider probe api --json · trace 4bf92f3577b34da6" in text
    assert "\x1b" not in text


def test_an_inconclusive_verdict_says_what_to_do(good: Report) -> None:
    """Nothing is proven: wait, and run again."""
    text = formats()["table"].write(replace(good, verdict=Outcome.INCONCLUSIVE))
    assert text.startswith("waited 38 s")
    assert text.endswith("nothing about 3f2c91a0b1c2 is proven; wait and run again\n")


def test_tap_counts_its_points(mixed: Report) -> None:
    """The plan's number is the number of points; inconclusive and optional are skipped, so that only a failure is not ok."""
    lines = formats()["tap"].write(mixed).splitlines()
    points = [line for line in lines if line.startswith(("ok ", "not ok "))]
    assert lines[:3] == ["TAP version 13", "1..7", "# verdict: fail"]
    assert [point.split(" - ")[0] for point in points[:6]] == ["not ok 1", "ok 2", "ok 3", "ok 4", "ok 5", "ok 6"]
    assert points[2].endswith("# SKIP inconclusive: internal: ValueError: the probe itself broke")
    assert points[6] == "ok 7 - gate # SKIP inconclusive: the runner was cut off for 3 s"


def test_markdown_makes_no_markup_of_what_a_target_says() -> None:
    """A table stays a table, and nobody is mentioned."""
    text = formats()["markdown"].write(of_texts(["a|b\n<script>@team `x` [y](z)"] * 7))
    assert "a&#124;b &lt;script&gt;&#64;team \\`x\\` \\[y\\]\\(z\\)" in text
    assert all(line.count("|") == 6 for line in text.splitlines() if line.startswith("|"))


def test_xml_can_be_read_back_whatever_is_in_it() -> None:
    """Signs that XML can't write are replaced, and don't break the document."""
    document = ET.fromstring(formats()["junit"].write(of_texts(["\x00\x1b[31m\ufffe<&\"'"] * 7)))  # noqa: S314 - our own
    assert document.find(".//failure") is not None


def test_a_report_goes_into_a_file_in_a_folder_that_it_makes(good: Report, tmp_path: Path) -> None:
    """--junit reports/gate.xml works in a fresh checkout."""
    said: list[str] = []
    deliver(formats()["junit"], good, str(tmp_path / "reports/gate.xml"), environ={}, out=said.append)
    assert (tmp_path / "reports/gate.xml").read_text(encoding="utf-8").startswith("<?xml")
    assert said == []


def test_the_summary_is_cut_between_two_rows() -> None:
    """However many checks there are, the summary stays under its cap, ends with a whole row, and says that it was cut."""
    report = of_texts(["x" * 900] * 7)
    many = replace(report, checks=tuple(replace(report.checks[0], check=f"check-{n}") for n in range(2000)))
    text = actions.summary(many)
    assert 1024 * 1024 - 3000 < len(text.encode()) <= 1024 * 1024
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))
    assert text.endswith("The JSON report has everything.*\n")


def test_the_summary_keeps_to_what_is_left(good: Report, tmp_path: Path) -> None:
    """It is added to what the step wrote before, and both together stay under the cap."""
    file = tmp_path / "summary.md"
    file.write_text("x" * (actions.CAP - 200), encoding="utf-8")
    deliver(formats()["github"], good, "-", environ={"GITHUB_STEP_SUMMARY": str(file)}, out=lambda _: None)
    assert actions.CAP - 200 < file.stat().st_size <= actions.CAP


def test_an_error_line_points_at_the_checks_own_line(mixed: Report) -> None:
    """A failure is an error at its line, what is optional or can't be told a warning, a flaky check a notice."""
    lines = actions.write(mixed).splitlines()
    assert lines[0].startswith("::error file=checks.yaml,line=29,title=api%3A fail::status: 503 from 10.0.3.7, expected 200")
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning", "::warning", "::warning", "::notice"]
    assert lines[-1].startswith("::notice file=checks.yaml,line=40,title=ready%3A flaky::")


def test_a_check_that_is_slower_than_before_is_in_every_report(good: Report) -> None:
    """U1: it passed as such, so no row tells it: proven it fails, and not decidable it is inconclusive, in all formats."""
    for outcome, mark in ((Outcome.FAIL, "failure"), (Outcome.INCONCLUSIVE, "skipped")):
        slower = replace(good, verdict=outcome, reasons=(Finding(outcome, "api +900 %", "api", 29),))
        written = {name: form.write(slower) for name, form in formats().items()}
        assert all("900" in text for text in written.values()), written
        assert f"<{mark} " in written["junit"]
        assert (
            written["github"].splitlines()[0].startswith(f"::{'error' if outcome is Outcome.FAIL else 'warning'} file=checks.yaml,line=29,")
        )
        assert ("not ok 3 - gate: api +900 %" in written["tap"]) == (outcome is Outcome.FAIL)


@pytest.mark.parametrize(
    ("given", "shown"),
    [("checks.yaml", "deploy/checks.yaml"), ("../checks.yaml", "checks.yaml"), ("{}/deploy/checks.yaml", "deploy/checks.yaml")],
)
def test_an_error_line_names_the_file_from_the_workspace(
    mixed: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, shown: str
) -> None:
    """GM7: GitHub takes paths from the workspace, wherever the step runs; so does the step's summary."""
    workspace = tmp_path / "work"
    (workspace / "deploy").mkdir(parents=True)
    for folder in (workspace, workspace / "deploy"):
        (folder / "checks.yaml").touch()
    monkeypatch.chdir(workspace / "deploy")
    said: list[str] = []
    environ = {"GITHUB_WORKSPACE": str(workspace), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    deliver(formats()["github"], replace(mixed, file=given.format(workspace)), "-", environ=environ, out=said.append)
    assert f"::error file={shown},line=29," in said[0]
    assert f"`{shown}:29`" in (tmp_path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["/etc/outrider/checks.yaml", "nowhere/checks.yaml"])
def test_a_file_of_another_machine_is_named_as_it_is(mixed: Report, tmp_path: Path, file: str) -> None:
    """GM7: with --via the checks are the runner's, and its file isn't in the workspace."""
    said: list[str] = []
    deliver(formats()["github"], replace(mixed, file=file), "-", environ={"GITHUB_WORKSPACE": str(tmp_path)}, out=said.append)
    assert f"::error file={file},line=29," in said[0]


def test_an_error_line_stays_one_line() -> None:
    """Per cent, CR and LF are escaped in a message, colon and comma in a property besides."""
    report = of_texts(["100 %\r\n::error::x"] * 7)
    text = actions.write(replace(report, file="a,b:c.yaml"))
    assert "::error file=a%2Cb%3Ac.yaml,line=29,title=api%3A fail::body: 100 %25%0D%0A::error::x" in text
    assert all(line.startswith("::") and " file=" in line for line in text.splitlines())


def test_at_most_ten_of_a_kind() -> None:
    """GitHub shows no more, so that no more are written."""
    report = of_texts(["down"] * 7)
    many = replace(report, checks=tuple(replace(report.checks[0], check=f"check-{n}") for n in range(30)))
    assert actions.write(many).count("::error ") == 10


def test_the_board_is_plain_without_a_terminal() -> None:
    """One fact a line, nothing said twice, no colour."""
    check = Check("api", "http", 29)
    console = Console(file=io.StringIO(), force_terminal=False)
    with Board(console, (check,), rounds=2) as board:
        board.say("waiting")
        board.say("waiting")
        board.ran(Observation(check, Verdict.PASS, None, "200", 0.0, 0.25), judged=False)
        board.ran(Observation(check, Verdict.PASS, None, "200", 0.0, 0.042))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "waiting\nPASS    api  250 ms  warm-up\nPASS    api  42 ms\n"


def on_screen(written: str, width: int) -> list[str]:
    """What is left on a terminal after these characters: line feeds, and rich's controls of the cursor and the line."""
    rows, row, column = [""], 0, 0
    for control, count, kind, text in re.findall(r"(\x1b\[\??(\d*)[\d;]*([A-Za-z]))|([^\x1b])", written):
        if control:
            row = max(0, row - int(count or 1)) if kind == "A" else row
            rows[row] = "" if kind == "K" else rows[row]
        elif text == "\r":
            column = 0
        elif text == "\n" or column == width:
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        if text not in ("", "\r", "\n"):
            rows[row] = rows[row].ljust(column)[:column] + text + rows[row][column + 1 :]
            column += 1
    return [one.rstrip() for one in rows if one.strip()]


def test_an_interrupted_board_leaves_no_row() -> None:
    """U21: Ctrl-C says so above the live table, which is gone afterwards, whole."""
    checks = tuple(Check(name, "http", 29) for name in ("api", "ready", "web"))
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    with Board(console, checks, rounds=100) as board:
        for number in range(4):
            for check in checks:
                board.ran(Observation(check, Verdict.PASS, None, "200", 0.0, 0.042))
            board.say(f"round {number}")
            board._live.refresh()
        assert board.above("ending the gate: the verdict so far follows")
        board.ran(Observation(checks[0], Verdict.PASS, None, "200", 0.0, 0.042))
        board._live.refresh()
    assert isinstance(console.file, io.StringIO)
    assert "4/100" in console.file.getvalue()
    assert on_screen(console.file.getvalue(), 80) == ["ending the gate: the verdict so far follows"]
    with Board(Console(file=io.StringIO(), force_terminal=False), checks, rounds=1) as board:
        assert not board.above("said elsewhere")


def test_a_report_wraps_with_its_indentation(mixed: Report) -> None:
    """U19: at a terminal of 40 columns no line is longer, and reasons and notes go on below themselves."""
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None, highlight=False)
    table.draw(console, mixed)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= 40 for line in lines), lines
    first = next(number for number, line in enumerate(lines) if "api: status" in line)
    assert lines[first].startswith("      api: status")
    assert lines[first + 1].startswith("      ")


def test_the_board_is_live_on_a_terminal() -> None:
    """Each check has a row with its rounds; the table goes away for the report."""
    check = Check("api", "http", 29)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Board(console, (check,), rounds=2) as board:
        board.ran(Observation(check, Verdict.PASS, None, "200", 0.0, 0.042))
    assert isinstance(console.file, io.StringIO)
    assert "1/2" in console.file.getvalue()
