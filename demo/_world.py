"""What all parts of the stand-in share: the clock, the faults that are on, who asked what, and what nobody should have asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from dataclasses import dataclass, field

from probes.core import Clock

VERSION = "1.4.2"
REVISION = "4f1c9e7"
PROBE_USER = "outrider-probe@roadtrip.example"
DEMO_USER, DEMO_PASSWORD = "traveller@roadtrip.example", "open-trip-2026"
PREMIUM_USER, ADMIN_USER, TWO_FACTOR_USER = "subscriber@roadtrip.example", "operator@roadtrip.example", "careful@roadtrip.example"
MODEL = "gemini-2.0-flash"
KEPT_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class Delays:
    """How long the slow faults take, and how fast the model speaks, in seconds of real time."""

    slow: float = 3.0  # api-slow
    first_token: float = 6.0  # ai-slow
    token: float = 0.01  # between two pieces of a stream
    stuck: float = 0.3  # a database call that takes longer holds up the whole API, as a synchronous driver does
    reconnect: float = 8.0  # as built: three tries to reach a database that is known to be gone
    redis: float = 5.0  # as built: how long a call waits for a Redis that is frozen


@dataclass(frozen=True, slots=True)
class Built:
    """The application as it is built, not as the guide intends it; and how it was started."""

    debug: bool = True  # DEBUG, on by default: an uncaught error's response holds a stack trace
    production: bool = False  # ENVIRONMENT=production: DEBUG is off, and cookies are Secure

    @property
    def traces(self) -> bool:
        """Whether an uncaught error shows its stack trace."""
        return self.debug and not self.production


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys and passwords of the stand-in, fresh for each.

    The application has a key of its own for the model and the partners: a provider throttles by key, and one client's
    share isn't another's.
    """

    probe_password: str
    ai_key: str
    opentable: str
    recreation: str
    application_key: str


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request that reached a part of the stand-in. `who` is "outrider" or "user", by the User-Agent."""

    at: float
    part: str
    who: str
    agent: str
    method: str
    path: str
    status: int
    request_id: str = ""
    traceparent: str = ""


def who(agent: str) -> str:
    """Outrider names itself in its User-Agent; everybody else is a user."""
    return "outrider" if agent.lower().startswith("outrider") else "user"


@dataclass
class World:
    """Shared state of one stand-in."""

    clock: Clock
    secrets: Secrets
    delays: Delays
    limits: bool = True
    version: str = VERSION
    revision: str = REVISION
    built: Built | None = None  # None: as the guide intends it
    faults: set[str] = field(default_factory=set)
    requests: deque[ReceivedRequest] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    counts: Counter[tuple[str, str, str, str, int]] = field(default_factory=Counter)  # part, who, method, path, status
    forbidden: list[str] = field(default_factory=list)  # bookings, shutdowns and other things that no probe may set going
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, request: ReceivedRequest) -> None:
        """Notes a request that has been answered."""
        self.requests.append(request)
        self.counts[request.part, request.who, request.method, request.path, request.status] += 1

    def asked(self, who: str | None = None, *, part: str | None = None, path: str | None = None, status: int | None = None) -> int:
        """How many requests of this kind there were; None stands for any."""
        wanted = (part, who, None, path, status)
        return sum(n for key, n in self.counts.items() if all(w is None or w == k for w, k in zip(wanted, key, strict=True)))

    async def pause(self, seconds: float) -> None:
        """Waits, but not beyond the stand-in's end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), seconds)

    async def wait_until(self, *events: asyncio.Event) -> None:
        """Waits for one of these, or for the stand-in's end."""
        waits = [asyncio.ensure_future(event.wait()) for event in (*events, self.closing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
