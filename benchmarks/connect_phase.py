"""The phase `connect` of a run beside a bare non-blocking connect and uvloop's own ways, to the same target, in turns.

    .venv/bin/python benchmarks/connect_phase.py [--connects 2000] [--runners 4]

Figures are medians and 95th percentiles in microseconds. All connections are to an address in digits on loopback. With several
`--runners` as many processes do the same at the same time, on the cores that there are, and the figures are those of all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import select
import socket
import statistics
import time
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks._fixtures import target
from probes.core import Measurements
from probes.wire.wire import Wire
from runner.clock import SystemClock

Contender = Callable[[int], Awaitable[float]]  # a port -> seconds


async def bare(port: int) -> float:
    """The kernel's own calls, without a loop."""
    with socket.socket() as sock:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        started = time.monotonic()
        sock.connect_ex(("127.0.0.1", port))
        select.select([], [sock], [])
        return time.monotonic() - started


async def outrider(port: int) -> float:
    """The phase as a run records it."""
    ctx = Measurements(SystemClock(), time.monotonic() + 5)
    (await WIRE.dial(ctx, "127.0.0.1", port)).close()
    return ctx.phases["connect"]


async def sock_connect(port: int) -> float:
    """uvloop's sock_connect, which asks a thread for the address."""
    with socket.socket() as sock:
        sock.setblocking(False)  # noqa: FBT003 - as above
        started = time.monotonic()
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return time.monotonic() - started


async def create_connection(port: int) -> float:
    """uvloop's create_connection."""
    started = time.monotonic()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
    took = time.monotonic() - started
    transport.abort()
    return took


CONTENDERS: dict[str, Contender] = {
    "bare connect": bare,
    "phase connect": outrider,
    "create_connection": create_connection,
    "sock_connect": sock_connect,
}
WIRE = Wire()


async def measure(port: int, connects: int) -> dict[str, list[float]]:
    """The seconds of each contender."""
    took: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(connects):
        for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
            took[name].append(await CONTENDERS[name](port))
            await asyncio.sleep(random.uniform(0, 0.002))
    return took


def one_of_them(port: int, connects: int) -> dict[str, list[float]]:
    """What one process measures."""
    return uvloop.run(measure(port, connects))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connects", type=int, default=2000)
    parser.add_argument("--runners", type=int, default=1)
    chosen = parser.parse_args()
    with target() as (address,):
        port = int(address.rpartition(":")[2])
        with multiprocessing.Pool(chosen.runners) as pool:
            found = pool.starmap(one_of_them, [(port, chosen.connects // chosen.runners)] * chosen.runners)
        print(f"{time.strftime('%Y-%m-%d')}, {chosen.runners} at a time, load average {os.getloadavg()[0]:.1f}")
        for name in CONTENDERS:
            all_of_them = [seconds for took in found for seconds in took[name]]
            median, high = statistics.median(all_of_them), statistics.quantiles(all_of_them, n=20)[-1]
            print(f"{name:20} {median * 1e6:8.0f} us {high * 1e6:8.0f} us")
