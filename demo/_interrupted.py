"""The faults of the API as a whole that no response can play: silence, a stuck database, and a connection that is reset."""

from __future__ import annotations

from starlette.types import Send

from demo._database import Gate
from demo._site import Line
from demo._world import World

HALF = b'{"status": "rea'


async def interrupted(world: World, gate: Gate, line: Line, send: Send) -> bool:
    """Holds a request for as long as the API is stuck; True where nobody waits for a response any more."""
    if "api-stall" in world.faults:
        await world.wait_until(line.gone)
    if not gate.open.is_set():
        await world.wait_until(gate.open, line.gone)
    if line.gone.is_set() or world.closing.is_set() or "api-reset" not in world.faults:
        return line.gone.is_set()
    head = [(b"content-type", b"application/json"), (b"content-length", str(2 * len(HALF)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": HALF, "more_body": True})
    await world.pause(0.05)  # the half gets through before the reset does
    line.reset()
    await line.gone.wait()
    return True
