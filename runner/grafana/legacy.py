"""/api/annotations: in every Grafana, deprecated since 13, and given to answer 200 without having done what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.grafana.annotation import Written, end_of, same, start_of
from runner.grafana.events import Event
from runner.grafana.transport import Refused, Transport, Unavailable

PATH = "/api/annotations"
_LIMIT = 100
_UNCHANGEABLE = (403, 404, 405, 501)


class Legacy:
    """Implements marks.Api."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self, identity: Sequence[str]) -> list[Written]:
        """By the tags of its identity."""
        return await self.tagged(identity)

    async def tagged(self, tags: Sequence[str]) -> list[Written]:
        """By tags alone: a time range would have to be known, and a dashboard that is gone answers 400."""
        found = await self._transport.ask("GET", PATH, params={"tags": list(tags), "type": "annotation", "limit": _LIMIT})
        if not isinstance(found, list):
            raise Unavailable(f"{self._transport.place} did not return a list for {PATH}: this is not Grafana", again=False)
        read = [_read(item) for item in found if isinstance(item, Mapping)]
        return sorted((w for w in read if set(tags) <= set(w.tags)), key=lambda w: (w.start, len(w.ref), w.ref))

    async def write(self, event: Event, found: Sequence[Written]) -> None:
        """Changes the first that can be addressed, by PATCH, then by PUT, reading back; where neither did it, posts anew."""
        kept = next((w for w in found if w.ref), None)
        if kept is not None and await self._changed(event, kept):
            return
        await self._transport.ask("POST", PATH, body=_body(event))

    async def _changed(self, event: Event, kept: Written) -> bool:
        body = _body(event)
        for method in ("PATCH", "PUT"):
            try:
                await self._transport.ask(method, f"{PATH}/{kept.ref}", body=body)
            except Refused as refused:
                if refused.status not in _UNCHANGEABLE:
                    raise
            if any(same(w, event) for w in await self.find(event.identity)):
                return True
        return False

    def surplus(self, kept: Written, found: Sequence[Written]) -> list[Written]:
        """All others that can be addressed: two who wrote at the same moment keep the same one."""
        return [w for w in found if w is not kept and w.ref]

    async def remove(self, written: Written) -> None:
        """Deletes; one that is gone already is as good."""
        try:
            await self._transport.ask("DELETE", f"{PATH}/{written.ref}")
        except Refused as refused:
            if refused.status != 404:  # noqa: PLR2004 - Not Found
                raise


def _body(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = {"text": event.text, "time": start_of(event), "tags": list(event.all_tags)}
    if event.end is not None:
        body["timeEnd"] = end_of(event)
    if event.dashboard:
        body["dashboardUID"] = event.dashboard
        if event.panel is not None:
            body["panelId"] = event.panel
    return body


def _read(item: Mapping[str, Any]) -> Written:
    start = _number(item.get("time"))
    ref = item.get("id")
    return Written(
        str(ref) if isinstance(ref, int) and ref > 0 else "",
        str(item.get("text") or ""),
        start,
        _number(item.get("timeEnd")) or start,
        tuple(str(tag) for tag in item.get("tags") or ()),
        str(item.get("dashboardUID") or ""),
    )


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
