"""`confirm`: what a re-check may change, and what it never does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from judge.observation import Check, Observation
from probes.core import QuotaRefused, Reason, Verdict
from runner.config.plan import Every, Plan, Planned
from runner.engine.confirm import Confirm, Down
from tests.support.observations import Made
from tests.support.simulation import Simulation

CHECK = Check("api", "made", 1, interval=30.0, timeout=5.0)
PART = Check("api/db", "made", 1, part_of="api")


@dataclass
class Script:
    """An observer whose runs end as it is written, each after its seconds: a letter for each run."""

    time: Simulation
    text: str
    seconds: float = 0.0
    began: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    was_cut: bool = False

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        """The next one."""
        letter, self.text = self.text[0], self.text[1:]
        self.began.append(round(self.time.monotonic(), 3))
        self.lags.append(lag)
        if self.seconds:
            await self.time.sleep(self.seconds)
        if letter == "w":
            raise QuotaRefused("target api: its limit is reached")
        verdict = {"p": Verdict.PASS, "u": Verdict.UNKNOWN}.get(letter, Verdict.FAIL)
        reason = {"p": None, "u": Reason.OFFLINE, "a": Reason.AUTH}.get(letter, Reason.REFUSED)
        whole = Observation(planned.check, verdict, reason, letter, self.time.time(), self.seconds, trace_id=str(len(self.began)))
        return (whole, Observation(PART, verdict, reason, letter, self.time.time(), self.seconds))

    def cut_short(self) -> None:
        """As Observer."""
        self.was_cut = True


def following(*checks: Planned) -> Down:
    """What is remembered of a plan of these checks."""
    down = Down()
    down.plan(Plan("roadtrip", "test", "here", checks))
    return down


async def runs(text: str, *, confirm: int = 2, rounds: int = 1, seconds: float = 0.0, interval: float = 30.0) -> tuple[list[str], Script]:
    """What the rounds emit (in capitals what counts), and the script as it was played."""
    time = Simulation(real=False)
    script = Script(time, text, seconds)
    check = Check("api", "made", 1, interval=interval, timeout=5.0)
    planned = Planned(check, Made(), Every(interval), 5.0, "", confirm=confirm)
    confirmed = Confirm(script, following(planned), time, time)
    said = []
    for _ in range(rounds):
        task = asyncio.ensure_future(confirmed.observe(planned))
        await asyncio.sleep(0)  # it begins
        await time.run_for(interval)
        seen = [one for one in task.result() if not one.check.part_of]
        said.append("".join(one.message.upper() if one.confirmed else one.message for one in seen))
    return said, script


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p", "P"),
        ("fp", "fP"),
        ("ffp", "fP"),
        ("fff", "F"),
        ("fu", "F"),
        ("fw", "F"),
        ("fa", "F"),
        ("a", "A"),
        ("u", "U"),
    ],
)
async def test_what_counts(text: str, said: str) -> None:
    """A re-check that passes makes the failure a blip, recorded and not counted; all others leave the first failure as the run."""
    emitted, script = await runs(text)
    assert emitted == [said]
    assert script.text == ""


async def test_re_checks_are_spaced_and_only_before_a_check_goes_down() -> None:
    """A second apart; a check that is down is asked once a run, and confirmed anew after it was well."""
    emitted, script = await runs("fff" + "f" + "f" + "p" + "fp", rounds=5)
    assert emitted == ["F", "F", "F", "P", "fP"]
    assert script.began == [0, 1, 2, 30, 60, 90, 120, 121]


async def test_without_confirm_nothing_is_asked_again() -> None:
    """The default: the first failure counts at once."""
    emitted, _ = await runs("fp", confirm=0)
    assert emitted == ["F"]


async def test_re_checks_end_before_the_next_run() -> None:
    """Runs of 5 s in an interval of 15 s leave time for one re-check, and none is begun that would run into the next run."""
    emitted, script = await runs("ffff", seconds=5.0, interval=15.0, confirm=5)
    assert emitted == ["F"]
    assert script.began == [0, 5.75]


async def test_the_first_failure_carries_what_the_re_checks_said() -> None:
    """Its evidence tells of each; its own facts stand as they were recorded."""
    time = Simulation(real=False)
    planned = Planned(CHECK, Made(), Every(30.0), 5.0, "", confirm=2)
    confirmed = Confirm(Script(time, "ffu"), following(planned), time, time)
    task = asyncio.ensure_future(confirmed.observe(planned, lag=0.25))
    await asyncio.sleep(0)  # it begins
    await time.run_for(30.0)
    whole, part = task.result()
    assert (whole.trace_id, part.check.name) == ("1", "api/db")
    assert whole.evidence["rechecks"] == ["refused: f", "offline: u"]


def test_it_is_cut_short_as_what_it_wraps() -> None:
    """A runner that stops ends re-checks, too."""
    script = Script(Simulation(real=False), "")
    Confirm(script, Down(), script.time, script.time).cut_short()
    assert script.was_cut


async def seen_by(confirmed: Confirm, planned: Planned, time: Simulation) -> int:
    """Lets one run and its re-checks pass, half a minute in all; how often the check was asked."""
    task = asyncio.ensure_future(confirmed.observe(planned))
    await asyncio.sleep(0)  # it begins
    await time.run_for(30.0)
    rechecks = task.result()[0].evidence.get("rechecks", [])
    return 1 + len(rechecks)


@pytest.mark.parametrize(("reload", "asked"), [("none", 1), ("unchanged", 1), ("changed", 3), ("removed", 3)])
async def test_a_removed_or_changed_check_is_confirmed_again(reload: str, asked: int) -> None:
    """It was down before the reload; the check that stands under its name now is another one. An unchanged one is still down."""
    time = Simulation(real=False)
    old = Planned(CHECK, Made(), Every(30.0), 5.0, "api, as it was", confirm=2)
    down = following(old)
    assert await seen_by(Confirm(Script(time, "fff"), down, time, time), old, time) == 3
    new = replace(old, fingerprint="api, changed") if reload == "changed" else old
    plans: dict[str, list[tuple[Planned, ...]]] = {"none": [], "unchanged": [(old,)], "changed": [(new,)], "removed": [(), (old,)]}
    for checks in plans[reload]:
        down.plan(Plan("roadtrip", "test", "here", checks))
    assert await seen_by(Confirm(Script(time, "fff"), down, time, time), new, time) == asked


async def test_a_run_that_began_before_a_reload_says_nothing_of_a_changed_check() -> None:
    """It ends after the reload, and failed: the changed check is confirmed all the same, and so is the old one when it comes back."""
    time = Simulation(real=False)
    old = Planned(CHECK, Made(), Every(30.0), 5.0, "api, as it was", confirm=2)
    new = replace(old, fingerprint="api, changed")
    down = following(old)
    task = asyncio.ensure_future(Confirm(Script(time, "fff", 1.0), down, time, time).observe(old))
    await asyncio.sleep(0)  # it begins
    down.plan(Plan("roadtrip", "test", "here", (new,)))
    await time.run_for(30.0)
    assert task.result()[0].verdict is Verdict.FAIL
    assert await seen_by(Confirm(Script(time, "fff"), down, time, time), new, time) == 3
    down.plan(Plan("roadtrip", "test", "here", (old,)))
    assert await seen_by(Confirm(Script(time, "fff"), down, time, time), old, time) == 3
