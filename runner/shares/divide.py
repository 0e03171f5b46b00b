"""Which share a runner has, by its options and its checks.yaml."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from probes.core import Clock
from runner.config.plan import Plan
from runner.shares.leased import LeasedShare
from runner.shares.shard import Rolling, Shard, ShardShare
from runner.shares.share import Share, Whole


class SharesError(Exception):
    """The runner is told two ways to divide the checks."""


def divided(plan: Plan, shard: Shard | None, clock: Clock) -> Callable[[CollectorRegistry], Share]:
    """What makes the share of a runner, with its metrics. It reads the state folder: call it in a thread.

    Raises SharesError if the runner is told two ways to divide the checks.
    """
    if shard is not None and plan.coordinate is not None:
        raise SharesError(f"--shard {shard} and coordinate: exclude each other; leave one of them out")
    if shard is not None:
        rolling = Rolling.begun(shard, plan.state, clock.time())
        return lambda registry: ShardShare(rolling, clock, registry)
    if (coordinate := plan.coordinate) is not None:
        me = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        return lambda registry: LeasedShare(coordinate, me, clock, registry)
    return lambda _: Whole()
