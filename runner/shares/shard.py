"""Shards: each check belongs to one of N runners, by its name alone. Pure, but for what it remembers in the state folder.

Rendezvous hashing: of all N, the one with the highest hash of its number and the name. So another N moves only the checks that the new
runner takes, or that the one that goes had. A moved check is joined at once and left one interval later, so that it is never without
a runner while a new N is rolled out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from prometheus_client import CollectorRegistry

from probes.core import Clock
from runner.config.plan import Plan, Planned
from runner.config.rates import in_shares
from runner.log import Log
from runner.shares.families import OF_EVERY_SHARE, OF_SHARDS, gauges
from runner.shares.share import Whole

MOST = 256  # shards
_WRITTEN = re.compile(r"(auto|[0-9]{1,6})/([0-9]{1,6})")
_ORDINAL = re.compile(r"-([0-9]{1,6})\Z")


def owner(name: str, of: int) -> int:
    """The shard from 0 to `of` - 1 to which a check of this name belongs: everywhere and for ever the same one."""
    begun = blake2b(name.encode(), digest_size=8)

    def weight(number: int) -> bytes:
        hashed = begun.copy()
        hashed.update(b"\0%d" % number)
        return hashed.digest()

    return max(range(of), key=weight)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` shards. `ordinal` counts from 0; a pod of a StatefulSet that is to be removed has one of `of` or more."""

    ordinal: int
    of: int

    @classmethod
    def parse(cls, text: str, environ: Mapping[str, str], host: Callable[[], str]) -> Shard:
        """Reads `2/5`, or `auto/5`: then POD_NAME, or else the host's name, ends in the ordinal. Raises ValueError with what to write."""
        if not (found := _WRITTEN.fullmatch(text)):
            raise ValueError(f"{text!r} is no shard; write its number, counted from 0, and how many there are, such as 2/5 or auto/5")
        of = int(found[2])
        if not 1 <= of <= MOST:
            raise ValueError(f"{text}: there can be 1 to {MOST:,} shards")
        if found[1] != "auto":
            if int(found[1]) >= of:
                raise ValueError(f"{text}: shards count from 0, so the last of {of} is {of - 1}/{of}")
            return cls(int(found[1]), of)
        pod = environ.get("POD_NAME") or host()
        if not (ordinal := _ORDINAL.search(pod)):
            raise ValueError(
                f"{text}: {pod!r} doesn't end in an ordinal, such as outrider-2; run in a StatefulSet, and set POD_NAME to the pod's name"
            )
        return cls(int(ordinal[1]), of)

    def holds(self, name: str) -> bool:
        """Whether a check of this name belongs to this shard."""
        return owner(name, self.of) == self.ordinal

    def share_of(self, plan: Plan) -> Plan:
        """The plan of this shard. Each target's limit is divided by what the checks ask of it, and rounded down."""
        return in_shares(plan, [one for one in plan.checks if self.holds(one.check.name)], self.of)

    def __str__(self) -> str:
        return f"{self.ordinal}/{self.of}"


@dataclass(frozen=True, slots=True)
class Rolling:
    """A shard and the one that it was before another N was rolled out. `since` is when that began, in seconds since the epoch."""

    shard: Shard
    since: float
    before: Shard | None = None

    @classmethod
    def begun(cls, shard: Shard, folder: Path | None, now: float) -> Rolling:
        """Goes on from what the state folder remembers of this ordinal, and writes it down. It uses the disk; a bad folder is no error."""
        rolling, file = cls(shard, now), folder / f"shard-{shard.ordinal}.json" if folder else None
        if file is None:
            return rolling
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            before = Shard(shard.ordinal, int(known["before"])) if known["before"] else None
            rolling = cls(Shard(shard.ordinal, int(known["of"])), min(float(known["since"]), now), before)
        except (OSError, ValueError, KeyError, TypeError):
            rolling = cls(shard, now)
        if rolling.shard != shard:
            rolling = cls(shard, now, before=rolling.shard)
        rolling._write(file)
        return rolling

    def _write(self, file: Path) -> None:
        text = json.dumps({"of": self.shard.of, "since": self.since, "before": self.before.of if self.before else None})
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.with_suffix(".new").write_text(text, encoding="utf-8")
            file.with_suffix(".new").replace(file)
        except OSError:
            return  # the ledger of the same folder says so in the journal, and on the page

    def leaves(self, planned: Planned) -> float:
        """Until when this runner runs a check that was its own before, in seconds since the epoch; a time that is past where it wasn't.

        A runner whose ordinal is beyond N is to be removed: it keeps what it had until it is ended, so that nothing waits for the
        others to be restarted with the new N.
        """
        name = planned.check.name
        if self.before is None or self.shard.holds(name) or not self.before.holds(name):
            return self.since
        return float("inf") if self.shard.ordinal >= self.shard.of else self.since + planned.check.interval

    def share_of(self, plan: Plan, now: float) -> Plan:
        """The plan of this runner, with the checks that it hasn't left yet."""
        mine = [one for one in plan.checks if self.shard.holds(one.check.name) or self.leaves(one) > now]
        return in_shares(plan, mine, self.shard.of)


class ShardShare(Whole):
    """The share of a runner that is one of N shards."""

    def __init__(self, rolling: Rolling, clock: Clock, registry: CollectorRegistry) -> None:
        self._rolling = rolling
        self._clock = clock
        self._plan: Plan | None = None
        self._gauges = gauges(registry, (*OF_EVERY_SHARE, *OF_SHARDS))
        self._gauges["outrider_shard_ordinal"].set(rolling.shard.ordinal)
        self._gauges["outrider_shards"].set(rolling.shard.of)
        self._gauges["outrider_shard_since_timestamp_seconds"].set(rolling.since)

    def of(self, plan: Plan) -> Plan:
        """The checks of the shard, and for one interval those that it had with another N."""
        self._plan, mine = plan, self._rolling.share_of(plan, self._clock.time())
        self._gauges["outrider_checks_planned"].set(len(plan.checks))
        self._gauges["outrider_checks_held"].set(len(mine.checks))
        return mine

    async def follow(self, changed: Callable[[], Awaitable[None]], log: Log) -> None:
        """Leaves each moved check one interval after it was joined elsewhere."""
        if warning := self.warnings():
            log(logging.WARNING, warning[0])
        while self._plan is not None and (leaves := self._next(self._plan)) is not None:
            await asyncio.sleep(max(0.0, leaves - self._clock.time()))
            await changed()

    def warnings(self) -> tuple[str, ...]:
        """That this shard is one too many."""
        shard, before = self._rolling.shard, self._rolling.before
        if shard.ordinal < shard.of:
            return ()
        what = f"It goes on with the checks that it had as {before}, until it is removed." if before else "It runs no check."
        return (f"Shard {shard.ordinal} is not one of {shard.of}, which count from 0. {what}",)

    def _next(self, plan: Plan) -> float | None:
        """When the next check is left."""
        now = self._clock.time()
        return min((leaves for one in plan.checks if now < (leaves := self._rolling.leaves(one)) < float("inf")), default=None)
