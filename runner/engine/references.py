"""Addresses outside that should always respond: when they are gone too, the runner's own network is gone.

They are asked when several targets fail at once, or one begins to fail: by one GET each, through the wire, outside targets and limits,
at most once in FRESH seconds for all runs together, and never for longer than WITHIN.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Sequence

import httpx

from probes.core import Clock, Failed, Measurements, PolicyRefused, QuotaRefused, Reason, Result, Verdict
from probes.http.transport import HttpTransport
from probes.target import origin
from probes.wire.addresses import literal
from runner.engine.blame import NETWORK, ReferenceResponse, blame_network, had_connected, route
from runner.engine.contexts import Contexts

FRESH = 3.0  # seconds for which the references' responses hold
WITHIN = 2.0  # seconds that a reference has to respond
_MINUTE = 60.0  # seconds for which a pass shows that its way is there
_CAP = 64 * 1024  # bytes of a body, which doesn't matter


class References:
    """The references of one plan. All callers of `ask` at the same time share one round of requests."""

    def __init__(self, urls: Sequence[str], contexts: Contexts, clock: Clock) -> None:
        self._urls = tuple(urls)
        self._contexts = contexts
        self._clock = clock
        self._asking: asyncio.Future[list[ReferenceResponse]] | None = None
        self._asked_at = -math.inf

    def __bool__(self) -> bool:
        """Whether the plan has references."""
        return bool(self._urls)

    async def ask(self) -> Sequence[ReferenceResponse]:
        """The response of each reference, at most FRESH seconds old."""
        now = self._clock.monotonic()
        if self._asking is None or (self._asking.done() and (now - self._asked_at > FRESH or self._asking.cancelled())):
            self._asked_at = now
            self._asking = asyncio.gather(*(self._ask_one(url) for url in self._urls))
        asking = self._asking
        await asyncio.wait({asking})  # a caller that is cancelled must not cancel the requests of the others
        return () if asking.cancelled() else asking.result()

    async def _ask_one(self, url: str) -> ReferenceResponse:
        host = origin(url)[1]
        named = literal(host) is None
        ctx = self._contexts.unlimited("references", self._clock.monotonic() + WITHIN)
        try:
            async with asyncio.timeout(WITHIN), httpx.AsyncClient(transport=HttpTransport(ctx, cap=_CAP)) as client:
                await client.get(url)
        except httpx.TransportError as error:  # an invalid certificate or a response too long still proves that a server responded
            cause = error.__cause__
            responded = cause.reason not in NETWORK if isinstance(cause, Failed) else isinstance(cause, ssl.SSLError)
            return ReferenceResponse(host, responded=responded, named=named, refused=isinstance(cause, ConnectionRefusedError))
        except (TimeoutError, PolicyRefused, QuotaRefused, httpx.InvalidURL):
            return ReferenceResponse(host, responded=False, named=named)
        return ReferenceResponse(host, responded=True, named=named)


class Uplink:
    """Decides whose fault a failure by the network is, for the checks of one plan.

    It knows which addresses (targets, or the addresses of checks without one) fail by the network now. The references aren't asked
    again about an address that goes on failing alone and was found to be at fault itself.
    """

    def __init__(self, references: References, clock: Clock) -> None:
        self._references = references
        self._clock = clock
        self._at_fault: dict[str, bool] = {}  # by address that fails by the network now: whether the fault was found to be its own
        self._since: dict[str, float] = {}  # by address that fails by the network now: when the first of these runs started
        self._passes: dict[str, float] = {}  # by route, the latest pass. Both by clock.monotonic()
        self._passed = False  # whether any run has passed
        self._responded = False  # whether any reference has responded

    async def ask_at_start(self) -> str:
        """Asks the references before anything has failed. Returns a warning, or "" if a reference responds."""
        responses = await self._references.ask() if self._references else ()
        self._responded |= any(one.responded for one in responses)
        if not responses or any(one.responded for one in responses):
            return ""
        gone = ", ".join(one.host for one in responses)
        return (
            f"no reference responds ({gone}): network failures count as the runner's until a check has passed, "
            "and as the targets' from then on"
        )

    async def blame(self, address: str, result: Result, measured: Measurements) -> Result:
        """The result; or unknown / offline if it failed because the runner's own network is gone. Takes at most WITHIN seconds."""
        if result.verdict is Verdict.PASS:
            self._passed = True
            self._passes[route(measured)] = self._clock.monotonic()
        by_network = result.verdict is Verdict.FAIL and result.reason in NETWORK and not had_connected(result, measured)
        if not by_network:
            if result.verdict is not Verdict.UNKNOWN:
                self._at_fault.pop(address, None)
                self._since.pop(address, None)
            return result
        began = self._since.setdefault(address, measured.started)
        if self._neighbour_passed(result, route(measured), began):
            self._at_fault[address] = True
            return result
        others = len(self._at_fault) > (address in self._at_fault)
        if not self._references or (not others and self._at_fault.get(address)):
            self._at_fault.setdefault(address, True)
            return result
        self._at_fault.setdefault(address, False)
        responses = await self._references.ask()
        self._responded |= any(one.responded for one in responses)
        blamed = blame_network(result, responses, useless=self._passed and not self._responded)
        self._at_fault[address] = blamed.verdict is Verdict.FAIL
        return blamed

    def _neighbour_passed(self, result: Result, through: str, began: float) -> bool:
        """Whether another check passed through the same way, lately enough to show that the way was there as this run failed.

        A pass from before the failures says nothing of a network that was lost then. Only a target that refuses or resets must have
        been reached: for it any pass of the same minute will do.
        """
        passed = self._passes.get(through, -math.inf)
        reached = result.reason in (Reason.REFUSED, Reason.RESET)
        return result.reason is not Reason.DNS and passed >= self._clock.monotonic() - _MINUTE and (reached or passed >= began)
