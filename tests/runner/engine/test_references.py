"""Whose fault it is when targets fail by the network: theirs, or that of a network of ours that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from judge.observation import Observation
from probes.core import Failed, Reason, Result, Verdict
from probes.kinds.http import Http
from probes.probe import Context
from runner.engine.blame import ReferenceResponse, blame_network
from tests.support import servers
from tests.support.ca import Authority
from tests.support.engine import observer
from tests.support.lab import Lab, Run, lab, raising
from tests.support.servers import Server

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSED = ConnectionRefusedError(111, "Connection refused")


@asynccontextmanager
async def uplink(*references: str) -> AsyncIterator[tuple[Lab, list[Server]]]:
    """A laboratory whose references are `there` or `gone`, and the servers that stand for them."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(servers.canned(OK) if one == "there" else servers.refusing()) for one in references]
        yield await stack.enter_async_context(lab(references=tuple(f"http://{one.host}:{one.port}/" for one in made))), made


async def fails(bench: Lab, place: str, error: BaseException = REFUSED) -> Observation:
    """A failing run of a check of this place."""
    return await bench.observe(raising(error, "connect"), address=place)


async def passes(bench: Lab, place: str) -> Observation:
    """A passing run of a check of this place."""

    async def run(_: object) -> Result:
        return Result.passed()

    return await bench.observe(run, address=place)


async def test_a_lost_uplink_is_ours() -> None:
    """When the references are gone too, each check that fails by the network is unknown / offline, the very first one included."""
    async with uplink("gone", "gone") as (bench, _):
        seen = [await fails(bench, place) for place in ("a:1", "b:1", "a:1")]
    assert [(one.verdict, one.reason) for one in seen] == [(Verdict.UNKNOWN, Reason.OFFLINE)] * 3
    assert seen[0].message == "the connection was refused; the references don't respond either, so the runner's own network is down"


async def test_a_cluster_outage_is_theirs() -> None:
    """Any reference that answers shows that our network is there: however many targets fail, they fail."""
    async with uplink("gone", "there") as (bench, _):
        seen = [await fails(bench, place) for place in ("a:1", "b:1", "c:1")]
    assert [(one.verdict, one.reason, one.message) for one in seen] == [(Verdict.FAIL, Reason.REFUSED, "the connection was refused")] * 3


@pytest.mark.slow
async def test_the_first_failure_waits_for_what_the_references_say() -> None:
    """No verdict is known before the blame is; what the run measured is the target's alone, however long the references took."""
    async with servers.silent() as reference, lab(references=(f"http://{reference.host}:{reference.port}/",)) as bench:
        began = asyncio.get_running_loop().time()
        seen = await fails(bench, "a:1", TimeoutError())
        took = asyncio.get_running_loop().time() - began
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.OFFLINE)
    assert 1.5 < took < 3.5  # two seconds at most, and a busy machine
    assert seen.seconds < 0.5


async def test_references_are_asked_rarely_and_for_all_at_once() -> None:
    """Fifty checks that fail in the same second cost each reference one request."""
    async with uplink("there", "there") as (bench, made):
        await asyncio.gather(*(fails(bench, f"host-{n}:1") for n in range(50)))
        assert [one.connections for one in made] == [1, 1]


async def test_a_target_that_goes_on_failing_alone_needs_no_reference() -> None:
    """Once its own fault is found a lone target's failures ask nobody; when others begin to fail, the references are asked again."""
    async with uplink("there") as (bench, [reference]):
        await fails(bench, "a:1")
        bench.clock.advance(60)
        await fails(bench, "a:1")
        assert reference.connections == 1
        await fails(bench, "b:1")
        assert reference.connections == 2


@pytest.mark.parametrize("reason", [Reason.STATUS, Reason.EXPIRED, Reason.BODY])
async def test_what_a_target_said_is_its_own(reason: Reason) -> None:
    """A failure that came over a connection says that the network is there: nobody is asked, and it stands."""
    async with uplink("gone") as (bench, _):
        seen = await fails(bench, "a:1", Failed(reason, "it said so"))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason)


async def test_references_that_never_answered_excuse_nothing_once_a_check_passed() -> None:
    """Behind a firewall that lets no reference through, an outage is still an outage: their silence says nothing there."""
    async with uplink("gone") as (bench, _):
        assert (await bench.execute.uplink.ask_at_start()).startswith("no reference responds (127.0.0.1)")
        await passes(bench, "a:1")
        seen = await fails(bench, "b:1")
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.REFUSED)


async def test_a_certificate_that_does_not_hold_is_an_answer(authority: Authority) -> None:
    """Somebody out there showed it: the network is there."""
    async with servers.canned(OK, tls=authority.expired) as reference, lab(references=(f"https://localhost:{reference.port}/",)) as bench:
        seen = await fails(bench, "a:1")
    assert seen.verdict is Verdict.FAIL


async def test_without_references_every_failure_stands() -> None:
    """A plan that names none blames nobody but the targets, and asks nobody."""
    async with lab() as bench:
        assert await bench.execute.uplink.ask_at_start() == ""
        seen = [await fails(bench, place) for place in ("a:1", "b:1")]
    assert {one.verdict for one in seen} == {Verdict.FAIL}


@pytest.mark.slow
async def test_whoever_stops_waiting_leaves_the_asking_to_the_others() -> None:
    """A run that is cancelled while the references are asked spoils it for no other run."""
    async with servers.silent() as reference, lab(references=(f"http://{reference.host}:{reference.port}/",)) as bench:
        one, other = (asyncio.create_task(fails(bench, place, TimeoutError())) for place in ("a:1", "b:1"))
        await reference.connected.wait()
        one.cancel()
        assert (await other).reason is Reason.OFFLINE
        with pytest.raises(asyncio.CancelledError):
            await one


DNS = Result.failed(Reason.DNS, "no DNS server answered for api.test within 5s")
ADDRESS_THERE, ADDRESS_GONE = (
    ReferenceResponse("192.0.2.1", responded=True, named=False),
    ReferenceResponse("192.0.2.1", responded=False, named=False),
)
NAME_THERE, NAME_GONE = (
    ReferenceResponse("www.test", responded=True, named=True),
    ReferenceResponse("www.test", responded=False, named=True),
)


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ((ADDRESS_THERE, NAME_GONE), "the names of the references don't resolve either, so the runner's own resolver is down"),
        ((ADDRESS_GONE, NAME_GONE), "the reference doesn't respond either, so the runner's own network is down"),
        ((NAME_GONE, NAME_GONE), "the references don't respond either, so the runner's own network is down"),
        ((NAME_THERE, ADDRESS_GONE), ""),
        ((ADDRESS_THERE,), ""),
        ((ADDRESS_GONE,), ""),
        ((), ""),
    ],
)
def test_of_a_name_only_names_can_speak(heard: tuple[ReferenceResponse, ...], said: str) -> None:
    """A dead resolver of ours is ours, too; a reference by address says nothing of names."""
    judged = blame_network(DNS, heard)
    if said:
        assert (judged.verdict, judged.reason, judged.message) == (Verdict.UNKNOWN, Reason.OFFLINE, f"{DNS.message}; {said}")
    else:
        assert judged is DNS


GONE = (ReferenceResponse("www.test", responded=False, named=True),)


def test_a_refusal_is_a_response_where_no_reference_refuses() -> None:
    """R1: silent references say nothing of a host that refuses; references that refuse too share its fault."""
    refused = Result.failed(Reason.REFUSED, "the connection was refused")
    assert blame_network(refused, GONE) is refused
    assert blame_network(refused, (*GONE, replace(GONE[0], refused=True))).reason is Reason.OFFLINE


@pytest.mark.parametrize("phase", ["tls", "processing", "transfer", "auth", "query", "dialogue", "round_trip", "proxy"])
@pytest.mark.parametrize(
    ("error", "reason"), [(TimeoutError(), Reason.TIMEOUT), (ConnectionResetError(104, "Connection reset by peer"), Reason.RESET)]
)
async def test_a_run_that_had_connected_had_its_way(phase: str, error: OSError, reason: Reason) -> None:
    """R1: what stops on a connection that stood is the target's, whatever the references say, in every phase after connect."""
    async with uplink("gone") as (bench, _):
        seen = await bench.observe(raising(error, phase), address="a:1")
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason)


@pytest.mark.parametrize("phase", ["resolve", "connect"])
async def test_a_run_that_never_connected_had_no_way(phase: str) -> None:
    """R1: a timeout before a connection stood is the runner's network where the references are gone."""
    async with uplink("gone") as (bench, _):
        seen = await bench.observe(raising(TimeoutError(), phase), address="a:1")
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.OFFLINE)


async def test_a_connection_from_before_shows_no_way() -> None:
    """R1: a request that hangs on a connection of an earlier run may have lost its network since; a new one in the same run hasn't."""

    async def reuses(ctx: Context) -> Result:
        ctx.facts["connection_reused"] = 1
        return await raising(TimeoutError(), "processing")(ctx)

    async def connects_and_reuses(ctx: Context) -> Result:
        with ctx.phase("connect"):
            pass
        return await reuses(ctx)

    async with uplink("gone") as (bench, _):
        seen = [await bench.observe(run, address="a:1") for run in (reuses, connects_and_reuses)]
    assert [one.verdict for one in seen] == [Verdict.UNKNOWN, Verdict.FAIL]


def through(ip: str, error: OSError | None = None) -> Run:
    """A run of a target at this address: it fails as it connects, or passes."""

    async def run(ctx: Context) -> Result:
        ctx.evidence["addresses"] = [ip]
        if error:
            return await raising(error, "connect")(ctx)
        ctx.facts["ip"] = ip
        return Result.passed()

    return run


LOST = TimeoutError()


@asynccontextmanager
async def lost_uplink() -> AsyncIterator[Lab]:
    """A laboratory whose reference responded at the start, and is gone since."""
    async with AsyncExitStack() as stack:
        async with servers.canned(OK) as reference:
            bench = await stack.enter_async_context(lab(references=(f"http://{reference.host}:{reference.port}/",)))
            assert await bench.execute.uplink.ask_at_start() == ""
        bench.clock.advance(10)
        yield bench


async def test_a_neighbour_that_passes_meanwhile_shows_the_way() -> None:
    """R1: a target goes on timing out while its neighbour passes: its first failure can't be told, and the next ones are its own."""
    async with lost_uplink() as bench:
        verdicts = []
        for _ in range(3):
            verdicts.append((await bench.observe(through("10.0.0.7", LOST), address="a:1")).verdict)
            bench.clock.advance(15)
            await bench.observe(through("10.0.0.8"), address="b:1")
    assert verdicts == [Verdict.UNKNOWN, Verdict.FAIL, Verdict.FAIL]


async def test_a_pass_from_before_the_failures_shows_nothing() -> None:
    """R1: the network is lost right after a check has passed: no check that times out then counts as down."""
    async with lost_uplink() as bench:
        await bench.observe(through("10.0.0.8"), address="b:1")
        bench.clock.advance(5)
        seen = [await bench.observe(through(ip, LOST), address=ip) for ip in ("10.0.0.7", "10.0.0.8", "10.0.0.7")]
    assert {one.reason for one in seen} == {Reason.OFFLINE}


@pytest.mark.parametrize(("seconds", "verdict"), [(50, Verdict.FAIL), (70, Verdict.UNKNOWN)])
async def test_a_refusal_beside_a_pass_of_the_same_minute_is_the_targets(seconds: float, verdict: Verdict) -> None:
    """R1: a host that refuses was reached, if a neighbour was reached in the same minute, though the references refuse as well."""
    async with lost_uplink() as bench:
        await bench.observe(through("10.0.0.8"), address="b:1")
        bench.clock.advance(seconds)
        seen = await bench.observe(through("10.0.0.7", REFUSED), address="a:1")
    assert seen.verdict is verdict


async def test_another_way_shows_nothing() -> None:
    """R1: a service within this machine, or within the private network, passes while the way out of it is lost."""
    async with lost_uplink() as bench:
        reasons = []
        for _ in range(2):
            reasons.append((await bench.observe(through("8.8.8.8", LOST), address="a:1")).reason)
            await bench.observe(through("127.0.0.1"), address="b:1")
            await bench.observe(through("10.0.0.8"), address="c:1")
    assert reasons == [Reason.OFFLINE] * 2


async def test_a_server_that_hangs_is_down_though_the_references_are_gone() -> None:
    """R1: over a real connection: the server takes the request and says nothing."""
    async with servers.silent() as server, servers.refusing() as reference, observer() as bench:
        probe = Http.model_validate({"url": f"http://{server.host}:{server.port}/"})
        seen = await bench.observe(probe, within=0.3, references=(f"http://{reference.host}:{reference.port}/",))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
