"""Putting an event into Grafana so that it stands there once, however often and by whomever it is told."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from probes.core import Clock
from runner.grafana.annotation import Api, Written, joined, same
from runner.grafana.apis import Apis
from runner.grafana.events import OPEN, UNFINISHED, Event, labelled, worded
from runner.grafana.legacy import Legacy
from runner.grafana.transport import Patience, Refused, Settings, Transport, Unavailable, persist

_GONE = (404, 410)
_LONG_AFTER = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Put:
    """What stands in Grafana now: whether it was written just now, and what a person should know of it."""

    event: Event
    fresh: bool
    warnings: tuple[str, ...] = ()


class Grafana:
    """One Grafana. `sleep` waits so many seconds; the client is the caller's, and closed there."""

    def __init__(
        self,
        settings: Settings,
        client: httpx.AsyncClient,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self._transport = Transport(settings, client, clock)
        self.place = self._transport.place
        self._legacy = Legacy(self._transport)
        self._apis = Apis(self._transport, settings.namespace)
        by_name: dict[str, Api] = {"legacy": self._legacy, "apis": self._apis}
        self._chosen = by_name.get(settings.api)
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._patience = patience

    async def put(self, event: Event) -> Put:
        """Writes the event, or brings what stands there up to it, and reads it back.

        Each attempt begins by looking: an answer that got lost leads to no second annotation. Raises Unavailable when patience
        ends, and Refused.
        """
        return await persist(lambda: self._put(event), self._patience, clock=self._clock, sleep=self._sleep, rng=self._rng)

    async def _put(self, event: Event) -> Put:
        api = await self._api()
        warnings: list[str] = []
        found = await api.find(event.identity)
        if not found and event.kin and event.end is not None:
            event, found = await self._akin(api, event)
        warnings += _used_before(event, found)
        wanted = joined(event, found)
        if kept := _standing(found, wanted):
            warnings += await self._tidied(api, kept, found)
            return Put(wanted, fresh=False, warnings=tuple(warnings))
        wanted = await self._hung(wanted, warnings)
        await api.write(wanted, found)
        found = await api.find(wanted.identity)
        if (kept := _standing(found, wanted)) is None:
            raise Unavailable(f"{self.place} accepted {event.title or 'the annotation'}, but returned it with other content")
        if wanted.dashboard and kept.dashboard not in ("", wanted.dashboard):
            warnings.append(f"it is on dashboard {kept.dashboard}, not on {wanted.dashboard}")
        warnings += await self._tidied(api, kept, found)
        return Put(wanted, fresh=True, warnings=tuple(warnings))

    async def _api(self) -> Api:
        """The legacy API works in every version so far; where it is gone, the new one."""
        if self._chosen is None:
            try:
                await self._legacy.find(("deployment",))
                self._chosen = self._legacy
            except Refused as refused:
                if refused.status not in _GONE:
                    raise
                await self._apis.tagged(("deployment",))  # a 404 of a proxy is no reason to change: this one must be there
                self._chosen = self._apis
        return self._chosen

    async def _akin(self, api: Api, event: Event) -> tuple[Event, list[Written]]:
        """The latest start of the same kin, told by another job of the same CI run: the end takes over its identity.

        An end that knows no start of its own takes over one that has ended too: it is told once more, by a job that was run again.
        """
        others = tuple(t for t in event.identity if not t.startswith("id:"))
        akin = [w for w in await api.tagged(("deployment", *others)) if _id_of(w).startswith(event.kin)]
        candidates = [w for w in akin if w.open] or (akin if event.start is None else [])
        if not candidates:
            return event, []
        identity = (*labelled(id=_id_of(candidates[-1])), *others)
        return replace(event, identity=identity), await api.find(identity)

    async def _hung(self, event: Event, warnings: list[str]) -> Event:
        """The event on its dashboard, if there is one: Grafana would drop an unknown one without a word."""
        if not event.dashboard:
            return event
        try:
            await self._transport.ask("GET", f"/api/dashboards/uid/{quote(event.dashboard, safe='')}")
        except Refused as refused:
            why = "doesn't exist" if refused.status in _GONE else f"can't be read with this token ({refused.status})"
            warnings.append(f"dashboard {event.dashboard} {why}; the annotation is for the whole organization instead")
            return replace(event, dashboard="", panel=None)
        return event

    async def _tidied(self, api: Api, kept: Written, found: Sequence[Written]) -> list[str]:
        """Removes what is too many beside the kept one; says where that isn't allowed."""
        try:
            for written in api.surplus(kept, found):
                await api.remove(written)
        except Refused as refused:
            return [f"a duplicate annotation can't be removed: {refused.message}"]
        return []

    async def close_open(self, tags: Sequence[str], *, but: str, before: float, end: float, why: str) -> tuple[str, ...]:
        """Closes what is under way with these tags since before `before` (epoch seconds), all but the id `but`; returns their ids.

        One that has its end already, told by somebody else, is only tidied. Raises Unavailable and Refused.
        """
        return await persist(
            lambda: self._close_open(tags, but, before, end, why), self._patience, clock=self._clock, sleep=self._sleep, rng=self._rng
        )

    async def _close_open(self, tags: Sequence[str], but: str, before: float, end: float, why: str) -> tuple[str, ...]:
        api = await self._api()
        closed = []
        for written in await api.tagged((*tags, OPEN)):
            if _id_of(written) in ("", but) or written.start / 1000 >= before:
                continue
            event = _abandoned(written, end, why)
            found = await api.find(event.identity)
            ended = next((w for w in found if not w.open), None)
            if ended is not None:
                await self._tidied(api, ended, found)
                continue
            await self._put(event)
            closed.append(event.id)
        return tuple(closed)


def _used_before(event: Event, found: Sequence[Written]) -> list[str]:
    """An id that is used again long after its end would stretch the old region over both: that is said."""
    ended = max((w.end / 1000 for w in found if not w.open), default=None)
    moment = event.start if event.start is not None else event.end
    if ended is None or moment is None or moment - ended < _LONG_AFTER:
        return []
    when = datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"id {event.id} was used before, for one that ended at {when}, and its region now reaches to now; give each an id of its own"]


def _standing(found: Sequence[Written], event: Event) -> Written | None:
    return next((w for w in found if same(w, event)), None)


def _id_of(written: Written) -> str:
    return next((t.removeprefix("id:") for t in written.tags if t.startswith("id:")), "")


def _abandoned(written: Written, end: float, why: str) -> Event:
    """The end of something whose own end nobody told."""
    parts = ("id:", "service:", "environment:")
    identity = tuple(t for t in written.tags if t.startswith(parts))
    others = tuple(t for t in written.tags if t != OPEN and t not in identity)
    tags = (*others, *labelled(verdict=UNFINISHED)) if "deployment" in others else others
    text = f"{written.text}\nnever finished: {worded(why)}"
    return Event(identity, text, written.start / 1000, end, tags, written.text.partition("\n")[0], written.dashboard)
