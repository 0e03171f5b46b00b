"""Addresses outside that should always answer: when they are gone too, it is our own network that is gone.

Asked when several targets fail at once, or one begins to: by a plain GET each, through the wire, outside targets and limits, at
most once in FRESH seconds for all runs together, and never for longer than WITHIN.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Sequence

import httpx

from probes.core import Clock, Failed, PolicyRefused, QuotaRefused, Result, Verdict
from probes.http.transport import HttpTransport
from probes.probe import Context
from probes.target import origin
from probes.wire.addresses import literal
from runner.engine.blame import NETWORK, Heard, cut_off

FRESH = 3.0  # seconds for which an answer of the references is believed
WITHIN = 2.0  # seconds that a reference has to answer
_CAP = 64 * 1024  # bytes: what a reference says doesn't matter

MakeContext = Callable[[float], Context]  # a notebook for one request, given its deadline by the clock


class References:
    """The references of one plan. Whoever looks while they are being asked shares what comes of it."""

    def __init__(self, urls: Sequence[str], make_context: MakeContext, clock: Clock) -> None:
        self._urls = tuple(urls)
        self._make_context = make_context
        self._clock = clock
        self._asking: asyncio.Task[tuple[Heard, ...]] | None = None
        self._asked_at = -math.inf

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._urls)

    async def look(self) -> tuple[Heard, ...]:
        """What each of them said within the last FRESH seconds, or says now."""
        now = self._clock.monotonic()
        if self._asking is None or (self._asking.done() and (now - self._asked_at > FRESH or self._asking.cancelled())):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask_all(), name="references")
        asking = self._asking
        await asyncio.wait({asking})  # whoever is cancelled while waiting leaves it to the others
        return () if asking.cancelled() else asking.result()

    async def _ask_all(self) -> tuple[Heard, ...]:
        return tuple(await asyncio.gather(*(self._ask(url) for url in self._urls)))

    async def _ask(self, url: str) -> Heard:
        host = origin(url)[1]
        named = literal(host) is None
        ctx = self._make_context(self._clock.monotonic() + WITHIN)
        try:
            async with asyncio.timeout(WITHIN), httpx.AsyncClient(transport=HttpTransport(ctx, cap=_CAP)) as client:
                await client.get(url)
        except httpx.TransportError as error:  # a certificate that doesn't hold, an answer too long: somebody out there said so
            cause = error.__cause__
            there = cause.reason not in NETWORK if isinstance(cause, Failed) else isinstance(cause, ssl.SSLError)
            return Heard(host, there=there, named=named)
        except (TimeoutError, PolicyRefused, QuotaRefused, httpx.InvalidURL):
            return Heard(host, there=False, named=named)
        return Heard(host, there=True, named=named)


class Uplink:
    """Whose fault the failures of a plan's checks are, as far as the network goes.

    It knows which places (targets, or addresses of checks without one) fail by the network now. A place that goes on failing
    alone, and was found to be at fault itself, needs no reference again.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._theirs: dict[str, bool] = {}  # the places that fail by the network now: whether the fault was found to be theirs
        self._passed = False  # whether any run passed so far
        self._answered = False  # whether any reference answered so far

    async def first_look(self) -> str:
        """Asks the references before anything failed. Returns what is worth a warning; empty where all is well."""
        heard = await self._references.look() if self._references else ()
        self._answered |= any(one.there for one in heard)
        if not heard or any(one.there for one in heard):
            return ""
        gone = ", ".join(one.host for one in heard)
        return (
            f"no reference responds ({gone}): network failures count as the runner's until a check has passed, "
            "and as the targets' from then on"
        )

    async def judged(self, place: str, result: Result) -> Result:
        """The same result; or unknown / offline where it failed because our own network is gone. Within WITHIN seconds."""
        self._passed |= result.verdict is Verdict.PASS
        if result.verdict is not Verdict.FAIL or result.reason not in NETWORK:
            if result.verdict is not Verdict.UNKNOWN:
                self._theirs.pop(place, None)
            return result
        others = self._theirs.keys() - {place}
        if not self._references or (not others and self._theirs.get(place)):
            self._theirs.setdefault(place, True)
            return result
        self._theirs.setdefault(place, False)
        heard = await self._references.look()
        self._answered |= any(one.there for one in heard)
        judged = cut_off(result, heard, useless=self._passed and not self._answered)
        self._theirs[place] = judged.verdict is Verdict.FAIL
        return judged
