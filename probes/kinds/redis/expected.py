"""What a check expects of a Redis beside its answers: role, replication lag, connections, its cluster and its queues."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from probes.core import Reason
from probes.expect.conditions import Condition
from probes.expect.connections import Connections
from probes.fields import Duration, Secret

SLOTS = 16_384  # of every cluster


class ExpectedCluster(BaseModel):
    """What a node must say of its cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    state: Literal["ok", "fail"] = Field(default="ok", description="The cluster's state.")
    slots: Condition = Field(default=Condition(equals=SLOTS), description="How many slots are served; all 16384 without it.")
    nodes: Condition | None = Field(default=None, description="How many nodes are connected and not failed, such as {at_least: 6}.")


class ExpectedRedis(BaseModel):
    """Conditions for what the server says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    role: Literal["master", "replica"] | None = Field(default=None, description="What the server must be: master or replica.")
    lag: Duration | None = Field(
        default=None, description="The longest time since a replica last received from its master; of a master, its slowest replica."
    )
    connections: Connections | None = Field(
        default=None, description="The most clients that may be connected: a number, or a share of maxclients such as 80%."
    )
    cluster: ExpectedCluster | None = Field(default=None, description="What the node must say of its cluster; {} for a healthy one.")


class Queue(BaseModel):
    """What the queue at one key must be: a list (LLEN), a stream (XLEN), a sorted set (ZCARD) or a set (SCARD)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    length: Condition | None = Field(default=None, description="How many entries; a key that doesn't exist has none.")
    group: Annotated[str, Field(min_length=1)] | None = Field(default=None, description="A consumer group of the stream.")
    lag: Condition | None = Field(default=None, description="How many entries the group has not read yet (Redis 7 and later).")
    pending: Condition | None = Field(default=None, description="How many entries the group has read and not acknowledged.")

    @model_validator(mode="after")
    def _of_a_group(self) -> Self:
        if (self.lag or self.pending) and not self.group:
            raise ValueError("lag and pending are of a consumer group; write group, too")
        if self.group and not (self.lag or self.pending):
            raise ValueError("write what the group must be: lag or pending, such as lag: {at_most: 100}")
        if not (self.length or self.group):
            raise ValueError("write a condition: length, or group with lag or pending")
        return self


class Sentinel(BaseModel):
    """The Sentinel at the check's url, which is asked for a master; the rest of the check is about that master."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    master: Annotated[str, Field(min_length=1)] = Field(description="The name under which Sentinel knows the master.")
    user: str = Field(default="", description="The Sentinel's own user; the url's user and password are the master's.")
    password: Secret | None = Field(default=None, description="The password of that user.")
    quorum: bool = Field(default=True, description="Whether enough Sentinels for a failover must be reachable (CKQUORUM).")


def fault_of(name: str, seen: int, wanted: Condition | None) -> tuple[Reason, str] | None:
    """The first fault of a number: `queue jobs holds 7, expected at most 3`."""
    found = next(wanted.faults(seen), None) if wanted is not None else None
    return (found[0], f"{name} {found[1]}") if found else None
