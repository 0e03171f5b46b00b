"""What a node says of its cluster."""

from __future__ import annotations

import redis.exceptions as redis_errors

from probes.kinds.redis.connection import Connection, error_text
from probes.text import clipped


async def own_slots(connection: Connection) -> list[range] | None:
    """The slots that this node of a cluster serves: none for a replica. None where the server doesn't tell."""
    try:
        nodes = await connection.execute("CLUSTER", "NODES")
    except redis_errors.ResponseError:
        return None  # the user may not ask
    for line in nodes.decode("utf-8", "replace").splitlines() if isinstance(nodes, bytes) else ():
        fields = line.split()
        if "myself" in fields[2:3][0].split(",") if len(fields) > 2 else False:  # noqa: PLR2004 - id, address, flags
            spans = [each.partition("-") for each in fields[8:] if not each.startswith("[")]  # [...]: a slot on its way to another node
            return [range(int(first), int(last or first) + 1) for first, _, last in spans]
    return None


async def cluster_state(connection: Connection, key: str) -> str:
    """Why the cluster serves no client, in the server's words; "" where it does, or where the user may not ask. `key` is only read."""
    try:
        info = await connection.execute("CLUSTER", "INFO")
    except redis_errors.ResponseError:
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
