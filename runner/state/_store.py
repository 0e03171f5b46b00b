"""Where the ledger's tables are: in the state folder, and in memory for as long as that can't be used. Recovery is seen by itself."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from probes.core import Clock, QuotaRefused
from runner.state._file import STATE_FILE, Opened, in_memory, open_state

T = TypeVar("T")
RETRY = 10.0  # seconds between two tries to use a folder that couldn't be used
_TABLES = ("spending", "slots", "windows", "holds", "seen", "outages", "records")


class StateRefused(QuotaRefused):
    """The state can't be read or written, and what it would count costs money or logs in: nothing was sent."""


class Store:
    """One connection, used in the ledger's worker thread alone.

    A full disk, a folder that is removed or read-only: at the start and later alike, what is known is copied into memory, counted on
    there, and written back once the folder can be used again. `changed` is called whenever that begins or ends.
    """

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._copied: set[object] = set()  # ids of slots that are in memory by copy: what is deleted there is deleted in the file later
        self.changed: Callable[[], None] = lambda: None
        self.first_id = 1  # of rows: in memory so high that they meet no row that another process writes meanwhile
        self._use(open_state(folder, clock.time()))
        if not self.durable:
            self._begin_in_memory()

    def run(self, work: Callable[[], T], *, durably: bool = False, synced: bool = False) -> T:
        """Runs `work` as one exclusive transaction. Raises StateRefused if it must be durable and the folder can't be used."""
        if self.broken and self._clock.monotonic() >= self._retry_at:
            self._recover()
        if self.durable:
            try:
                if self._folder and _identity(self._folder) != self._identity:
                    raise sqlite3.OperationalError(f"{self._folder} was removed or replaced")
                return self._transaction(work, synced=synced)
            except sqlite3.Error as error:
                self._degrade(str(error))
        if durably and self.broken:
            raise StateRefused(f"the state can't be read or written: {self._cause}")
        try:
            return self._transaction(work)
        except sqlite3.Error as error:
            raise StateRefused(f"the state can't be read or written: {error}") from error

    @property
    def broken(self) -> bool:
        """Whether there is a folder, and it can't be used now."""
        return self._folder is not None and not self.durable

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()

    def _transaction(self, work: Callable[[], T], *, synced: bool = False) -> T:
        try:
            if synced and self.durable:
                self.connection.execute("PRAGMA synchronous=FULL")
            self.connection.execute("BEGIN IMMEDIATE")
            done = work()
            self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if synced and self.durable:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("PRAGMA synchronous=NORMAL")
        return done

    def _use(self, opened: Opened) -> None:
        self.connection, self.durable, self.why = opened.connection, opened.durable, opened.why
        self._cause = opened.why
        self._identity = _identity(self._folder) if self._folder and opened.durable else None
        self._retry_at = self._clock.monotonic() + RETRY

    def _degrade(self, cause: str) -> None:
        """Counts on in memory, with everything that can still be read of the file."""
        before, opened = self.connection, in_memory(f"{self._folder} can't be used: {cause}")
        with contextlib.suppress(sqlite3.Error):
            for table in _TABLES:
                _insert(opened.connection, table, before.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608 - a name of ours
        before.close()
        self._use(opened)
        self._cause = cause
        self._begin_in_memory()
        self.changed()

    def _begin_in_memory(self) -> None:
        self._copied = {row[0] for row in self._rows("slots")}
        self.first_id = random.SystemRandom().randrange(2**40, 2**60)

    def _rows(self, table: str) -> list[tuple[object, ...]]:
        return self.connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - as above

    def _recover(self) -> None:
        """Goes back to the folder where it can be used again, and writes down what was counted in memory."""
        opened = open_state(self._folder, self._clock.time())
        try:
            if not opened.durable:
                raise sqlite3.OperationalError(opened.why)
            opened.connection.execute("BEGIN IMMEDIATE")
            freed = self._copied - {row[0] for row in self._rows("slots")}
            opened.connection.executemany("DELETE FROM slots WHERE id = ?", [(slot,) for slot in freed])
            for table in _TABLES:
                _insert(opened.connection, table, self._rows(table))
            opened.connection.execute("COMMIT")
        except sqlite3.Error:
            opened.connection.close()
            self._retry_at = self._clock.monotonic() + RETRY
            return
        self.connection.close()
        self._use(opened)
        self._copied, self.first_id = set(), 1
        self.changed()


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which file the state is in now; None where there is none."""
    try:
        found = (folder / STATE_FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _insert(connection: sqlite3.Connection, table: str, rows: list[tuple[object, ...]]) -> None:
    """Adds rows. Of two with one key the later time counts, and what another process wrote of money and logins stays."""
    how = {"slots": "INSERT OR REPLACE", "seen": "INSERT OR REPLACE", "records": "INSERT OR REPLACE"}.get(table, "INSERT OR IGNORE")
    for row in rows:
        connection.execute(f"{how} INTO {table} VALUES ({', '.join('?' * len(row))})", row)
