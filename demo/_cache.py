"""The application's Redis: answers that it keeps, by the stand-in's own clock, and silently nothing when Redis is away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from probes.core import Clock


class Cache:
    """Keeps JSON under keys; a Redis that is down or read-only is as if nothing were kept, as in the real application."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        # one try more: a connection kept from before a restart is broken, and the first after it must not tell
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 1), decode_responses=True, driver_info=None
        )

    async def get(self, key: str) -> Any:
        """What is kept and not too old, or None."""
        try:
            text = await self._redis.get(key)
        except (RedisError, OSError):
            return None
        if text is None:
            return None
        kept = json.loads(text)
        return kept["value"] if kept["until"] > self._clock.time() else None

    async def put(self, key: str, value: Any, seconds: float) -> None:
        """Keeps a value for so long."""
        try:
            await self._redis.set(key, json.dumps({"value": value, "until": self._clock.time() + seconds}), ex=int(seconds))
        except (RedisError, OSError):
            return

    async def ping(self) -> None:
        """Raises RedisError or OSError when Redis doesn't answer."""
        await self._redis.ping()

    async def responds(self, seconds: float) -> bool:
        """Whether Redis responds within `seconds`."""
        try:
            await asyncio.wait_for(self._redis.ping(), seconds)
        except (RedisError, OSError):
            return False
        return True

    async def info(self) -> dict[str, Any]:
        """What the readiness route tells of Redis."""
        info = await self._redis.info()
        return {name: info.get(name) for name in ("connected_clients", "used_memory_human", "uptime_in_seconds")}

    async def close(self) -> None:
        """Drops the connections."""
        await self._redis.aclose()
