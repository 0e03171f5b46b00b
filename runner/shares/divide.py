"""Which share a runner has, by its options and its checks.yaml."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from probes.core import Clock
from runner.config.plan import Plan
from runner.shares.shard import Rolling, Shard, ShardShare
from runner.shares.share import Share, Whole


def divided(plan: Plan, shard: Shard | None, clock: Clock) -> Callable[[CollectorRegistry], Share]:
    """What makes the share of a runner, with its metrics. It reads the state folder: call it in a thread."""
    if shard is not None:
        rolling = Rolling.begun(shard, plan.state, clock.time())
        return lambda registry: ShardShare(rolling, clock, registry)
    return lambda _: Whole()
