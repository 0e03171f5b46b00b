"""The journal: one JSON object a line, in the form that the application's guide prescribes, written in a thread.

    {"timestamp": "2026-11-24T12:00:00.000Z", "level": "ERROR", "service": "roadtrip", "request_id": "...",
     "message": "database failed: no answer within 5s in connect", "metadata": {"check": "database", ...}}

Levels: the first failure of a check at `error`; each further failure, and each unknown run, at `warning`; the first pass, also after
failures, at `info`; each further pass at `debug`, below the usual level.
A person at a terminal reads the same in words, a line for each change (`Form.WORDS`).
`user_id` is written if a run noted one: a journey that captures it with `secret: false`. A failure's evidence is not
written: runner.sinks.evidence keeps it.
"""

from __future__ import annotations

import enum
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from judge.observation import DiagnosisFinding, Observation
from probes.core import Clock, Verdict
from probes.facts import USER_ID
from probes.text import iso
from runner.config.plan import ByCheck, Plan
from runner.log import LEVELS, level_name, written_level
from runner.sinks.values import plain
from runner.terminal import columns_of, wrapped

LINE = 2048  # bytes of the line of a run, or of a finding, at most
_EVENT = 16 * 1024  # bytes of a line of the runner's own, which may hold a traceback or the errors of a file
_FRAMES = 12  # of a traceback: where it happened, without the values of any local


class Form(enum.Enum):
    """How the journal is written: as JSON, for programs, or in words, for a person; then only changes of a check are written."""

    JSON = "json"
    WORDS = "text"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that is to be written. `at` in seconds since the epoch."""

    at: float
    level: str
    message: str
    metadata: Mapping[str, Any]
    request_id: str = ""
    user_id: str = ""
    most: int = LINE  # bytes of its line


@dataclass(slots=True)
class _Counts:
    waiting: int = 0
    dropped: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Journal:
    """A sink that queues entries, which a thread of its own writes in batches to a text stream.

    At most `capacity` entries wait. Further ones are dropped and counted through `failed`, and the journal says how many as soon as
    there is room. `counted` is called with the service and the level of each line that is queued. `redact` removes secrets from the
    messages of `log` (an observation holds none). Call `close` to write the entries that wait.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        service: str,
        clock: Clock,
        level: str = "info",
        form: Form = Form.JSON,
        counted: Callable[[str, str], None] = lambda _service, _level: None,
        failed: Callable[[], None] = lambda: None,
        redact: Callable[[Any], Any] = lambda value: value,
        capacity: int = 10_000,
    ) -> None:
        self.service = service
        self._stream = stream
        self._form = form
        self._clock = clock
        self._least = LEVELS.index(level)
        self._counted = counted
        self._failed = failed
        self._redact = redact
        self._capacity = capacity
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._counts = _Counts()
        self._verdicts: ByCheck[Verdict] = ByCheck()
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def __call__(self, seen: Observation) -> None:
        """Writes a run, at the level of its change of state."""
        before = self._verdicts.get(seen.check.name)
        if seen.confirmed:
            self._verdicts[seen.check.name] = seen.verdict
        level = _level(before, seen.verdict) if seen.confirmed else "warning"
        if self._form is Form.WORDS and seen.confirmed and before is seen.verdict:
            return
        if self._writes(level):
            user = str(seen.facts.get(USER_ID) or "")
            message = _message(seen) if self._form is Form.JSON else _in_words(seen)
            self._put(Entry(self._clock.time(), level, message, dict(_metadata(seen)), seen.request_id, user))

    def plan(self, plan: Plan) -> None:
        """Takes over the service's name. A reload forgets the last verdict of a removed or changed check.

        A restart restores none: a new process writes once how each check is, a pass at `info` and a failure at `error`, so that its
        journal can be read without the previous one.
        """
        self.service = plan.service
        self._verdicts.plan(plan)

    def found(self, diagnosis: DiagnosisFinding) -> None:
        """Writes the finding of a diagnosis."""
        about = {
            "check": diagnosis.check.name,
            "kind": diagnosis.check.kind,
            "trace_id": diagnosis.trace_id,
            "trials": dict(diagnosis.trials),
        }
        if self._writes("warning"):
            self._put(Entry(self._clock.time(), "warning", f"{diagnosis.check.name}: {diagnosis.text}", about))

    def log(self, level: int, message: str, **metadata: Any) -> None:
        """Writes an event of the runner itself, from any thread; `level` is one of the logging module."""
        name = level_name(level)
        if self._writes(name):
            self._put(Entry(self._clock.time(), name, self._redact(message), self._redact(metadata), most=_EVENT))

    def close(self, grace: float = 5.0) -> None:
        """Writes the entries that wait, for at most `grace` seconds, and ends the thread. It blocks: on the loop, call it in a thread."""
        self._queue.put(None)
        self._thread.join(grace)

    def _writes(self, level: str) -> bool:
        return LEVELS.index(level) >= self._least

    def _put(self, entry: Entry) -> None:
        with self._counts.lock:
            full = self._counts.waiting >= self._capacity
            self._counts.dropped += full
            self._counts.waiting += not full
        if full:
            self._failed()
            return
        self._counted(self.service, written_level(entry.level))
        self._queue.put(entry)

    def _write_all(self) -> None:
        while batch := self._next_batch():
            entries = [entry for entry in batch if entry is not None]
            self._write([*self._dropped_entries(), *entries], len(entries))
            if None in batch:
                return

    def _next_batch(self) -> list[Entry | None]:
        """All entries that wait, at least one."""
        batch = [self._queue.get()]
        try:
            while batch[-1] is not None:
                batch.append(self._queue.get_nowait())
        except Empty:
            pass
        return batch

    def _dropped_entries(self) -> list[Entry]:
        with self._counts.lock:
            dropped, self._counts.dropped = self._counts.dropped, 0
        message = f"the journal could not keep up: {dropped} lines were dropped"
        return [Entry(self._clock.time(), "warning", message, {"dropped": dropped})] if dropped else []

    def _write(self, entries: list[Entry], taken: int) -> None:
        try:
            self._stream.write("".join(self._lines(entries)))
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe: the probing goes on, and the metric tells
            for _ in entries:
                self._failed()
        finally:
            with self._counts.lock:
                self._counts.waiting -= taken

    def _lines(self, entries: list[Entry]) -> Iterator[str]:
        write = partial(words, columns=columns_of(self._stream)) if self._form is Form.WORDS else partial(render, service=self.service)
        for entry in entries:
            try:
                yield write(entry)
            except Exception as error:  # noqa: BLE001 - a value that can't be written must not end the thread
                self._failed()
                what = Entry(entry.at, "error", "a line of the journal can't be written", {"error": type(error).__name__})
                yield write(what)


class Bridge(logging.Handler):
    """Writes the standard library's log records (APScheduler's, uvicorn's) into the journal."""

    def __init__(self, journal: Journal, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; of an exception its type, message and lines of code, never the values of its locals."""
        metadata: dict[str, Any] = {"logger": record.name}
        if record.exc_info and (error := record.exc_info[1]) is not None:
            frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
            metadata["error"] = f"{type(error).__name__}: {error}"
            metadata["where"] = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        self._journal.log(record.levelno, record.getMessage(), **metadata)


def render(entry: Entry, service: str) -> str:
    """The entry's line: always one line of valid JSON in UTF-8, whatever a run noted, of at most `entry.most` bytes."""
    line: dict[str, Any] = {"timestamp": iso(entry.at), "level": written_level(entry.level), "service": service}
    line |= {name: value for name, value in (("request_id", entry.request_id), ("user_id", entry.user_id)) if value}
    line |= {"message": entry.message, "metadata": plain(entry.metadata)}
    text = b""
    for smaller in _ever_smaller(line):
        text = json.dumps(smaller, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")  # of a lone surrogate
        if len(text) < entry.most:
            break
    return text.decode("utf-8") + "\n"


def _ever_smaller(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The line, then with less and less in it: without its lists and mappings, then with shorter and shorter texts."""
    yield line
    metadata = line["metadata"]
    for name in sorted(metadata, key=lambda name: len(str(metadata[name])), reverse=True):
        if isinstance(metadata[name], dict | list):
            metadata = metadata | {name: "left out, since the line would be too long"}
            yield line | {"metadata": metadata}
    for most in (4000, 1000, 300, 80, 20):
        texts = {name: _cut(value, most) for name, value in metadata.items()}
        yield {name: _cut(value, most) for name, value in line.items()} | {"metadata": texts}


def _cut(value: Any, most: int) -> Any:
    return f"{value[:most]}…" if isinstance(value, str) and len(value) > most else value


def words(entry: Entry, columns: int = 0) -> str:
    """The entry for a person: the time of day in UTC, and its message, within the columns of a terminal (0: as one line).

    What a terminal would obey is shown as an escape.
    """
    moment = f"{iso(entry.at)[11:19]}  "
    shown = "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in entry.message)
    return wrapped(moment + shown.replace("\n", f"\n{' ' * len(moment)}"), columns, len(moment)) + "\n"


def _in_words(seen: Observation) -> str:
    """`database is down: timeout: no answer within 5s in connect`."""
    if not seen.confirmed:
        return _message(seen)
    state = {Verdict.PASS: "up", Verdict.FAIL: "down", Verdict.UNKNOWN: "unknown"}[seen.verdict]
    why = (seen.reason.value if seen.reason else "", seen.message) if seen.verdict is not Verdict.PASS else (seen.message,)
    return ": ".join(filter(None, (f"{seen.check.name} is {state}", *why)))


def _level(before: Verdict | None, now: Verdict) -> str:
    if now is Verdict.PASS:
        return "debug" if before is Verdict.PASS else "info"
    return "error" if now is Verdict.FAIL and before is not Verdict.FAIL else "warning"


def _message(seen: Observation) -> str:
    if not seen.confirmed:
        return f"{seen.check.name} failed once and passed on an immediate retry: {seen.message}"
    word = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.UNKNOWN: "is unknown"}[seen.verdict]
    return f"{seen.check.name} {word}: {seen.message}" if seen.message else f"{seen.check.name} {word}"


def _metadata(seen: Observation) -> Iterator[tuple[str, Any]]:
    yield from (("check", seen.check.name), ("kind", seen.check.kind), ("verdict", seen.verdict.value))
    yield "reason", seen.reason.value if seen.reason else None
    yield from (("seconds", seen.seconds), ("phases", dict(seen.phases)), ("facts", dict(seen.facts)))
    yield from (("trace_id", seen.trace_id), ("lag", seen.lag), ("started", seen.at), ("line", seen.check.line))
    if seen.finding:
        yield "finding", seen.finding
    if not seen.confirmed:
        yield "confirmed", False
    if seen.maintenance:
        yield "maintenance", True
