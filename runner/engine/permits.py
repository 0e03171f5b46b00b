"""May this request be sent? Asked before every send of a run: the configuration's rules, then the target's limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from probes.core import Ask, Ledger, PolicyRefused
from probes.target import FREE_METHODS, Target, origin, plain_path
from runner.config.plan import Planned

_VARIABLE = re.compile(r"\{\{.*?\}\}|%7B%7B.*?%7D%7D")
_NEXT_TO_NOTHING = 0.01  # of a limit's window: by so much longer than need be a slot may count as taken
_SECURE = {"http": "https"}


class Limits(Ledger, Protocol):
    """The ledger with sliding limits: runner.state.StateLedger says what they promise."""

    async def limit(self, name: str, count: int, most: int, window: float, *, until: float | None = None) -> tuple[int, ...]:
        """Takes so many slots, all or none. Raises QuotaRefused."""
        ...

    async def sent(self, used: Sequence[int], unused: Sequence[int] = ()) -> None:
        """These slots' sends have happened by now; the unused ones are free again."""
        ...


class Permits:
    """One run's permits. Slots for all that the run may ask are paid at its start, all or none, so that no journey ends midway."""

    def __init__(
        self, planned: Planned, targets: Mapping[str, Target], ledger: Limits, now: Callable[[], float], share: float = 1.0
    ) -> None:
        self._target = planned.target
        self._asks = planned.probe.asks()
        mine = {planned.target.name: planned.target} if planned.target else {}
        self._targets = {**targets, **mine}
        self._ledger = ledger
        self._now = now
        self._share = share  # of each limit that this run may use up: a diagnosis leaves the rest to the checks
        self._free: dict[str, list[int]] = {}  # paid and not yet used, by target
        self._used: list[int] = []
        self._until = 0.0
        self._shortest = min((t.limit.window for t in self._targets.values() if t.limit), default=0.0)

    async def acquire(self, longest: float) -> None:
        """Pays for the run's requests, which are sent within `longest` seconds. Raises QuotaRefused; `settle` gives back what was paid."""
        self._until = self._now() + longest
        counts: dict[str, int] = {}
        for ask in self._asks:
            if target := self._of(ask.url):
                counts[target.name] = counts.get(target.name, 0) + 1
        for name, count in counts.items():
            self._free[name] = await self._pay(self._targets[name], count)

    async def __call__(self, method: str, url: str) -> None:
        """Lets a request pass. Raises PolicyRefused where the configuration forbids it, QuotaRefused where a limit is reached."""
        try:
            reason = self._refusal(method, url)
        except ValueError:  # a port that is none, brackets that don't close: where a redirect may lead
            reason = f"{url} is not an address"
        if reason:
            raise PolicyRefused(reason)
        if target := self._of(url):
            free = self._free.setdefault(target.name, [])
            if not free:
                free += await self._pay(target, 1)
            self._used += free[:1]
            del free[:1]

    async def settle(self) -> None:
        """Dates what was sent, and gives back what was not; saves the write where that changes next to nothing.

        A run that outlived its longest, because the runner was busy, has sent later than its slots say: they are dated anew.
        """
        unused = [slot for free in self._free.values() for slot in free]
        early = self._until - self._now()
        if unused or (self._used and not 0 <= early <= self._shortest * _NEXT_TO_NOTHING):
            await self._ledger.sent(self._used, unused)
        self._free, self._used = {}, []

    async def _pay(self, target: Target, count: int) -> list[int]:
        """Slots that count as used at the run's latest moment: when exactly a permitted request arrives isn't known here."""
        if target.limit is None:
            return []
        most = int(target.limit.amount * self._share)
        return list(await self._ledger.limit(target.name, count, most, target.limit.window, until=self._until))

    def _of(self, url: str) -> Target | None:
        """The target with a limit that a request to this address counts for: whoever asks, the host feels it."""
        limited = [t for t in self._targets.values() if t.limit is not None and _same_service(url, t.url)]
        mine = [t for t in limited if self._target and t.name == self._target.name]
        return next(iter(mine or limited), None)

    def _refusal(self, method: str, url: str) -> str | None:
        """Why a request may not be sent. The check's own target rules, or its own asks; elsewhere, the rules of that place's target."""
        if self._target and _same_service(url, self._target.url):
            return _ruled(self._target, method, url)
        if not self._target and (known := self._own(method, url)) is not None:
            return None if known else f"{method} {plain_path(url)} is not a request of this check"
        for target in self._targets.values():
            if _same_service(url, target.url):
                return _ruled(target, method, url)
        return f"{urlsplit(url).hostname or url} is neither an address of this check nor a target"

    def _own(self, method: str, url: str) -> bool | None:
        """For a check with a `url` of its own: may this be sent there? None where `url` leads elsewhere."""
        there = [ask for ask in self._asks if _same_service(url, ask.url)]
        if not there:
            return None
        return method in FREE_METHODS or any(ask.method == method and _fits(ask, url) for ask in there)


def _ruled(target: Target, method: str, url: str) -> str | None:
    """The target's own rules; for the https twin of its http address, the same."""
    here, there = urlsplit(url), urlsplit(target.url)
    return target.refusal(method, here._replace(scheme=there.scheme, netloc=there.netloc).geturl())


def _same_service(url: str, known: str) -> bool:
    """The same origin, or https instead of http on the same host: at https's own port, or at the same one."""
    here, there = origin(url), origin(known)
    if here == there:
        return True
    upgraded = _SECURE.get(there[0]) == here[0] and here[1] == there[1]
    return upgraded and here[2] in (443, there[2])


def _fits(ask: Ask, url: str) -> bool:
    """The path and query that the check asks for; what a journey fills in may be any one segment."""
    pattern = "[^/?#]*".join(re.escape(piece) for piece in _VARIABLE.split(_below(ask.url)))
    return re.fullmatch(pattern, _below(url)) is not None


def _below(url: str) -> str:
    split = urlsplit(url)
    return (split.path or "/") + (f"?{split.query}" if split.query else "")
