"""10,000 mixed runs of every kind against all that the table holds, and 200 of each fault that waits: nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.rcode
import pytest

from demo import servers as real
from judge.observation import Check, Observation
from probes.core import Reason, Verdict
from probes.wire.resolver import Resolver
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Every, Plan, Planned
from runner.engine.execute import Execute
from runner.state import open_ledger
from tests.faults.askings import ASKINGS, Place, asked, kind_of
from tests.faults.rows import PASSES, ROWS, Case, Reasons, Row
from tests.faults.well import BEHIND_TLS, well
from tests.faults.words import WORDS
from tests.support import servers
from tests.support.ca import Authority
from tests.support.leaks import open_sockets
from tests.support.nameserver import Nameserver, nameserver, zone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MIXED, WARM = 10_000, 2000  # runs, and of these the ones after which memory has settled
WAITING = 200  # runs of each fault that is known by the deadline alone
BATCH = 200  # runs after which the servers drop what they still hold
AT_ONCE = 20  # runs
ENOUGH, WITHIN, PROMPTLY = 10.0, 0.3, 2.0  # seconds
PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_BLOCKS = 2000  # of Python's memory that 8,000 runs may leave: a quarter of one each, which is caches' noise
MOST_BYTES = 16 * 1024 * 1024  # by which the process may grow over 8,000 runs: 2 KiB each, which is the allocators' noise
TRIES = 20

STALL = 1.0  # seconds, of which the resolver takes 95 %
BY_NAME = tuple(asking for asking in ASKINGS if kind_of(asking) != "dns")
WAITS = [fault for fault, row in ROWS.items() if row.waits]


@dataclass(frozen=True)
class Subject:
    """A check, and the reasons with which it must fail; none where it must pass."""

    planned: Planned
    reasons: Reasons

    def fault_of(self, seen: Observation) -> str:
        """What is wrong with an observation; empty where nothing is."""
        fits = (seen.verdict is Verdict.FAIL and seen.reason in self.reasons) if self.reasons else seen.verdict is Verdict.PASS
        if fits and seen.seconds < self.planned.timeout + PROMPTLY:
            return ""
        return f"{self.planned.check.name}: {seen.verdict}, {seen.reason} after {seen.seconds:.2f} s: {seen.message}"


@dataclass(frozen=True)
class Held:
    """What the process holds at a moment between runs."""

    files: int
    sockets: dict[int, str]
    tasks: int
    blocks: int
    bytes: int


@dataclass
class Soak:
    """One engine, its checks, and the servers that these meet."""

    subjects: list[Subject] = field(default_factory=list)
    met: list[servers.Server] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    late: float = 0.0  # seconds after its deadline that a run came back, at most
    engine: Execute | None = None

    def add(self, name: str, case: Case, server: servers.Server, ca: Path | None, within: float) -> None:
        """A case's checks at its server."""
        self.met.append(server)
        for asking in case.askings:
            check = Check(f"{name} {len(self.subjects)} {asking}", kind_of(asking), 1, timeout=within)
            probe = asked(asking, Place(case.host or server.host, server.port, ca))
            self.subjects.append(Subject(Planned(check, probe, Every(30.0), within, ""), case.reasons))

    async def run(self, subjects: Sequence[Subject]) -> list[str]:
        """All of them, at most AT_ONCE at the same time; what is wrong with what was seen."""
        wrong: list[str] = []
        for begin in range(0, len(subjects), BATCH):
            left = iter(subjects[begin : begin + BATCH])
            await asyncio.gather(*(self._work(left, wrong) for _ in range(AT_ONCE)))
            self._drop()
        return wrong

    async def _work(self, left: Iterator[Subject], wrong: list[str]) -> None:
        for subject in left:
            fault = subject.fault_of(await self._observe(subject.planned))
            wrong += [fault] if fault else []

    async def _observe(self, planned: Planned) -> Observation:
        """A run of which the engine says that this machine had no time for it tells nothing: it is made again."""
        assert self.engine is not None
        said = ""
        for _ in range(TRIES):
            began = time.monotonic()
            seen = (await self.engine.observe(planned, by_hand=True))[0]
            late = time.monotonic() - began - planned.timeout - planned.probe.cleanup_seconds()
            if seen.reason is not Reason.STARVED:
                self.late = max(self.late, late)
                return seen
            said = seen.message
        raise AssertionError(f"this machine is too busy for any test: {said}")

    def _drop(self) -> None:
        """The servers' own ends of what has ended, and what they remember of it."""
        for server in self.met:
            server.received.clear()
            for transport in list(server.open):
                transport.abort()

    async def held(self) -> Held:
        """What is held when everything that ends has ended."""
        for _ in range(50):
            await asyncio.sleep(0)
        gc.collect()
        statm = await asyncio.to_thread(Path("/proc/self/statm").read_text)
        files = await asyncio.to_thread(os.listdir, "/proc/self/fd")
        own = open_sockets(serving=[server.port for server in self.met])
        return Held(len(files), own, len(asyncio.all_tasks()), sys.getallocatedblocks(), int(statm.split()[1]) * PAGE)


@asynccontextmanager
async def _engine(soak: Soak, names: Nameserver | None = None, hosts: Path = Path("/nowhere")) -> AsyncIterator[None]:
    resolver = Resolver(hosts=hosts, servers=(servers.HOST,), port=names.port) if names else None
    wire, ledger = Wire(resolver=resolver), await asyncio.to_thread(open_ledger, None, SystemClock())
    soak.engine = Execute(
        plan=Plan("roadtrip", "test", "local", tuple(subject.planned for subject in soak.subjects), {}),
        wire=wire,
        ledger=ledger,
        clock=SystemClock(),
        rng=random.Random(7),  # noqa: S311 - the same runs each time
        version="0.0.0",
        log=lambda _, message: soak.log.append(message),
    )
    try:
        yield
    finally:
        await wire.aclose()
        await ledger.aclose()


async def _meet(soak: Soak, stack: AsyncExitStack, fault: str, row: Row, authority: Authority) -> None:
    for case in row.cases:
        server = await stack.enter_async_context(case.make(authority))
        soak.add(fault, case, server, authority.ca_file if row.tls else None, WITHIN if row.waits else ENOUGH)


async def test_ten_thousand_mixed_runs(
    authority: Authority, database: real.PostgresServer, cache: real.RedisServer, tmp_path: Path
) -> None:
    """Good servers and all faults that show at once, in any order: each verdict right, no socket, task or memory left."""
    soak, mix = Soak(), random.Random(11)  # noqa: S311 - the same order each time
    async with AsyncExitStack() as stack:
        for fault, row in ROWS.items():
            if not row.waits:
                await _meet(soak, stack, fault, row, authority)
        for asking, make in well(database, cache).items():
            server = await stack.enter_async_context(make(authority))
            soak.add("well", Case(make, (asking,), PASSES), server, authority.ca_file if asking in BEHIND_TLS else None, ENOUGH)
        for case in WORDS.values():
            soak.add("words", case, await stack.enter_async_context(case.make(authority)), None, ENOUGH)
        names = await stack.enter_async_context(nameserver(zone(rcode=dns.rcode.NXDOMAIN)))
        soak.add("DNS failure", _named("gone.test", Reason.DNS), servers.Server("", names.port), None, ENOUGH)
        soak.add("denied address", _named("evil.test", Reason.POLICY), servers.Server("", names.port), None, ENOUGH)
        await asyncio.to_thread((tmp_path / "hosts").write_text, "169.254.169.254 evil.test\n")
        await stack.enter_async_context(_engine(soak, names, tmp_path / "hosts"))
        wrong = await soak.run(mix.choices(soak.subjects, k=WARM))
        before = await soak.held()
        wrong += await soak.run(mix.choices(soak.subjects, k=MIXED - WARM))
        after = await soak.held()
    assert not wrong[:20]
    assert not soak.log
    assert soak.late < PROMPTLY
    _nothing_left(before, after)


async def _waiting(soak: Soak) -> None:
    """A few runs for what settles, then WAITING of them."""
    runs = [soak.subjects[number % len(soak.subjects)] for number in range(WAITING + 2 * AT_ONCE)]
    wrong = await soak.run(runs[: 2 * AT_ONCE])
    before = await soak.held()
    wrong += await soak.run(runs[2 * AT_ONCE :])
    after = await soak.held()
    assert not wrong
    assert not soak.log
    assert soak.late < PROMPTLY
    _nothing_left(before, after)


@pytest.mark.parametrize("fault", WAITS)
async def test_two_hundred_runs_that_wait(fault: str, authority: Authority) -> None:
    """A fault that lasts until the deadline: each verdict right, no socket and no task left, and hardly any memory."""
    soak = Soak()
    async with AsyncExitStack() as stack:
        await _meet(soak, stack, fault, ROWS[fault], authority)
        await stack.enter_async_context(_engine(soak))
        await _waiting(soak)


async def test_two_hundred_runs_of_a_dns_stall() -> None:
    """DNS servers that say nothing: dns each time, and nothing is left."""
    soak = Soak()
    async with nameserver(lambda _: None) as names:
        soak.add("DNS stall", _named("gone.test", Reason.DNS), servers.Server("", names.port), None, STALL)
        async with _engine(soak, names):
            await _waiting(soak)


def _named(host: str, reason: Reason) -> Case:
    """Every kind that resolves, asked for a name. No server is met."""
    return Case(lambda _: servers.silent(), BY_NAME, frozenset({reason}), host)


def _nothing_left(before: Held, after: Held) -> None:
    """Of what was done between two moments."""
    assert not [name for number, name in after.sockets.items() if number not in before.sockets]
    assert after.files <= before.files
    assert after.tasks <= before.tasks
    assert after.blocks - before.blocks < MOST_BLOCKS, "memory of Python's"
    assert after.bytes - before.bytes < MOST_BYTES, "memory of the process"
