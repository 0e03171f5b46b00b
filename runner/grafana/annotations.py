"""Writing an event into Grafana so that it stands there once, however often and by whomever it is recorded."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from probes.core import Clock
from runner.grafana.apis import Annotation, AnnotationApi, LegacyApi, ResourceApi
from runner.grafana.events import OPEN, UNFINISHED, Deployment, Event, annotation_text, deployment_from, labelled
from runner.grafana.transport import Patience, Refused, Settings, Transport, Unavailable, persist

_GONE = (404, 410)
_LONG_AFTER = 3600.0  # seconds
_OURS = ("version:", "revision:", "verdict:", "id:", "service:", "environment:")  # tags that records of a deployment write


@dataclass(frozen=True, slots=True)
class Put:
    """What stands in Grafana now: whether it was written just now, and what a person should know of it."""

    event: Event
    fresh: bool
    warnings: tuple[str, ...] = ()


class Grafana:
    """One Grafana. The client is the caller's, and closed there."""

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
        self._legacy = LegacyApi(self._transport)
        self._resources = ResourceApi(self._transport, settings.namespace)
        by_name: dict[str, AnnotationApi] = {"legacy": self._legacy, "apis": self._resources}
        self._chosen = by_name.get(settings.api)
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._patience = patience

    async def put(self, event: Event) -> Put:
        """Writes the event, or brings what stands there up to it, and reads it back.

        Each attempt begins by looking: a response that got lost leads to no second annotation. Raises Unavailable when patience
        ends, and Refused.
        """
        return await persist(lambda: self._put(event), self._patience, clock=self._clock, sleep=self._sleep, rng=self._rng)

    async def _put(self, event: Event) -> Put:
        api = await self._api()
        warnings: list[str] = []
        found = await api.find(event.identity)
        if not found and event.kin and event.end is not None:
            event, found = await self._adopt_start(api, event)
        warnings += _reuse_warning(event, found)
        wanted = joined(event, found)
        if kept := next((one for one in found if one.matches(wanted)), None):
            warnings += await self._remove_surplus(api, kept, found)
            return Put(wanted, fresh=False, warnings=tuple(warnings))
        if wanted.dashboard and (missing := await self._missing_dashboard(wanted.dashboard)):
            warnings.append(missing)
            wanted = replace(wanted, dashboard="", panel=None)
        await api.write(wanted, found)
        found = await api.find(wanted.identity)
        kept = next((one for one in found if one.matches(wanted)), None)
        if kept is None:
            raise Unavailable(
                f"{self.place} accepted {event.title or 'the annotation'}, but returned it with other content", of_record=True
            )
        if wanted.dashboard and kept.dashboard not in ("", wanted.dashboard):
            warnings.append(f"it is on dashboard {kept.dashboard}, not on {wanted.dashboard}")
        warnings += await self._remove_surplus(api, kept, found)
        return Put(wanted, fresh=True, warnings=tuple(warnings))

    async def _api(self) -> AnnotationApi:
        """The legacy API works in every version so far; where it is gone, the new one."""
        if self._chosen is None:
            try:
                await self._legacy.find(("deployment",))
                self._chosen = self._legacy
            except Refused as refused:
                if refused.status not in _GONE:
                    raise
                await self._resources.tagged(("deployment",))  # a 404 of a proxy is no reason to change: this one must be there
                self._chosen = self._resources
        return self._chosen

    async def _adopt_start(self, api: AnnotationApi, event: Event) -> tuple[Event, list[Annotation]]:
        """The latest start of the same kin, recorded by another job of the same CI run: the end takes over its identity.

        An end that knows no start of its own also takes over a start that has ended: a job that was run again records it once more.
        """
        others = tuple(t for t in event.identity if not t.startswith("id:"))
        akin = [one for one in await api.tagged(("deployment", *others)) if one.id.startswith(event.kin)]
        candidates = [one for one in akin if one.open] or (akin if event.start is None else [])
        if not candidates:
            return event, []
        identity = (*labelled(id=candidates[-1].id), *others)
        deployment = replace(event.deployment, id=candidates[-1].id) if event.deployment else None
        return replace(event, identity=identity, deployment=deployment), await api.find(identity)

    async def _missing_dashboard(self, dashboard: str) -> str:
        """Why an annotation can't stand on this dashboard, which Grafana would drop without a word; "" where it can."""
        try:
            await self._transport.ask("GET", f"/api/dashboards/uid/{quote(dashboard, safe='')}")
        except Refused as refused:
            why = "doesn't exist" if refused.status in _GONE else f"can't be read with this token ({refused.status})"
            return f"dashboard {dashboard} {why}; the annotation is for the whole organization instead"
        return ""

    async def _remove_surplus(self, api: AnnotationApi, kept: Annotation, found: Sequence[Annotation]) -> list[str]:
        """Removes what is too many beside the kept one; a warning where that isn't allowed."""
        try:
            for one in api.surplus(kept, found):
                await api.remove(one)
        except Refused as refused:
            return [f"a duplicate annotation can't be removed: {refused.message}"]
        return []

    async def close_open(self, tags: Sequence[str], *, but: str, before: float, end: float, why: str) -> tuple[str, ...]:
        """Closes what is under way with these tags since before `before` (epoch seconds), all but the id `but`; returns their ids.

        One that has its end already, recorded by somebody else, is only tidied. Raises Unavailable and Refused.
        """

        async def close() -> tuple[str, ...]:
            api = await self._api()
            closed = []
            for one in await api.tagged((*tags, OPEN)):
                if one.id in ("", but) or one.start / 1000 >= before:
                    continue
                event = _unfinished(one, end, why)
                found = await api.find(event.identity)
                ended = next((other for other in found if not other.open), None)
                if ended is not None:
                    await self._remove_surplus(api, ended, found)
                    continue
                await self._put(event)
                closed.append(event.id)
            return tuple(closed)

        return await persist(close, self._patience, clock=self._clock, sleep=self._sleep, rng=self._rng)


def joined(event: Event, found: Sequence[Annotation]) -> Event:
    """What Grafana should hold, given what is there: the earliest start recorded, and the latest end.

    A start that comes late (out of the spool) doesn't open what has ended; an end that didn't know its start learns it.
    """
    starts = [one.start / 1000 for one in found] + ([event.start] if event.start is not None else [])
    start = min(starts) if starts else event.end
    ended = max((one for one in found if not one.open), key=lambda one: one.end, default=None)
    if event.deployment is not None and (earlier := _recorded(event.deployment, found)) is not None:
        together = event.deployment.with_earlier(earlier)
        adds = (together.deployed, together.version, together.link) != (earlier.deployed, earlier.version, earlier.link)
        if event.end is not None or ended is None or adds:
            made = replace(together, started=start).event()
            theirs = [tag for one in found for tag in one.tags if tag != OPEN and not tag.startswith(_OURS)]
            return replace(made, tags=tuple(dict.fromkeys([*made.tags, *theirs])))
    if event.end is None and ended is not None:
        others = tuple(t for t in ended.tags if t not in event.identity)
        return replace(event, text=ended.text, tags=others, start=start, end=ended.end / 1000)
    return replace(event, start=start)


def _recorded(deployment: Deployment, found: Sequence[Annotation]) -> Deployment | None:
    """What stands in Grafana of this deployment: its starts first, then its regions; None where nothing does.

    A finish may have written the CI's commit for want of anything better: it is known again by a start of the same CI run.
    """
    earlier: Deployment | None = None
    for one in sorted(found, key=lambda one: (not one.open, one.end)):
        times = {"started": one.start / 1000, "finished": None if one.open else one.end / 1000}
        read = replace(deployment_from(one.tags, one.text, ended=not one.open, dashboard=one.dashboard, **times), id=deployment.id)
        if not one.open and read.revision and read.revision == deployment.commit != deployment.revision:
            read = replace(read, revision="", commit=read.revision)
        earlier = read if earlier is None else read.with_earlier(earlier)
    return earlier


def _reuse_warning(event: Event, found: Sequence[Annotation]) -> list[str]:
    """An id that is used again long after its end makes one region over both."""
    ended = max((one.end / 1000 for one in found if not one.open), default=None)
    moment = event.start if event.start is not None else event.end
    if ended is None or moment is None or moment - ended < _LONG_AFTER:
        return []
    when = datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"id {event.id} was used before, for one that ended at {when}, and its region now reaches to now; give each an id of its own"]


def _unfinished(annotation: Annotation, end: float, why: str) -> Event:
    """The end of something whose own end nobody recorded."""
    parts = ("id:", "service:", "environment:")
    identity = tuple(t for t in annotation.tags if t.startswith(parts))
    others = tuple(t for t in annotation.tags if t != OPEN and t not in identity)
    tags = (*others, *labelled(verdict=UNFINISHED)) if "deployment" in others else others
    text = f"{annotation.text}\nnever finished: {annotation_text(why)}"
    return Event(identity, text, annotation.start / 1000, end, tags, annotation.text.partition("\n")[0], annotation.dashboard)
