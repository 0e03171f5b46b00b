from __future__ import annotations

from judge.baseline import Before
from judge.observation import Observation
from judge.verdict import Outcome
from probes.core import Reason, Verdict
from runner.config.plan import Planned
from runner.gate.addresses import ReadinessProbe, gate_targets
from runner.gate.settings import GateSettings
from tests.support.gating import BY_PATH, HEADER, Reply, Road, gated, plan

NEW, OLD = "new1234", "old5678"
WAIT = GateSettings(expect_revision=NEW, wait=30.0, rounds=2, consecutive=3)


def texts(found: object) -> str:
    """All that is said, in one."""
    return " | ".join(one.text for one in found)  # type: ignore[attr-defined]


async def test_it_waits_until_enough_answers_in_a_row_are_new() -> None:
    """An old answer among them begins the count anew: only then is anything judged."""
    order = [OLD, NEW, NEW, OLD, NEW, NEW, NEW]
    road = Road(asked=lambda n, _: Reply(order[n] if n < len(order) else NEW))
    result = await gated(road, plan(), WAIT)
    assert result.report.verdict is Outcome.PASS
    assert road.questions == len(order)
    assert "3 responses in a row" in " ".join(result.report.preamble)


async def test_a_question_is_planned_once_for_each_address() -> None:
    """However often it is asked: probe, check and plan of an address are the very same."""
    asked: list[tuple[str, Planned]] = []

    class Noting(Road):
        async def observe(self, planned: Planned, *, by_hand: bool = False, lag: float = 0.0) -> tuple[Observation, ...]:
            assert isinstance(planned.probe, ReadinessProbe)
            asked.append((planned.probe.resolve or "", planned))
            return await super().observe(planned, by_hand=by_hand, lag=lag)

    [target] = gate_targets(plan().checks)
    road = Noting()
    for address in ("", "10.0.0.1", "10.0.0.2") * 3:
        await target.ask(road, address)
    assert len(asked) == 9
    assert len({(address, id(planned)) for address, planned in asked}) == 3


async def test_every_address_of_the_name_must_answer_new() -> None:
    """One of three addresses is old: named, and inconclusive, though a user of the first would see nothing."""
    addresses = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    road = Road(
        addresses=addresses,
        asked=lambda _, address: Reply(OLD if address == "10.0.0.3" else NEW, ip=address or "10.0.0.1"),
    )
    result = await gated(road, plan(), WAIT)
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert OLD in result.report.reasons[0].text
    assert road.runs == 0


async def test_an_address_that_has_gone_is_waited_for_no_more() -> None:
    """The old instance leaves the name during the wait: what it told last holds nobody up."""
    road = Road(addresses=("10.0.0.1", "10.0.0.2"))

    def answers(number: int, address: str) -> Reply:
        assert number < 50, "it waits for ever"
        if number == 5:
            road.addresses = ("10.0.0.1",)
        return Reply(OLD if address == "10.0.0.2" else NEW, ip=address or "10.0.0.1")

    road.asked = answers
    result = await gated(road, plan(), WAIT)
    assert result.report.verdict is Outcome.PASS
    assert road.clock.monotonic() < 1000.0 + WAIT.wait


async def test_an_address_family_that_this_machine_lacks_is_left_out() -> None:
    """An IPv6 address without a route says nothing of the target; the report tells that it was left out."""

    def answers(_: int, address: str) -> Reply:
        if address == "2001:db8::1":
            return Reply(None, reason=Reason.UNREACHABLE)
        return Reply(NEW)

    result = await gated(Road(addresses=("2001:db8::1", "10.0.0.1"), asked=answers), plan(), WAIT)
    assert result.report.verdict is Outcome.PASS
    assert "no route to 2001:db8::1" in " ".join(result.report.preamble)


async def test_a_release_that_never_answers_fails_and_names_its_checks() -> None:
    """Nobody is there for the whole time: fail, and one run of each check tells which lines it is about."""
    road = Road(asked=lambda *_: Reply(None), ran=lambda *_: Reply(None))
    result = await gated(road, plan("api", "ready"), WAIT)
    assert result.report.verdict is Outcome.FAIL
    assert "api did not respond within 30 s" in texts(result.report.reasons)
    assert {one.check for one in result.report.reasons} == {"", "api", "ready"}
    assert road.runs == 2
    assert road.clock.monotonic() - 1000.0 <= 31.0


async def test_another_revision_all_the_time_is_inconclusive_and_judges_nothing() -> None:
    """The release may be good: nothing is known of it."""
    road = Road(asked=lambda *_: Reply(OLD))
    result = await gated(road, plan(), WAIT)
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert f"api did not serve revision {NEW} 3 times in a row within 30 s" in texts(result.report.reasons)
    assert road.runs == 0


async def test_what_the_runner_could_not_ask_is_inconclusive() -> None:
    """A limit that is spent, a network that is gone: neither is the release's fault."""
    road = Road(asked=lambda *_: Reply(None, verdict=Verdict.UNKNOWN, reason=Reason.QUOTA))
    result = await gated(road, plan(), WAIT)
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert "api could not be checked within 30 s" in texts(result.report.reasons)


async def test_a_target_that_tells_nothing_is_said_beforehand() -> None:
    """Before anything is asked, with what to add to the application; never a pass."""
    road = Road()
    result = await gated(road, plan(told_by=None), WAIT)
    assert "api: no revision is reported, so the gate can't wait for new1234" in road.said[0]
    assert "X-Revision" in road.said[0]
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert result.report.checks[0].passed == 2


async def test_an_empty_revision_is_said_at_the_first_answer() -> None:
    """Not after five minutes."""
    road = Road(asked=lambda *_: Reply(""))
    await gated(road, plan(), WAIT)
    assert road.said[0].startswith("api reports no revision (header X-Revision); let the application send")


async def test_a_revision_that_is_always_the_same_is_said_at_the_first_answer() -> None:
    """It was the same before the deployment, or looks like no commit."""
    road = Road(asked=lambda *_: Reply("1.0.0"))
    await gated(road, plan(), WAIT, Before({}, {"api": "1.0.0"}, "before.json"))
    assert road.said[0].startswith("api already reported revision 1.0.0 before the deployment")
    road = Road(asked=lambda *_: Reply("1.0.0"))
    settings = GateSettings(expect_revision="3f2c91a0b1c2", wait=1.0)
    await gated(road, plan(told_by=BY_PATH), settings)
    assert road.said[0].startswith("api reports 1.0.0 ($.version of /health/), which doesn't look like a commit")


async def test_without_an_expected_revision_it_waits_for_an_answer() -> None:
    """Readiness: whichever revision it is."""
    road = Road(asked=lambda n, _: Reply(None) if n < 4 else Reply(OLD))
    result = await gated(road, plan(), GateSettings(wait=30.0, rounds=1))
    assert result.report.verdict is Outcome.PASS
    assert f"with revision {OLD}" in " ".join(result.report.preamble)


async def test_nothing_waits_for_an_optional_check() -> None:
    """A partner that is down holds up no deployment."""
    road = Road(asked=lambda *_: Reply(None), ran=lambda *_: Reply(None))
    result = await gated(road, plan(required=False), GateSettings(wait=300.0, rounds=1))
    assert result.report.verdict is Outcome.PASS
    assert road.questions == 0


async def test_a_stray_in_the_judged_answers_is_inconclusive() -> None:
    """The header in the answer itself tells it, and its run is not counted."""
    road = Road(ran=lambda n, _: Reply(OLD if n == 2 else NEW))
    result = await gated(road, plan(told_by=HEADER), WAIT)
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert result.report.checks[0].strays == 1
    assert f"revision {OLD} answered 1 of 2 runs" in texts(result.report.reasons)


async def test_a_stray_read_beside_a_round_is_inconclusive() -> None:
    """Where only a path tells it, it is read around each round; the report says that it stands beside."""
    road = Road(asked=lambda n, _: Reply(OLD if n == 4 else NEW))
    result = await gated(road, plan(told_by=BY_PATH), WAIT)
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert "not from the judged responses" in " ".join(result.report.preamble)


async def test_a_failure_without_a_revision_is_the_releases_own() -> None:
    """A balancer's error page has no such header, and is no other release's answer."""
    broken = Reply("none", verdict=Verdict.FAIL, reason=Reason.STATUS)
    result = await gated(Road(ran=lambda *_: broken), plan(), WAIT)
    assert result.report.verdict is Outcome.FAIL
