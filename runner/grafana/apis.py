"""Grafana's two APIs for annotations, behind one interface, and an annotation as either of them holds it.

The legacy API is in every Grafana, deprecated since 13, and sometimes answers 200 without having done what it was asked. In the new
one only text and tags can be changed later, so that a region is written whole, at its end. What is under way is a point with a name
of its own (`...-start`); the region takes its place. Names are made of the identity, so that a second write of the same event is a
conflict and not a second annotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from runner.grafana.events import OPEN, Event, name_of
from runner.grafana.transport import Refused, Transport, Unavailable

PATH = "/api/annotations"
GROUP = "annotation.grafana.app/v0alpha1"
_LIMIT = 100
_LISTED = 500
_STARTED = "-start"
_NOT_FOUND, _CONFLICT = 404, 409
_UNCHANGEABLE = (403, 404, 405, 501)


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation as it was read. Times in milliseconds since the epoch; a point ends when it starts.

    `ref` is its id or name; "" where Grafana doesn't tell one, so that it can be read and not changed.
    """

    ref: str
    text: str
    start: int
    end: int
    tags: tuple[str, ...]
    dashboard: str = ""

    @property
    def open(self) -> bool:
        """Whether it says of itself that it has not ended."""
        return OPEN in self.tags

    @property
    def id(self) -> str:
        """The value of its `id:` tag."""
        return next((t.removeprefix("id:") for t in self.tags if t.startswith("id:")), "")

    def matches(self, event: Event) -> bool:
        """Whether it says what the event says. The dashboard isn't compared: Grafana may have moved it, which is a warning of its own."""
        times = (self.start, self.end) == (event.start_ms, event.end_ms)
        return times and self.text == event.text and set(self.tags) == set(event.all_tags)

    @classmethod
    def from_legacy(cls, item: Mapping[str, Any]) -> Self:
        """From an item of /api/annotations."""
        start, end = (int(item[name]) if isinstance(item.get(name), int | float) else 0 for name in ("time", "timeEnd"))
        ref = item.get("id")
        return cls(
            str(ref) if isinstance(ref, int) and ref > 0 else "",
            str(item.get("text") or ""),
            start,
            end or start,
            tuple(str(tag) for tag in item.get("tags") or ()),
            str(item.get("dashboardUID") or ""),
        )

    @classmethod
    def from_resource(cls, item: Any) -> Self:
        """From an item of the new API."""
        metadata = item.get("metadata") if isinstance(item, Mapping) else None
        spec = item.get("spec") if isinstance(item, Mapping) else None
        if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping):
            raise Unavailable(
                "a response of Grafana's new API is not an annotation; that API is an alpha version and may have changed", again=False
            )
        start = int(spec.get("time") or 0)
        return cls(
            str(metadata.get("name") or ""),
            str(spec.get("text") or ""),
            start,
            int(spec.get("timeEnd") or 0) or start,
            tuple(str(tag) for tag in spec.get("tags") or ()),
            str(spec.get("dashboardUID") or ""),
        )


class AnnotationApi(Protocol):
    """One of Grafana's two APIs. All raise Unavailable and Refused."""

    async def find(self, identity: Sequence[str]) -> list[Annotation]:
        """Those of this identity, the oldest first."""
        ...

    async def tagged(self, tags: Sequence[str]) -> list[Annotation]:
        """Those that carry all of these tags, whatever else they carry: the latest 100, the oldest of them first."""
        ...

    async def write(self, event: Event, found: Sequence[Annotation]) -> None:
        """Brings what was found to what the event says; what is too many then is removed by `surplus` and `remove`."""
        ...

    def surplus(self, kept: Annotation, found: Sequence[Annotation]) -> list[Annotation]:
        """Those beside the one that is kept that should go."""
        ...

    async def remove(self, annotation: Annotation) -> None:
        """Takes one away."""
        ...


class LegacyApi:
    """/api/annotations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self, identity: Sequence[str]) -> list[Annotation]:
        """By the tags of its identity."""
        return await self.tagged(identity)

    async def tagged(self, tags: Sequence[str]) -> list[Annotation]:
        """By tags alone: a time range would have to be known, and a dashboard that is gone answers 400."""
        found = await self._transport.ask("GET", PATH, params={"tags": list(tags), "type": "annotation", "limit": _LIMIT})
        if not isinstance(found, list):
            raise Unavailable(f"{self._transport.place} did not return a list for {PATH}: this is not Grafana", again=False)
        read = [Annotation.from_legacy(item) for item in found if isinstance(item, Mapping)]
        return sorted((a for a in read if set(tags) <= set(a.tags)), key=lambda a: (a.start, len(a.ref), a.ref))

    async def write(self, event: Event, found: Sequence[Annotation]) -> None:
        """Changes the first that has an id, by PATCH, then by PUT, reading back; where neither changed it, posts a new one."""
        body: dict[str, Any] = {"text": event.text, "time": event.start_ms, "tags": list(event.all_tags)}
        if event.end is not None:
            body["timeEnd"] = event.end_ms
        if event.dashboard:
            body["dashboardUID"] = event.dashboard
            if event.panel is not None:
                body["panelId"] = event.panel
        kept = next((a for a in found if a.ref), None)
        for method in ("PATCH", "PUT"):
            if kept is None:
                break
            try:
                await self._transport.ask(method, f"{PATH}/{kept.ref}", body=body)
            except Refused as refused:
                if refused.status not in _UNCHANGEABLE:
                    raise
            if any(a.matches(event) for a in await self.find(event.identity)):
                return
        await self._transport.ask("POST", PATH, body=body)

    def surplus(self, kept: Annotation, found: Sequence[Annotation]) -> list[Annotation]:
        """All others that have an id: two who wrote at the same moment keep the same one."""
        return [a for a in found if a is not kept and a.ref]

    async def remove(self, annotation: Annotation) -> None:
        """Deletes; one that is gone already is as good. One that may not be deleted at least says no longer that it is under way."""
        try:
            await self._transport.ask("DELETE", f"{PATH}/{annotation.ref}")
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return
            if not annotation.open:
                raise
            tags = [tag for tag in annotation.tags if tag != OPEN]
            body = {"text": annotation.text, "time": annotation.start, "timeEnd": annotation.end, "tags": tags}
            try:
                await self._transport.ask("PATCH", f"{PATH}/{annotation.ref}", body=body)
            except Refused as unchangeable:
                if unchangeable.status not in _UNCHANGEABLE:
                    raise
                await self._transport.ask("PUT", f"{PATH}/{annotation.ref}", body=body)


class ResourceApi:
    """/apis/annotation.grafana.app/v0alpha1."""

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport = transport
        self._base = f"/apis/{GROUP}/namespaces/{namespace}"

    async def find(self, identity: Sequence[str]) -> list[Annotation]:
        """By the two names that this identity may have."""
        found = []
        for name in (name_of(identity) + _STARTED, name_of(identity)):
            try:
                found.append(Annotation.from_resource(await self._transport.ask("GET", f"{self._base}/annotations/{name}")))
            except Refused as refused:
                if refused.status != _NOT_FOUND:
                    raise
        return found

    async def tagged(self, tags: Sequence[str]) -> list[Annotation]:
        """By the search of tags; by listing, in a Grafana whose alpha has no search yet."""
        wanted = set(tags)
        try:
            response = await self._transport.ask("GET", f"{self._base}/search", params={"tag": sorted(wanted), "limit": _LIMIT})
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise
            response = await self._transport.ask("GET", f"{self._base}/annotations", params={"limit": _LISTED})
        items = response.get("items") if isinstance(response, Mapping) else None
        read = [Annotation.from_resource(item) for item in items or () if isinstance(item, Mapping)]
        return sorted((a for a in read if wanted <= set(a.tags)), key=lambda a: (a.start, a.ref))

    async def write(self, event: Event, found: Sequence[Annotation]) -> None:
        """Creates it; changes text and tags where the times are right; takes the place of one whose times are wrong."""
        name = name_of(event.identity) + (_STARTED if event.end is None else "")
        there = next((a for a in found if a.ref == name), None)
        if there is not None and (there.start, there.end) == (event.start_ms, event.end_ms):
            await self._patch(name, {"text": event.text, "tags": list(event.all_tags)})
            return
        if there is not None:
            await self._delete(name)
        spec: dict[str, Any] = {"text": event.text, "time": event.start_ms, "tags": list(event.all_tags)}
        if event.end_ms > event.start_ms:
            spec["timeEnd"] = event.end_ms
        if event.dashboard:
            spec["dashboardUID"] = event.dashboard
            if event.panel is not None:
                spec["panelID"] = event.panel
        body = {"apiVersion": GROUP, "kind": "Annotation", "metadata": {"name": name}, "spec": spec}
        try:
            await self._transport.ask("POST", f"{self._base}/annotations", body=body)
        except Refused as refused:
            if refused.status == _CONFLICT:
                raise Unavailable(f"{self._transport.place}: {name} was written by another process at the same moment") from None
            raise

    def surplus(self, kept: Annotation, found: Sequence[Annotation]) -> list[Annotation]:
        """The start's own annotation, once the region is there."""
        return [a for a in found if a.ref != kept.ref and a.ref.endswith(_STARTED) and a.open]

    async def remove(self, annotation: Annotation) -> None:
        """Deletes; where that isn't allowed, the annotation at least says no longer that it is under way."""
        try:
            await self._delete(annotation.ref)
        except Refused:
            await self._patch(annotation.ref, {"tags": [t for t in annotation.tags if t != OPEN]})

    async def _patch(self, name: str, spec: Mapping[str, Any]) -> None:
        await self._transport.ask("PATCH", f"{self._base}/annotations/{name}", body={"spec": dict(spec)}, merge=True)

    async def _delete(self, name: str) -> None:
        try:
            await self._transport.ask("DELETE", f"{self._base}/annotations/{name}")
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise
