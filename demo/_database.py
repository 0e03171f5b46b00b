"""The application's PostgreSQL: a pool, its tables, and the trait that a stuck call holds up everything else."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from demo._world import ADMIN_USER, DEMO_PASSWORD, DEMO_USER, PREMIUM_USER, PROBE_USER, TWO_FACTOR_USER

POOL = 8
ROUNDS = 1000  # few: the stand-in's passwords guard nothing

SCHEMA = """
DROP SCHEMA IF EXISTS app CASCADE;
CREATE SCHEMA app;
CREATE TABLE users (
    id serial PRIMARY KEY, email text UNIQUE NOT NULL, name text NOT NULL, salt bytea NOT NULL, password bytea NOT NULL,
    last_login timestamptz, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE stories (id uuid PRIMARY KEY, user_id integer REFERENCES users, body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bookings (
    reference text PRIMARY KEY, user_id integer REFERENCES users, partner text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
"""


class DatabaseDown(Exception):  # noqa: N818 - what is so, not what we did wrong
    """PostgreSQL can't be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class User:
    """One row of `users`."""

    id: int
    email: str
    name: str


class Gate:
    """Closed while a database call is stuck: with a synchronous driver in async handlers nothing else moves then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stuck: set[int] = set()
        self._next = 0
        self.open = asyncio.Event()
        self.open.set()
        self.closed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Wraps one database call."""
        self._next += 1
        number = self._next
        timer = asyncio.get_running_loop().call_later(self._seconds, self._close, number)
        try:
            yield
        finally:
            timer.cancel()
            self._stuck.discard(number)
            if not self._stuck:
                self.open.set()
                self.closed.clear()

    def _close(self, number: int) -> None:
        self._stuck.add(number)
        self.open.clear()
        self.closed.set()


class Database:
    """Asks PostgreSQL as the application does. Every method raises DatabaseDown when it can't be asked."""

    def __init__(self, dsn: str, gate: Gate) -> None:
        self._dsn = dsn
        self.gate = gate
        self._pool: asyncpg.Pool[Any] | None = None

    async def open(self, probe_password: str) -> None:
        """Connects, makes the tables afresh, and the users that there are."""
        self._pool = await asyncpg.create_pool(self._dsn, min_size=0, max_size=POOL, ssl=False, server_settings={"search_path": "app"})
        await self._pool.execute(SCHEMA)
        others = {
            DEMO_USER: "A Traveller",
            PREMIUM_USER: "A Subscriber",
            ADMIN_USER: "An Operator",
            TWO_FACTOR_USER: "A Careful Traveller",
        }
        people = [(PROBE_USER, "Outrider", probe_password), *((email, name, DEMO_PASSWORD) for email, name in others.items())]
        for email, name, password in people:
            salt = os.urandom(16)
            insert = "INSERT INTO users (email, name, salt, password) VALUES ($1, $2, $3, $4)"
            await self._pool.execute(insert, email, name, salt, _digest(password, salt))

    def close(self) -> None:
        """Drops the connections at once: the server may be frozen."""
        if self._pool is not None:
            self._pool.terminate()

    @property
    def used(self) -> int:
        """Connections that are in use."""
        return 0 if self._pool is None else self._pool.get_size() - self._pool.get_idle_size()

    @property
    def size(self) -> int:
        """Connections that are open."""
        return 0 if self._pool is None else self._pool.get_size()

    async def row(self, sql: str, *values: object) -> asyncpg.Record | None:
        """The first row."""
        if self._pool is None:
            raise DatabaseDown("not connected")
        try:
            async with self.gate.call(), self._pool.acquire() as connection:
                return await connection.fetchrow(sql, *values)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            raise DatabaseDown(f"{type(problem).__name__}: {problem}") from problem

    async def ping(self) -> None:
        """Asks for 1."""
        await self.row("SELECT 1")

    async def login(self, email: str, password: str) -> User | None:
        """The user, if the password is theirs; notes the login's time."""
        row = await self.row("SELECT id, email, name, salt, password FROM users WHERE email = $1", email)
        if row is None or not hmac.compare_digest(row["password"], _digest(password, row["salt"])):
            return None
        await self.row("UPDATE users SET last_login = now() WHERE id = $1 RETURNING id", row["id"])
        return User(row["id"], row["email"], row["name"])


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
