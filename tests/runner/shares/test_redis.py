"""The scripts in a real Redis: leases as in the simulation, and budgets and limits that no runners together exceed."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import redis.asyncio

from demo.servers import RedisServer
from probes.core import QuotaRefused
from runner.config.plan import Coordinate
from runner.shares.ledger import SharedLedger
from runner.shares.redis import Store, StoreGoneError
from runner.state import StateRefused, open_ledger
from tests.support.clock import RealClock
from tests.support.leasing import Table

SLOTS = 64
ME, YOU = "me", "you"


@asynccontextmanager
async def stores(server: RedisServer, *names: str, lasts: float = 60.0) -> AsyncIterator[list[Store]]:
    """One for each runner, in a group that no other test has."""
    group = secrets.token_hex(4)
    found = [Store(Coordinate(server.url, lasts, SLOTS, 1000, f"a/b/{group}", f"a/b-{group}"), name) for name in names]
    try:
        yield found
    finally:
        for store in found:
            await store.aclose()


@pytest.mark.parametrize("seed", range(6))
async def test_the_scripts_do_what_the_simulation_does(leases_redis: RedisServer, seed: int) -> None:
    """What the property tests prove of the simulated store holds for Redis: the same calls have the same results."""
    random = Random(seed)  # noqa: S311 - not secret
    table = Table(slots=SLOTS, lasts=60.0)
    async with stores(leases_redis, "a", "b", "c") as found:
        by_name = dict(zip("abc", found, strict=True))
        for _ in range(60):
            name = random.choice("abc")
            slots = frozenset(random.sample(range(SLOTS), random.randrange(1, 20)))
            match random.choice(["renew", "acquire", "release"]):
                case "renew":
                    room = random.random() < 0.5
                    assert await by_name[name].renew(slots, room=room) == table.renew(name, slots, room=room)
                case "acquire":
                    assert await by_name[name].acquire(slots) == table.acquire(name, slots)
                case _:
                    heirs = {slot: random.choice(["", "a", "b", "c"]) for slot in sorted(slots)}
                    leaving = random.random() < 0.2
                    await by_name[name].release(heirs, leaving=leaving)
                    table.release(name, heirs, leaving=leaving)


async def test_a_lease_ends_by_itself_and_its_fence_rises(leases_redis: RedisServer) -> None:
    """A dead runner's lease is free after it has lasted, and the next holder has a higher fence."""
    async with stores(leases_redis, ME, YOU, lasts=0.5) as (mine, yours):
        assert await mine.acquire(frozenset({3})) == {3: 1}
        assert await yours.acquire(frozenset({3})) == {}
        async with asyncio.timeout(10):
            while not (taken := await yours.acquire(frozenset({3}))):
                await yours.renew(frozenset(), room=True)
        assert taken == {3: 2}
        assert 3 not in (await mine.renew(frozenset({3}), room=True)).renewed


async def test_the_next_runner_knows_when_checks_ran(leases_redis: RedisServer) -> None:
    """In seconds since then, by Redis's clock: nobody's wall clock is compared. Only the holder of the slot writes it."""
    async with stores(leases_redis, ME, YOU) as (mine, yours):
        await mine.acquire(frozenset({3}))
        await mine.renew(frozenset({3}), room=True, seen=[(3, "api", 12.5), (4, "other", 1.0)])
        await yours.renew(frozenset(), room=True, seen=[(3, "api", 0.0)])
        ages = await yours.seen(["api", "other", "nobody"])
    assert set(ages) == {"api"}
    assert ages["api"] == pytest.approx(12.5, abs=10)
    assert ages["api"] >= 12.5


async def test_a_store_that_does_not_respond_is_gone_within_the_deadline(leases_redis: RedisServer) -> None:
    """A frozen Redis: the call ends, and nobody says that it succeeded."""
    async with stores(leases_redis, ME, lasts=1.0) as (store,):
        await store.renew(frozenset(), room=True)
        await leases_redis.freeze()
        try:
            with pytest.raises(StoreGoneError):
                await store.renew(frozenset(), room=True)
        finally:
            await leases_redis.thaw()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert (await store.renew(frozenset(), room=True)).runners == {ME: True}
                    break
                except StoreGoneError:  # the machine is busy
                    continue


# Budgets and limits


@asynccontextmanager
async def ledgers(server: RedisServer, number: int) -> AsyncIterator[list[SharedLedger]]:
    """As many runners, each with a state of its own."""
    clock = RealClock()
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(stores(server, *map(str, range(number))))
        made = []
        for name, store in enumerate(found):
            local = await asyncio.to_thread(open_ledger, None, clock)
            stack.push_async_callback(local.aclose)
            made.append(SharedLedger(local, store, str(name), clock.monotonic, clock.time))
        yield made


DAYS = 100 * 365 * 86400.0  # a window that doesn't end while a test runs


async def reserved(ledger: SharedLedger, amount: float, most: float = 100.0) -> int | None:
    """A reservation, None if it was refused."""
    try:
        return await ledger.reserve("story/tokens", amount, most, DAYS)
    except StateRefused:
        raise
    except QuotaRefused:
        return None


async def taken(ledger: SharedLedger, count: int = 1, most: int = 10) -> tuple[int, ...]:
    """Slots of a limit; none if it was refused."""
    try:
        return await ledger.limit("api", count, most, 3600.0)
    except StateRefused:
        raise
    except QuotaRefused:
        return ()


async def test_all_runners_together_keep_a_budget(leases_redis: RedisServer) -> None:
    """Three runners that reserve at once never reserve more than the budget, and a settled reservation leaves room for another."""
    async with ledgers(leases_redis, 3) as found:
        made = await asyncio.gather(*(reserved(ledger, 7.0) for _ in range(10) for ledger in found))
        assert sum(one is not None for one in made) == 14
        reservation = await reserved(found[0], 2.0)
        assert reservation is not None
        await found[0].settle(reservation, 0.5)
        assert await reserved(found[1], 1.5) is not None
        assert await reserved(found[2], 0.1) is None
        with pytest.raises(
            QuotaRefused, match=r"budget story/tokens: all runners have spent 100 of 100 until .*, 0.1 more would exceed it"
        ):
            await found[2].reserve("story/tokens", 0.1, 100.0, DAYS)


async def test_all_runners_together_keep_a_limit(leases_redis: RedisServer) -> None:
    """Slots are taken all or none by all runners, and what isn't used is free again."""
    async with ledgers(leases_redis, 3) as found:
        made = await asyncio.gather(*(taken(ledger) for _ in range(5) for ledger in found))
        assert sum(map(len, made)) == 10
        assert await taken(found[0]) == ()
        owner, slots = next((found[number % 3], slots) for number, slots in enumerate(made) if slots)
        await owner.sent((), slots)
        assert await taken(found[1], 2) == ()
        assert len(await taken(found[2], 1)) == 1


async def test_a_redis_that_forgets_lets_nobody_exceed_what_it_saw(leases_redis: RedisServer) -> None:
    """FLUSHALL, as a failover to an empty replica: each runner tells Redis again what it saw last, of all runners."""
    async with ledgers(leases_redis, 2) as (one, two):
        assert await reserved(one, 60.0) is not None
        assert await reserved(two, 30.0) is not None
        assert len([slots for _ in range(6) if (slots := await taken(one))]) == 6
        assert len([slots for _ in range(2) if (slots := await taken(two))]) == 2
        await leases_redis.empty()
        assert await reserved(two, 30.0) is None
        assert await reserved(one, 30.0) is None
        assert await reserved(two, 10.0) is not None
        assert await taken(two, 3) == ()
        assert await taken(one, 3) == ()
        assert await taken(one, 2) != ()


async def test_without_redis_nothing_that_is_counted_is_sent(leases_redis: RedisServer) -> None:
    """Budgets, limits and logins are refused, and what the runner's own state had reserved for them is free again."""
    async with ledgers(leases_redis, 1) as (ledger,):
        await leases_redis.stop()
        try:
            for refused in (
                ledger.reserve("story/tokens", 1.0, 1.0, DAYS),
                ledger.limit("api", 1, 1, 3600.0),
                ledger.held("login"),
            ):
                with pytest.raises(StateRefused, match=r"the Redis of `coordinate` can't be used, so that nobody knows"):
                    await refused
        finally:
            await leases_redis.start()
        assert await reserved(ledger, 1.0, 1.0) is not None
        assert await taken(ledger, 1, 1) != ()
        await ledger.held("login")


async def test_a_login_that_one_runner_was_refused_is_held_by_all(leases_redis: RedisServer) -> None:
    """The reason and the end are told; a longer hold isn't shortened."""
    async with ledgers(leases_redis, 3) as (one, two, three):
        await one.hold("login", 600.0, "401 from api")
        await two.hold("login", 1.0, "another reason")
        with pytest.raises(QuotaRefused, match=r"held until .*: 401 from api"):
            await three.held("login")


async def test_the_rights_of_the_guide_are_enough(leases_redis: RedisServer) -> None:
    """A user with the rights that docs/scale.md lists can do everything, and the URL's password is that user's."""
    guide = await asyncio.to_thread((Path(__file__).parents[3] / "docs/scale.md").read_text)
    rights = re.findall(r"^~outrider:.*$", guide, re.MULTILINE)[0].split()
    async with redis.asyncio.Redis.from_url(leases_redis.url, driver_info=None) as admin:
        await admin.execute_command("ACL", "SETUSER", "sharer", "on", ">let-me-share", *rights)  # type: ignore[no-untyped-call]
    url = leases_redis.url.replace("redis://", "redis://sharer:let-me-share@")
    store = Store(Coordinate(url, 60.0, SLOTS, 1000, "rights/a/b", "rights/a"), ME)
    clock = RealClock()
    local = await asyncio.to_thread(open_ledger, None, clock)
    ledger = SharedLedger(local, store, ME, clock.monotonic, clock.time)
    try:
        await store.acquire(frozenset({1, 2}))
        await store.renew(frozenset({1}), room=True, seen=[(1, "api", 0.0)])
        assert set(await store.seen(["api"])) == {"api"}
        await ledger.settle(await ledger.reserve("tokens", 2.0, 9.0, DAYS), 1.0)
        first, second = await ledger.limit("api", 2, 9, 3600.0)
        await ledger.sent((first,), (second,))
        await ledger.hold("login", 60.0, "401")
        await store.release({1: "", 2: YOU}, leaving=True)
        with pytest.raises(QuotaRefused, match="401"):
            await ledger.held("login")
        assert await store.held("hold:login")
    finally:
        await store.aclose()
        await local.aclose()
