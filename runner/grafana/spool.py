"""What Grafana didn't take yet, kept on disk: JSON lines in a state folder, whole or not at all, shared by all processes there.

A record goes in before it is sent and comes out once it was read back, so that a killed process loses none. No token and no
address is ever in it. Every call blocks: from a loop, by `asyncio.to_thread`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from runner.grafana.events import Event

FILE = "annotations.jsonl"
_LOCK = "annotations.lock"
_CLAIM = "annotations.flushing"
_DAMAGED = "annotations.damaged.jsonl"


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that waits: since when (epoch seconds), how often it was tried, and why it still waits.

    `blamed` are the tries that failed because of the record itself.
    """

    event: Event
    since: float
    tries: int = 0
    why: str = ""
    blamed: int = 0


_LINES = TypeAdapter(Kept)


class Spool:
    """At most `most` records; one more pushes out one that went wrong by its own fault, else the oldest."""

    def __init__(self, folder: Path, *, most: int = 1000) -> None:
        self.path = folder / FILE
        self._folder = folder
        self._most = most

    def add(self, event: Event, now: float) -> tuple[Kept, int]:
        """Keeps the event; a record of the same identity that waits already is joined with it.

        So it has the earliest start, and the end even where it is the start that comes late. Returns the record, and how many of
        the oldest had to go. Raises OSError where the folder can't be written.
        """
        with self._locked():
            records = self._read()
            same = [k for k in records if k.event.identity == event.identity]
            joined = event
            for other in same:
                joined = _joined(other.event, joined)
            kept = Kept(joined, min([k.since for k in same], default=now))
            records = [k for k in records if k not in same] + [kept]
            first_to_go = sorted(records, key=lambda k: (k is kept, -k.blamed, k.since))[: max(0, len(records) - self._most)]
            self._write([k for k in records if k not in first_to_go])
            return kept, len(first_to_go)

    def waiting(self) -> tuple[Kept, ...]:
        """What waits: the oldest first, then those that were tried in vain. Raises OSError."""
        if not self.path.exists():
            return ()
        with self._locked():
            return tuple(self._read())

    def done(self, kept: Kept) -> None:
        """Takes it out; one that was joined with more in the meantime stays. Raises OSError."""
        with self._locked():
            waiting = self._read()
            if any(k.event == kept.event for k in waiting):
                self._write([k for k in waiting if k.event != kept.event])

    def tried(self, kept: Kept, why: str, *, blamed: bool = False) -> None:
        """Counts one more failed try, and why it failed. The record goes to the end, so that it holds up no other. Raises OSError.

        `blamed`: the failure was the record's own, since Grafana refused it, or took another one at the same time.
        """
        with self._locked():
            waiting = self._read()
            failed = [replace(k, tries=k.tries + 1, why=why, blamed=k.blamed + blamed) for k in waiting if k.event == kept.event]
            self._write([*(k for k in waiting if k.event != kept.event), *failed])

    def claim(self) -> int | None:
        """A handle by which this process alone sends what waits, until it is released; None while another does. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / _CLAIM, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def release(self, handle: int) -> None:
        """Ends a claim."""
        os.close(handle)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self) -> list[Kept]:
        """Every line that can be read; the others are moved aside, so that they neither stop the rest nor get lost."""
        if not self.path.exists():
            return []
        kept, damaged = [], []
        for line in self.path.read_bytes().splitlines():
            try:
                kept.append(_LINES.validate_json(line))
            except ValidationError:
                damaged.append(line)
        if damaged:
            with (self._folder / _DAMAGED).open("ab") as aside:
                aside.write(b"".join(line + b"\n" for line in damaged))
            self._write(kept)
        return kept

    def _write(self, kept: Sequence[Kept]) -> None:
        """All or nothing: beside, flushed to the disk, and put in place."""
        beside = self.path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 - of a handle
            file.writelines(_LINES.dump_json(k) + b"\n" for k in kept)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)


def _joined(earlier: Event, later: Event) -> Event:
    """Two records of one identity as one: the earliest start, and the end even where it is the start that comes late."""
    if later.deployment is not None and earlier.deployment is not None:
        return later.deployment.with_earlier(earlier.deployment).event()
    starts = [event.start for event in (earlier, later) if event.start is not None]
    last = earlier if earlier.end is not None and later.end is None else later
    return replace(last, start=min(starts, default=None))
