from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.baseline import Before
from judge.observation import Observation
from judge.revision import same_revision
from judge.verdict import Outcome
from probes.core import Reason, Verdict
from probes.kinds.http import Http
from probes.kinds.tcp import Tcp
from probes.target import Revision, Target
from runner.config.plan import Planned
from runner.gate.addresses import ReadinessProbe, gate_targets
from runner.gate.hints import revision_hint
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


@pytest.mark.parametrize("address", ["10.0.0.2", "2001:db8::2"])
async def test_an_address_without_a_route_beside_one_of_its_family_is_down(address: str) -> None:
    """G8: this machine has the family, since another address of it responds: users reach the dead one too, and it isn't left out."""
    there = "10.0.0.1" if "." in address else "2001:db8::1"
    road = Road(
        addresses=(there, address),
        asked=lambda _, asked: Reply(None, reason=Reason.UNREACHABLE) if asked == address else Reply(NEW, ip=there),
    )
    result = await gated(road, plan(), GateSettings(wait=5.0, rounds=1))
    assert result.report.verdict is Outcome.FAIL
    assert "not every address of api responded within 5 s" in texts(result.report.reasons)


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
    road = Road(asked=lambda *_: Reply(None), ran=lambda _, check: Reply(NEW if check.required else None))
    required, optional = plan(), plan("extra", required=False)
    partner = replace(optional.checks[0], probe=Http.model_validate({"url": "http://partner.test"}), target=None)
    both = replace(required, checks=(partner, replace(required.checks[0], probe=Tcp(host="db", port=1), target=None)))
    result = await gated(road, both, GateSettings(wait=300.0, rounds=1))
    assert result.report.verdict is Outcome.PASS
    assert road.questions == 0


@pytest.mark.parametrize("expect", ["", NEW])
async def test_a_gate_of_optional_checks_proves_nothing(expect: str) -> None:
    """G8: inconclusive, whatever they say; and no advice to set what is set already."""
    for reply in (Reply(NEW), Reply(None)):
        road = Road(asked=lambda *_: Reply(NEW), ran=lambda *_, reply=reply: reply)
        settings = GateSettings.model_validate({"rounds": 1, **({"expect_revision": expect} if expect else {})})
        result = await gated(road, plan(required=False), settings)
        assert result.report.verdict is Outcome.INCONCLUSIVE
        assert "no required check was judged" in texts(result.report.reasons)
        assert "X-Revision" not in texts(result.report.reasons) + " ".join(result.report.preamble)


async def test_a_revision_that_only_optional_checks_see_is_told() -> None:
    """G8: the required check asks no target, and the hint names the one that could tell."""
    optional = plan("extra", required=False)
    required = replace(plan().checks[0], probe=Tcp(host="db", port=1), target=None)
    result = await gated(Road(), replace(optional, checks=(*optional.checks, required)), WAIT)
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert "only optional checks ask api, which reports its revision" in texts(result.report.reasons)


async def test_a_check_with_a_url_of_its_own_is_told_to_name_a_target() -> None:
    """G8: nowhere to set `revision:` on a url; the hint says what to write."""
    alone = replace(plan().checks[0], probe=Http.model_validate({"url": "http://api.test/"}), target=None)
    result = await gated(Road(), replace(plan(), checks=(alone,)), WAIT)
    assert "give the check target: and path: in place of its url:" in texts(result.report.reasons)


async def test_a_target_without_a_revision_beside_one_with_it_is_told() -> None:
    """One of two targets can't show which release responds there: said, so that nobody takes it for proven."""
    web = Target(name="web", url="http://web.test")
    made = plan()
    other = replace(
        made.checks[0],
        check=replace(made.checks[0].check, name="web", target="web"),
        probe=Http.model_validate({"target": web, "path": "/"}),
        target=web,
    )
    result = await gated(Road(), replace(made, checks=(*made.checks, other)), WAIT)
    assert result.report.verdict is Outcome.PASS
    assert result.report.preamble[0] == f"web: no revision is reported, so nothing shows whether {NEW} responds there"


@pytest.mark.parametrize(
    ("reports", "expect"),
    [("build-123", "build-12"), ("v1.10.12", "v1.10.1"), ("1.2.3-rc.1", "1.2.3-rc.10"), ("abc1234f", "abc1234e"), ("12345678", "1234567")],
)
async def test_a_version_that_begins_alike_is_another_release(reports: str, expect: str) -> None:
    """G1: never a pass on the wrong release, neither while waiting nor in a judged run."""
    waiting = await gated(Road(asked=lambda *_: Reply(reports)), plan(), GateSettings(expect_revision=expect, wait=4.0, rounds=3))
    assert waiting.report.verdict is Outcome.INCONCLUSIVE
    assert f"responses: {reports} (" in texts(waiting.report.reasons)
    judged = Road(asked=lambda *_: Reply(expect), ran=lambda *_: Reply(reports))
    result = await gated(judged, plan(), GateSettings(expect_revision=expect, rounds=3))
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert f"revision {reports} answered 3 of 3 runs" in texts(result.report.reasons)
    around = Road(asked=lambda n, _: Reply(expect if n < 5 else reports))
    by_path = await gated(around, plan(told_by=BY_PATH), GateSettings(expect_revision=expect, rounds=3))
    assert by_path.report.verdict is Outcome.INCONCLUSIVE


async def test_the_sentence_names_the_revision_that_answered() -> None:
    """G1, U21: the application reports the short commit, the command knows the whole one."""
    road = Road(asked=lambda *_: Reply("abc1234"), ran=lambda *_: Reply("abc1234"))
    result = await gated(road, plan(), GateSettings(expect_revision="abc1234def5555", rounds=1))
    assert result.report.verdict is Outcome.PASS
    assert result.report.preamble[0].startswith("api serves revision abc1234 after")


@pytest.mark.parametrize(
    ("reports", "expect", "said"),
    [
        ("abc1234def", "abc123", "the expected revision abc123 is too short: give at least 7 characters of the commit"),
        ("abc12", "abc1234def", "api reports abc12 (header X-Revision), which is too short: let it report at least 7 characters"),
        ('"abc1234f"', "abc1234f", """regex: '"([^"]+)"'}"""),
        ('W/"abc1234f"', "ABC1234FD", """revision: {header: X-Revision, regex: '"([^"]+)"'}"""),
        ("v1.2.3-gabc1234", "abc1234def", "regex: 'g([0-9a-fA-F]{7,64})'}"),
        ("shop:abc1234", "abc1234", "regex: ':([0-9a-fA-F]{7,64})'}"),
        ('W/"v1.2.3"', "v1.2.3", """regex: '"([^"]+)"'}"""),
        ("abc1234", "v1.2.3-gabc1234", "expect that instead of v1.2.3-gabc1234"),
        ("12345678", "1234567", "digits alone may be a build number: if both are one commit, one of them must be the whole commit"),
        ("1234567", "1234567ab", "digits alone may be a build number"),
        ("abc1234-dirty", "abc1234", "if it is always the same, let the application send its commit in X-Revision"),
    ],
)
async def test_what_nearly_is_the_expected_revision_is_told_how(reports: str, expect: str, said: str) -> None:
    """GM9: at the first response, with what to change; the setting that it proposes takes the revision out."""
    road = Road(asked=lambda *_: Reply(reports))
    result = await gated(road, plan(), GateSettings(expect_revision=expect, wait=1.0))
    assert result.report.verdict is Outcome.INCONCLUSIVE
    assert said in road.said[0]
    if found := re.search(r"regex: '(.*)'}", road.said[0]):
        taken = Revision.model_validate({"header": "X-Revision", "regex": found[1]}).taken_from(reports)
        assert same_revision(taken, expect)


@given(st.text(max_size=12), st.text("0123456789abcdefABCDEF", min_size=7, max_size=40), st.text(max_size=12))
def test_the_regex_that_is_proposed_takes_the_commit_out(before: str, commit: str, after: str) -> None:
    """GM9: whatever stands around the commit, a proposal is one that works, and no text raises."""
    reported = before + commit + after
    hint = revision_hint("api", HEADER, commit, [reported])
    if found := re.search(r"regex: '(.*)'}\Z", hint, re.DOTALL):
        assert same_revision(Revision.model_validate({"header": "X-Revision", "regex": found[1]}).taken_from(reported), commit)


async def test_two_revisions_by_turns_are_told() -> None:
    """GM10: nothing is expected, and half of the answers came from another release: it passes, and says so."""
    result = await gated(Road(ran=lambda n, _: Reply((OLD, NEW)[n % 2])), plan(), GateSettings(rounds=4))
    assert result.report.verdict is Outcome.PASS
    assert "api responded with 2 revisions by turns" in texts(result.report.notes)


async def test_the_revision_that_stands_at_the_end_is_the_one_that_is_kept() -> None:
    """The old release answered for longer while the gate waited: what a later gate compares with is the new one."""
    result = await gated(Road(asked=lambda n, _: Reply(OLD if n < 12 else NEW)), plan(), WAIT)
    assert result.revisions == {"api": NEW}


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
