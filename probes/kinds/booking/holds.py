"""What the requests of a run hold at a partner: written down before it can be held, released after the verdict or by a later run."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from probes import Context, Failed, PolicyRefused, QuotaRefused

RELEASING = 5.0  # seconds for releasing, after the verdict
RELEASED = frozenset({*range(200, 300), 404, 409, 410})  # it is released, or gone
_KEPT = 86400.0  # seconds for which somebody tries to release what is held
_MOST_LEFT = 5  # records of earlier runs that one run looks at


class Holds:
    """The holds of one run, by the request that made them. `release` sends what gives one back, and returns why that failed."""

    def __init__(self, ctx: Context, address: str, release: Callable[[Context, str, Mapping[str, Any]], Awaitable[str]]) -> None:
        self._ctx = ctx
        self._address = address
        self._release = release
        self.held: dict[str, dict[str, Any]] = {}  # by the record's name
        self.trouble = ""

    async def note(self, request: str, values: Mapping[str, Any]) -> None:
        """Writes down what this request may hold, with the values that are known by now. Raises QuotaRefused where that can't be."""
        name = f"{request} {self._ctx.sender.request_id}"
        until = self._ctx.clock.time() + self._ctx.remaining() + RELEASING
        self.held[name] = {"address": self._address, "request": request, "values": dict(values), "until": until}
        await self._ctx.ledger.remember(self._ctx.check, name, self.held[name], _KEPT)

    async def release_left(self) -> None:
        """Releases what earlier runs have left, whose process ended or who couldn't. A run that may still be under way is left alone."""
        now = self._ctx.clock.time()
        left = await self._ctx.ledger.remembered(self._ctx.check)
        over = [(name, body) for name, body in left.items() if body["address"] == self._address and body["until"] < now]
        if over:
            await self._release_all(over[:_MOST_LEFT], min(RELEASING, self._ctx.remaining() / 2))

    async def release(self) -> None:
        """Releases what this run holds, the last first, within RELEASING seconds, and notes how that went."""
        await self._release_all(list(reversed(self.held.items())), RELEASING)

    async def _release_all(self, records: Sequence[tuple[str, Mapping[str, Any]]], within: float) -> None:
        """Its requests don't count as the target's. Where one fails its record stays, for the next run."""
        side = self._ctx.side_context(deadline=self._ctx.clock.monotonic() + within)
        try:
            async with asyncio.timeout(within):
                for name, body in records:
                    try:
                        failed = await self._release(side, body["request"], body["values"])
                    except (Failed, PolicyRefused, QuotaRefused, OSError, ssl.SSLError) as error:
                        failed = f"{body['request']}: {error}"
                    if failed:
                        self.trouble = f"{self.trouble}; {failed}" if self.trouble else failed
                    else:
                        await self._ctx.ledger.forget(self._ctx.check, name)
        except TimeoutError:
            self.trouble = self.trouble or f"no answer within {within:g} s"
        finally:
            self._ctx.secrets |= side.secrets
            self._ctx.facts["cleanup_failures"] = int(bool(self.trouble))
            self._ctx.evidence["cleanup"] = self.trouble or "cleaned up"
