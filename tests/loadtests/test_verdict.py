from __future__ import annotations

import random
from dataclasses import replace

import pytest

from judge.verdict import Outcome
from loadtests.order import Order, SloOrder
from loadtests.progress import breach, budget_used
from loadtests.record import Ended, Record, good
from loadtests.result import LoadReport, Stage, Worker, as_json, report_from
from loadtests.verdict import Facts, judge
from probes.target import Target

P95 = SloOrder("p95", 0.95, 0.5)
AVAILABLE = SloOrder("availability", 0.99)
WELL = Worker("1", "done", cpu_peak=0.3)
ORDER = Order(
    scenario="roadtrip",
    mix={"browse": 1.0, "search": 1.0},
    count="requests",
    slos=(P95, AVAILABLE),
    target=Target(name="api", url="http://127.0.0.1:1"),
    stages=(Stage(20.0, 40.0, 40.0),),
    duration=20.0,
    warm_up=2.0,
)


def facts(*workers: Worker, **more: object) -> Facts:
    """What is known beside the counts."""
    return Facts(1000.0, 1020.0, workers or (WELL,), **more)  # type: ignore[arg-type]


def run(slow: dict[str, set[int]] | None = None, *, lag: float = 0.001, each: int = 20) -> Record:
    """20 seconds, so many arrivals of each task in each; `slow` names seconds in which a route takes 900 ms."""
    record = Record()
    for second in range(20):
        for task in ("browse", "search"):
            seconds = 0.9 if second in (slow or {}).get(task, set()) else 0.05
            for number in range(each):
                due = second + number / each
                record.offer(task, due)
                record.start(task, due, lag)
                ended = Ended(due, seconds, seconds)
                record.end_request(f"{task}/x", ended, ORDER.slos)
                record.end_task(task, ended, ())
    return record


def causes(report: LoadReport) -> list[str]:
    """Why it isn't a pass."""
    return [reason.cause for reason in report.reasons]


def test_an_slo_is_proven_of_all_that_it_is_promised_of() -> None:
    """A route that is asked seldom, and has another SLO beside, needs no thousands of its own for the one that they share.

    A bad one of its own among so few leaves it open all the same.
    """
    story = SloOrder("story-time", 0.9, 3.0, "step.story")
    record = run()
    for second in range(20):
        for number in range(2):
            record.end_request("story/story", Ended(second + number / 2, 1.0, 1.0, phases={"step.story": 1.0}), (AVAILABLE, story))
    order = replace(ORDER, mix={**ORDER.mix, "story": 0.1}, slos=(P95, AVAILABLE, story))
    assert judge(order, record, facts()).verdict is Outcome.PASS

    record.end_request("story/story", Ended(10.0, 1.0, 1.0, "status", phases={"step.story": 1.0}), (AVAILABLE, story))
    report = judge(order, record, facts())
    assert report.verdict is Outcome.INCONCLUSIVE
    assert ("story/story", "availability") in {(reason.task, reason.slo) for reason in report.reasons}
    assert not [reason for reason in report.reasons if reason.task.startswith(("browse", "search"))]


def test_what_nothing_was_counted_for_is_not_proven() -> None:
    """An SLO whose route nobody came to, and a phase that no answer had: inconclusive, never a pass for want of samples."""
    story = SloOrder("story-time", 0.9, 3.0, "step.story")
    order = replace(ORDER, slos=(P95, AVAILABLE, story))
    report = judge(order, run(), facts(wanted={"browse/x": ("p95", "availability"), "story/story": ("story-time",)}))
    assert report.verdict is Outcome.INCONCLUSIVE
    assert [(reason.task, reason.slo) for reason in report.reasons] == [("story/story", "story-time")]

    token = SloOrder("first", 0.9, 3.0, "first_token")
    report = judge(replace(ORDER, slos=(P95, AVAILABLE, token)), run(), facts())
    assert [reason.text for reason in report.reasons] == ["first: the run measured nothing that this SLO applies to"]


def test_a_phase_counts_where_an_answer_has_it() -> None:
    """The first token of those that stream; an answer in one piece is no bad one."""
    token = SloOrder("first", 0.9, 3.0, "first_token")
    assert good(Ended(1.0, 0.5, 0.5), token) is None
    assert good(Ended(1.0, 0.5, 0.5, phases={"first_token": 0.2}), token) is True
    assert good(Ended(1.0, 9.0, 9.0, phases={"first_token": 4.0}), token) is False


def test_what_is_still_under_way_ends_no_run() -> None:
    """Failures are quick: a second counts for --abort-on-breach once all that arrived in it has ended."""
    record = Record()
    for second in range(2, 12):
        for number in range(20):
            due = second + number / 20
            record.offer("browse", due)
            record.start("browse", due, 0.0)
            if number == 0:
                record.end_request("browse/x", Ended(due, 0.1, 0.1, "status"), (P95,))
                record.end_task("browse", Ended(due, 0.1, 0.1, "status"), ())
    assert breach(ORDER, record, 12.0) == ""


def test_a_run_that_was_cut_has_no_cool_down() -> None:
    """What it has counted is judged to its end: the breach that ended it is not forgotten."""
    report = judge(replace(ORDER, cool_down=15.0), run(), Facts(1000.0, 1012.0, (WELL,), aborted="browse/x p95"))
    assert [(period.name, period.ends) for period in report.periods] == [("warm-up", 2.0), ("steady", 12.0)]


def test_a_clean_run_that_proves_its_slos_passes() -> None:
    """720 clean requests prove 95 % and 99 %: pass, without a reason."""
    report = judge(ORDER, run(), facts())
    assert (report.verdict, report.reasons) == (Outcome.PASS, ())
    assert [(m.name, m.begins, m.ends) for m in report.periods] == [("warm-up", 0.0, 2.0), ("steady", 2.0, 20.0)]


def test_one_slow_route_fails_by_its_name_and_is_not_pooled_away() -> None:
    """A third of one route's seconds are slow: that route fails p95, the other one doesn't."""
    report = judge(ORDER, run({"search": set(range(3, 9))}), facts())
    assert report.verdict is Outcome.FAIL
    assert {reason.task for reason in report.reasons} == {"search/x"}
    assert {reason.slo for reason in report.reasons} == {"p95"}


def test_a_short_stall_fails_in_its_window() -> None:
    """A second's stall is too little for the whole run to be sure of, and plain within its ten seconds."""
    report = judge(ORDER, run({"browse": {9, 10}}), facts())
    assert report.verdict is Outcome.FAIL
    assert causes(report) == ["window"]
    assert "worst from" in report.reasons[0].text


def test_many_windows_make_no_breach_of_luck() -> None:
    """Each request is good by the toss of a fair coin, just as often as promised: of twenty runs, none fails in one of its windows."""
    rng = random.Random(9)  # noqa: S311 - seeded, to be tossed alike each time
    order = replace(ORDER, mix={"browse": 1.0}, slos=(P95,), duration=60.0, stages=(Stage(60.0, 20.0, 20.0),))
    broken = 0
    for _ in range(20):
        record = Record()
        for number in range(60 * 20):
            due, seconds = number / 20, 0.05 if rng.random() < P95.objective else 0.9
            record.offer("browse", due)
            record.start("browse", due, 0.001)
            record.end_request("browse/x", Ended(due, seconds, seconds), order.slos)
            record.end_task("browse", Ended(due, seconds, seconds), ())
        broken += "window" in causes(judge(order, record, facts()))
    assert broken == 0


def test_warm_up_is_marked_and_not_judged() -> None:
    """What is slow in the first two seconds is in the record and colours nothing."""
    report = judge(ORDER, run({"browse": {0, 1}}), facts())
    assert report.verdict is Outcome.PASS
    assert report.seconds[0].response.largest == 0.9


def test_too_few_are_inconclusive_and_say_how_many_would_do() -> None:
    """Two a second prove 95 % and not 99 %: one sentence for all routes, with the number."""
    report = judge(ORDER, run(each=2), facts())
    assert (report.verdict, causes(report)) == (Outcome.INCONCLUSIVE, ["short"])
    assert "299 without a bad one would prove 99 %" in report.reasons[0].text


def test_nothing_sent_is_inconclusive() -> None:
    """Zero requests prove nothing."""
    report = judge(ORDER, Record(), facts())
    assert report.verdict is Outcome.INCONCLUSIVE
    assert causes(report)[0] == "nothing"


@pytest.mark.parametrize(
    ("record", "who", "word"),
    [
        (run(lag=0.3), WELL, "began 300 ms or more late"),
        (run(), Worker("1", "done", cpu_peak=0.99), "of its CPU core"),
    ],
    ids=["lag", "cpu"],
)
def test_a_saturated_generator_is_no_judge(record: Record, who: Worker, word: str) -> None:
    """Late starts or a full core: inconclusive, though all was well."""
    report = judge(ORDER, record, facts(who))
    assert (report.verdict, causes(report)) == (Outcome.INCONCLUSIVE, ["saturated"])
    assert word in report.generator.saturated


def test_a_saturated_generator_proves_no_breach_either() -> None:
    """Its own lateness may be the slowness: the breach becomes a note."""
    report = judge(ORDER, run({"search": set(range(20))}, lag=0.9), facts())
    assert report.verdict is Outcome.INCONCLUSIVE
    assert any("measured, but not judged: " in note.text for note in report.notes)


def test_what_was_due_and_never_begun_is_saturation() -> None:
    """Achieved of offered below 98 %: no result."""
    record = run()
    for number in range(100):
        record.offer("browse", number / 10)
    assert causes(judge(ORDER, record, facts())) == ["saturated"]


def test_a_lost_worker_and_another_revision_are_inconclusive() -> None:
    """Each says what happened."""
    lost = judge(ORDER, run(), facts(WELL, Worker("2", "lost")))
    assert (lost.verdict, causes(lost)) == (Outcome.INCONCLUSIVE, ["worker"])
    moved = judge(ORDER, run(), facts(revision_before="1.4.2", revision_after="1.4.3"))
    assert (moved.verdict, causes(moved)) == (Outcome.INCONCLUSIVE, ["revision"])
    assert "from 1.4.2 to 1.4.3" in moved.reasons[0].text


def test_dropped_arrivals_are_said_and_colour() -> None:
    """More were under way than a worker keeps: what couldn't begin is bad for its SLOs, and said."""
    record = run()
    record.offer("browse", 5.0)
    record.drop("browse", 5.0)
    report = judge(ORDER, record, facts())
    assert causes(report) == ["dropped"]


def test_arrivals_that_came_to_no_end_are_an_error_of_ours() -> None:
    """What began and was never counted can't be called good."""
    record = run()
    record.offer("browse", 5.0)
    record.start("browse", 5.0, 0.001)
    assert causes(judge(ORDER, record, facts())) == ["broken"]


def test_a_breach_is_told_while_it_runs_and_luck_is_not() -> None:
    """--abort-on-breach: nothing of a clean run or a short stall, the route's name of a route that is slow throughout."""
    assert breach(ORDER, run(), 20.0) == ""
    assert breach(ORDER, run({"browse": {5}}), 20.0) == ""
    assert breach(ORDER, run({"search": set(range(20))}), 8.0).startswith("search/x p95")


def test_the_budget_counts_what_may_still_go_wrong() -> None:
    """720 of 800 may be bad 5 % of the time: one slow second of twenty uses all of it."""
    used = budget_used(ORDER, run({"browse": {5}}))
    assert used["browse/x p95"] == pytest.approx(1.0)
    assert used["search/x p95"] == 0.0


def test_a_closed_loop_says_what_it_hides() -> None:
    """Its report carries the warning."""
    report = judge(replace(ORDER, arrivals="closed", users=4, stages=()), run(), facts())
    assert any("closed loop" in note.text for note in report.notes)


def test_a_report_reads_back_as_it_was_written() -> None:
    """JSON both ways, histograms and all."""
    report = judge(ORDER, run({"browse": {9}}), facts())
    assert report_from(as_json(report)) == report


def test_what_the_generator_could_not_send_is_no_failure_of_the_target() -> None:
    """G5: requests for which no file descriptor was left make the run inconclusive, and no SLO counts them as bad ones."""
    record = run()
    for number in range(300):
        starved = Ended(10 + number / 300, 0.0, 0.0, "starved", "no file descriptors are left (a process may have 64)")
        record.end_request("browse/x", starved, ORDER.slos)
    report = judge(ORDER, record, facts())
    assert report.verdict is Outcome.INCONCLUSIVE
    assert causes(report) == ["saturated"]
    assert "300 requests could not be sent: no file descriptors are left (a process may have 64)" in report.reasons[0].text
    assert {(one.good, one.total) for one in report.judgements if one.subject == "browse/x"} == {(360, 360)}
    assert breach(ORDER, record, 20.0) == ""


def test_the_verdict_says_why_requests_failed() -> None:
    """GM3: each failed judgement names its errors by reason, the commonest first, with the first message of each."""
    record = run()
    for number in range(100):
        late = number % 4 == 0
        ended = Ended(10 + number / 100, 0.1, 0.1, "timeout" if late else "refused", "" if late else "the connection was refused")
        record.end_request("browse/x", ended, ORDER.slos)
    texts = [reason.text for reason in judge(ORDER, record, facts()).reasons if reason.task == "browse/x"]
    assert texts
    assert all("errors of the whole run: refused 75 (the connection was refused), timeout 25" in text for text in texts)
    assert not any("errors of the whole run" in one.text for one in judge(ORDER, run(), facts()).judgements)
