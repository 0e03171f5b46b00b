"""Permits each request of a run before it is sent: by the configuration's rules, then by the target's limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from probes.core import Ledger, PolicyRefused, QuotaRefused
from probes.target import FREE_METHODS, Target, origin, origin_text, plain_path
from runner.config.plan import Planned

_VARIABLE = re.compile(r"\{\{.*?\}\}|%7B%7B.*?%7D%7D")
_NEGLIGIBLE = 0.01  # share of a limit's window by which a slot may count as taken for too long
_SECURE = {"http": "https"}


class Limits(Ledger, Protocol):
    """The ledger with sliding limits: runner.state.StateLedger says what they promise."""

    async def limit(self, name: str, count: int, most: int, window: float, *, until: float | None = None) -> tuple[int, ...]:
        """Takes `count` slots, all or none. Raises QuotaRefused."""
        ...

    async def sent(self, used: Sequence[int], unused: Sequence[int] = ()) -> None:
        """Notes that the used slots' requests were sent by now, and frees the unused slots."""
        ...


class NotHeldError(QuotaRefused):
    """Another runner may hold the check now: nothing was sent."""


class Rules:
    """What the configuration says about the requests of one check. It is the same for all its runs, so each request is judged once."""

    def __init__(self, planned: Planned, targets: Mapping[str, Target]) -> None:
        self.planned = planned
        self._target = own = planned.target
        self._targets = targets if own is None or targets.get(own.name) is own else {**targets, own.name: own}
        self._asks = planned.probe.asks()
        self.shortest = min((t.limit.window for t in self._targets.values() if t.limit), default=0.0)
        self.slots: dict[str, int] = {}  # that a run takes at its start, by target
        self._judged: dict[tuple[str, str], str | None] = {}  # of its own requests, when the first run sends them
        self._limited: dict[str, Target | None] = {ask.url: self._limit_of(ask.url) for ask in self._asks}
        for ask in self._asks:
            if target := self._limited[ask.url]:
                self.slots[target.name] = self.slots.get(target.name, 0) + 1

    def limits(self, url: str) -> Target | None:
        """The target whose limit a request to this address counts against, whichever check sends it."""
        return self._limited[url] if url in self._limited else self._limit_of(url)

    def refusal(self, method: str, url: str) -> str | None:
        """Why a request may not be sent; None if it may. Raises ValueError for what is no address."""
        if url not in self._limited:
            return self._refusal(method, url)
        if (method, url) not in self._judged:
            self._judged[method, url] = self._refusal(method, url)
        return self._judged[method, url]

    def target(self, name: str) -> Target:
        """A target that `slots` or `limits` has named."""
        return self._targets[name]

    def _limit_of(self, url: str) -> Target | None:
        limited = [t for t in self._targets.values() if t.limit is not None and _same_service(url, t.url)]
        own_targets = [t for t in limited if self._target and t.name == self._target.name]
        return next(iter(own_targets or limited), None)

    def _refusal(self, method: str, url: str) -> str | None:
        """At the check's own service its target or its own requests decide, elsewhere the target of that address."""
        if self._target and _same_service(url, self._target.url):
            return _refusal_of(self._target, method, url)
        if not self._target and (known := self._own(method, url)) is not None:
            return None if known else f"{method} {plain_path(url)} is not a request of this check"
        for target in self._targets.values():
            if _same_service(url, target.url):
                return _refusal_of(target, method, url)
        return f"{origin_text(url)} is neither an address of this check nor a target; to allow it, declare it under targets:"

    def _own(self, method: str, url: str) -> bool | None:
        """Whether a check with a `url` of its own may send this request there; None if the request goes elsewhere."""
        there = [ask for ask in self._asks if _same_service(url, ask.url)]
        if not there:
            return None
        if method in FREE_METHODS:
            return True
        for ask in there:
            # A variable of a journey stands for one segment of the path.
            pattern = "[^/?#]*".join(re.escape(piece) for piece in _VARIABLE.split(_path_and_query(ask.url)))
            if ask.method == method and re.fullmatch(pattern, _path_and_query(url)):
                return True
        return False


class Permits:
    """One run's permits. It takes the slots for all its requests at its start, all or none, so that no journey ends midway."""

    def __init__(
        self,
        rules: Rules,
        ledger: Limits,
        now: Callable[[], float],
        share: float = 1.0,
        holds: Callable[[str], bool] = bool,  # whether this runner holds the check of this name: no name is empty
    ) -> None:
        self._rules = rules
        self._holds = holds
        self._ledger = ledger
        self._now = now
        self._share = share  # of each limit that this run may use; a diagnosis leaves the rest to the checks
        self._free: dict[str, list[int]] = {}  # slots taken and not yet used, by target
        self._used: list[int] = []
        self._until = 0.0

    async def acquire(self, longest: float) -> None:
        """Takes slots for the run's requests, which are sent within `longest` seconds; `settle` gives them back. Raises QuotaRefused."""
        self._look_at_lease()
        self._until = self._now() + longest
        for name, count in self._rules.slots.items():
            self._free[name] = await self._take_slots(self._rules.target(name), count)

    async def __call__(self, method: str, url: str) -> None:
        """Permits a request. Raises PolicyRefused if the configuration forbids it, QuotaRefused if a limit is reached."""
        try:
            reason = self._rules.refusal(method, url)
        except ValueError:  # a redirect may name an invalid port or brackets that don't close
            reason = f"{url} is not an address"
        if reason:
            raise PolicyRefused(reason)
        self._look_at_lease()  # the run may have been paused since it started
        if target := self._rules.limits(url):
            free = self._free.setdefault(target.name, [])
            if not free:
                free += await self._take_slots(target, 1)
            self._used += free[:1]
            del free[:1]

    def _look_at_lease(self) -> None:
        check = self._rules.planned.check.name
        if not self._holds(check):
            raise NotHeldError(f"another runner may hold {check} now")

    async def settle(self) -> None:
        """Dates the used slots, and gives back the unused ones; skips the write if it would change almost nothing.

        A run that took longer than its longest time, because the runner was busy, sent later than its slots say: they are dated again.
        """
        unused = [slot for free in self._free.values() for slot in free]
        early = self._until - self._now()
        if unused or (self._used and not 0 <= early <= self._rules.shortest * _NEGLIGIBLE):
            await self._ledger.sent(self._used, unused)
        self._free, self._used = {}, []

    async def _take_slots(self, target: Target, count: int) -> list[int]:
        """Takes slots that count as used at the run's latest moment: when a permitted request is really sent isn't known here."""
        if target.limit is None:
            return []
        most = int(target.limit.amount * self._share)
        return list(await self._ledger.limit(target.name, count, most, target.limit.window, until=self._until))


def _refusal_of(target: Target, method: str, url: str) -> str | None:
    """Why a target's rules forbid a request. They hold for the https twin of its http address, too."""
    here, there = urlsplit(url), urlsplit(target.url)
    return target.refusal(method, here._replace(scheme=there.scheme, netloc=there.netloc).geturl())


def _same_service(url: str, known: str) -> bool:
    """Whether both have one origin, or `url` is https instead of http on the same host, at port 443 or the same port."""
    if url == known:  # which is a valid address: it was read from checks.yaml
        return True
    here, there = origin(url), origin(known)
    if here == there:
        return True
    upgraded = _SECURE.get(there[0]) == here[0] and here[1] == there[1]
    return upgraded and here[2] in (443, there[2])


def _path_and_query(url: str) -> str:
    split = urlsplit(url)
    return (split.path or "/") + (f"?{split.query}" if split.query else "")
