"""The ledger: every call is one transaction in one worker thread, so that the loop never waits for the disk."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from judge.observation import Observation, Outage
from probes.core import Clock, LoginHeld, QuotaRefused
from probes.text import moment
from runner.state._store import Store

T = TypeVar("T")
_SET_BACK = 2 * 86400.0  # seconds; a wall clock that is set back by less still finds everything that counted then
_SET_AHEAD = 3600.0  # seconds; a slot further ahead than any run of its limit needs, plus this, comes from a clock that was wrong
_KNOW = """
INSERT INTO windows VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE
SET longest = max(longest, excluded.longest), ahead = max(ahead, excluded.ahead)
WHERE excluded.longest > longest OR excluded.ahead > ahead
"""
_FORGET_SPENDING = """
DELETE FROM spending WHERE ends < ? - coalesce((SELECT longest FROM windows WHERE windows.name = spending.budget), 0)
"""
_FORGET_SLOTS = """
DELETE FROM slots WHERE at < ? - coalesce((SELECT longest FROM windows WHERE windows.name = slots.name), 0)
    OR at > ? + coalesce((SELECT ahead FROM windows WHERE windows.name = slots.name), 0)
"""
_KEEP = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)"
_OF_NOBODY = ""  # the owner of records that all who share the state share
_OF_RUNS = "runs"  # the owner of records that any process with this state may undo
SEEN_EVERY = 1.0  # seconds between two writes of when checks were seen: after a kill -9 so much is lost
_ROUNDING = 1e-9  # amounts are added as floats: 0.1 + 0.2 may spend a budget of 0.3


def open_ledger(folder: Path | None, clock: Clock, windows: Mapping[str, float] | None = None) -> StateLedger:
    """Opens the ledger of a folder. It uses the disk: call it in a thread. It never fails: see `durable` and `why`.

    `windows` are the windows of the plan's limits, as for `know`.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
    ledger = StateLedger(thread.submit(Store, folder, clock).result(), thread, clock)
    thread.submit(ledger.prune_now, windows or {}).result()
    return ledger


def owner_of(file: str, service: str, environment: str) -> str:
    """A runner, as `keep` knows it: runners that share a state, but not all three, never see each other's records."""
    return json.dumps([file, service, environment])


class StateLedger:
    """Implements probes.core.Ledger, sliding limits, and when each check was last seen.

    While the folder can't be used (a full disk, a removed folder, a locked file) limits are counted in memory, and what costs money or
    logs in raises StateRefused: a budget or a refused login that can't be written down isn't risked. Without a folder all is in memory.
    """

    def __init__(self, store: Store, thread: ThreadPoolExecutor, clock: Clock) -> None:
        self._store = store
        self._thread = thread
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None  # until the next write of `_seen`
        self.failed: Callable[[], None] = lambda: None  # called, in the thread, for each observation that no restart will know of

    @property
    def durable(self) -> bool:
        """Whether what is counted outlives the process."""
        return self._store.durable

    @property
    def broken(self) -> bool:
        """Whether there is a state folder, and it can't be used now."""
        return self._store.broken

    @property
    def why(self) -> str:
        """Why it doesn't, or a warning about the file, for a person; "" for neither."""
        return self._store.why

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed`, in the worker thread, whenever the state stops being durable, or is so again."""
        self._store.changed = changed

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._store.connection

    # Budgets: an amount in each window of `window` seconds, the windows aligned to UTC

    async def reserve(self, budget: str, amount: float, most: float, window: float) -> int:
        """Reserves an amount of a budget, as probes.core.Ledger promises. It is on the disk when this returns."""
        now = self._clock.time()
        starts = now // window * window

        def insert_reservation() -> int | QuotaRefused:
            self._know({budget: window})
            spent = self._spent(budget, starts, window)
            if spent + amount > most + _ROUNDING:
                return QuotaRefused(
                    f"budget {budget}: {spent:g} of {most:g} are spent until {moment(starts + window)}, {amount:g} more would exceed it"
                )
            row = (budget, starts, starts + window, amount)
            done = self._connection.execute("INSERT INTO spending (budget, starts, ends, amount) VALUES (?, ?, ?, ?)", row)
            return int(done.lastrowid or 0)

        return _unless_refused(await self._transaction(insert_reservation, durably=True, synced=True))

    async def settle(self, reservation: int, amount: float) -> None:
        """Replaces a reservation by the real amount, as probes.core.Ledger promises."""
        await self._transaction(lambda: self._execute("UPDATE spending SET amount = ? WHERE id = ?", (amount, reservation)))

    async def spent(self, budget: str) -> float:
        """The amount of a budget that is reserved or spent in the present window."""
        now = self._clock.time()
        query = "SELECT coalesce(sum(amount), 0) FROM spending WHERE budget = ? AND ends > ? AND starts <= ?"
        return await self._transaction(lambda: float(self._connection.execute(query, (budget, now, now)).fetchone()[0]))

    def _spent(self, budget: str, starts: float, window: float) -> float:
        query = "SELECT coalesce(sum(amount), 0) FROM spending WHERE budget = ? AND ends > ? AND starts < ?"
        return float(self._connection.execute(query, (budget, starts, starts + window)).fetchone()[0])

    # Holds

    async def hold(self, key: str, seconds: float, why: str) -> None:
        """Holds a key, as probes.core.Ledger promises. A longer hold isn't shortened."""
        until = self._clock.time() + seconds
        rule = "INSERT INTO holds VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET until = excluded.until, why = excluded.why"
        rule += " WHERE excluded.until > holds.until"
        await self._transaction(lambda: self._execute(rule, (key, until, why)), durably=True, synced=True)

    async def held(self, key: str) -> None:
        """Raises LoginHeld while a key is held, as probes.core.Ledger promises."""
        query = "SELECT until, why FROM holds WHERE key = ? AND until > ?"
        found = await self._transaction(lambda: self._connection.execute(query, (key, self._clock.time())).fetchone(), durably=True)
        if found:
            raise LoginHeld(f"held until {moment(found[0])}: {found[1]}")

    # What must be undone if the process ends before

    async def remember(self, check: str, name: str, body: Mapping[str, Any], seconds: float) -> None:
        """Keeps a record, as probes.core.Ledger promises. It is on the disk when this returns."""
        values = _OF_RUNS, check, name, json.dumps(body), self._clock.time() + seconds
        await self._transaction(lambda: self._execute(_KEEP, values), durably=True, synced=True)

    async def remembered(self, check: str) -> Mapping[str, Mapping[str, Any]]:
        """The records by name, as probes.core.Ledger promises."""
        return await self.kept(_OF_RUNS, check)

    async def forget(self, check: str, name: str) -> None:
        """Forgets a record, as probes.core.Ledger promises."""
        rule = "DELETE FROM records WHERE owner = ? AND topic = ? AND name = ?"
        await self._transaction(lambda: self._execute(rule, (_OF_RUNS, check, name)), durably=True)

    # Outages that are open in Grafana, so that the next process closes what this one opened

    async def open_outage(self, file: str, outage: Outage) -> None:
        """Keeps an outage until it is closed. `file` is the absolute path of the runner's checks.yaml."""
        rule = "INSERT INTO outages VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        await self._transaction(lambda: self._execute(rule, (*_key(file, outage), outage.why)), durably=True)

    async def close_outage(self, file: str, outage: Outage) -> None:
        """Forgets an outage whose end is in Grafana or in the spool. `prune` forgets none: its annotation would stay open for ever."""
        rule = "DELETE FROM outages WHERE file = ? AND service = ? AND environment = ? AND name = ? AND began = ?"
        await self._transaction(lambda: self._execute(rule, _key(file, outage)), durably=True)

    async def open_outages(self, file: str, service: str, environment: str) -> tuple[Outage, ...]:
        """The open outages, the oldest first.

        Runners that share a state but not the file, service and environment never see each other's. Those that share all of them have
        the same checks and count as one runner: each of them goes on, when it starts, with the outages that another one left open.
        """
        query = "SELECT name, began, why FROM outages WHERE file = ? AND service = ? AND environment = ? ORDER BY began"
        found = await self._transaction(lambda: self._connection.execute(query, (file, service, environment)).fetchall(), durably=True)
        return tuple(Outage(name, began, why, service, environment) for name, began, why in found)

    # What was told to a runner and must outlive it: windows that were opened by hand, pauses, heartbeats

    async def keep(self, owner: str, topic: str, name: str, body: Mapping[str, Any], *, forget: float) -> None:
        """Keeps a record, in place of the one with the same name, until `forget` (seconds since the epoch). It is on the disk then.

        `owner` is a runner, by the path of its checks.yaml, its service and environment. While the folder can't be used it is kept in
        memory, and written once the folder can be used again.
        """
        await self._transaction(lambda: self._execute(_KEEP, (owner, topic, name, json.dumps(body), forget)), synced=True)

    async def kept(self, owner: str, topic: str) -> dict[str, dict[str, Any]]:
        """The records of a topic by name."""
        query = "SELECT name, body FROM records WHERE owner = ? AND topic = ?"
        found = await self._transaction(lambda: self._connection.execute(query, (owner, topic)).fetchall())
        return {name: json.loads(body) for name, body in found}

    async def recall(self, topic: str, name: str, *, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record that belongs to no runner, as probes.core.Ledger promises: all that share a state share it, as they do a budget."""
        return await self.amend(topic, name, lambda known: known or otherwise)

    async def amend(self, topic: str, name: str, change: Callable[[dict[str, Any] | None], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Replaces a record of `recall` by what `change` makes of it (None where there is none). It is on the disk when this returns."""

        def work() -> Mapping[str, Any]:
            query = "SELECT body FROM records WHERE owner = ? AND topic = ? AND name = ?"
            found = self._connection.execute(query, (_OF_NOBODY, topic, name)).fetchone()
            known = json.loads(found[0]) if found else None
            if (made := change(known)) != known:
                self._execute(_KEEP, (_OF_NOBODY, topic, name, json.dumps(made), math.inf))
            return made

        return await self._transaction(work, synced=True)

    # Limits: never more than `most` requests in any interval of `window` seconds

    async def limit(self, name: str, count: int, most: int, window: float, *, until: float | None = None) -> tuple[int, ...]:
        """Takes `count` slots, all or none, for requests between now and `until`. Raises QuotaRefused if the limit allows fewer.

        Until `sent` notes when they were used they count as used at `until`. So no interval of `window` seconds ever holds more than
        `most`, whenever the requests are sent.
        """
        now = self._clock.time()
        at = now if until is None else max(now, until)

        def take() -> tuple[int, ...] | QuotaRefused:
            self._know({name: window}, at - now)
            taken = self._connection.execute("SELECT count(*) FROM slots WHERE name = ? AND at > ?", (name, now - window)).fetchone()[0]
            if taken + count > most:
                return QuotaRefused(f"limit of {name}: {taken} of {most} in {_window_text(window)} are taken, and this needs {count}")
            insert = "INSERT INTO slots (id, name, at) VALUES ((SELECT max(?, coalesce(max(id), 0) + 1) FROM slots), ?, ?)"
            return tuple(int(self._connection.execute(insert, (self._store.first_id, name, at)).lastrowid or 0) for _ in range(count))

        return _unless_refused(await self._transaction(take))

    async def sent(self, used: Sequence[int], unused: Sequence[int] = ()) -> None:
        """Notes that the used slots' requests were sent by now, and frees the unused slots."""
        now = self._clock.time()

        def note() -> None:
            self._connection.executemany("UPDATE slots SET at = ? WHERE id = ?", [(now, slot) for slot in used])
            self._connection.executemany("DELETE FROM slots WHERE id = ?", [(slot,) for slot in unused])

        await self._transaction(note)

    async def taken(self, name: str, window: float) -> int:
        """The number of slots of a limit that are taken in the window that ends now."""
        query = "SELECT count(*) FROM slots WHERE name = ? AND at > ?"
        return int(await self._transaction(lambda: self._connection.execute(query, (name, self._clock.time() - window)).fetchone()[0]))

    # When each check was last seen

    def record(self, observation: Observation) -> None:
        """Notes when the check was seen. The worker thread writes all at once, within SEEN_EVERY seconds. Call it on the loop."""
        self._seen[observation.check.name] = observation.at
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SEEN_EVERY, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        self._thread.submit(self._write_seen)

    def _write_seen(self) -> None:
        rows: list[tuple[str, float]] = []
        while self._seen:  # popped one by one: the loop may be adding
            rows.append(self._seen.popitem())
        if not rows:
            return
        rule = "INSERT INTO seen VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at"
        self._store.run(lambda: self._connection.executemany(rule, rows))
        if self._store.broken:
            for _ in rows:
                self.failed()

    async def last_seen(self) -> Mapping[str, float]:
        """When each check was last observed, seconds since the epoch. One that has something to undo counts as not seen: it runs soon."""
        await self._in_thread(self._write_seen)
        query = "SELECT name, at FROM seen WHERE name NOT IN (SELECT topic FROM records WHERE owner = ?)"
        return await self._transaction(lambda: dict(self._connection.execute(query, (_OF_RUNS,))))

    # Pruning

    async def know(self, windows: Mapping[str, float]) -> None:
        """Notes the window of each limit or budget, in seconds by its name, so that `prune` keeps everything that still counts.

        The state keeps the longest window that any process ever named, so that no process forgets what another one still counts.
        """
        await self._transaction(lambda: self._know(windows))

    async def prune(self) -> None:
        """Forgets everything that no longer counts in any window that the state knows. Call it now and then."""
        await self._in_thread(self.prune_now)

    def prune_now(self, windows: Mapping[str, float] | None = None) -> None:
        """`know` and then `prune`. Call it in the worker thread."""
        now = self._clock.time()

        def forget() -> None:
            self._know(windows or {})
            self._execute(_FORGET_SPENDING, (now - _SET_BACK,))
            self._execute(_FORGET_SLOTS, (now - _SET_BACK, now + _SET_AHEAD))
            self._execute("DELETE FROM holds WHERE until < ?", (now,))
            self._execute("DELETE FROM records WHERE forget < ?", (now - _SET_BACK,))

        self._store.run(forget)

    def _know(self, windows: Mapping[str, float], ahead: float = 0.0) -> None:
        """Within a transaction: notes the longest window of each name, and the longest time ahead for which slots were taken."""
        whole_seconds = math.ceil(ahead)  # whole seconds, so that a fraction more is no reason to write again
        self._connection.executemany(_KNOW, [(name, window, whole_seconds) for name, window in windows.items()])

    async def aclose(self) -> None:
        """Writes the rest, and closes the file."""
        if self._timer:
            self._timer.cancel()
        await self._in_thread(self._write_seen)
        await self._in_thread(self._store.close)
        self._thread.shutdown(wait=False)

    # One transaction at a time

    async def _transaction(self, work: Callable[[], T], *, durably: bool = False, synced: bool = False) -> T:
        return await self._in_thread(lambda: self._store.run(work, durably=durably, synced=synced))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Runs `work` in the thread, shielded: when the caller is cancelled the transaction still ends as a whole."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _execute(self, statement: str, values: tuple[float | str, ...]) -> None:
        self._connection.execute(statement, values)


def _key(file: str, outage: Outage) -> tuple[str | float, ...]:
    return file, outage.service, outage.environment, outage.check, outage.began


def _unless_refused(outcome: T | QuotaRefused) -> T:
    """The outcome. A refusal is raised only here, after its transaction, so that the state knows the window all the same."""
    if isinstance(outcome, QuotaRefused):
        raise outcome
    return outcome


def _window_text(window: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if window >= length:
            return f"{window / length:g} {unit}"
    return f"{window:g} s"
