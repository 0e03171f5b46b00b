"""/api/gate: the smoke gate, run by this runner, one at a time.

    POST /api/gate            starts a gate, and responds with its report when it has ended (Argo's web metric waits so)
    POST ... Prefer: respond-async    responds at once: 202, the gate's id, and its location
    GET /api/gate/{id}?wait=20&after=N    the lines of progress after line N, and the report when there is one
    DELETE /api/gate/{id}     ends it early, with the verdict so far

A caller whose connection was lost asks again and finds the same gate: by its id, by the Idempotency-Key that it sent, or, while it
runs and for a minute after, by the same request. While another gate runs, a request that waits for its report waits for its turn,
for the request's own `wait` at most; one that doesn't is refused (409).
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
from runner.web.bodies import body_within, json_object

LONGEST = 1024 * 1024  # bytes of a request: it may hold a baseline
_KEPT = 8  # gates that are remembered after their end
_SAME = 60.0  # seconds after its end for which the same request means the same gate
_LINES = 2000
_LONGEST_WAIT = 30.0  # seconds


class RunGate(Protocol):
    """Runs one gate. `add_line` takes the lines of its progress; `stop` ends it early."""

    async def __call__(self, add_line: Callable[[str], None], stop: asyncio.Event) -> Report:
        """The report."""
        ...


Prepare = Callable[[Mapping[str, Any]], RunGate]
"""Reads a request, and returns what runs its gate. Raises ValueError with the request's error."""

Patience = Callable[[Mapping[str, Any]], float]
"""The seconds for which a request may wait for its turn. Raises ValueError with the request's error."""


class BusyError(Exception):
    """Another gate is running; its id is the message."""


@dataclass(slots=True)
class _Gate:
    """One gate, running or ended."""

    id: str
    key: str
    lines: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Report] | None = None
    ended: float | None = None  # seconds since the epoch
    named: bool = False  # by the caller's own key

    def add_line(self, text: str) -> None:
        if len(self.lines) < _LINES:
            self.lines.append(text)
        self.changed.set()


class Gates:
    """The gates of one runner."""

    def __init__(self, prepare: Prepare, clock: Clock, patience: Patience = lambda _: 0.0) -> None:
        self._prepare = prepare
        self._clock = clock
        self._patience = patience
        self._ending = False
        self._gates: dict[str, _Gate] = {}

    async def run(self, request: Mapping[str, Any], key: str = "") -> Report:
        """Starts the gate of a request in its turn, or finds it when it is known, and waits for its report.

        Raises ValueError for a request with an error, and BusyError where its turn didn't come within its own `wait`.
        """
        return await _report(await self.take_turn(request, key))

    async def take_turn(self, request: Mapping[str, Any], key: str = "") -> _Gate:
        """The gate of a request, as `begin` returns it, once no other runs. Raises BusyError after the request's own `wait`."""
        until = self._clock.monotonic() + self._patience(request)
        while True:
            try:
                return self.begin(request, key)
            except BusyError as busy:
                running, left = self._gates[str(busy)].task, until - self._clock.monotonic()
                if running is None or left <= 0:
                    raise
                await asyncio.wait([running], timeout=left)
                if self._ending:  # the runner ends, and begins no more gates
                    raise

    def begin(self, request: Mapping[str, Any], key: str = "") -> _Gate:
        """The gate of a request, which is started unless it is known. Raises ValueError and BusyError."""
        name = key or json.dumps(request, sort_keys=True)
        if (known := self._known(name)) is not None:
            return known
        running = next((one for one in self._gates.values() if one.ended is None), None)
        if running is not None:
            raise BusyError(running.id)
        gate = _Gate(secrets.token_hex(8), name, named=bool(key))
        gate.task = asyncio.create_task(self._run_gate(gate, self._prepare(request)), name=f"gate {gate.id}")
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

    async def _run_gate(self, gate: _Gate, run: RunGate) -> Report:
        try:
            return await run(gate.add_line, gate.stop)
        finally:
            gate.ended = self._clock.time()
            gate.changed.set()

    def find(self, name: str) -> _Gate | None:
        """A gate by its id."""
        return self._gates.get(name)

    async def stop(self, within: float) -> None:
        """Ends the gates that run; those that haven't ended within `within` seconds are cancelled. None begins later by its turn."""
        self._ending = True
        tasks = {gate.task for gate in self._gates.values() if gate.task is not None and not gate.task.done()}
        for gate in self._gates.values():
            gate.stop.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)


async def _report(gate: _Gate) -> Report:
    """Waits for the report. When the waiting request is cancelled, the gate goes on."""
    if gate.task is None:
        raise AssertionError  # begin makes it
    return await asyncio.shield(gate.task)


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes below /api/gate. `server` returns the tokens of the plan that runs now."""

    gates: Gates
    server: Callable[[], Server]

    async def start(self, request: Request) -> Response:
        """POST /api/gate."""
        if (refused := refuse_operating(request, self.server())) is not None:
            return refused
        at_once = "respond-async" in request.headers.get("prefer", "")
        try:
            body = await body_within(request, LONGEST)
            if body is None:
                raise ValueError(f"a request may have at most {LONGEST:,} bytes")
            wanted, key = json_object(body or b"{}"), request.headers.get("idempotency-key", "")
            gate = self.gates.begin(wanted, key) if at_once else await self.gates.take_turn(wanted, key)
        except BusyError as busy:
            return JSONResponse({"error": f"another gate is running: {busy}", "id": str(busy)}, 409)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        location = {"location": f"/api/gate/{gate.id}"}
        if at_once:
            return JSONResponse({"id": gate.id, "state": _state(gate)}, 202, location)
        return JSONResponse({"id": gate.id, **to_json(await _report(gate))}, headers=location)

    async def progress(self, request: Request) -> Response:
        """GET /api/gate/{id}."""
        if (refused := refuse_operating(request, self.server())) is not None:
            return refused
        gate = self.gates.find(request.path_params["id"])
        if gate is None:
            return JSONResponse({"error": "no such gate; this runner may have been restarted"}, 404)
        after = _number(request.query_params.get("after"), _LINES)
        await _wait_for_lines(gate, after, _number(request.query_params.get("wait"), _LONGEST_WAIT))
        body: dict[str, Any] = {"id": gate.id, "state": _state(gate), "said": gate.lines[int(after) :], "next": len(gate.lines)}
        if gate.ended is not None and gate.task is not None:
            body["report"] = to_json(await _report(gate))
        return JSONResponse(body)

    async def end(self, request: Request) -> Response:
        """DELETE /api/gate/{id}: it ends soon, and its report says that it was interrupted."""
        if (refused := refuse_operating(request, self.server())) is not None:
            return refused
        gate = self.gates.find(request.path_params["id"])
        if gate is None:
            return JSONResponse({"error": "no such gate"}, 404)
        gate.stop.set()
        return JSONResponse({"id": gate.id, "state": _state(gate)}, 202)


async def _wait_for_lines(gate: _Gate, after: float, wait: float) -> None:
    """Waits until there are more lines than `after`, or the gate has ended, for at most `wait` seconds."""
    if gate.ended is not None or len(gate.lines) > after or wait <= 0:
        return
    gate.changed.clear()
    with suppress(TimeoutError):
        await asyncio.wait_for(gate.changed.wait(), wait)


def _state(gate: _Gate) -> str:
    return "running" if gate.ended is None else "over"


def _number(text: str | None, most: float) -> float:
    return min(float(text), most) if text and text.isascii() and text.replace(".", "", 1).isdigit() else 0.0
