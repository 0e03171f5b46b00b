"""What the commands call: a record is kept, sent, read back, and let go; and if Grafana is down, it waits and says so.

recorder = Recorder(grafana, spool, clock)
outcome = await recorder.start(deployment)      # or finish, or record(event) for an outage
print(outcome.message)                          # and outcome.warnings; outcome.exit_code(require=...)
await recorder.flush()                          # `annotate flush`, and `outrider run` now and then
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from probes.core import Clock
from runner.grafana.annotations import Grafana, Put
from runner.grafana.events import Deployment, Event, labelled
from runner.grafana.spool import Kept, Spool
from runner.grafana.transport import Refused, Unavailable

ABANDONED = 6 * 3600.0  # seconds after which a deployment that nobody finished is closed
_MOST_TRIES = 5  # of a record that Grafana refuses for what it is, or that goes wrong while it takes others
_IN_A_ROW = 3  # records that go wrong one after the other: it is Grafana and not they


class RecordState(StrEnum):
    """Where a record is."""

    WRITTEN = "written"  # in Grafana, and read back
    THERE = "there"  # in Grafana already
    KEPT = "kept"  # in the spool
    LOST = "lost"  # nowhere


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of a record, in a sentence; `id` ties a deployment's start to its finish."""

    state: RecordState
    message: str
    id: str
    warnings: tuple[str, ...] = ()
    deployment: Deployment | None = None  # what stands there now, with what an earlier record said

    @property
    def stands(self) -> bool:
        """Whether it stands in Grafana."""
        return self.state in (RecordState.WRITTEN, RecordState.THERE)

    @property
    def lines(self) -> tuple[str, ...]:
        """All that a person should know."""
        return (self.message, *self.warnings)

    def exit_code(self, *, require: bool) -> int:
        """0: a deployment goes on without its annotation. With `require`, 1 unless it stands in Grafana."""
        return int(require and not self.stands)


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
    """Records events in a Grafana, with a spool behind it (None: what Grafana doesn't take is lost, and the outcome says so)."""

    def __init__(self, grafana: Grafana, spool: Spool | None, clock: Clock, *, abandoned: float = ABANDONED) -> None:
        self._grafana = grafana
        self._spool = spool
        self._clock = clock
        self._abandoned = abandoned  # seconds

    async def start(self, deployment: Deployment) -> RecordOutcome:
        """Records a deployment's start, and closes those before it that never finished."""
        outcome = await self.record(deployment.event())
        if outcome.stands and deployment.started is not None:
            return await self._close_unfinished(outcome, outcome.deployment or deployment, deployment.started, "began")
        return outcome

    async def finish(self, deployment: Deployment) -> RecordOutcome:
        """Makes a region from start to verdict. Raises ValueError without a verdict."""
        outcome = await self.record(deployment.event())
        if outcome.stands:
            before = self._clock.time() - self._abandoned
            return await self._close_unfinished(outcome, outcome.deployment or deployment, before, "finished")
        return outcome

    async def _close_unfinished(self, outcome: RecordOutcome, deployment: Deployment, before: float, did: str) -> RecordOutcome:
        why = f"closed when {deployment.title} {did}"
        tags = ("deployment", *labelled(service=deployment.service, environment=deployment.environment))
        end = min(self._clock.time(), deployment.started if deployment.started is not None else self._clock.time())
        try:
            closed = await self._grafana.close_open(tags, but=outcome.id, before=before, end=end, why=why)
        except (Unavailable, Refused) as error:
            warnings: tuple[str, ...] = (f"unfinished deployments can't be closed: {error.message}",)
        else:
            warnings = tuple(f"deployment {one} never finished; its region is closed" for one in closed)
        return replace(outcome, warnings=outcome.warnings + warnings)

    async def record(self, event: Event) -> RecordOutcome:
        """Keeps, sends, reads back, lets go. Never raises for Grafana or the disk: what failed is in the outcome."""
        spool, kept = self._spool, None
        warnings: list[str] = []
        if spool is not None:
            with _disk_errors_as(warnings, spool):
                kept, dropped = await asyncio.to_thread(spool.add, event, self._clock.time())
                if dropped:
                    warnings.append(f"the spool is full: {dropped} of the eldest records were dropped")
        event = event if kept is None else kept.event
        try:
            put = await self._grafana.put(event)
        except (Unavailable, Refused) as error:
            if kept is None or spool is None:
                message = f"Grafana: the annotation of {event.title} was neither written nor kept: {error.message}"
                return RecordOutcome(RecordState.LOST, message, event.id, tuple(warnings), event.deployment)
            with _disk_errors_as(warnings, spool):
                await asyncio.to_thread(spool.tried, kept, error.message, blamed=isinstance(error, Refused) and error.for_good)
            message = (
                f"Grafana: the annotation of {event.title} is not written yet: {error.message}; it is kept in {spool.path}; "
                "send it with: outrider annotate flush"
            )
            return RecordOutcome(RecordState.KEPT, message, event.id, tuple(warnings), event.deployment)
        if kept is not None and spool is not None:
            with _disk_errors_as(warnings, spool, "; the record will be sent once more"):
                await asyncio.to_thread(spool.done, kept)
        state = RecordState.WRITTEN if put.fresh else RecordState.THERE
        return RecordOutcome(state, _written_message(put), put.event.id, (*warnings, *put.warnings), put.event.deployment)

    async def flush(self) -> Flushed:
        """Sends what waits, the oldest first; raises OSError for the spool's disk.

        One record that goes wrong holds up no other. Stops where Grafana is down, or where several in a row go wrong: those wait at the
        end, so that the next flush begins with others. A record is given up after several tries that were its own fault.
        """
        if self._spool is None or not await asyncio.to_thread(self._spool.waiting):
            return Flushed()
        claim = await asyncio.to_thread(self._spool.claim)
        if claim is None:
            return Flushed(busy=True)
        try:
            return await self._send_waiting(self._spool)
        finally:
            await asyncio.to_thread(self._spool.release, claim)

    async def _send_waiting(self, spool: Spool) -> Flushed:
        sent: list[str] = []
        waiting: list[str] = []
        given_up: list[str] = []
        failed: list[tuple[Kept, str, bool]] = []  # with why, and whether Grafana refused the record for what it is
        down, in_a_row = "", 0
        for kept in await asyncio.to_thread(spool.waiting):
            if down:
                waiting.append(f"{kept.event.title}: {down}")
                continue
            try:
                put = await self._grafana.put(kept.event)
            except (Unavailable, Refused) as error:
                in_a_row += isinstance(error, Unavailable)
                if isinstance(error, Unavailable) and (not error.of_record or in_a_row == _IN_A_ROW):
                    down = error.message
                failed.append((kept, error.message, isinstance(error, Refused) and error.for_good))
            else:
                in_a_row = 0
                await asyncio.to_thread(spool.done, kept)
                sent.append(_written_message(put))
        for kept, why, refused in failed:
            blamed = refused or (bool(sent) and not down)
            if blamed and kept.blamed + 1 >= _MOST_TRIES:  # often enough that no proxy was to blame
                await asyncio.to_thread(spool.done, kept)
                given_up.append(f"{kept.event.title}: {why}")
            else:
                await asyncio.to_thread(spool.tried, kept, why, blamed=blamed)
                waiting.append(f"{kept.event.title}: {why}")
        return Flushed(tuple(sent), tuple(waiting), tuple(given_up))


@contextmanager
def _disk_errors_as(warnings: list[str], spool: Spool, then: str = "") -> Iterator[None]:
    """A disk that can't be written stops no annotation: it becomes a warning."""
    try:
        yield
    except OSError as error:
        warnings.append(f"the spool {spool.path} can't be written ({error.strerror or error}){then}")


def _written_message(put: Put) -> str:
    what = "start of" if put.event.end is None else "point" if put.event.end == put.event.start else "region"
    named = f"{what} {put.event.title}" if put.event.end is None else f"{what} '{put.event.title}'"
    return f"Grafana: {named} {'written and read back' if put.fresh else 'was already there'}"
