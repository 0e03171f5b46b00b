"""What a node says of its cluster."""

from __future__ import annotations

import re
from typing import Any

import redis.exceptions as redis_errors

from probes.kinds.redis.connection import Connection, error_text
from probes.text import clipped, listed

_FLAGS, _LINK, _SLOTS = 2, 7, 8  # fields of a line of CLUSTER NODES


async def own_slots(connection: Connection) -> list[range] | None:
    """The slots that this node of a cluster serves: none for a replica. None where the server doesn't tell."""
    try:
        nodes = await connection.execute("CLUSTER", "NODES")
    except redis_errors.ResponseError:
        return None  # the user may not ask
    for line in nodes.decode("utf-8", "replace").splitlines() if isinstance(nodes, bytes) else ():
        fields = line.split()
        if len(fields) > _FLAGS and "myself" in fields[_FLAGS].split(","):
            spans = (re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", each) for each in fields[_SLOTS:])  # [...] is a slot on its way elsewhere
            return [range(int(found[1]), int(found[2] or found[1]) + 1) for found in spans if found]
    return None


def failed_or_gone(nodes: Any) -> tuple[int, str]:
    """Of CLUSTER NODES: how many nodes are connected and not failed, and the addresses of the others."""
    well, others = 0, []
    for line in nodes.decode("utf-8", "replace").splitlines() if isinstance(nodes, bytes) else ():
        fields = line.split()
        if len(fields) < _SLOTS:
            continue
        flags = set(fields[_FLAGS].split(","))
        if flags & {"fail", "fail?", "noaddr", "handshake"} or (fields[_LINK] != "connected" and "myself" not in flags):
            others.append(clipped(fields[1].partition("@")[0], 60))
        else:
            well += 1
    return well, listed(others, 3)


async def cluster_state(connection: Connection, key: str) -> str:
    """Why the cluster serves no client, in the server's words; "" where it does, or where the user may not ask. `key` is only read."""
    try:
        info = await connection.execute("CLUSTER", "INFO")
    except redis_errors.NoPermissionError:
        try:
            await connection.execute("GET", key)
        except redis_errors.ClusterDownError as error:
            return error_text(error)
        return ""
    lines = (
        dict(line.split(":", 1) for line in info.decode("utf-8", "replace").splitlines() if ":" in line) if isinstance(info, bytes) else {}
    )
    if lines.get("cluster_state", "ok") == "ok":
        return ""
    state, served = clipped(lines["cluster_state"], 20), clipped(lines.get("cluster_slots_ok", "?"), 5)
    return f"cluster_state:{state}, {served} of 16384 slots are served (CLUSTERDOWN)"
