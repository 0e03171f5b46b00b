"""Whatever a probe does, one observation comes of it, in time, with the right reason and without a secret."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import random
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any, ClassVar

import pytest
from pydantic import PrivateAttr

from probes._core import Ask, Context, Failed, Probe, Reason, Refused, Result, Verdict, Withheld
from probes._fields import Rate
from probes._target import Target
from probes._wire import Wire
from runner.engine.clock import SystemClock
from runner.engine.execute import Execute
from runner.observation import Check, Observation
from runner.plan.model import Every, Plan, Planned
from runner.state import StateLedger, open_ledger
from tests.support import servers

Run = Callable[[Context], Awaitable[Result]]


class LibraryError(Exception):
    pass


class SpecialError(LibraryError):
    pass


class Scripted(Probe):
    """Does what a test says."""

    errors: ClassVar[dict[type[Exception], Reason]] = {LibraryError: Reason.PROTOCOL, SpecialError: Reason.AUTH}
    parts: tuple[str, ...] = ()
    leaving: float = 0.0
    urls: tuple[tuple[str, str], ...] = ()
    _run: Run = PrivateAttr()

    def asks(self) -> tuple[Ask, ...]:
        return tuple(Ask(method, url) for method, url in self.urls)

    def part_names(self) -> tuple[str, ...]:
        return self.parts

    def afterwards(self) -> float:
        return self.leaving

    def address(self) -> str:
        return "nowhere"

    async def run(self, ctx: Context) -> Result:
        return await self._run(ctx)


def scripted(run: Run, *, timeout: float = 5.0, target: Target | None = None, **settings: Any) -> Planned:
    """A planned check that does this."""
    probe = Scripted(**settings)
    probe._run = run
    check = Check("under-test", "scripted", 7, timeout=timeout, target=target.name if target else "")
    parts = tuple(replace(check, name=f"under-test/{part}", part_of="under-test") for part in probe.parts)
    return Planned(check, probe, Every(30), timeout, "", target, parts)


class Lab:
    """An Execute over a real wire and a ledger in memory, and what it logged."""

    def __init__(self, ledger: StateLedger, *targets: Target, secrets: frozenset[str] = frozenset()) -> None:
        self.wire = Wire()
        self.ledger = ledger
        self.logged: list[str] = []
        self.execute = Execute(
            plan=Plan("svc", "test", "here", (), {t.name: t for t in targets}, secrets=secrets),
            wire=self.wire,
            ledger=ledger,
            clock=SystemClock(),
            rng=random.Random(7),  # noqa: S311 - the same ids in every run of the test
            version="1.2.3",
            log=lambda _, message: self.logged.append(message),
        )

    async def observe(self, run: Run, **settings: Any) -> Observation:
        by_hand = settings.pop("by_hand", False)
        [observation] = await self.execute.observe(scripted(run, **settings), by_hand=by_hand)
        return observation


@asynccontextmanager
async def lab(*targets: Target, secrets: frozenset[str] = frozenset()) -> AsyncIterator[Lab]:
    """A laboratory, closed at the end."""
    ledger = await asyncio.to_thread(open_ledger, None, SystemClock())
    made = Lab(ledger, *targets, secrets=secrets)
    try:
        yield made
    finally:
        await made.wire.aclose()
        await ledger.aclose()


def raising(error: BaseException, phase: str = "processing") -> Run:
    """A run that ends so, in a phase."""

    async def run(ctx: Context) -> Result:
        with ctx.phase(phase):
            raise error

    return run


def caused(error: Exception, by: BaseException) -> Exception:
    """As `raise error from by`."""
    error.__cause__ = by
    return error


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    """As OpenSSL would report it."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "some words of OpenSSL"
    return error


OS = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), Reason.REFUSED, "the connection was refused in processing"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), Reason.RESET, "the connection was reset in processing"),
    (ConnectionResetError("Connection lost"), Reason.RESET, "Connection lost in processing"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), Reason.RESET, "the connection was reset in processing"),
    (ConnectionAbortedError(errno.ECONNABORTED, "x"), Reason.RESET, "x in processing"),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), Reason.UNREACHABLE, "Network is unreachable in processing"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), Reason.UNREACHABLE, "No route to host in processing"),
    (PermissionError(errno.EPERM, "Operation not permitted"), Reason.UNREACHABLE, "Operation not permitted in processing"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Reason.DNS, "Name or service not known in processing"),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), Reason.TLS, "TLS failed: .*wrong version number.* in processing"),
    (certificate_error(10), Reason.EXPIRED, "the certificate has expired in processing"),
    (certificate_error(9), Reason.NOT_YET_VALID, "the certificate is not valid yet"),
    (certificate_error(62), Reason.HOSTNAME, "the certificate is for another name"),
    (certificate_error(64), Reason.HOSTNAME, "the certificate is for another address"),
    (certificate_error(18), Reason.UNTRUSTED, "the certificate is self-signed"),
    (certificate_error(19), Reason.UNTRUSTED, "authority that isn't trusted here"),
    (certificate_error(20), Reason.UNTRUSTED, "issuer isn't known here"),
    (certificate_error(21), Reason.CHAIN, "sent its certificate alone"),
    (certificate_error(26), Reason.UNTRUSTED, "the certificate doesn't hold: some words of OpenSSL"),
    (asyncio.IncompleteReadError(b"abc", 10), Reason.TRUNCATED, "ended after 3 bytes"),
    (TimeoutError(), Reason.TIMEOUT, "no answer within .*ms in processing"),
    (Failed(Reason.BODY, "the body says no"), Reason.BODY, "^the body says no$"),
    (Refused("POST is not allowed"), Reason.POLICY, "^POST is not allowed$"),
    (LibraryError("a protocol error\nwith a second line"), Reason.PROTOCOL, "^a protocol error in processing$"),
    (SpecialError("role probe"), Reason.AUTH, "^role probe in processing$"),
    (caused(LibraryError("wrapped"), ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")), Reason.REFUSED, "was refused"),
    (caused(LibraryError("wrapped"), TimeoutError()), Reason.TIMEOUT, "no answer"),
    (caused(LibraryError("wrapped"), ValueError("?")), Reason.PROTOCOL, "wrapped"),
    (ExceptionGroup("several", [ExceptionGroup("deep", [Failed(Reason.STATUS, "503")])]), Reason.STATUS, "^503$"),
    (ExceptionGroup("several", [ValueError("?"), Refused("no")]), Reason.POLICY, "^no$"),
    (BaseExceptionGroup("several", [asyncio.CancelledError(), OSError(errno.ENETDOWN, "down")]), Reason.UNREACHABLE, "down"),
]


@pytest.mark.parametrize(("error", "reason", "message"), OS, ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else None)
async def test_what_the_target_does_is_its_failure(error: BaseException, reason: Reason, message: str) -> None:
    """Each exception that the network, TLS or a library raises has its own reason and one calm sentence with the place."""
    async with lab() as bench:
        seen = await bench.observe(raising(error))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason)
    assert re.search(message, seen.message), seen.message
    assert "processing" in seen.phases
    assert bench.logged == []


OURS = [
    (OSError(errno.EMFILE, "Too many open files"), Reason.STARVED, "short of resources"),
    (OSError(errno.ENFILE, "Too many open files in system"), Reason.STARVED, "short of resources"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), Reason.STARVED, "short of resources"),
    (MemoryError(), Reason.STARVED, "out of memory"),
    (Failed(Reason.STARVED, "no more ports"), Reason.STARVED, "no more ports"),
    (ZeroDivisionError("division by zero"), Reason.INTERNAL, "the probe broke: ZeroDivisionError: division by zero"),
    (RecursionError("too deep"), Reason.INTERNAL, "the probe broke: RecursionError"),
    (FileNotFoundError(errno.ENOENT, "No such file"), Reason.INTERNAL, "the probe broke: FileNotFoundError"),
    (asyncio.CancelledError(), Reason.INTERNAL, "the run cancelled itself"),
    (SystemExit(1), Reason.INTERNAL, "the probe tried to end the process"),
    (ExceptionGroup("several", [KeyError("k")]), Reason.INTERNAL, "KeyError"),
]


@pytest.mark.parametrize(("error", "reason", "message"), OURS, ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else None)
async def test_what_goes_wrong_with_us_is_no_red_light(error: BaseException, reason: Reason, message: str) -> None:
    """Our own shortages and bugs are unknown; a bug is logged with the place where it happened."""
    async with lab() as bench:
        seen = await bench.observe(raising(error))
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, reason)
    assert message in seen.message
    assert bool(bench.logged) == (reason is Reason.INTERNAL)


async def test_what_is_no_result_is_a_fault_of_the_kind() -> None:
    """A kind from elsewhere that returns nothing is unknown / internal, and stops nothing."""

    async def run(_: Context) -> Any:
        return None

    async with lab() as bench:
        seen = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
    assert "NoneType instead of a Result" in seen.message


async def test_a_timeout_says_where_it_stood_and_keeps_the_phases() -> None:
    """A server that accepts and says nothing: fail / timeout at the deadline, in its phase and step, the connect time kept."""

    async def run(ctx: Context) -> Result:
        ctx.step = "story"
        sock = await ctx.wire.dial(ctx, server.host, server.port)
        with sock, ctx.phase("processing"):
            await asyncio.get_running_loop().sock_recv(sock, 1)
        return Result.passed()

    async with servers.silent() as server, lab() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert seen.message == "no answer within 100ms in processing of step story"
    assert list(seen.phases) == ["resolve", "connect", "processing"]
    assert 0.1 <= seen.seconds < 0.2
    assert 0.09 <= seen.phases["processing"] < 0.2
    assert seen.facts["ip"] == "127.0.0.1"


async def test_real_sockets_give_the_same_reasons() -> None:
    """Refusing, resetting and unreachable addresses, by the wire itself."""

    def dialling(host: str, port: int) -> Run:
        async def run(ctx: Context) -> Result:
            stream = await ctx.wire.stream(ctx, host, port)
            with ctx.phase("processing"):
                await stream.write(b"hello")
                await stream.read()
            return Result.passed()

        return run

    async with servers.refusing() as refusing, servers.resetting(once_asked=True) as resetting, lab() as bench:
        refused = await bench.observe(dialling(refusing.host, refusing.port))
        reset = await bench.observe(dialling(resetting.host, resetting.port))
        unreachable = await bench.observe(dialling(servers.NO_ROUTE, 80))
    assert (refused.reason, reset.reason, unreachable.reason) == (Reason.REFUSED, Reason.RESET, Reason.UNREACHABLE)
    assert refused.message.endswith("in connect")
    assert reset.message.endswith("in processing")


async def test_a_run_that_swallows_its_cancelling_is_left_behind() -> None:
    """The observation comes soon after the deadline, whatever the probe does; that it wouldn't end is logged."""
    done = asyncio.Event()

    async def run(_: Context) -> Result:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:  # what no probe should do
                continue
        raise ValueError("nobody listens any more")

    async with lab() as bench:
        started = time.monotonic()
        seen = await bench.observe(run, timeout=0.05)
        assert time.monotonic() - started < 1.0
        done.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert seen.reason is Reason.TIMEOUT
    assert 0.05 <= seen.seconds < 0.15
    assert bench.logged == ["under-test: kind scripted doesn't end when it is cancelled"]


async def test_a_result_after_the_deadline_comes_too_late() -> None:
    """A probe that turns its cancelling into a pass has not passed."""

    async def run(_: Context) -> Result:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Result.passed()
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.02)
    assert seen.reason is Reason.TIMEOUT


async def test_leaving_in_order_costs_the_verdict_nothing() -> None:
    """What a run does after its verdict has time of its own, beyond the deadline, and isn't the target's time."""
    left: list[str] = []

    async def run(ctx: Context) -> Result:
        try:
            return Result.passed("arrived")
        finally:
            ctx.decided = ctx.clock.monotonic()
            await asyncio.wait_for(_later(0.1), 1)
            left.append("in order")

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.05, leaving=1.0)
    assert (seen.verdict, seen.message, left) == (Verdict.PASS, "arrived", ["in order"])
    assert seen.seconds < 0.05


async def test_a_run_that_is_cut_at_its_deadline_leaves_in_order_too() -> None:
    """A journey that times out still logs out."""
    left: list[str] = []

    async def run(ctx: Context) -> Result:
        try:
            with ctx.phase("processing"):
                await asyncio.Event().wait()
        finally:
            await _later(0.05)
            left.append("in order")
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.03, leaving=1.0)
    assert (seen.reason, left) == (Reason.TIMEOUT, ["in order"])
    assert seen.seconds < 0.08


async def _later(seconds: float) -> None:
    woken = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, woken.set)
    await woken.wait()


async def test_a_drain_cuts_runs_short_as_unknown() -> None:
    """Runs in flight end as unknown / cancelled, their phases kept; one that begins later ends at once."""
    begun = asyncio.Event()

    async def run(ctx: Context) -> Result:
        with ctx.phase("connect"):
            begun.set()
            await asyncio.Event().wait()
        return Result.passed()

    async with lab() as bench:
        running = asyncio.ensure_future(bench.observe(run))
        await begun.wait()
        bench.execute.cut_short()
        seen = await running
        later = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.CANCELLED)
    assert "connect" in seen.phases
    assert later.reason is Reason.CANCELLED


async def test_a_drain_keeps_a_verdict_that_is_known() -> None:
    """A run that has passed and is just leaving isn't made unknown."""
    leaving, leave = asyncio.Event(), asyncio.Event()

    async def run(ctx: Context) -> Result:
        ctx.decided = ctx.clock.monotonic()
        leaving.set()
        await leave.wait()
        return Result.passed()

    async with lab() as bench:
        running = asyncio.ensure_future(bench.observe(run, leaving=1.0))
        await leaving.wait()
        bench.execute.cut_short()
        leave.set()
        assert (await running).verdict is Verdict.PASS


async def test_whoever_asked_and_went_away_leaves_nothing_running() -> None:
    """Cancelling `observe` itself ends the probe and passes on."""
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def run(_: Context) -> Result:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Result.passed()

    async with lab() as bench:
        asking = asyncio.ensure_future(bench.observe(run))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert ended.is_set()


async def test_one_crash_stops_no_other() -> None:
    """A probe that breaks, one that swallows, one that is slow: another one beside them passes in its own time."""

    async def well(_: Context) -> Result:
        return Result.passed()

    async with lab() as bench:
        outcomes = await asyncio.gather(
            bench.observe(raising(ZeroDivisionError())),
            bench.observe(raising(SystemExit(3))),
            bench.observe(lambda _: _never(), timeout=0.05),
            bench.observe(well),
        )
    assert [o.verdict for o in outcomes] == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.FAIL, Verdict.PASS]
    assert outcomes[3].seconds < 0.05


async def _never() -> Result:
    await asyncio.Event().wait()
    return Result.passed()


async def test_the_target_sees_who_asks() -> None:
    """The User-Agent names Outrider and the check; trace, span and request ids have their forms, the request's being the trace's."""
    senders = []

    async def run(ctx: Context) -> Result:
        senders.append(ctx.sender)
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run)
        await bench.observe(run)
    sender, second = senders
    assert sender.user_agent == "Outrider/1.2.3 (check under-test; +synthetic monitoring)"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", sender.headers()["traceparent"])
    assert sender.request_id.replace("-", "") == sender.trace_id
    assert (seen.trace_id, seen.request_id) == (sender.trace_id, sender.request_id)
    assert sender.trace_id != second.trace_id


SECRET = "hunter2/ä+?"


async def test_no_secret_is_in_any_observation_or_log() -> None:
    """Secrets of the configuration and those learnt in the run are gone from message, facts, evidence and log, however written."""

    async def run(ctx: Context) -> Result:
        token = ctx.conceal("a-token-of-the-run")
        ctx.facts |= {"url": f"https://host/?key={SECRET}", "status_code": 200}
        basic = base64.b64encode(f"probe:{SECRET}".encode()).decode()
        ctx.evidence |= {"headers": [("Authorization", f"Basic {basic}")], "body": json.dumps({"t": token, SECRET: 1})}
        raise ValueError(f"broke at {SECRET} with {token}")

    async with lab(secrets=frozenset({SECRET})) as bench:
        seen = await bench.observe(run)
    assert seen.facts["status_code"] == 200
    for text in (json.dumps(asdict(seen), default=str), *bench.logged):
        assert "hunter2" not in text
        assert "aHVudGVyM" not in text
        assert "a-token-of" not in text
    assert "Traceback" in bench.logged[0]


async def test_evidence_is_bounded() -> None:
    """A target that sends megabytes, lists without end and deep nesting fills neither memory nor page."""
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"deeper": deep}

    async def run(ctx: Context) -> Result:
        ctx.evidence |= {"body": "x" * 10**6, "many": ["y" * 1000] * 1000, "deep": deep, "keys": {str(n): "z" for n in range(1000)}}
        ctx.facts["text"] = "f" * 10**6
        raise Failed(Reason.BODY, "m" * 10**6)

    async with lab() as bench:
        seen = await bench.observe(run)
    assert len(json.dumps(seen.evidence)) < 64 * 1024
    assert len(seen.message) <= 500
    assert seen.message.endswith("(1,000,000 characters)")
    assert len(seen.facts["text"]) <= 500


async def test_parts_are_observations_of_their_own() -> None:
    """Each declared part has its own verdict and its run's time; the whole comes first."""

    async def run(ctx: Context) -> Result:
        ctx.mark("processing", ctx.started, ctx.started + 0.25)
        ctx.facts["status_code"] = 200
        return Result.passed(parts={"db": Result.failed(Reason.BODY, "false"), "cache": Result.passed(), "undeclared": Result.passed()})

    async with lab() as bench:
        seen = await bench.execute.observe(scripted(run, parts=("db", "cache")))
    assert [(o.check.name, o.verdict, o.reason) for o in seen] == [
        ("under-test", Verdict.PASS, None),
        ("under-test/db", Verdict.FAIL, Reason.BODY),
        ("under-test/cache", Verdict.PASS, None),
    ]
    assert len({(o.at, o.seconds, o.trace_id, tuple(o.phases.items())) for o in seen}) == 1
    assert seen[1].facts == {}


async def test_parts_of_a_run_that_ended_before_they_were_known() -> None:
    """They share its failure, or its not knowing; a part that a passing run says nothing of is a fault of the kind."""

    async def silent(_: Context) -> Result:
        return Result.passed()

    async with lab() as bench:
        failed = await bench.execute.observe(scripted(raising(Failed(Reason.STATUS, "503")), parts=("db",)))
        unknown = await bench.execute.observe(scripted(raising(ValueError()), parts=("db",)))
        missing = await bench.execute.observe(scripted(silent, parts=("db",)))
    assert [(o.verdict, o.reason, o.message) for o in failed] == [(Verdict.FAIL, Reason.STATUS, "503")] * 2
    assert (unknown[1].verdict, unknown[1].reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
    assert (missing[1].verdict, missing[1].reason) == (Verdict.UNKNOWN, Reason.INTERNAL)


def limited(rate: str) -> Target:
    """A target with a limit."""
    return Target(name="api", url="http://api.test", limit=Rate.parse(rate))


async def test_a_limit_withholds_whole_runs() -> None:
    """Scheduled, Withheld comes out and nothing was sent; by hand it is unknown / quota; slots not used are given back."""
    sent: list[str] = []

    async def run(ctx: Context) -> Result:
        for path in ("/a", "/b"):
            await ctx.permit("GET", f"http://api.test{path}")
            sent.append(path)
            if path == stop:
                raise Failed(Reason.STATUS, "503")
        return Result.passed()

    target = limited("5/1h")
    urls = (("GET", "http://api.test/a"), ("GET", "http://api.test/b"))
    async with lab(target) as bench:
        stop = "/a"
        await bench.observe(run, target=target, urls=urls)
        assert await bench.ledger.taken("api", 3600) == 1
        stop = ""
        for _ in range(2):
            assert (await bench.observe(run, target=target, urls=urls)).verdict is Verdict.PASS
        with pytest.raises(Withheld, match="limit of api: 5 of 5 in 1 h are taken, and this needs 2"):
            await bench.observe(run, target=target, urls=urls)
        seen = await bench.observe(run, target=target, urls=urls, by_hand=True)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.QUOTA)
    assert "limit of api" in seen.message
    assert len(sent) == 5


async def test_what_is_sent_beyond_the_asks_pays_too() -> None:
    """A redirect counts against the limit, and is withheld where none is left."""

    async def run(ctx: Context) -> Result:
        for _ in range(3):
            await ctx.permit("GET", "http://api.test/a")
        return Result.passed()

    target = limited("5/1h")
    async with lab(target) as bench:
        await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),))
        assert await bench.ledger.taken("api", 3600) == 3
        with pytest.raises(Withheld):
            await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),))


async def test_a_hold_or_budget_inside_a_run_withholds_it() -> None:
    """A Withheld from within the probe, in a group of exceptions too, is a decision and no failure."""
    async with lab() as bench:
        with pytest.raises(Withheld, match="spent"):
            await bench.observe(raising(ExceptionGroup("g", [Withheld("spent")])))
        seen = await bench.observe(raising(Withheld("spent")), by_hand=True)
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.UNKNOWN, Reason.QUOTA, "spent")


async def test_a_stall_of_our_own_loop_is_no_failure_of_the_target() -> None:
    """An answer that came in time and waited for our loop is a pass; the stall is noted."""

    async def run(_: Context) -> Result:
        await _later(0.05)
        _spin(0.3)
        await _later(0.05)
        return Result.passed()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.2)
    assert seen.verdict is Verdict.PASS
    assert 0.2 < seen.facts["loop_lag"] < 0.6


async def test_a_timeout_after_a_stall_is_the_targets_where_it_had_its_time() -> None:
    """The loop stood still, the run got that time again, and still nothing came: the target is silent."""

    async def run(_: Context) -> Result:
        _spin(0.2)
        return await _never()

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.1)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.TIMEOUT)
    assert 0.25 < seen.seconds < 0.5


async def test_a_timeout_that_our_stalls_explain_is_starved() -> None:
    """The loop stands still again and again, so that the target never had its whole time: we can't tell."""

    async def run(_: Context) -> Result:
        while True:
            _spin(0.15)
            await _later(0.001)

    async with lab() as bench:
        seen = await bench.observe(run, timeout=0.3)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.STARVED)
    assert "no answer within 300ms, but the runner itself stood still for" in seen.message


def _spin(seconds: float) -> None:
    """Keeps the loop busy, as a bad probe does; no blocking call of the standard library, so it can't be caught."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.getpid()
