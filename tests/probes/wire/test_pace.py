"""Whatever a server sends, and however fast, the loop gets its turn after half a millisecond of work."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.wire.pace import FIRST, LEAST, MOST, SLICE, Pace
from probes.wire.stream import Stream
from tests.support.transports import Nowhere


class _Work:
    """A monotonic clock that stands still but for the reader's work."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def _read(stream: Stream, work: _Work, cost: float) -> list[tuple[int, int]]:
    """Reads all that has come, at so many seconds a byte; the length of each piece, and the turns that others had before it."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other, found = asyncio.ensure_future(others()), []
    while piece := await stream.read():
        found.append((len(piece), turns))
        work.now += len(piece) * cost
    other.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await other
    return found


def _full(work: _Work, length: int) -> Stream:
    stream = Stream(work)
    stream.connection_made(Nowhere())
    stream.data_received(b"x" * length)
    stream.eof_received()
    return stream


async def test_costly_bytes_come_in_small_pieces() -> None:
    """XM2, XM3: at 5 us a byte, as of pings, no reader works for longer than two slices before the others have their turn."""
    work = _Work()
    found = await _read(_full(work, 20_000), work, 5e-6)
    lengths = [length for length, _ in found]
    assert lengths[0] == FIRST
    settled = lengths[4:-1]
    assert max(settled) * 5e-6 <= SLICE
    turns = [turns for _, turns in found[4:]]
    assert all(later > earlier for earlier, later in zip(turns, turns[2:], strict=False))


async def test_cheap_bytes_come_in_large_pieces() -> None:
    """A body that costs little isn't cut: the pieces grow to 64 KiB, and nobody waits for turns."""
    work = _Work()
    found = await _read(_full(work, 500_000), work, 1e-11)
    assert len(found) < 16
    assert max(length for length, _ in found) == MOST
    assert found[-1][1] == found[0][1]


@given(st.lists(st.tuples(st.integers(1, 3 * MOST), st.floats(0, 0.1), st.booleans())))
def test_pieces_stay_within_their_bounds(reads: list[tuple[int, float, bool]]) -> None:
    """Whatever a reader does, it gets at least 64 bytes and at most 64 KiB."""
    work = _Work()
    pace = Pace(work)
    for length, took, waited in reads:
        pace.is_over()
        if waited:
            pace.waits()
        assert LEAST <= pace.most <= MOST
        pace.gives(min(length, pace.most))
        work.now += took


async def test_a_wait_is_no_work() -> None:
    """A reader that waits between its pieces, for whatever long, is never told to give way, nor given less."""
    work = _Work()
    pace = Pace(work)
    for _ in range(5):
        pace.waits()
        assert not pace.is_over()
        work.now += 1.0
        pace.gives(100)
        pace.waits()
    assert pace.most == pytest.approx(FIRST)
