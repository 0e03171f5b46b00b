"""Recent runs in little memory come back as they were."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from judge.observation import Observation
from probes.core import Reason, Verdict
from runner.sinks.recent import Forms, Recent
from tests.support.observations import NOON, TRACE, made_check, passed

CHECK = made_check()
TEXTS = st.text(max_size=20)
SECONDS = st.floats(0, 1e9)
RUNS = st.builds(
    Observation,
    st.just(CHECK),
    st.sampled_from(Verdict),
    st.none() | st.sampled_from(Reason),
    st.sampled_from(["", "200 in 12 ms", "a\0b", "\udc80"]) | TEXTS,
    SECONDS,
    SECONDS,
    phases=st.dictionaries(st.sampled_from(["resolve", "connect", "tls"]), SECONDS),
    facts=st.dictionaries(st.sampled_from(["step.login", "step.story"]), SECONDS),
    trace_id=st.sampled_from(["", TRACE, "0" * 32]),
    finding=st.sampled_from(["", "both addresses refuse"]),
    maintenance=st.booleans(),
    responded=st.booleans(),
    halted_in=st.sampled_from(["", "connect"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(RUNS, max_size=20), st.integers(1, 8))
def test_what_is_remembered_is_what_was_seen(seen: list[Observation], keep: int) -> None:
    """Any runs: the last `keep` of them, oldest first, whole; what is remembered later changes nothing of what was read."""
    recent = Recent(Forms(), keep)
    for run in seen:
        recent.append(run)
    runs = recent.of(CHECK)
    recent.append(passed(CHECK, message="later"))
    assert list(runs) == seen[-keep:]
    assert (len(runs), runs[-2:]) == (len(seen[-keep:]), tuple(seen[-keep:][-2:]))


def test_fewer_are_kept_from_a_reload_on() -> None:
    """The newest stay, with the message that they shared with a run that is forgotten."""
    recent = Recent(Forms(), 10)
    for number in range(10):
        recent.append(passed(CHECK, at=NOON + number, message="the same"))
    recent.resize(2)
    assert [(seen.at - NOON, seen.message) for seen in recent.of(CHECK)] == [(8, "the same"), (9, "the same")]


def test_facts_that_are_no_steps_are_forgotten() -> None:
    """And a trace id that isn't 32 hexadecimal digits, so that the memory of a run is known."""
    recent = Recent(Forms(), 10)
    recent.append(passed(CHECK, facts={"status_code": 200, "step.login": 0.25}, trace_id="z" * 32))
    assert [(seen.facts, seen.trace_id) for seen in recent.of(CHECK)] == [({"step.login": 0.25}, "")]


def test_sixty_runs_take_a_few_kilobytes() -> None:
    """At most 110 bytes a run of a plain http check, however long it runs."""
    recent, phases = Recent(Forms(), 60), dict.fromkeys(("resolve", "connect", "processing", "transfer"), 0.001)
    tracemalloc.start()
    for number in range(500):
        run = passed(CHECK, at=NOON + number, phases=phases, trace_id=f"{number:032x}", message=f"200 in {number} ms")
        recent.append(replace(run, seconds=number / 1000))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(recent.of(CHECK)) == 60
    assert taken < 2 * 60 * 110  # a bytearray has up to as much room again
