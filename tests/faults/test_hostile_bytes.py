"""Hostile bytes on a real socket, for every way of asking: a verdict on the server, by the deadline, and never a fault of ours."""

from __future__ import annotations

import asyncio
import gc
import re
import selectors
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from judge.observation import Observation
from judge.verdict import Run, Runs
from probes.core import Verdict
from runner.reports import formats
from runner.sinks.journal import Entry, render
from tests.faults.askings import ASKINGS, KINDS, SECRET, Place, kind_of
from tests.faults.budget import share
from tests.faults.damage import ENDINGS, Hostile, HostileDatagrams, HostileMessages, Script, scripts
from tests.faults.replies import MORE, REPLIES, WITHOUT
from tests.runner.reports.conftest import told
from tests.support import servers
from tests.support.engine import Observer, observer
from tests.support.leaks import no_leaks
from tests.support.properties import AS_FOUND

WITHIN = 0.3  # seconds of a check
PROMPTLY = 1.0  # seconds: far above what a return takes, and enough for a machine that is busy
BATCH = 8  # servers at a time
TURN = 0.05  # seconds of CPU time that one turn of the loop may take
MEMORY = 64 * 1024 * 1024  # bytes that the process may hold above its rest
FORMATS = formats()
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def test_every_way_of_asking_is_met() -> None:
    """XM8: each has replies to be damaged, or says why not."""
    assert set(REPLIES) | set(WITHOUT) == set(ASKINGS)


@asynccontextmanager
async def _served(asking: str, script: Script) -> AsyncIterator[Place]:
    if asking == "dns/udp":
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: HostileDatagrams(script), local_addr=(servers.HOST, 0))
        try:
            yield Place(*transport.get_extra_info("sockname"))
        finally:
            transport.close()
        return
    behaviour = type("Script", (HostileMessages if asking == "dns" else Hostile,), {"script": script})
    async with servers.serve(behaviour) as server:
        yield Place(server.host, server.port)


async def _observed(runs: Observer, asking: str, script: Script) -> Observation:
    async with _served(asking, script) as place:
        settings = {**ASKINGS[asking](place), **MORE.get(asking, {})}
        return await runs.observe(KINDS[kind_of(asking)].model_validate(settings), kind=kind_of(asking), within=WITHIN)


def _fault_of(seen: Observation, *, knows_secret: bool) -> str:
    """What is wrong with an observation, or with what readers make of it; empty where nothing is."""
    if seen.verdict is Verdict.UNKNOWN:
        return f"{seen.verdict}, {seen.reason}: {seen.message}"
    if seen.verdict is Verdict.FAIL and not (seen.reason and seen.message):
        return "a failure without a reason or a message"
    told_of = render(Entry(seen.at, "error", seen.message, {"facts": dict(seen.facts), "evidence": dict(seen.evidence)}), "trips")
    for form in FORMATS.values():
        told_of += form.write(told(Runs(seen.check, (Run((seen,)),))))
    told_of.encode()
    return "it tells its secret" if knows_secret and SECRET in told_of + repr(seen) else ""


async def _meet(asking: str, together: Sequence[Script]) -> tuple[list[Observation], list[str]]:
    """Asks each of these servers at the same time: what was observed, and what the engine logged. A run leaves nothing behind."""
    with blockbuster_ctx():
        async with observer() as runs, no_leaks():
            return await asyncio.gather(*(_observed(runs, asking, script) for script in together)), runs.log


def _judge(asking: str, together: Sequence[Script], met: tuple[list[Observation], list[str]]) -> None:
    """Raises AssertionError for what no server may bring about."""
    seen, log = met
    knows_secret = SECRET in str(ASKINGS[asking](Place("127.0.0.1", 9)))  # otherwise the word is the server's own
    faults = [_fault_of(one, knows_secret=knows_secret) for one in seen]
    wrong = {repr(script): fault for script, fault in zip(together, faults, strict=True) if fault}
    assert not wrong
    assert not log, together
    assert all(one.seconds <= WITHIN + PROMPTLY for one in seen)


@pytest.mark.parametrize("asking", REPLIES)
def test_damaged_replies(asking: str) -> None:
    """W1, XM8: whatever a server sends, and however it ends, is a pass or a failure of its own; nothing is left, nothing is logged."""

    @settings(max_examples=2, phases=AS_FOUND, suppress_health_check=list(HealthCheck), database=None)
    @given(together=st.lists(scripts(asking, ("close", "reset")), min_size=BATCH, max_size=BATCH))
    def meet(together: list[Script]) -> None:
        _judge(asking, together, asyncio.run(_meet(asking, together)))

    meet()


class _Turns(selectors.DefaultSelector):
    """Measures the CPU time of the loop's longest turn: from one wait for sockets to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._began = time.thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.longest = max(self.longest, time.thread_time() - self._began)
        try:
            return super().select(timeout)
        finally:
            self._began = time.thread_time()


def _measured(asking: str, script: Script) -> tuple[float, int]:
    """The longest turn of a loop that asks one server, in seconds; and the bytes that the process took beyond its rest."""
    turns = _Turns()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    rest = _peak()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(turns)) as runner:
        met = runner.run(_meet(asking, [script]))
    found = turns.longest, _peak() - rest
    _judge(asking, [script], met)
    return found


def _peak() -> int:
    found = PEAK.search(Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("asking", REPLIES)
def test_damaged_replies_for_long(asking: str) -> None:
    """XB2, XM2, XM3, XM8: the same as long as there is time; and no reply holds the loop for 50 ms, or takes 64 MiB of memory."""
    end = time.monotonic() + share()
    gc.collect()
    gc.freeze()  # what the tests hold isn't searched while a turn is measured
    number = 0
    while time.monotonic() < end:
        number += 1

        @seed(number)
        @settings(max_examples=100, phases=(Phase.generate,), suppress_health_check=list(HealthCheck), database=None, derandomize=False)
        @given(script=scripts(asking, ENDINGS))
        def meet(script: Script) -> None:
            if time.monotonic() > end:
                return
            found = [_measured(asking, script)]
            if found[0][0] > TURN or found[0][1] > MEMORY:  # once may be the machine's
                found += [_measured(asking, script) for _ in range(2)]
            assert min(turn for turn, _ in found) <= TURN, f"a turn of {min(found)[0] * 1000:.0f} ms by {script}"
            assert min(taken for _, taken in found) <= MEMORY, f"{min(taken for _, taken in found) >> 20} MiB by {script}"

        meet()
