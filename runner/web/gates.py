"""/api/gate: the smoke gate, carried out by this runner, one at a time.

    POST /api/gate            starts one, and answers with its report when it is over (Argo's web metric waits so)
    POST ... Prefer: respond-async    answers at once: 202, its id, and where to ask
    GET /api/gate/{id}?wait=20&after=N    what was said since line N, and the report when there is one
    DELETE /api/gate/{id}     ends it early, with a verdict so far

A caller whose connection was lost asks again and finds the same gate: by its id, by the Idempotency-Key that it sent, or, while it
runs and for a minute after, by the same request. Another one meanwhile is refused (409).
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from judge.report import Report, to_json
from probes.core import Clock
from runner.config.plan import Server
from runner.web.access import refuse_operating

LONGEST = 1024 * 1024  # bytes of a request: a baseline may be in it
_KEPT = 8  # gates that are remembered after their end
_SAME = 60.0  # seconds after its end for which the same request means the same gate
_LINES = 2000
_LONGEST_WAIT = 30.0  # seconds


class Carry(Protocol):
    """Carries out one gate. `say` is told what goes on; `stop` ends it early."""

    async def __call__(self, say: Callable[[str], None], stop: asyncio.Event) -> Report:
        """Its report."""
        ...


Prepare = Callable[[Mapping[str, Any]], Carry]
"""What is handed to the web: reads a request. Raises ValueError with what is wrong with it."""


class BusyError(Exception):
    """Another gate runs: its id."""


@dataclass(slots=True)
class _Gate:
    """One gate, under way or over."""

    id: str
    key: str
    said: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Report] | None = None
    ended: float | None = None  # seconds since the epoch
    named: bool = False  # by the caller's own key

    def say(self, text: str) -> None:
        if len(self.said) < _LINES:
            self.said.append(text)
        self.changed.set()


class Gates:
    """The gates of one runner."""

    def __init__(self, prepare: Prepare, clock: Clock) -> None:
        self._prepare = prepare
        self._clock = clock
        self._gates: dict[str, _Gate] = {}

    async def carry(self, request: Mapping[str, Any], key: str = "") -> Report:
        """Starts the gate of a request, or joins it where it is known, and waits for its report. Raises ValueError."""
        try:
            gate = self.begin(request, key)
        except BusyError as busy:
            raise ValueError(f"another gate is running: {busy}") from None
        return await _report(gate)

    def begin(self, request: Mapping[str, Any], key: str = "") -> _Gate:
        """The gate of a request, which runs from now on unless it was known. Raises ValueError, and BusyError."""
        name = key or json.dumps(request, sort_keys=True)
        if (known := self._known(name)) is not None:
            return known
        running = next((one for one in self._gates.values() if one.ended is None), None)
        if running is not None:
            raise BusyError(running.id)
        gate = _Gate(secrets.token_hex(8), name, named=bool(key))
        gate.task = asyncio.create_task(self._carried(gate, self._prepare(request)), name=f"gate {gate.id}")
        for old in list(self._gates)[: max(0, len(self._gates) - _KEPT + 1)]:
            del self._gates[old]
        self._gates[gate.id] = gate
        return gate

    def _known(self, name: str) -> _Gate | None:
        now = self._clock.time()
        for gate in reversed(self._gates.values()):
            if gate.key == name and (gate.ended is None or gate.named or now - gate.ended < _SAME):
                return gate
        return None

    async def _carried(self, gate: _Gate, carry: Carry) -> Report:
        try:
            return await carry(gate.say, gate.stop)
        finally:
            gate.ended = self._clock.time()
            gate.changed.set()

    def find(self, name: str) -> _Gate | None:
        """A gate by its id."""
        return self._gates.get(name)

    async def stop(self, within: float) -> None:
        """Ends what runs, when the runner stops."""
        tasks = {gate.task for gate in self._gates.values() if gate.task is not None and not gate.task.done()}
        for gate in self._gates.values():
            gate.stop.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)


async def _report(gate: _Gate) -> Report:
    """Waits, without ending the gate where whoever waits goes away."""
    if gate.task is None:
        raise AssertionError  # begin makes it
    return await asyncio.shield(gate.task)


@dataclass(frozen=True, slots=True)
class Routes:
    """What is answered. `server` are the tokens of the plan that runs now."""

    gates: Gates
    server: Callable[[], Server]

    async def start(self, request: Request) -> Response:
        """POST /api/gate."""
        if (refusal := refuse_operating(request, self.server())) is not None:
            return refusal
        try:
            gate = self.gates.begin(await _asked(request), request.headers.get("idempotency-key", ""))
        except BusyError as busy:
            return JSONResponse({"error": f"another gate is running: {busy}", "id": str(busy)}, 409)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        place = {"location": f"/api/gate/{gate.id}"}
        if "respond-async" in request.headers.get("prefer", ""):
            return JSONResponse({"id": gate.id, "state": _state(gate)}, 202, place)
        return JSONResponse({"id": gate.id, **to_json(await _report(gate))}, headers=place)

    async def look(self, request: Request) -> Response:
        """GET /api/gate/{id}."""
        if (refusal := refuse_operating(request, self.server())) is not None:
            return refusal
        gate = self.gates.find(request.path_params["id"])
        if gate is None:
            return JSONResponse({"error": "no such gate; this runner may have been restarted"}, 404)
        after = _number(request.query_params.get("after"), _LINES)
        await _news(gate, after, _number(request.query_params.get("wait"), _LONGEST_WAIT))
        told: dict[str, Any] = {"id": gate.id, "state": _state(gate), "said": gate.said[int(after) :], "next": len(gate.said)}
        if gate.ended is not None and gate.task is not None:
            told["report"] = to_json(await _report(gate))
        return JSONResponse(told)

    async def end(self, request: Request) -> Response:
        """DELETE /api/gate/{id}: it ends soon, and its report says that it was interrupted."""
        if (refusal := refuse_operating(request, self.server())) is not None:
            return refusal
        gate = self.gates.find(request.path_params["id"])
        if gate is None:
            return JSONResponse({"error": "no such gate"}, 404)
        gate.stop.set()
        return JSONResponse({"id": gate.id, "state": _state(gate)}, 202)


async def _news(gate: _Gate, after: float, wait: float) -> None:
    """Waits until there is something that the caller doesn't know, or for so long."""
    if gate.ended is not None or len(gate.said) > after or wait <= 0:
        return
    gate.changed.clear()
    with suppress(TimeoutError):
        await asyncio.wait_for(gate.changed.wait(), wait)


async def _asked(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST:
            raise ValueError(f"a request may have at most {LONGEST:,} bytes")
    told = json.loads(body or b"{}")
    if not isinstance(told, dict):
        raise ValueError("the request is not a JSON object")
    return told


def _state(gate: _Gate) -> str:
    return "running" if gate.ended is None else "over"


def _number(text: str | None, most: float) -> float:
    return min(float(text), most) if text and text.isascii() and text.replace(".", "", 1).isdigit() else 0.0
