"""Which checks are in maintenance: by the windows of checks.yaml, and by those that somebody opened by hand, which the state keeps."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace

from judge.observation import Check
from probes.core import Clock
from probes.text import moment
from runner.config.plan import Plan
from runner.config.windows import Covered, Maintained, Once, Span, Window
from runner.log import Log
from runner.state import StateLedger, owner_of

LONGEST = 30 * 86400.0  # seconds of a window that is opened by hand
_TOPIC = "maintenance"
_REMEMBERED = 86400.0  # seconds after its end: a run that began in it may still be under way
_MOST = 1000  # windows that are open by hand at once


class Maintenance:
    """The windows of one runner. A window that was opened by hand outlives the process, and ends by itself.

    `file` is the absolute path of checks.yaml. What a window covers isn't judged again at a reload: a check that comes later and has its
    tag is covered too. `changed` is called when one is opened or ended by hand.
    """

    def __init__(self, ledger: StateLedger, file: str, clock: Clock, log: Log, changed: Callable[[], None] = lambda: None) -> None:
        self._log = log
        self._changed = changed
        self._ledger = ledger
        self._file = file
        self._clock = clock
        self._owner = ""
        self._planned: tuple[Window, ...] = ()
        self._opened: dict[str, Maintained] = {}
        self._spans: dict[int, tuple[float, Span | None]] = {}  # of each planned window: the first span that ends after a moment

    def plan(self, plan: Plan) -> None:
        """Follows the load at the start and each reload: the windows of the file are those of the new plan.

        Those that were opened by hand stay open over a reload, and over a restart (`restore`).
        """
        self._owner = owner_of(self._file, plan.service, plan.environment)
        self._planned, self._spans = plan.maintenance, {}

    async def restore(self) -> None:
        """Goes on with the windows that were opened by hand before a restart, a kill -9 included. Call it after the first `plan`."""
        for name, body in (await self._ledger.kept(self._owner, _TOPIC)).items():
            covered = Covered(**{key: tuple(words) for key, words in body["covered"].items()})
            span = Span(body["start"], body["end"])
            self._opened[name] = Maintained(Window(body["name"], Once(span.start, span.end), covered, body["why"], body["by"], name), span)

    async def open(self, name: str, seconds: float, covered: Covered, *, why: str, by: str) -> Maintained:
        """Opens a window now; it ends after `seconds`. Raises ValueError where too many are open."""
        now = self._clock.time()
        if len(self._opened) >= _MOST:
            raise ValueError(f"{_MOST:,} windows are open already; end some of them first")
        span = Span(now, now + seconds)
        one = await self._keep(Maintained(Window(name, Once(now, span.end), covered, why, by, secrets.token_hex(4)), span))
        self._log(logging.WARNING, f"maintenance begins, until {moment(span.end)}: {name}, opened by {by}: {why}")
        return one

    async def end(self, identity: str) -> Maintained | None:
        """Ends a window that was opened by hand, now. None where no such window is open."""
        one, now = self._opened.get(identity), self._clock.time()
        if one is None or now >= one.span.end:
            return None
        self._log(logging.WARNING, f"maintenance was ended by hand: {one.window.name}, opened by {one.window.by}: {one.window.why}")
        return await self._keep(replace(one, span=Span(one.span.start, now)))

    async def _keep(self, one: Maintained) -> Maintained:
        window, span = one.window, one.span
        body = {"start": span.start, "end": span.end, "name": window.name, "why": window.why, "by": window.by}
        await self._ledger.keep(self._owner, _TOPIC, window.id, body | {"covered": asdict(window.covered)}, forget=span.end)
        self._opened[window.id] = one
        self._changed()
        return one

    def windows(self) -> tuple[Maintained, ...]:
        """Every window that is open or to come: those opened by hand, and then those of the file."""
        return tuple(self._coming(self._clock.time()))

    def covering(self, check: Check) -> Maintained | None:
        """The window in which a check is now; of several the one that ends last."""
        now = self._clock.time()
        return self._last(check, now, now)

    def covered_now(self, checks: Iterable[Check]) -> set[str]:
        """The names of those checks for which a window is open now. Without an open window it looks at no check."""
        now = self._clock.time()
        is_open = [one.window.covered for one in self._coming(now) if one.span.start <= now]
        return {check.name for check in checks if any(check in covered for covered in is_open)} if is_open else set()

    def during(self, check: Check, start: float, end: float) -> bool:
        """Whether a window was open at any moment from `start` to `end` (seconds since the epoch) for a check."""
        return self._last(check, start, end) is not None

    def _last(self, check: Check, start: float, end: float) -> Maintained | None:
        if not (self._planned or self._opened):
            return None
        found = [one for one in self._coming(start) if one.span.start <= end and check in one.window.covered]
        return max(found, key=lambda one: one.span.end, default=None)

    def _coming(self, when: float) -> Iterator[Maintained]:
        """Each window with its span that ends after a moment. Those opened by hand are forgotten a day after their end."""
        for identity, one in [*self._opened.items()]:
            if when < one.span.end:
                yield one
            elif one.span.end < self._clock.time() - _REMEMBERED:
                del self._opened[identity]
        for number, window in enumerate(self._planned):
            asked, span = self._spans.get(number, (math.inf, None))
            if when < asked or (span is not None and span.end <= when):  # finding it takes a part of a millisecond
                span = window.times.span(when)
                self._spans[number] = when, span
            if span is not None:
                yield Maintained(window, span)
