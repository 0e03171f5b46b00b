"""What operators ask of a Redis: role, replication lag, connections, the cluster, the lengths of queues, and Sentinel's master."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis.exceptions as redis_errors

from probes import Context, Failed, Reason
from probes.expect.connections import judge_connections
from probes.kinds.redis.cluster import failed_or_gone
from probes.kinds.redis.connection import Connection, error_text
from probes.kinds.redis.expected import ExpectedCluster, ExpectedRedis, Queue, Sentinel, fault_of
from probes.text import clipped, count, latency, setting

_LENGTHS: Mapping[bytes, str] = {b"list": "LLEN", b"stream": "XLEN", b"zset": "ZCARD", b"set": "SCARD"}
_PORTS = range(1, 65_536)


async def info(connection: Connection, section: str) -> dict[str, str]:
    """A section of INFO by name. Raises Failed(protocol) where the response is none."""
    text = await connection.execute("INFO", section)
    if not isinstance(text, bytes):
        raise Failed(Reason.PROTOCOL, f"INFO returned {clipped(repr(text), 80)}, expected a text")
    return dict(line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)


async def judge_server(ctx: Context, connection: Connection, expect: ExpectedRedis) -> None:
    """Asks for what is expected, notes the facts, and raises Failed for what is not so."""
    if expect.role is not None or expect.lag is not None:
        replication = await info(connection, "replication")
        role = {"slave": "replica"}.get(replication.get("role", ""), replication.get("role", "unknown"))
        ctx.facts["role"] = clipped(role, 20)
        if expect.role is not None and role != expect.role:
            raise Failed(Reason.BODY, f"PING passes, but the server is a {clipped(role, 20)}, expected a {expect.role}")
        if expect.lag is not None:
            lag, which = _behind(role, replication)
            ctx.facts["lag"] = lag
            if lag > expect.lag:
                raise Failed(Reason.BODY, f"{which} for {latency(lag)}, expected at most {setting(expect.lag)}")
    if expect.connections is not None:
        clients = await info(connection, "clients")
        used, most = _whole(clients.get("connected_clients")), _whole(clients.get("maxclients"))
        if used is None or (most is None and not isinstance(expect.connections, int)):
            raise Failed(Reason.SCHEMA, "INFO clients tells no connected_clients and maxclients; write a number of connections")
        ctx.facts |= {"connections": used} | ({"max_connections": most} if most else {})
        judge_connections(used, most or used, expect.connections)
    if expect.cluster is not None:
        await _judge_cluster(ctx, connection, expect.cluster)


def _behind(role: str, replication: Mapping[str, str]) -> tuple[float, str]:
    """For how many seconds a replica received nothing, and which. Raises Failed where there is no link."""
    if role == "replica":
        if replication.get("master_link_status") != "up":
            since = _whole(replication.get("master_link_down_since_seconds"))
            for_long = f" for {latency(since)}" if since is not None and since >= 0 else ""
            raise Failed(Reason.BODY, f"the replica's link to its master is down{for_long}: what it holds grows old")
        return float(_whole(replication.get("master_last_io_seconds_ago")) or 0), "the replica received nothing from its master"
    found = []
    for name, line in replication.items():
        fields = dict(part.split("=", 1) for part in line.split(",") if "=" in part) if name.startswith("slave") else {}
        if fields.get("state") == "online" and (lag := _whole(fields.get("lag"))) is not None:
            found.append((float(lag), f"replica {clipped(fields.get('ip', '?'), 60)}:{clipped(fields.get('port', '?'), 5)}"))
    if not found:
        raise Failed(Reason.BODY, "no replica is online at the master, expected one at least")
    lag_of_slowest, who = max(found)
    return lag_of_slowest, f"the master received nothing from {who}"


async def _judge_cluster(ctx: Context, connection: Connection, expect: ExpectedCluster) -> None:
    text = await connection.execute("CLUSTER", "INFO")
    lines = text.decode("utf-8", "replace").splitlines() if isinstance(text, bytes) else []
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    slots = _whole(info.get("cluster_slots_ok")) or 0
    ctx.facts["cluster_slots"] = slots
    if info.get("cluster_state") != expect.state:
        seen = clipped(info.get("cluster_state", "no state"), 20)
        raise Failed(Reason.STATUS, f"PING passes, but cluster_state is {seen}, expected {expect.state}; {count(slots, 'slot')} served")
    if fault := fault_of("slots that the cluster serves:", slots, expect.slots):
        raise Failed(*fault)
    if expect.nodes is not None:
        nodes, gone = failed_or_gone(await connection.execute("CLUSTER", "NODES"))
        ctx.facts["cluster_nodes"] = nodes
        if fault := fault_of("nodes of the cluster that are well:", nodes, expect.nodes):
            raise Failed(fault[0], f"{fault[1]}{f'; not well: {gone}' if gone else ''}")


async def judge_queues(ctx: Context, connection: Connection, queues: Mapping[str, Queue]) -> None:
    """The lengths of queues and the lag of consumer groups. All facts are noted before the first fault is raised."""
    faults = []
    for key, queue in queues.items():
        if queue.length is not None:
            kind = await connection.execute("TYPE", key)
            if kind not in _LENGTHS and kind != b"none":
                shown = clipped(kind.decode("utf-8", "replace") if isinstance(kind, bytes) else repr(kind), 20)
                raise Failed(Reason.SCHEMA, f"key {key} is a {shown}, which is no queue: neither list, stream, sorted set nor set")
            length = int(await connection.execute(_LENGTHS[kind], key)) if kind in _LENGTHS else 0
            ctx.facts[f"queue_length.{key}"] = length
            faults.append(fault_of(f"queue {key}: length", length, queue.length))
        if queue.group is not None:
            faults += await _of_group(ctx, connection, key, queue)
    for fault in faults:
        if fault is not None:
            raise Failed(*fault)


async def _of_group(ctx: Context, connection: Connection, key: str, queue: Queue) -> list[tuple[Reason, str] | None]:
    try:
        groups = await connection.execute("XINFO", "GROUPS", key)
    except redis_errors.ResponseError as error:
        if "no such key" not in str(error).lower():
            raise
        groups = []
    pairs = (
        [dict(zip(each[::2], each[1::2], strict=False)) for each in groups if isinstance(each, list)] if isinstance(groups, list) else []
    )
    group = next((each for each in pairs if each.get(b"name") == str(queue.group).encode()), None)
    if group is None:
        raise Failed(Reason.BODY, f"stream {key} has no consumer group {queue.group}")
    name = f"group {queue.group} of {key}"
    faults: list[tuple[Reason, str] | None] = []
    for what, wanted in (("pending", queue.pending), ("lag", queue.lag)):
        if wanted is None:
            continue
        seen = group.get(what.encode())
        if not isinstance(seen, int):
            why = "the server doesn't know it, after entries were deleted" if b"lag" in group else "only Redis 7 and later tell it"
            raise Failed(Reason.SCHEMA, f"{name} has no {what}: {why}; write pending")
        ctx.facts[f"group_{what}.{key}"] = seen
        faults.append(fault_of(f"{name}: {what}", seen, wanted))
    return faults


async def master_of(connection: Connection, sentinel: Sentinel) -> tuple[str, int]:
    """Where Sentinel says that the master is. Raises Failed where it knows none, or where no failover would be possible."""
    found = await connection.execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel.master)
    if found is None:
        raise Failed(Reason.BODY, f"Sentinel knows no master {sentinel.master}")
    try:
        host, port = found[0].decode("ascii"), int(found[1])
    except (TypeError, ValueError, LookupError, AttributeError):
        host, port = "", 0
    if not host or host.startswith("/") or port not in _PORTS:
        raise Failed(Reason.PROTOCOL, f"Sentinel returned {clipped(repr(found), 80)}, expected a host and a port")
    if sentinel.quorum:
        try:
            await connection.execute("SENTINEL", "CKQUORUM", sentinel.master)
        except redis_errors.ResponseError as error:
            if not str(error).startswith("NOQUORUM"):
                raise
            raise Failed(Reason.STATUS, f"Sentinel can't start a failover of {sentinel.master}: {error_text(error)}") from error
    return host, port


def _whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.removeprefix("-").isdecimal() and len(text) < 20 else None  # noqa: PLR2004
