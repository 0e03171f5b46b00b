"""What the commands call: a record is kept, sent, read back, and let go; and if Grafana is down, it waits and says so.

recorder = Recorder(grafana, spool, clock)
outcome = await recorder.start(deployment)      # or finish, or record(event) for an outage
print(outcome.message)                          # and outcome.warnings; outcome.exit_code(require=...)
await recorder.flush()                          # `annotate flush`, and `outrider run` now and then
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from probes.core import Clock
from runner.grafana.annotations import Grafana, Put
from runner.grafana.events import Deployment, Event, labelled
from runner.grafana.spool import Kept, Spool
from runner.grafana.transport import Refused, Unavailable

ABANDONED = 6 * 3600.0  # seconds after which a deployment that nobody finished is taken for dead
_MOST_TRIES = 5  # of a record that Grafana refuses for what it is


class State(StrEnum):
    """Where a record is."""

    WRITTEN = "written"  # in Grafana, and read back
    THERE = "there"  # in Grafana already
    KEPT = "kept"  # in the spool
    LOST = "lost"  # nowhere


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a record, in a sentence; `id` ties a deployment's start to its finish."""

    state: State
    message: str
    id: str
    warnings: tuple[str, ...] = ()

    def exit_code(self, *, require: bool) -> int:
        """0: a deployment goes on without its mark. With `require`, 1 unless it stands in Grafana."""
        return int(require and self.state not in (State.WRITTEN, State.THERE))


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush did: sent, still waiting, and given up, each as sentences. `busy`: another process is at it."""

    sent: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    busy: bool = False

    def exit_code(self, *, require: bool) -> int:
        """0, or with `require` 1 unless all was sent."""
        return int(require and bool(self.waiting or self.given_up or self.busy))


class Recorder:
    """Records events in a Grafana, with a spool behind it (None: what isn't taken is lost, and said to be)."""

    def __init__(self, grafana: Grafana, spool: Spool | None, clock: Clock, *, abandoned: float = ABANDONED) -> None:
        self._grafana = grafana
        self._spool = spool
        self._clock = clock
        self._abandoned = abandoned  # seconds

    async def start(self, deployment: Deployment) -> Outcome:
        """Marks a deployment's start, and closes those before it that never finished."""
        outcome = await self.record(deployment.event())
        if outcome.state in (State.WRITTEN, State.THERE) and deployment.started is not None:
            why = f"closed when {deployment.title} began"
            return await self._closing(outcome, deployment, deployment.started, why)
        return outcome

    async def finish(self, deployment: Deployment) -> Outcome:
        """Makes of it a region from start to verdict. Raises ValueError without a verdict."""
        outcome = await self.record(deployment.event())
        if outcome.state in (State.WRITTEN, State.THERE):
            why = f"closed when {deployment.title} finished"
            return await self._closing(outcome, deployment, self._clock.time() - self._abandoned, why)
        return outcome

    async def _closing(self, outcome: Outcome, deployment: Deployment, before: float, why: str) -> Outcome:
        tags = ("deployment", *labelled(service=deployment.service, environment=deployment.environment))
        end = min(self._clock.time(), deployment.started if deployment.started is not None else self._clock.time())
        try:
            closed = await self._grafana.close_open(tags, but=outcome.id, before=before, end=end, why=why)
        except (Unavailable, Refused) as error:
            said: tuple[str, ...] = (f"unfinished deployments can't be closed: {error.message}",)
        else:
            said = tuple(f"deployment {one} never finished; its region is closed" for one in closed)
        return Outcome(outcome.state, outcome.message, outcome.id, outcome.warnings + said)

    async def record(self, event: Event) -> Outcome:
        """Keeps, sends, reads back, lets go. Never raises for Grafana or the disk: what failed is in the outcome."""
        kept, warnings = await self._keep(event)
        try:
            put = await self._grafana.put(event if kept is None else kept.event)
        except (Unavailable, Refused) as error:
            return await self._not_taken(event, kept, error.message, warnings)
        warnings += await self._let_go(kept)
        state = State.WRITTEN if put.fresh else State.THERE
        return Outcome(state, _written(put), put.event.id, (*warnings, *put.warnings))

    async def _keep(self, event: Event) -> tuple[Kept | None, tuple[str, ...]]:
        if self._spool is None:
            return None, ()
        try:
            kept, pushed = await asyncio.to_thread(self._spool.add, event, self._clock.time())
        except OSError as error:
            return None, (f"the spool {self._spool.path} can't be written ({error.strerror or error})",)
        return kept, (f"the spool is full: {pushed} of the oldest records were dropped",) if pushed else ()

    async def _not_taken(self, event: Event, kept: Kept | None, why: str, warnings: tuple[str, ...]) -> Outcome:
        if kept is None or self._spool is None:
            return Outcome(State.LOST, f"Grafana: the annotation of {event.title} was neither written nor kept: {why}", event.id, warnings)
        try:
            await asyncio.to_thread(self._spool.tried, kept, why)
        except OSError as error:
            warnings += (f"the spool {self._spool.path} can't be written ({error.strerror or error})",)
        return Outcome(
            State.KEPT,
            f"Grafana: the annotation of {event.title} is not written yet: {why}; it is kept in {self._spool.path}; "
            "send it with: outrider annotate flush",
            event.id,
            warnings,
        )

    async def _let_go(self, kept: Kept | None) -> tuple[str, ...]:
        if kept is None or self._spool is None:
            return ()
        try:
            await asyncio.to_thread(self._spool.done, kept)
        except OSError as error:
            return (f"the spool {self._spool.path} can't be written ({error.strerror or error}); the record will be sent once more",)
        return ()

    async def flush(self) -> Flushed:
        """Sends what waits, the eldest first. Stops at the first that finds Grafana down; raises OSError for the spool's disk."""
        if self._spool is None or not await asyncio.to_thread(self._spool.waiting):
            return Flushed()
        claim = await asyncio.to_thread(self._spool.claim)
        if claim is None:
            return Flushed(busy=True)
        try:
            return await self._flushed(self._spool)
        finally:
            await asyncio.to_thread(self._spool.release, claim)

    async def _flushed(self, spool: Spool) -> Flushed:
        sent: list[str] = []
        waiting: list[str] = []
        given_up: list[str] = []
        down = ""
        for kept in await asyncio.to_thread(spool.waiting):
            if down:
                waiting.append(f"{kept.event.title}: {down}")
                continue
            try:
                put = await self._grafana.put(kept.event)
            except Unavailable as error:
                down = error.message
                await asyncio.to_thread(spool.tried, kept, error.message)
                waiting.append(f"{kept.event.title}: {error.message}")
            except Refused as error:
                into = await self._refused(spool, kept, error)
                (given_up if into else waiting).append(f"{kept.event.title}: {error.message}")
            else:
                await asyncio.to_thread(spool.done, kept)
                sent.append(_written(put))
        return Flushed(tuple(sent), tuple(waiting), tuple(given_up))

    async def _refused(self, spool: Spool, kept: Kept, error: Refused) -> bool:
        """Whether the record is given up: refused for what it is, and often enough that no proxy was to blame."""
        if error.for_good and kept.tries + 1 >= _MOST_TRIES:
            await asyncio.to_thread(spool.done, kept)
            return True
        await asyncio.to_thread(spool.tried, kept, error.message)
        return False


def _written(put: Put) -> str:
    what = "start of" if put.event.end is None else "point" if put.event.end == put.event.start else "region"
    named = f"{what} {put.event.title}" if put.event.end is None else f"{what} '{put.event.title}'"
    return f"Grafana: {named} {'written and read back' if put.fresh else 'was already there'}"
