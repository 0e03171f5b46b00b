"""Waiting for the right release: until a place answers, and, where it tells its revision, until enough answers carry the expected one."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from judge.intervals import what_answers_prove
from judge.verdict import Finding, Outcome, same_revision
from probes.core import Clock, Reason, Verdict
from runner.gate.addresses import Heard, Observing, Place, reachable
from runner.gate.settings import Shown

_FIRST_PAUSE, _LONGEST_PAUSE, _SLOWER = 0.25, 5.0, 1.5  # seconds; seconds; times
_SHA = re.compile(r"[0-9a-f]{7,64}", re.IGNORECASE)
_NO_ROUTE = Reason.UNREACHABLE  # of an address family that this machine doesn't have
ADVICE = "let the application send its commit with every response, and set revision: {header: X-Revision} on its target"


@dataclass(slots=True)
class _Story:
    """What has been heard of one place so far."""

    place: Place
    streaks: dict[str, int] = field(default_factory=dict)  # answers in a row that carried the revision, by address
    told: Counter[str] = field(default_factory=Counter)  # answers by revision
    silent: Heard | None = None  # the latest that was no answer
    can_tell: bool = False  # somebody answered, or refused to: that the runner couldn't ask is another thing
    unrouted: set[str] = field(default_factory=set)
    after: float = 0.0  # seconds

    @property
    def answers(self) -> int:
        return sum(self.told.values())


@dataclass(frozen=True, slots=True)
class Arrival:
    """How the waiting ended: what to tell, and what it means for the verdict. `ready` says whether judging makes sense."""

    said: tuple[str, ...]
    findings: tuple[Finding, ...]
    ready: bool
    revisions: Mapping[str, str]  # what each place last told


class Waiting:
    """Waits at several places at once. `pause` waits so many seconds, or shorter where the gate is to stop."""

    def __init__(
        self,
        places: Sequence[Place],
        observing: Observing,
        *,
        expect: str,
        consecutive: int,
        before: Mapping[str, str],
        clock: Clock,
        pause: Callable[[float], Awaitable[None]],
        stopped: Callable[[], bool],
        shown: Shown,
    ) -> None:
        self._stories = [_Story(place) for place in places]
        self._observing = observing
        self._expect = expect
        self._consecutive = consecutive
        self._before = before
        self._clock = clock
        self._pause = pause
        self._stopped = stopped
        self._shown = shown

    async def arrive(self, wait: float) -> Arrival:
        """Waits `wait` seconds at most, everywhere at once."""
        warned = self._beforehand()
        for text in warned:
            self._shown.say(text)
        arrived = await asyncio.gather(*(self._at(story, wait) for story in self._stories))
        said, findings = [*warned], list[Finding]()
        for story, there in zip(self._stories, arrived, strict=True):
            if there:
                said.append(self._sentence(story))
            elif not self._stopped():
                findings.append(self._why_not(story, wait))
            said += self._hints(story)
        ready = not self._stopped() and all(one.outcome is Outcome.FAIL for one in findings)
        if warned:
            findings.append(Finding(Outcome.INCONCLUSIVE, f"no target reports its revision; {ADVICE}"))
        told = {s.place.name: s.told.most_common(1)[0][0] for s in self._stories if s.place.told_by and s.told}
        return Arrival(tuple(said), tuple(findings), ready, told)

    def _beforehand(self) -> list[str]:
        """What can be said before anything is asked."""
        if self._expect and not any(story.place.told_by for story in self._stories):
            names = ", ".join(story.place.name for story in self._stories) or "the checks"
            return [f"{names}: no revision is reported, so the gate can't wait for {self._expect}; {ADVICE}"]
        return []

    async def _at(self, story: _Story, wait: float) -> bool:
        """Whether the place was there in time."""
        started, pause = self._clock.monotonic(), _FIRST_PAUSE
        while True:
            going_well = await self._sweep(story)
            story.after = self._clock.monotonic() - started
            if self._is_there(story):
                return True
            left = wait - story.after
            if left <= 0 or self._stopped():
                return False
            if not going_well:
                self._tell(story)
                await self._pause(min(pause, left))
                pause = min(pause * _SLOWER, _LONGEST_PAUSE)

    def _is_there(self, story: _Story) -> bool:
        enough = self._consecutive if self._expect and story.place.told_by else 1
        return bool(story.streaks) and min(story.streaks.values()) >= enough

    async def _sweep(self, story: _Story) -> bool:
        """Asks every address once; whether all of them answered as they should."""
        first = await story.place.ask(self._observing)
        addresses = [one for one in reachable(first.addresses, first) if one not in story.unrouted] or [first.address]
        well = [self._heard(story, first, first.address or addresses[0])]
        for address in addresses:
            if address and address != first.address and not self._stopped():
                heard = await story.place.ask(self._observing, address)
                well.append(self._heard(story, heard, address))
        story.streaks = {address: count for address, count in story.streaks.items() if address in addresses}
        return all(well)

    def _heard(self, story: _Story, heard: Heard, address: str) -> bool:
        if heard.seen.reason is _NO_ROUTE and any(story.streaks.values()):
            story.unrouted.add(address)
            story.streaks.pop(address, None)
            return True
        if not heard.answered:
            story.silent = heard
            story.can_tell |= heard.seen.verdict is Verdict.FAIL
        else:
            story.can_tell = True
            story.told[heard.revision] += 1
            self._say_first(story)
        right = heard.answered and (
            not self._expect or not story.place.told_by or (heard.revision != "" and same_revision(heard.revision, self._expect))
        )
        story.streaks[address] = story.streaks.get(address, 0) + 1 if right else 0
        return right

    def _say_first(self, story: _Story) -> None:
        """The first answer already shows whether this can come to a good end: said at once, not after the wait."""
        if story.answers == 1:
            for hint in self._hints(story):
                self._shown.say(hint)

    def _hints(self, story: _Story) -> list[str]:
        """What to add to the application, where what it tells is of no use."""
        if not self._expect or not story.place.told_by or not story.told:
            return []
        name, where = story.place.name, story.place.told_by
        told = set(story.told)
        if any(one and same_revision(one, self._expect) for one in told):
            return []
        if told == {""}:
            return [f"{name} reports no revision ({where}); {ADVICE}"]
        only = next(iter(told - {""}))
        if len(told - {""}) == 1 and self._before.get(name) == only:
            return [f"{name} already reported revision {only} before the deployment; if it always does, {ADVICE}"]
        if _SHA.fullmatch(self._expect) and not _SHA.fullmatch(only):
            return [f"{name} reports {only} ({where}), which doesn't look like a commit; if it is always the same, {ADVICE}"]
        return []

    def _tell(self, story: _Story) -> None:
        name = story.place.name
        if not story.answers:
            why = story.silent.seen.message if story.silent else ""
            self._shown.say(f"waiting for {name}: {why or 'no response yet'}")
        elif self._expect and story.place.told_by:
            told = ", ".join(f"{revision or 'no revision'} ({count})" for revision, count in story.told.most_common(3))
            self._shown.say(f"waiting for revision {self._expect} of {name}; responses so far: {told}")
        else:
            self._shown.say(f"waiting for every address of {name}: {story.silent.seen.message if story.silent else ''}")

    def _sentence(self, story: _Story) -> str:
        """`api answers with revision 3f2c91a after 2.3 s; 5 answers in a row: one old instance among two would have shown ...`."""
        name, after = story.place.name, f"after {story.after:.1f} s"
        aside = f" (no route to {', '.join(sorted(story.unrouted))})" if story.unrouted else ""
        if not self._expect or not story.place.told_by:
            told = next((one for one in story.told if one), "")
            return f"{name} responds {after}" + (f", with revision {told}" if told else "") + aside
        in_a_row = min(story.streaks.values())
        each = f", from each of {len(story.streaks)} addresses" if len(story.streaks) > 1 else ""
        return f"{name} serves revision {self._expect} {after}{each}{aside}; {what_answers_prove(in_a_row)}"

    def _why_not(self, story: _Story, wait: float) -> Finding:
        name, within = story.place.name, f"within {wait:g} s"
        silent = story.silent.seen.message if story.silent else "no response"
        if not story.answers:
            if not story.can_tell:
                return Finding(Outcome.INCONCLUSIVE, f"{name} could not be checked {within}: {silent}")
            return Finding(Outcome.FAIL, f"{name} did not respond {within}: {silent}")
        if not self._expect or not story.place.told_by:
            return Finding(Outcome.FAIL, f"not every address of {name} responded {within}: {silent}")
        others = ", ".join(f"{revision or 'no revision'} ({count})" for revision, count in story.told.most_common(4))
        never = f"did not serve revision {self._expect} {self._consecutive} times in a row {within}"
        return Finding(Outcome.INCONCLUSIVE, f"{name} {never}; responses: {others}")
