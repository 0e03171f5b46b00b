"""The round trip: a key of the check's own, written, read and deleted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import redis.exceptions as redis_errors
from redis.crc import key_slot

from probes import Context, Failed, Reason
from probes.kinds.redis.cluster import own_slots
from probes.kinds.redis.connection import Connection

TTL = 60  # seconds after which Redis deletes a key that the probe could not delete; longer where the run may take longer
_TRIES = 4096  # names of which one in a slot of this node is searched
_KEYS = 100  # keys that are tried where the node doesn't tell its slots
_SEARCH = 1.0  # seconds that the search for a key of this node may take


async def round_trip(ctx: Context, connection: Connection) -> None:
    """Writes a key of its own, reads it and deletes it. Raises Failed(body) where another value is read."""
    value = f"{ctx.rng.getrandbits(64):016x}"
    ctx.facts["round_trip"] = False
    with ctx.phase("round_trip") as interval:
        key, interval.start = await _write(ctx, connection, value)
        read = await connection.execute("GET", key)
        await connection.execute("DEL", key)
        interval.end = connection.transport.last_read_at
    if read != value.encode():
        raise Failed(
            Reason.BODY, f"PING passes, but GET returned {'nothing' if read is None else 'another value'} for the key that SET wrote"
        )
    ctx.facts["round_trip"] = True


async def _write(ctx: Context, connection: Connection, value: str) -> tuple[str, float]:
    """SETs a key of its own; the key, and when the SET that succeeded was sent.

    In a cluster another key is tried where this node refuses one. Nobody goes where MOVED points: the login would be sent to
    whatever address a server names.
    """

    async def set_key(slots: Sequence[range] = ()) -> tuple[str, float]:
        key = ctx.evidence["key"] = _key(ctx, slots)
        sent = ctx.clock.monotonic()
        await connection.execute("SET", key, value, "EX", max(TTL, math.ceil(ctx.remaining())))
        return key, sent

    try:
        return await set_key()
    except redis_errors.AskError as error:  # MOVED, too
        elsewhere = error
    try:
        async with asyncio.timeout(min(_SEARCH, ctx.remaining() / 2)):
            slots = await own_slots(connection)
            for _ in range(_KEYS if slots != [] else 0):
                try:
                    return await set_key(slots or ())
                except redis_errors.AskError as error:
                    elsewhere = error
    except (TimeoutError, redis_errors.ConnectionError):
        pass  # then the refusal is what the server had to say
    connection.command = "SET"
    raise elsewhere


def _key(ctx: Context, slots: Sequence[range]) -> str:
    """A key that nobody else uses, in one of the slots where there are any and such a key is found soon."""
    key = ""
    for _ in range(_TRIES):
        key = f"outrider:probe:{ctx.check}:{ctx.rng.getrandbits(64):016x}"
        if not slots or any(key_slot(key.encode()) in each for each in slots):
            break
    return key
