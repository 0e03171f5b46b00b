"""Nothing is sent that the configuration doesn't allow, redirects included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from judge.observation import Check
from probes.core import Ask, PolicyRefused, QuotaRefused, Result
from probes.fields import Rate
from probes.probe import Context, Probe
from probes.target import Rule, Target
from runner.config.plan import Every, Planned
from runner.engine.permits import Permits, Rules
from runner.state import StateLedger, open_ledger
from tests.support.clock import FakeClock

API = Target(
    name="api",
    url="http://api.test:8000",
    allow=(Rule.parse("POST /api/auth/token"), Rule.parse("POST /v1/*")),
    deny=(Rule.parse("GET /api/maps/*"),),
)
PARTNER = Target(name="partner", url="https://partner.test/v2", allow=(Rule.parse("POST /v2/token"),))


class Asking(Probe):
    asked: tuple[tuple[str, str], ...] = ()

    def asks(self) -> tuple[Ask, ...]:
        return tuple(Ask(method, url) for method, url in self.asked)

    def address(self) -> str:
        return "nowhere"

    async def run(self, ctx: Context) -> Result:
        return Result.passed()


def planned(*asked: tuple[str, str], target: Target | None = None) -> Planned:
    """A check that may ask this."""
    return Planned(Check("c", "asking", 1), Asking(asked=asked), Every(30), 5.0, "", target=target)


@asynccontextmanager
async def permits(
    *asked: tuple[str, str], target: Target | None = None, targets: tuple[Target, ...] = (API, PARTNER)
) -> AsyncIterator[Permits]:
    """The permits of one run of it, opened."""
    async with ledger() as kept:
        made = Permits(Rules(planned(*asked, target=target), {t.name: t for t in targets}), kept, FakeClock().time)
        await made.acquire(5.0)
        yield made


@asynccontextmanager
async def ledger(clock: FakeClock | None = None) -> AsyncIterator[StateLedger]:
    """One in memory."""
    kept = await asyncio.to_thread(open_ledger, None, clock or FakeClock())
    try:
        yield kept
    finally:
        await kept.aclose()


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "http://api.test:8000/anything?x=1"),
        ("POST", "http://api.test:8000/api/auth/token"),
        ("POST", "http://api.test:8000//api/./auth/token"),
        ("POST", "https://api.test:8000/api/auth/token"),
        ("GET", "https://api.test/anything"),
        ("GET", "https://partner.test/v2/search"),
        ("POST", "https://partner.test/v2/token"),
    ],
)
async def test_a_targets_check_may_ask_by_the_rules_of_where_it_asks(method: str, url: str) -> None:
    """Its own target, that target's https twin, and, after a redirect, another target by that target's own rules."""
    async with permits(target=API) as permit:
        await permit(method, url)


@pytest.mark.parametrize(
    ("method", "url", "said"),
    [
        ("POST", "http://api.test:8000/api/reservations/book", "target api doesn't allow POST /api/reservations/book"),
        ("DELETE", "https://api.test:8000/api/auth/token", "target api doesn't allow DELETE"),
        ("GET", "http://api.test:8000/api/maps/1", "target api denies GET /api/maps/1"),
        ("GET", "https://api.test/api/x/../maps/1", "target api denies GET /api/maps/1"),
        ("POST", "http://api.test:8000/v1/../api/reservations/book", "doesn't allow POST /api/reservations/book"),
        ("POST", "http://api.test:8000/v1/%2e%2e/api/reservations/book", "doesn't allow POST /api/reservations/book"),
        ("GET", "http://api.test/anything", "http://api.test is neither an address of this check nor a target"),
        ("GET", "https://api.test:2375/anything", "neither an address of this check nor a target"),
        ("GET", "http://api.test:8000@evil.test/", "evil.test is neither"),
        ("GET", "http://169.254.169.254/latest/meta-data", "169.254.169.254 is neither"),
        ("GET", "http://partner.test/v2/search", "partner.test is neither"),
        ("POST", "https://partner.test/v2/book", "target partner doesn't allow POST /v2/book"),
        ("GET", "ftp://api.test:8000/", "neither"),
        ("GET", "nonsense", "neither"),
        ("GET", "http://api.test:99999/", "is not an address"),
        ("GET", "http://[api.test/", "is not an address"),
    ],
)
async def test_what_no_rule_allows_is_refused(method: str, url: str, said: str) -> None:
    """Other methods, denied paths however written, other hosts and ports, https back to http: Refused, with the reason."""
    async with permits(target=API) as permit:
        with pytest.raises(PolicyRefused, match=said):
            await permit(method, url)


CHAT = ("POST", "http://model.test/v1/chat?key=1")
TALK = ("GET", "http://model.test/v1/{{session}}/talk")


@pytest.mark.parametrize(
    ("method", "url"),
    [CHAT, ("POST", "https://model.test/v1/chat?key=1"), ("GET", "http://model.test/elsewhere"), ("GET", "http://model.test/v1/abc/talk")],
)
async def test_a_check_with_its_own_url_asks_that(method: str, url: str) -> None:
    """Its kind's own request, over https too, and reading on the same host, where a redirect leads."""
    async with permits(CHAT, TALK) as permit:
        await permit(method, url)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", "http://model.test/v1/chat?key=2"),
        ("POST", "http://model.test/v1/delete"),
        ("DELETE", "http://model.test/v1/chat?key=1"),
        ("POST", "http://model.test:81/v1/chat?key=1"),
    ],
)
async def test_and_nothing_else(method: str, url: str) -> None:
    """A redirect that would have it POST elsewhere is refused."""
    async with permits(CHAT) as permit:
        with pytest.raises(PolicyRefused):
            await permit(method, url)


async def test_whoever_asks_a_limited_host_pays_its_limit() -> None:
    """A check with a url of its own on a target's host counts against that target's limit too."""
    clock = FakeClock()
    limited = Target(name="api", url="http://api.test", limit=Rate.parse("3/1m"))
    async with ledger(clock) as kept:
        own = Permits(Rules(planned(("GET", "http://api.test/health")), {"api": limited}), kept, clock.time)
        await own.acquire(5.0)
        assert await kept.taken("api", 60) == 1
        await own("GET", "http://api.test/health")
        await own.settle()
        assert await kept.taken("api", 60) == 1


async def test_a_run_that_pays_two_targets_pays_both_or_none() -> None:
    """Where the second target's limit is reached, what the first was paid is given back."""
    clock = FakeClock()
    first = Target(name="first", url="http://first.test", limit=Rate.parse("3/1m"))
    second = Target(name="second", url="http://second.test", limit=Rate.parse("1/1m"))
    asked = (("GET", "http://first.test/"), ("GET", "http://second.test/"), ("GET", "http://second.test/again"))
    async with ledger(clock) as kept:
        run = Permits(Rules(planned(*asked), {"first": first, "second": second}), kept, clock.time)
        with pytest.raises(QuotaRefused, match="limit of second: 0 of 1 in 1 min are taken, and this needs 2"):
            await run.acquire(5.0)
        await run.settle()
        assert await kept.taken("first", 60) == 0


async def test_what_a_quick_run_sent_counts_from_when_it_was_sent() -> None:
    """A check that may take an hour and took a second blocks a limit of one a minute for a minute, not for an hour."""
    clock = FakeClock()
    limited = Target(name="api", url="http://api.test", limit=Rate.parse("1/1m"))
    check = planned(("GET", "http://api.test/"), target=limited)
    async with ledger(clock) as kept:
        for _ in range(2):
            run = Permits(Rules(check, {}), kept, clock.time)
            await run.acquire(3600.0)
            await run("GET", "http://api.test/")
            clock.advance(1)
            await run.settle()
            clock.advance(60)


async def test_what_was_sent_late_counts_from_when_it_was_sent() -> None:
    """A run that outlived its time, since the runner was busy, sent later than was paid for: its slots last from the end."""
    clock = FakeClock()
    limited = Target(name="api", url="http://api.test", limit=Rate.parse("1/1m"))
    check = planned(("GET", "http://api.test/"), target=limited)
    async with ledger(clock) as kept:
        run = Permits(Rules(check, {}), kept, clock.time)
        await run.acquire(5.0)
        clock.advance(35)
        await run("GET", "http://api.test/")
        await run.settle()
        clock.advance(59)
        with pytest.raises(QuotaRefused):
            await Permits(Rules(check, {}), kept, clock.time).acquire(5.0)


async def test_a_diagnosis_leaves_the_rest_of_a_limit_alone() -> None:
    """A fifth of four is none at all: what is left of a limit is rounded down for a diagnosis."""
    clock = FakeClock()
    check = planned(("GET", "http://api.test/"))
    async with ledger(clock) as kept:
        for limit, enough in (("4/1m", False), ("5/1m", True)):
            target = Target(name=limit, url="http://api.test", limit=Rate.parse(limit))
            run = Permits(Rules(check, {target.name: target}), kept, clock.time, share=0.2)
            if enough:
                await run.acquire(5.0)
            else:
                with pytest.raises(QuotaRefused, match=r"0 of 0 in 1 min are taken, and this needs 1"):
                    await run.acquire(5.0)


async def test_a_check_pays_its_own_target() -> None:
    """Where two targets share a host, each with a limit, the check's own is charged; a check of neither pays the first."""
    clock = FakeClock()
    one, two = (Target(name=name, url="http://api.test", limit=Rate.parse("9/1m")) for name in ("one", "two"))
    async with ledger(clock) as kept:
        for target, paid in ((two, [0, 1]), (one, [1, 1]), (None, [2, 1])):
            await Permits(Rules(planned(("GET", "http://api.test/"), target=target), {"one": one, "two": two}), kept, clock.time).acquire(
                5.0
            )
            assert [await kept.taken(name, 60) for name in ("one", "two")] == paid


async def test_the_https_twin_of_a_limited_host_pays_too() -> None:
    """A redirect to https asks the same host."""
    clock = FakeClock()
    limited = Target(name="api", url="http://api.test", limit=Rate.parse("1/1m"))
    async with ledger(clock) as kept:
        run = Permits(Rules(planned(target=limited), {}), kept, clock.time)
        await run.acquire(5.0)
        await run("GET", "https://api.test/")
        assert await kept.taken("api", 60) == 1
        with pytest.raises(QuotaRefused):
            await run("GET", "http://api.test/")


async def test_a_run_that_never_ends_counts_to_its_latest_moment() -> None:
    """Killed after it paid, it may have sent until its deadline: its slots are free a window after that, no second earlier."""
    clock = FakeClock()
    limited = Target(name="api", url="http://api.test", limit=Rate.parse("1/1m"))
    check = planned(("GET", "http://api.test/"), target=limited)
    async with ledger(clock) as kept:
        await Permits(Rules(check, {}), kept, clock.time).acquire(40.0)
        clock.advance(99)
        with pytest.raises(QuotaRefused):
            await Permits(Rules(check, {}), kept, clock.time).acquire(40.0)
        clock.advance(1)
        await Permits(Rules(check, {}), kept, clock.time).acquire(40.0)
