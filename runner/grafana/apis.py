"""/apis/annotation.grafana.app/v0alpha1: only text and tags can be changed later, so that a region is written whole, at its end.

What is under way is a point with a name of its own (`…-start`); the region takes its place. Names are made of the identity,
so that a second write of the same is a conflict and not a second annotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.grafana.annotation import Written, end_of, start_of
from runner.grafana.events import OPEN, Event, name_of
from runner.grafana.transport import Refused, Transport, Unavailable

GROUP = "annotation.grafana.app/v0alpha1"
_LIMIT = 100
_LISTED = 500
_STARTED = "-start"
_NOT_FOUND, _CONFLICT = 404, 409


class Apis:
    """Implements marks.Api."""

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport = transport
        self._base = f"/apis/{GROUP}/namespaces/{namespace}"

    async def find(self, identity: Sequence[str]) -> list[Written]:
        """By the two names that this identity may have."""
        name = name_of(identity)
        found = [await self._get(name + suffix) for suffix in (_STARTED, "")]
        return [w for w in found if w is not None]

    async def _get(self, name: str) -> Written | None:
        try:
            return _read(await self._transport.ask("GET", f"{self._base}/annotations/{name}"))
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise

    async def tagged(self, tags: Sequence[str]) -> list[Written]:
        """By the search of tags; by listing, in a Grafana whose alpha has no search yet."""
        wanted = set(tags)
        try:
            answer = await self._transport.ask("GET", f"{self._base}/search", params={"tag": sorted(wanted), "limit": _LIMIT})
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise
            answer = await self._transport.ask("GET", f"{self._base}/annotations", params={"limit": _LISTED})
        items = answer.get("items") if isinstance(answer, Mapping) else None
        read = [_read(item) for item in items or () if isinstance(item, Mapping)]
        return sorted((w for w in read if wanted <= set(w.tags)), key=lambda w: (w.start, w.ref))

    async def write(self, event: Event, found: Sequence[Written]) -> None:
        """Creates it; changes text and tags where the times are right; takes the place of one whose times are wrong."""
        name = name_of(event.identity) + (_STARTED if event.end is None else "")
        there = next((w for w in found if w.ref == name), None)
        if there is not None and (there.start, there.end) == (start_of(event), end_of(event)):
            await self._patch(name, {"text": event.text, "tags": list(event.all_tags)})
            return
        if there is not None:
            await self._delete(name)
        await self._create(name, event)

    async def _create(self, name: str, event: Event) -> None:
        spec: dict[str, Any] = {"text": event.text, "time": start_of(event), "tags": list(event.all_tags)}
        if end_of(event) > start_of(event):
            spec["timeEnd"] = end_of(event)
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

    async def _patch(self, name: str, spec: Mapping[str, Any]) -> None:
        await self._transport.ask("PATCH", f"{self._base}/annotations/{name}", body={"spec": dict(spec)}, merge=True)

    async def _delete(self, name: str) -> None:
        try:
            await self._transport.ask("DELETE", f"{self._base}/annotations/{name}")
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise

    def surplus(self, kept: Written, found: Sequence[Written]) -> list[Written]:
        """The start's own mark, once the region is there."""
        return [w for w in found if w.ref != kept.ref and w.ref.endswith(_STARTED) and w.open]

    async def remove(self, written: Written) -> None:
        """Deletes; where that isn't allowed, the mark at least says no longer that it is under way."""
        try:
            await self._delete(written.ref)
        except Refused:
            await self._patch(written.ref, {"tags": [t for t in written.tags if t != OPEN]})


def _read(item: Any) -> Written:
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    spec = item.get("spec") if isinstance(item, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping):
        raise Unavailable(
            "a response of Grafana's new API is not an annotation; that API is an alpha version and may have changed", again=False
        )
    start = int(spec.get("time") or 0)
    tags = tuple(str(tag) for tag in spec.get("tags") or ())
    return Written(
        str(metadata.get("name") or ""),
        str(spec.get("text") or ""),
        start,
        int(spec.get("timeEnd") or 0) or start,
        tags,
        str(spec.get("dashboardUID") or ""),
    )
