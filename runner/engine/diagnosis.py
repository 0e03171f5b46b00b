"""After a failure: a burst of trials, each of which changes one thing, so that the finding says where to look.

The failure stands as recorded; a trial changes no verdict and counts as no run. A check is diagnosed when it begins to fail and
every AGAIN seconds while it goes on failing; at most AT_ONCE checks at a time, and MOST within a minute. Trials count against their
target's limit, and leave RESERVE of it to the checks. For a request that must not be repeated only the connection is tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from judge.findings import TLS, TrialOutcome, Trials, diagnosis
from judge.observation import DiagnosisFinding, Observation
from probes.core import Clock, Failed, PolicyRefused, QuotaRefused, Reason, Verdict
from probes.facts import IP, STATUS_CODE
from probes.probe import Context
from probes.wire.endpoint import Endpoint, Variation
from runner.config.plan import Planned
from runner.engine.execute import Execute
from runner.engine.reasons import result_of
from runner.log import Log

AGAIN = 600.0  # seconds between two diagnoses of a check that goes on failing
AT_ONCE = 4
MOST = 30  # diagnoses in a minute
RESERVE = 0.2  # share of a target's limit that trials leave to the checks
WITHIN = 5.0  # seconds that one diagnosis may take
_CONNECT = 2.0  # seconds that one connection may take
_ADDRESSES = 8  # that are tried at most
_MINUTE = 60.0
_OF_THE_RUNNER = frozenset({Reason.POLICY, Reason.QUOTA, Reason.CANCELLED, Reason.INTERNAL})  # reasons that no trial could explain further


class Diagnosis:
    """A sink that diagnoses failures, and gives each finding to `found`. It belongs to the loop's thread."""

    def __init__(self, found: Callable[[DiagnosisFinding], None], clock: Clock, log: Log | None = None) -> None:
        self._found = found
        self._clock = clock
        self._log = log or logging.getLogger("outrider.engine").log
        self._execute: Execute | None = None
        self._planned: dict[str, Planned] = {}
        self._last: dict[str, float] = {}  # when each failing check was last diagnosed, clock.monotonic()
        self._since: dict[str, dict[str, float]] = {}  # by check and address, since when it has failed
        self._began: deque[float] = deque()  # within the last minute, clock.monotonic()
        self._running: dict[asyncio.Task[None], str] = {}

    def plan(self, execute: Execute, checks: Sequence[Planned]) -> None:
        """Follows a load or reload: everything about a removed or changed check is forgotten, also what a diagnosis finds of it later.

        Diagnoses under way go on. A restart restores nothing: a check that still fails is diagnosed again.
        """
        self._execute = execute
        before, self._planned = self._planned, {planned.check.name: planned for planned in checks}
        for name, planned in before.items():
            if not self._is_planned(planned):
                self._last.pop(name, None)
                self._since.pop(name, None)

    def __call__(self, seen: Observation) -> None:
        """Starts a diagnosis of a failure if one is due."""
        name, planned = seen.check.name, self._planned.get(seen.check.name)
        if planned is None or not seen.confirmed:
            return
        ip, failing = seen.facts.get(IP), self._since.setdefault(name, {})
        if seen.verdict is Verdict.PASS:  # an address has failed until a run passes there
            failing.pop(str(ip), None)
            self._last.pop(name, None)
        elif seen.verdict is Verdict.FAIL and ip and (len(failing) < _ADDRESSES or ip in failing):
            failing.setdefault(str(ip), seen.at)
        if seen.verdict is Verdict.FAIL and seen.reason not in _OF_THE_RUNNER and self._is_due(name):
            self._last[name] = self._clock.monotonic()
            self._began.append(self._last[name])
            task = asyncio.get_running_loop().create_task(self._diagnose(planned, seen), name=f"diagnosis of {name}")
            self._running[task] = name
            task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ends the diagnoses under way."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running))

    @property
    def running(self) -> tuple[asyncio.Task[None], ...]:
        """The diagnoses under way."""
        return tuple(self._running)

    def _is_due(self, name: str) -> bool:
        now = self._clock.monotonic()
        while self._began and now - self._began[0] > _MINUTE:
            self._began.popleft()
        if len(self._running) >= AT_ONCE or len(self._began) >= MOST or name in self._running.values():
            return False
        return name not in self._last or now - self._last[name] >= AGAIN

    async def _diagnose(self, planned: Planned, seen: Observation) -> None:
        assert self._execute is not None  # noqa: S101 - `plan` sets it before any check is known
        finding = await burst(self._execute, planned, seen, self._since.get(seen.check.name, {}), self._clock)
        if finding and self._is_planned(planned):
            self._found(finding)

    def _is_planned(self, planned: Planned) -> bool:
        now = self._planned.get(planned.check.name)
        return now is not None and now.fingerprint == planned.fingerprint

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()):
            self._log(logging.ERROR, f"the diagnosis of {name} broke: {type(error).__name__}: {error}")


async def burst(execute: Execute, planned: Planned, seen: Observation, since: Mapping[str, float], clock: Clock) -> DiagnosisFinding | None:
    """Makes the trials that fit this failure, all at once. Returns their finding, or None if they show nothing.

    `since` holds for each address when it began to fail, in seconds since the epoch.
    """
    if (endpoint := planned.probe.endpoint()) is None or seen.reason in _OF_THE_RUNNER:
        return None
    trials = await _Burst(execute, planned, endpoint, seen, clock).trials()
    text = diagnosis(seen, trials, {address: at for address, at in since.items() if at < seen.at})
    if not text:
        return None
    trial_texts = {tried: execute.redacted(ending) for tried, ending in trials.summary().items()}
    return DiagnosisFinding(seen.check, seen.trace_id, clock.time(), execute.redacted(text), trial_texts)


class _Burst:
    """The trials after one failure."""

    def __init__(self, execute: Execute, planned: Planned, endpoint: Endpoint, seen: Observation, clock: Clock) -> None:
        self._execute, self._planned, self._endpoint, self._seen, self._clock = execute, planned, endpoint, seen, clock
        self._deadline = clock.monotonic() + WITHIN

    async def trials(self) -> Trials:
        """Makes all trials and returns their outcomes within WITHIN seconds."""
        if self._endpoint.route.proxy is not None:
            return Trials(direct=await self._try_variation(Variation(proxy=False)))
        if self._seen.reason in TLS:
            unverified, handshake_only = await self._try_unverified()
            return Trials(unverified=unverified, handshake_only=handshake_only)
        addresses = await self._addresses()
        connected, requested = await asyncio.gather(
            self._try_each(addresses, self._try_connection),
            self._try_each(addresses if len(addresses) > 1 else (), lambda address: self._try_variation(Variation(address=address))),
        )
        return Trials(connected, requested)

    async def _addresses(self) -> Sequence[str]:
        ctx = self._context(_CONNECT)
        try:
            async with asyncio.timeout(_CONNECT):
                found = await ctx.wire.resolve(ctx, self._endpoint.host, self._endpoint.route)
        except (Failed, PolicyRefused, OSError):  # the name doesn't resolve, which the failure itself says
            return ()
        return list(dict.fromkeys(found))[:_ADDRESSES]

    async def _try_each(
        self, addresses: Sequence[str], attempt: Callable[[str], Awaitable[TrialOutcome | None]]
    ) -> dict[str, TrialOutcome]:
        outcomes = await asyncio.gather(*(attempt(address) for address in addresses))
        return {address: outcome for address, outcome in zip(addresses, outcomes, strict=True) if outcome is not None}

    async def _try_connection(self, address: str) -> TrialOutcome:
        """Opens a TCP connection to one address."""
        route = replace(self._endpoint.route, resolve=(self._endpoint.host, address))

        async def dial(ctx: Context) -> None:
            sock = await ctx.wire.dial(ctx, self._endpoint.host, self._endpoint.port, route)
            sock.close()

        return await self._attempt(dial)

    async def _try_unverified(self) -> tuple[TrialOutcome | None, bool]:
        """Ignores the certificate: repeats the whole request if that is allowed, else only the handshake. True for only the handshake."""
        if outcome := await self._try_variation(Variation(verify=False)):
            return outcome, False
        if (shake_hands := self._planned.probe.unverified_handshake()) is None:
            return None, False

        async def handshake(ctx: Context) -> None:
            (await shake_hands(ctx)).abort()

        return await self._attempt(handshake), True

    async def _try_variation(self, variation: Variation) -> TrialOutcome | None:
        """Repeats the whole request with one thing changed; None if it must not be repeated, or too little of the limit is left."""
        other = None if self._seen.reason in {Reason.AUTH, Reason.THROTTLED} else self._planned.probe.with_variation(variation)
        left = self._deadline - self._clock.monotonic()
        if other is None or left <= 0:
            return None
        timeout = min(self._planned.timeout, left)
        try:
            seen = await self._execute.attempt(replace(self._planned, probe=other, timeout=timeout), share=1 - RESERVE)
        except QuotaRefused:
            return None
        if seen.verdict is Verdict.UNKNOWN:
            return None
        status = seen.facts.get(STATUS_CODE)
        return TrialOutcome(seen.reason, status if isinstance(status, int) else None, seen.message)

    async def _attempt(self, attempt: Callable[[Context], Awaitable[None]]) -> TrialOutcome:
        ctx = self._context(_CONNECT)
        try:
            async with asyncio.timeout(_CONNECT):
                await attempt(ctx)
        except (Failed, PolicyRefused, OSError) as error:
            result = result_of(error, self._planned.probe, ctx)
            return TrialOutcome(result.reason, message=result.message) if result else TrialOutcome(Reason.UNREACHABLE, message=str(error))
        return TrialOutcome()

    def _context(self, seconds: float) -> Context:
        return self._execute.contexts.unlimited(self._planned.check.name, self._clock.monotonic() + seconds)
