"""A server that restarts between runs: green, red while it is down, and green again, for every kind."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from demo import servers as real
from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.http import Http
from tests.faults.askings import ASKINGS, Place, asked, kind_of
from tests.faults.rows import NO_CONNECTION
from tests.faults.well import BEHIND_TLS, Front, fronting, well
from tests.support import servers
from tests.support.ca import Authority
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

pytestmark = pytest.mark.slow
ENOUGH = 10.0  # seconds


async def _round(runs: Observer, fronts: dict[str, Front], authority: Authority) -> dict[str, Observation]:
    """Every way of asking once, at the same time."""
    places = {name: Place(servers.HOST, front.port, authority.ca_file if name in BEHIND_TLS else None) for name, front in fronts.items()}
    seen = await asyncio.gather(*(runs.observe(asked(name, at), kind=kind_of(name), within=ENOUGH) for name, at in places.items()))
    return dict(zip(fronts, seen, strict=True))


async def test_server_restart_between_runs(
    runs: Observer, authority: Authority, database: real.PostgresServer, cache: real.RedisServer
) -> None:
    """Nothing of an earlier run stands in the way of the next one, and what is down is refused."""
    async with AsyncExitStack() as stack:
        behind = {name: await stack.enter_async_context(make(authority)) for name, make in well(database, cache).items()}
        fronts = {name: await stack.enter_async_context(fronting(behind[name].port)) for name in behind if name not in NO_CONNECTION}
        assert {*fronts, *NO_CONNECTION} == set(ASKINGS)
        up = await _round(runs, fronts, authority)
        for front in fronts.values():
            await front.stop()
        async with no_leaks():
            down = await _round(runs, fronts, authority)
        for front in fronts.values():
            await front.start()
        again = await _round(runs, fronts, authority)
    assert {name: (one.verdict, one.message) for name, one in up.items() if one.verdict is not Verdict.PASS} == {}
    assert {name: one.reason for name, one in down.items()} == dict.fromkeys(fronts, Reason.REFUSED)
    assert {name: (one.verdict, one.message) for name, one in again.items() if one.verdict is not Verdict.PASS} == {}
    assert not runs.log


@pytest.mark.parametrize("asking", ["http", "http/2"])
async def test_a_restart_under_a_warm_connection(
    asking: str, runs: Observer, authority: Authority, database: real.PostgresServer, cache: real.RedisServer
) -> None:
    """A connection that was kept over a restart is stale, which is no failure of the server that is up again."""
    async with well(database, cache)[asking](authority) as behind, fronting(behind.port) as front:
        cold = asked(asking, Place(servers.HOST, front.port))
        assert isinstance(cold, Http)
        warm = cold.model_copy(update={"keep_alive": True})
        assert (await runs.observe(warm)).verdict is Verdict.PASS
        assert (await runs.observe(warm)).facts["connection_reused"] == 1
        await front.stop()
        await front.start()
        seen = await runs.observe(warm)
    assert (seen.verdict, seen.facts.get("connection_reused")) == (Verdict.PASS, None), seen.message
