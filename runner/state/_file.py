"""The SQLite file in a state folder: opened, checked, and renamed if it is damaged."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STATE_FILE = "state.db"
_LOCK_FILE = "state.lock"
_VERSION = 1
_BUSY = 10.0  # seconds for which a call waits for another process's transaction
_TABLES = """
CREATE TABLE IF NOT EXISTS spending (
    id INTEGER PRIMARY KEY, budget TEXT NOT NULL, starts REAL NOT NULL, ends REAL NOT NULL, amount REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS spending_by_budget ON spending (budget, ends);
CREATE TABLE IF NOT EXISTS slots (id INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS slots_by_name ON slots (name, at);
CREATE TABLE IF NOT EXISTS windows (name TEXT PRIMARY KEY, longest REAL NOT NULL, ahead REAL NOT NULL);
CREATE TABLE IF NOT EXISTS holds (key TEXT PRIMARY KEY, until REAL NOT NULL, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    owner TEXT NOT NULL, topic TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, forget REAL NOT NULL,
    PRIMARY KEY (owner, topic, name)
);
CREATE TABLE IF NOT EXISTS outages (
    file TEXT NOT NULL, service TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL, began REAL NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (file, service, environment, name, began)
);
"""


class UnusableError(Exception):
    """The folder or its file can't be used; the message gives the cause, for a person."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection, whether its data outlives the process, and a warning about it for a person ("" for none)."""

    connection: sqlite3.Connection
    durable: bool
    why: str


def open_state(folder: Path | None, now: float) -> Opened:
    """Opens the folder's file, or a database in memory if that fails. It never raises for a bad folder or a damaged file."""
    if folder is None:
        return in_memory("no state folder is configured")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            return _open_file(folder / STATE_FILE, now)
    except (OSError, UnusableError, sqlite3.Error) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return in_memory(f"{folder} can't be used: {text}")


def in_memory(why: str) -> Opened:
    """A database in memory, because of `why`."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(_TABLES)
    return Opened(connection, durable=False, why=f"{why}; budgets and limits are kept in memory and lost at the end")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time open the file, so that no two find it damaged and rename each other's new one."""
    handle = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _open_file(path: Path, now: float) -> Opened:
    try:
        return Opened(_connect(path), durable=True, why="")
    except sqlite3.OperationalError:
        raise  # the disk is full, a right is missing, the file is locked: the file itself may be intact
    except sqlite3.DatabaseError as error:
        damaged = path.with_name(f"{path.name}.damaged-{int(now)}")
        for suffix in ("", "-wal", "-shm"):
            if (part := path.with_name(path.name + suffix)).exists():
                part.rename(damaged.with_name(damaged.name + suffix))
        return Opened(
            _connect(path), durable=True, why=f"{path} was damaged ({error}) and is now {damaged.name}; budgets and limits start from zero"
        )


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    [(found,)] = connection.execute("PRAGMA user_version")
    if found > _VERSION:
        raise UnusableError("it was written by a newer Outrider")
    [(sound,)] = connection.execute("PRAGMA quick_check(1)")
    if sound != "ok":
        raise sqlite3.DatabaseError(sound)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_TABLES)
    connection.execute(f"PRAGMA user_version={_VERSION}")
