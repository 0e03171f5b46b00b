"""What the journal writes, when, and what it does when it can't."""

from __future__ import annotations

import io
import json
import logging
import os
import termios
import threading
import tty
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import DiagnosisFinding
from probes.core import Reason
from runner.sinks.journal import Bridge, Entry, Form, Journal, render
from runner.terminal import wrapped
from tests.support.observations import NOON, TRACE, Hands, failed, made_check, made_plan, passed, unknown

API = made_check()


class Gate(io.StringIO):
    """A stream that writes only when it is let: a disk that stalls."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.open.wait()
        return super().write(text)


class Full(io.StringIO):
    """A disk that is full."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def journal(stream: io.StringIO, **settings: Any) -> Journal:
    """A journal of the roadtrip at noon."""
    return Journal(stream, service="roadtrip", clock=Hands(), **settings)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The entries that were written."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def written(use: Callable[[Journal], None], **settings: Any) -> list[dict[str, Any]]:
    """What a journal has written after it was used and closed."""
    stream = io.StringIO()
    kept = journal(stream, **settings)
    use(kept)
    kept.close()
    return lines(stream)


def test_a_failure_is_one_line_in_the_guides_form() -> None:
    """timestamp with milliseconds and Z, level, service, request_id, user_id, message, metadata: and nothing else."""
    seen = failed(
        API,
        Reason.TIMEOUT,
        "no answer within 5s in connect",
        at=NOON - 5,
        phases={"resolve": 0.002},
        facts={"user_id": 7, "status_code": 503},
        trace_id=TRACE,
        request_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
        finding="shares the failure of database",
        evidence={"response": "a long body"},
    )
    [line] = written(lambda kept: kept(seen))
    metadata = line.pop("metadata")
    assert line == {
        "timestamp": "2026-11-24T12:00:00.000Z",
        "level": "ERROR",
        "service": "roadtrip",
        "request_id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
        "user_id": "7",
        "message": "api failed: no answer within 5s in connect",
    }
    assert metadata["check"] == "api"
    assert (metadata["verdict"], metadata["reason"], metadata["trace_id"]) == ("fail", "timeout", TRACE)
    assert metadata["phases"] == {"resolve": 0.002}
    assert metadata["finding"] == "shares the failure of database"
    assert "a long body" not in json.dumps(metadata)


def test_levels_tell_a_change_from_more_of_the_same() -> None:
    """The first failure is an error, further ones warnings; recovery is information; a pass after a pass is only debugging."""
    history = [passed(API), passed(API), failed(API), failed(API), unknown(API), failed(API), passed(API), passed(API)]

    def use(kept: Journal) -> None:
        for seen in history:
            kept(seen)

    usual = [line["level"] for line in written(use)]
    assert usual == ["INFO", "ERROR", "WARNING", "WARNING", "ERROR", "INFO"]
    assert [line["level"] for line in written(use, level="debug")].count("DEBUG") == 2
    assert [line["level"] for line in written(use, level="error")] == ["ERROR", "ERROR"]


def test_every_line_that_is_queued_is_counted_by_level() -> None:
    """R11: log_entries_total{service,level} says what the journal holds, in the guide's words."""
    counts: Counter[tuple[str, str]] = Counter()

    def use(kept: Journal) -> None:
        kept(passed(API))
        kept(failed(API))
        kept.log(logging.WARNING, "x")

    told = written(use, counted=lambda service, level: counts.update([(service, level)]))
    assert counts == Counter((line["service"], line["level"]) for line in told)
    assert counts == {("roadtrip", level): 1 for level in ("INFO", "ERROR", "WARNING")}


def test_the_runners_own_events_stand_beside_the_runs() -> None:
    """A reload, a refused configuration: message and metadata, without a request."""
    [line] = written(lambda kept: kept.log(logging.INFO, "checks.yaml was taken over", checks=12))
    assert line == {
        "timestamp": "2026-11-24T12:00:00.000Z",
        "level": "INFO",
        "service": "roadtrip",
        "message": "checks.yaml was taken over",
        "metadata": {"checks": 12},
    }


def test_what_is_logged_goes_through_the_redactor() -> None:
    """Message and metadata of a log call may quote what it must not: both are redacted before they are queued."""

    def redact(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("hunter2", "***"))

    [line] = written(lambda kept: kept.log(logging.ERROR, "login hunter2", url="https://probe:hunter2@host/"), redact=redact)
    assert "hunter2" not in json.dumps(line)
    assert line["metadata"]["url"] == "https://probe:***@host/"


def test_a_stalled_disk_stalls_nobody_and_the_loss_is_told() -> None:
    """Above its capacity the journal drops lines and counts them; the caller never waits, and the next line says how many."""
    stream, lost = Gate(), []
    kept = journal(stream, capacity=3, failed=lambda: lost.append(1))
    kept.log(logging.INFO, "first")
    stream.reached.wait()
    for number in range(5):
        kept.log(logging.INFO, f"more {number}")
    stream.open.set()
    kept.close()
    told = lines(stream)
    assert [line["message"] for line in told if line["level"] == "INFO"] == ["first", "more 0", "more 1"]
    assert [line["metadata"]["dropped"] for line in told if line["level"] == "WARNING"] == [3]
    assert len(lost) == 3


def test_a_full_disk_ends_no_probing() -> None:
    """What can't be written is counted as the sink's failure; the journal goes on, and closes."""
    lost: list[int] = []
    kept = journal(Full(), failed=lambda: lost.append(1))
    kept(failed(API))
    kept.log(logging.INFO, "and on")
    kept.close()
    assert len(lost) == 2


def test_close_writes_what_waits() -> None:
    """At the drain nothing that was queued is lost."""
    stream = Gate()
    kept = journal(stream)
    for number in range(100):
        kept.log(logging.INFO, str(number))
    stream.open.set()
    kept.close()
    assert [line["message"] for line in lines(stream)] == [str(number) for number in range(100)]


def test_log_records_are_bridged_without_the_values_of_locals() -> None:
    """The scheduler's and the server's records become lines; of an exception type, words and places, no local's value."""
    password = "hunter2"
    logger = logging.getLogger("tests.bridge")
    logger.propagate = False

    def use(kept: Journal) -> None:
        bridge = Bridge(kept)
        logger.addHandler(bridge)
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("job %s failed", "beat")
        logger.info("below the bridge's level")
        logger.removeHandler(bridge)

    [line] = written(use)
    assert (line["level"], line["message"]) == ("ERROR", "job beat failed")
    assert line["metadata"]["logger"] == "tests.bridge"
    assert line["metadata"]["error"] == "ValueError: broken"
    assert any("in use" in where for where in line["metadata"]["where"])
    assert password not in json.dumps(line)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters()), st.dictionaries(st.text(max_size=5), anything, max_size=4))
def test_any_entry_is_one_line_of_valid_json_in_utf_8(message: str, metadata: Mapping[str, Any]) -> None:
    """Newlines, NaN, lone surrogates, bytes: a reader of lines never sees half an entry or a number that JSON hasn't."""
    text = render(Entry(NOON, "info", message, metadata), "roadtrip")
    assert text.encode("utf-8").count(b"\n") == 1
    line = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert line["message"] == message


def test_a_blip_is_a_warning_and_no_change_of_state() -> None:
    """What a re-check didn't see again stands in the journal, and the pass after it is no recovery."""

    def use(kept: Journal) -> None:
        for one in (passed(API), failed(API, confirmed=False), passed(API)):
            kept(one)

    written_lines = written(use, level="debug")
    assert [line["level"] for line in written_lines] == ["INFO", "WARNING", "DEBUG"]
    assert written_lines[1]["message"] == "api failed once and passed on an immediate retry: 503, expected 200"
    assert written_lines[1]["metadata"]["confirmed"] is False


def test_a_finding_is_a_line_of_its_own() -> None:
    """What a diagnosis found names the run that it is about, and every trial."""
    told = DiagnosisFinding(API, TRACE, NOON, "2 of 3 addresses refuse", {"connect to 10.0.3.7": "refused"})
    [line] = written(lambda kept: kept.found(told))
    assert (line["level"], line["message"]) == ("WARNING", "api: 2 of 3 addresses refuse")
    assert line["metadata"] == {"check": "api", "kind": "made", "trace_id": TRACE, "trials": {"connect to 10.0.3.7": "refused"}}


def test_a_reload_forgets_how_a_removed_or_changed_check_was() -> None:
    """The next failure of either is a first one, at `error`; an unchanged check's is one more of the same."""
    part, cache = made_check("api/db", part_of="api"), made_check("cache")
    plans = [made_plan(API, cache, parts={"api": (part,)}), made_plan(cache), made_plan(API, cache, parts={"api": (part,)})]
    changed = made_plan(replace(API, address="elsewhere"), cache, parts={"api": (part,)})

    def use(kept: Journal) -> None:
        for plan in (*plans, changed):
            kept.plan(plan)
            for check in (API, part, cache):
                if check.name in plan.fingerprints:
                    kept(failed(check))

    levels = [(line["metadata"]["check"], line["level"]) for line in written(use)]
    assert [level for name, level in levels if name == "cache"] == ["ERROR", "WARNING", "WARNING", "WARNING"]
    assert [level for name, level in levels if name == "api"] == ["ERROR"] * 3
    assert [level for name, level in levels if name == "api/db"] == ["ERROR"] * 3


def test_a_reload_takes_the_services_name_over() -> None:
    """What is written from then on stands under it."""

    def use(kept: Journal) -> None:
        kept.plan(replace(made_plan(), service="trips"))
        kept.log(logging.INFO, "x")

    [line] = written(use)
    assert line["service"] == "trips"


@pytest.mark.parametrize("finding", ["", "x" * 35_000, "\x00" * 10_000, "😀" * 3000])
@pytest.mark.parametrize("facts", [{}, {f"step.{n}": "\x1b" * 500 for n in range(200)}, {"version": "é" * 5000}])
def test_no_line_of_a_run_is_longer_than_2_kb(finding: str, facts: dict[str, Any]) -> None:
    """XM13: whatever a target sent and however many checks fail, a run's line stays below 2 KB, and names the check and the reason."""
    seen = failed(API, message="\x01" * 500, finding=finding, facts=facts)
    [entry] = written(lambda kept: kept(seen))
    found = {"trials": {f"connect to {n}": "timeout: " + "y" * 400 for n in range(8)}, "text": finding or "z" * 3000}
    [told] = written(lambda kept: kept.found(DiagnosisFinding(API, TRACE, NOON, str(found["text"]), found["trials"])))  # type: ignore[arg-type]
    for line in (entry, told):
        assert len(json.dumps(line, ensure_ascii=False).encode()) < 2048
    assert (entry["metadata"]["check"], entry["metadata"]["reason"]) == ("api", "status")


def test_a_traceback_is_whole() -> None:
    """XM13: a line of the runner's own may be longer, up to 16 KB: it says what broke."""
    [short] = written(lambda kept: kept.log(logging.ERROR, "frame\n" * 1000))
    [long] = written(lambda kept: kept.log(logging.ERROR, "frame\n" * 10_000))
    assert short["message"] == "frame\n" * 1000
    assert len(json.dumps(long)) < 16 * 1024


class Unwritable(dict[str, Any]):
    """What breaks whoever reads it."""

    def items(self) -> Any:
        raise RuntimeError("no")


def test_a_line_that_can_not_be_written_ends_no_journal() -> None:
    """XM5: it is counted and told by a line of its own, and the lines after it are written."""
    lost: list[int] = []
    stream = io.StringIO()
    kept = journal(stream, failed=lambda: lost.append(1))
    kept._put(Entry(NOON, "error", "broken", Unwritable(a=1)))
    kept.log(logging.ERROR, "the next one")
    kept.close()
    assert [line["message"] for line in lines(stream)] == ["a line of the journal can't be written", "the next one"]
    assert lost == [1]


def test_at_a_terminal_a_long_line_goes_on_below_its_text() -> None:
    """U7, U19: no word is broken, whatever the width is now; elsewhere a line stays a line."""
    master, slave = os.openpty()
    tty.setraw(slave)
    termios.tcsetwinsize(slave, (24, 40))
    with os.fdopen(slave, "w") as stream, os.fdopen(master, "rb") as screen:
        journal = Journal(stream, service="trips", clock=Hands(), form=Form.WORDS)
        journal(failed(made_check("team-2-service"), Reason.TIMEOUT, "no answer within 5s from http://127.0.0.1:9797/"))
        journal.close()
        shown = screen.read1().decode()
    assert shown.splitlines() == [
        "12:00:00  team-2-service is down:",
        "          timeout: no answer within 5s",
        "          from http://127.0.0.1:9797/",
    ]


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=200), st.integers(0, 60), st.integers(0, 12))
def test_what_wraps_loses_no_word(text: str, columns: int, indent: int) -> None:
    """U19: every line is within the width, and every character that isn't a blank stays."""
    shown = wrapped(text, columns, indent)
    assert "".join(shown.split()) == "".join(text.split())
    assert columns <= 2 * indent or all(len(line) <= columns for line in shown.split("\n"))


def test_a_person_reads_changes_in_words() -> None:
    """U7: on a terminal a line for each change, with the time of day; what a target says can't steer the terminal."""
    stream, check = io.StringIO(), made_check("database")
    journal = Journal(stream, service="trips", clock=Hands(), form=Form.WORDS)
    for seen in (
        passed(check, message="select 1"),
        passed(check),
        failed(check, Reason.TIMEOUT, "no answer within 5s \x1b[2J\u202e"),
        failed(check, Reason.TIMEOUT, "no answer within 5s"),
        unknown(check),
        passed(check),
    ):
        journal(seen)
    journal.log(logging.WARNING, "checks.yaml has errors:\nchecks.yaml:3:1  no check")
    journal.close()
    assert stream.getvalue().splitlines() == [
        "12:00:00  database is up: select 1",
        "12:00:00  database is down: timeout: no answer within 5s \\x1b[2J\\u202e",
        "12:00:00  database is unknown: starved: the runner was starved",
        "12:00:00  database is up",
        "12:00:00  checks.yaml has errors:",
        "          checks.yaml:3:1  no check",
    ]
