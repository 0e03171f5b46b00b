from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtests.order import SloOrder
from loadtests.record import Ended, Record, as_message, from_message, good

P95 = SloOrder("p95", 0.95, 0.5)
AVAILABLE = SloOrder("availability", 0.999)
STORY = SloOrder("story-time", 0.95, 3.0, "step.story")
EVENTS = st.lists(
    st.tuples(st.sampled_from(["browse", "story"]), st.floats(0, 9.99), st.floats(0.001, 2.0), st.sampled_from(["", "status"])), max_size=30
)
Event = tuple[str, float, float, str]


def counted(events: list[Event]) -> Record:
    """One worker's."""
    record = Record()
    for task, due, seconds, reason in events:
        record.offer(task, due)
        record.start(task, due, 0.001)
        ended = Ended(due, seconds, seconds / 2, reason, "503", {"step.x": seconds})
        record.end_request(f"{task}/x", ended, [P95, AVAILABLE])
        record.end_task(task, ended, [P95])
    return record


def test_the_threshold_itself_is_good_and_a_hair_above_is_not() -> None:
    """H4: Compared exactly, before anything is rounded: 500 ms of 500 ms is good."""
    assert good(Ended(0, 0.5, 0.1), P95)
    assert not good(Ended(0, 0.5000001, 0.1), P95)


def test_a_failure_is_never_good_however_quick() -> None:
    """An error after 1 ms is no quick answer."""
    assert not good(Ended(0, 0.001, 0.001, "status"), P95)
    assert not good(Ended(0, 0.001, 0.001, "status"), AVAILABLE)


def test_response_time_counts_and_not_service_time() -> None:
    """A user who was due 2 s before the send has waited for them."""
    assert not good(Ended(0, 2.1, 0.1), P95)


def test_a_measure_that_was_not_reached_was_not_quick() -> None:
    """A journey that never came to its story has no quick story."""
    assert good(Ended(0, 9.0, 9.0, phases={"step.story": 2.0}), STORY)
    assert not good(Ended(0, 0.1, 0.1), STORY)


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_many_workers_count_as_one(parts: list[list[Event]]) -> None:
    """Whatever is spread over workers and sent over the wire adds up to what one would have counted."""
    whole = Record()
    for part in parts:
        whole.merge(from_message(as_message(counted(part))))
    alone = counted([event for part in parts for event in part])
    assert whole.counts == alone.counts
    assert whole.lags.cells == alone.lags.cells
    assert {name: (s.done, s.errors, s.reasons, s.response.cells) for name, s in whole.tasks.items()} == {
        name: (s.done, s.errors, s.reasons, s.response.cells) for name, s in alone.tasks.items()
    }
    assert {at: (b.offered, b.done, b.errors) for at, b in whole.seconds.items()} == {
        at: (b.offered, b.done, b.errors) for at, b in alone.seconds.items()
    }


def test_who_cannot_be_let_in_is_a_bad_event() -> None:
    """An arrival that was dropped counts against the SLOs of its subject, and not among what was done."""
    record = Record()
    record.drop("browse", 3.2)
    record.count("browse/voices", Ended(3.2, 0.0, 0.0, "dropped"), [P95])
    assert record.by_slo()["browse/voices", "p95"] == {3: [0, 1]}
    assert record.seconds[3].dropped == 1
