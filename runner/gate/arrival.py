"""Waiting for the right release: until a target answers, and, where it tells its revision, until enough answers carry the expected one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from judge.intervals import old_instance_sentence
from judge.revision import same_revision
from judge.verdict import Finding, Outcome
from probes.core import Clock, Reason, Verdict
from probes.text import listed
from runner.config.plan import Planned
from runner.gate.addresses import Engine, GateTarget, ProbeResponse, gate_targets
from runner.gate.hints import revision_hint, unreported
from runner.gate.settings import Display, GateSettings

_FIRST_PAUSE, _LONGEST_PAUSE, _SLOWER = 0.25, 5.0, 1.5  # seconds; seconds; times
_NO_ROUTE = Reason.UNREACHABLE  # of an address family that this machine doesn't have


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How the waiting ended: sentences for the report, and what they mean for the verdict. `ready`: whether judging makes sense."""

    sentences: tuple[str, ...]
    findings: tuple[Finding, ...]
    ready: bool
    revisions: Mapping[str, str]  # by target, the one that was seen last


@dataclass(slots=True)
class TargetProgress:
    """What one target has answered so far."""

    target: GateTarget
    expect: str  # the revision to wait for; "" where any will do, or where the target tells none
    consecutive: int  # responses in a row that must carry it
    revision_before: str = ""  # of the target, before the deployment
    streaks: dict[str, int] = field(default_factory=dict)  # right responses in a row, by address
    revisions_seen: Counter[str] = field(default_factory=Counter)
    latest: str = ""  # the revision of the latest response
    last_error: str | None = None
    reachable: bool = False  # it answered, or refused to; False also where the runner itself couldn't ask
    unrouted: set[str] = field(default_factory=set)  # addresses of a family that this machine doesn't have
    waited: float = 0.0  # seconds

    @property
    def responses(self) -> int:
        return self.revisions_seen.total()

    @property
    def has_arrived(self) -> bool:
        return bool(self.streaks) and min(self.streaks.values()) >= (self.consecutive if self.expect else 1)

    def record_response(self, response: ProbeResponse, address: str) -> bool:
        """Counts a response. Whether it is right, so that the next one may be asked for at once."""
        if response.seen.reason is _NO_ROUTE and self._of_unknown_family(address):
            self.unrouted.add(address)
            self.streaks.pop(address, None)
            return True
        if response.answered:
            self.reachable = True
            self.revisions_seen[response.revision] += 1
            self.latest = response.revision
        else:
            self.reachable |= response.seen.verdict is Verdict.FAIL
            self.last_error = response.seen.message
        right = response.answered and (not self.expect or (response.revision != "" and same_revision(response.revision, self.expect)))
        self.streaks[address] = self.streaks.get(address, 0) + 1 if right else 0
        return right

    def _of_unknown_family(self, address: str) -> bool:
        """Whether addresses of the other family respond and none of this one: this machine lacks it. Else the address itself is down."""
        families = {":" in one for one, count in self.streaks.items() if count}
        return families == {":" not in address}

    def hint(self) -> str:
        """What to change, where the revision that it reports can't be the expected one; "" where it may still come."""
        seen = list(self.revisions_seen)
        return revision_hint(self.target.name, self.target.revision, self.expect, seen, self.revision_before) if self.expect else ""

    def waiting_message(self) -> str:
        """What it is still waited for."""
        name = self.target.name
        if not self.responses:
            return f"waiting for {name}: {self.last_error or 'no response yet'}"
        if self.expect:
            return f"waiting for revision {self.expect} of {name}; responses so far: {self._counts(3)}"
        return f"waiting for every address of {name}: {self.last_error or ''}"

    def arrived_message(self) -> str:
        """`api serves revision 3f2c91a after 2.3 s; 5 responses in a row: one old instance among two would have shown ...`."""
        name, after = self.target.name, f"after {self.waited:.1f} s"
        aside = f" (no route to {', '.join(sorted(self.unrouted))})" if self.unrouted else ""
        if not self.expect:
            seen = [one for one in self.revisions_seen if one]
            return f"{name} responds {after}" + (f", with revision {listed(seen, 3)}" if seen else "") + aside
        served = next(one for one, _ in self.revisions_seen.most_common() if one and same_revision(one, self.expect))
        each = f", from each of {len(self.streaks)} addresses" if len(self.streaks) > 1 else ""
        proof = old_instance_sentence(min(self.streaks.values()))
        return f"{name} serves revision {served} {after}{each}{aside}; {proof}"

    def timeout_finding(self, timeout: float) -> Finding:
        """Why it did not arrive, and what that means."""
        name, within = self.target.name, f"within {timeout:g} s"
        error = "no response" if self.last_error is None else self.last_error
        if not self.responses and not self.reachable:
            return Finding(Outcome.INCONCLUSIVE, f"{name} could not be checked {within}: {error}")
        if not self.responses:
            return Finding(Outcome.FAIL, f"{name} did not respond {within}: {error}")
        if not self.expect:
            return Finding(Outcome.FAIL, f"not every address of {name} responded {within}: {error}")
        never = f"did not serve revision {self.expect} {self.consecutive} times in a row {within}"
        return Finding(Outcome.INCONCLUSIVE, f"{name} {never}; responses: {self._counts(4)}")

    def _counts(self, most: int) -> str:
        return ", ".join(f"{revision or 'no revision'} ({count})" for revision, count in self.revisions_seen.most_common(most))


class RevisionWait:
    """Waits until every target answers, and those that tell their revision carry the expected one.

    `pause(seconds)` returns early when the gate is stopped.
    """

    def __init__(
        self,
        checks: Sequence[Planned],
        engine: Engine,
        settings: GateSettings,
        *,
        revisions_before: Mapping[str, str],
        clock: Clock,
        pause: Callable[[float], Awaitable[None]],
        stopped: Callable[[], bool],
        display: Display,
    ) -> None:
        self._checks = checks
        self._targets = gate_targets(checks)
        self._engine = engine
        self._settings = settings
        self._revisions_before = revisions_before
        self._clock = clock
        self._pause = pause
        self._stopped = stopped
        self._display = display

    async def run(self) -> WaitResult:
        """Polls all targets at the same time, for the settings' `wait` at most."""
        expect = self._settings.expect_revision
        sentences, findings = list[str](), list[Finding]()
        untold = [target.name for target in self._targets if not target.revision] if expect else []
        unproven = unreported(expect, self._checks) if expect and len(untold) == len(self._targets) else ""
        if unproven:
            sentences.append(unproven)
            self._display.say(unproven)
        elif untold:
            sentences.append(f"{', '.join(untold)}: no revision is reported, so nothing shows whether {expect} responds there")
        progress = [
            TargetProgress(
                target, expect if target.revision else "", self._settings.consecutive, self._revisions_before.get(target.name, "")
            )
            for target in self._targets
        ]
        arrived = await asyncio.gather(*(self._wait_for(one) for one in progress))
        for one, there in zip(progress, arrived, strict=True):
            if there:
                sentences.append(one.arrived_message())
            elif not self._stopped():
                findings.append(one.timeout_finding(self._settings.wait))
            if hint := one.hint():
                sentences.append(hint)
        ready = not self._stopped() and all(found.outcome is Outcome.FAIL for found in findings)
        if unproven:
            findings.append(Finding(Outcome.INCONCLUSIVE, unproven))
        revisions = {one.target.name: one.latest for one in progress if one.target.revision and one.responses}
        return WaitResult(tuple(sentences), tuple(findings), ready, revisions)

    async def _wait_for(self, progress: TargetProgress) -> bool:
        """Whether the target arrived in time."""
        started, pause = self._clock.monotonic(), _FIRST_PAUSE
        while True:
            # Every address once; the first response says which there are.
            first = await progress.target.ask(self._engine)
            addresses = [one for one in first.addresses() if one not in progress.unrouted] or [first.address]
            all_right = self._record(progress, first, first.address or addresses[0])
            for address in addresses:
                if address and address != first.address and not self._stopped():
                    response = await progress.target.ask(self._engine, address)
                    all_right &= self._record(progress, response, address)
            progress.streaks = {address: count for address, count in progress.streaks.items() if address in addresses}
            progress.waited = self._clock.monotonic() - started
            if progress.has_arrived:
                return True
            left = self._settings.wait - progress.waited
            if left <= 0 or self._stopped():
                return False
            if not all_right:
                self._display.say(progress.waiting_message())
                await self._pause(min(pause, left))
                pause = min(pause * _SLOWER, _LONGEST_PAUSE)

    def _record(self, progress: TargetProgress, response: ProbeResponse, address: str) -> bool:
        right = progress.record_response(response, address)
        # The first answer already shows whether waiting can end well: the hint is given now, not after the whole wait.
        if response.answered and progress.responses == 1 and (hint := progress.hint()):
            self._display.say(hint)
        return right
