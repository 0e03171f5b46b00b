"""After a failure: what is tried, what is never tried, and what the finding says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from judge.findings import TLS
from judge.observation import Check, DiagnosisFinding, Observation
from probes.core import Reason, Verdict
from probes.fields import Rate
from probes.kinds.grpc import Grpc
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.kinds.postgres import Postgres
from probes.kinds.redis import Redis
from probes.kinds.tcp import Tcp
from probes.kinds.tls import Handshake
from probes.probe import Probe
from probes.target import Target
from runner.config.plan import Every, Planned
from runner.engine.diagnosis import AGAIN, MOST, Diagnosis, burst
from tests.support import servers
from tests.support.addresses import NAME, several
from tests.support.ca import Authority
from tests.support.engine import TRIES
from tests.support.lab import Lab, lab

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DOWN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def made(kind: type[Probe], **settings: Any) -> Probe:
    """A probe by the settings of a file."""
    return kind.model_validate(settings)


def planned(probe: Probe, *, timeout: float = 2.0, name: str = "api") -> Planned:
    """A check of this probe."""
    target = getattr(probe, "target", None)
    check = Check(name, "kind", 1, address=probe.address(), timeout=timeout, target=target.name if target else "")
    return Planned(check, probe, Every(30.0), timeout, "", target=target)


async def found(bench: Lab, probe: Probe, **settings: Any) -> tuple[Observation, DiagnosisFinding | None]:
    """A run, and what a diagnosis finds of it. A run that this machine had no time for tells nothing, and is made again."""
    plan = planned(probe, **settings)
    for _ in range(TRIES):
        seen = (await bench.execute.observe(plan, by_hand=True))[0]
        if seen.reason is not Reason.STARVED:
            return seen, await burst(bench.execute, plan, seen, {}, bench.clock)
    raise AssertionError("this machine is too busy for any test")


async def test_two_of_three_addresses_refuse(tmp_path: Path) -> None:
    """A check that failed at the one address that lives says what the others do."""
    does = {"127.0.0.2": None, "127.0.0.3": None, "127.0.0.4": DOWN}
    async with several(tmp_path, does) as host, lab(wire=host.wire) as bench:
        seen, told = await found(bench, made(Http, url=host.url))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.STATUS)
    assert told is not None
    assert told.text == "2 of 3 addresses refuse; 127.0.0.4 answers 503"
    assert told.trials["connect to 127.0.0.2"] == f"refused: Connection refused by 127.0.0.2:{host.port}"
    assert (told.check, told.trace_id) == (seen.check, seen.trace_id)


async def test_all_addresses_refuse(tmp_path: Path) -> None:
    """Nobody listens anywhere: said once."""
    async with several(tmp_path, {"127.0.0.2": None, "127.0.0.3": None, "127.0.0.4": None}) as host, lab(wire=host.wire) as bench:
        _, told = await found(bench, Tcp(host=NAME, port=host.port))
    assert told is not None
    assert told.text == "all 3 addresses refuse"


async def test_the_other_address_answers(tmp_path: Path) -> None:
    """One of two instances is ill: the finding names the one that is well, and since when the other has failed."""
    async with several(tmp_path, {"127.0.0.2": DOWN, "127.0.0.3": OK}) as host, lab(wire=host.wire) as bench:
        plan = planned(made(Http, url=host.url))
        seen = (await bench.execute.observe(plan, by_hand=True))[0]
        first = await burst(bench.execute, plan, seen, {}, bench.clock)
        later = await burst(bench.execute, plan, seen, {"127.0.0.2": 1764079331.0}, bench.clock)
    assert seen.facts["ip"] == "127.0.0.2"
    assert first
    assert later
    assert first.text == "the other address, 127.0.0.3, answers 200; 127.0.0.2 answers 503"
    assert later.text == "the other address, 127.0.0.3, answers 200; 127.0.0.2 has failed since 14:02:11"


async def test_ipv6_and_ipv4_are_told_apart(tmp_path: Path) -> None:
    """Where one address family fails as a whole, the finding says so."""
    async with several(tmp_path, {"::1": DOWN, "127.0.0.2": OK, "127.0.0.3": OK}) as host, lab(wire=host.wire) as bench:
        _, told = await found(bench, made(Http, url=host.url))
    assert told is not None
    assert told.text == "IPv6 fails, IPv4 doesn't; 1 of 3 addresses answers 503; 127.0.0.2 and 127.0.0.3 answer 200"


async def test_an_expired_certificate_is_tried_without_verification(authority: Authority) -> None:
    """Whether the service behind a certificate that doesn't hold is well."""
    async with servers.canned(OK, OK, tls=authority.expired) as server, lab() as bench:
        seen, told = await found(bench, made(Http, url=f"https://localhost:{server.port}/", tls={"ca": authority.ca_file}))
    assert seen.reason is Reason.EXPIRED
    assert told is not None
    assert told.text == "certificate expired 3 h ago, but the service responds without verification"


async def test_what_is_no_http_is_shaken_hands_with(authority: Authority) -> None:
    """A kind that may not be asked twice stays at the handshake."""
    async with servers.silent(tls=authority.self_signed) as server, lab() as bench:
        _, told = await found(bench, made(Handshake, host="localhost", port=server.port, tls={"ca": authority.ca_file}))
    assert told is not None
    assert told.text == "certificate not trusted, but the TLS handshake works without verification"


STARTTLS = [{"expect": "^220 "}, {"send": "STARTTLS"}, {"expect": "^220 ", "starttls": True}]


async def _mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext | None, heard: list[bytes]) -> None:
    writer.write(b"220 mail\r\n")
    heard.append(await reader.readline())
    if heard[-1] != b"STARTTLS\r\n":
        return
    writer.write(b"220 go ahead\r\n")
    if tls is not None:
        with contextlib.suppress(OSError):
            await writer.start_tls(tls)
    else:
        await reader.read(100)
        writer.write(b"554 no TLS here\r\n")


WORKS = "but the TLS handshake works without verification"


@pytest.mark.parametrize(
    ("which", "text"),
    [
        ("self_signed", f"certificate not trusted, {WORKS}"),
        ("expired", f"certificate expired 3 h ago, {WORKS}"),
        ("wrong_host", f"certificate for another name, {WORKS}"),
        ("none", None),  # the same failure without verification: nothing new
    ],
)
async def test_tls_that_begins_after_a_dialogue(authority: Authority, which: str, text: str | None) -> None:
    """S4b: a handshake at once is another protocol than STARTTLS: the trial holds the dialogue up to there first."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _mail(reader, writer, getattr(authority, which, None), heard)

    async with servers.speaking(talk) as server, lab() as bench:
        tls = {"ca": authority.ca_file}
        seen, told = await found(bench, made(Tcp, host="localhost", port=server.port, dialogue=STARTTLS, tls=tls))
    assert seen.reason in TLS, seen.message
    assert (told.text if told else None) == text
    assert heard == [b"STARTTLS\r\n"] * 2


@pytest.mark.parametrize("letter", [b"S", b"N"])
@pytest.mark.parametrize(("mode", "runs"), [("verify-full", 2), ("require", 1)])
async def test_postgres_asks_for_tls_in_its_own_words(authority: Authority, mode: str, runs: int, letter: bytes) -> None:
    """S4b: the trial asks PostgreSQL for TLS, and sends no role or password; where nothing is verified, none is made."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(8))
        writer.write(letter)
        if letter == b"S":
            with contextlib.suppress(OSError):
                await writer.start_tls(authority.self_signed if mode == "verify-full" else authority.ancient)
                heard[-1] += await reader.read()

    async with servers.speaking(talk) as server, lab() as bench:
        seen, told = await found(bench, made(Postgres, dsn=f"postgresql://me:word@localhost:{server.port}/x?sslmode={mode}"))
    assert seen.reason in TLS, seen.message
    assert (told.text if told else None) == (f"certificate not trusted, {WORKS}" if (runs, letter) == (2, b"S") else None)
    assert heard == [bytes.fromhex("0000000804d2162f")] * runs


async def test_a_handshake_offers_the_kinds_own_protocols(authority: Authority) -> None:
    """S4b: a trial of gRPC offers h2, as its runs do: a server that speaks nothing else would refuse another offer."""
    offered: list[str | None] = []

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offered.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())

    async with servers.speaking(talk, tls=authority.offering) as server, lab() as bench:
        seen, told = await found(bench, made(Grpc, host="localhost", port=server.port, tls={}))
    assert seen.reason is Reason.UNTRUSTED
    assert told is not None
    assert "the TLS handshake works without verification" in told.text
    assert offered[-1] == "h2"


async def test_a_service_that_accepts_and_says_nothing() -> None:
    """TCP alone tells a process that hangs from one that is gone."""
    async with servers.silent() as server, lab() as bench:
        _, told = await found(bench, made(Redis, url=f"redis://127.0.0.1:{server.port}/0"), timeout=0.3)
    assert told is not None
    assert told.text == "127.0.0.1 accepts connections but doesn't respond"


async def test_without_the_proxy() -> None:
    """A proxy that is gone: whether the target answers without it."""
    async with servers.canned(OK) as server, servers.refusing() as proxy, lab() as bench:
        probe = made(Http, url=f"http://127.0.0.1:{server.port}/", proxy=f"http://127.0.0.1:{proxy.port}")
        seen, told = await found(bench, probe)
    assert seen.reason is Reason.REFUSED
    assert told is not None
    assert told.text == "without the proxy it answers 200"


TARGET = Target.model_validate({"name": "api", "url": "http://several.test", "allow": ["POST /login", "POST /pay"]})


@pytest.mark.parametrize(
    "make",
    [
        lambda target: made(Http, target=target, path="/pay", method="POST"),
        lambda target: made(Journey, target=target, steps=[{"name": "login", "post": "/login"}]),
    ],
    ids=["a POST", "a login"],
)
async def test_what_is_no_get_is_never_sent_again(make: Callable[[Target], Probe], tmp_path: Path) -> None:
    """A POST, a login, a call that costs money: each server gets the run's own request at most, and then only connections."""
    async with several(tmp_path, {"127.0.0.2": DOWN, "127.0.0.3": OK}) as host, lab(wire=host.wire) as bench:
        target = TARGET.model_copy(update={"url": host.url.rstrip("/")})
        _, told = await found(bench, make(target))
        assert host.requests == {"127.0.0.2": 1, "127.0.0.3": 0}
        assert host.connections["127.0.0.3"] == 1
    assert told is None or "ask 127.0.0.3" not in told.trials


async def test_trials_count_against_the_limit_and_leave_a_reserve(tmp_path: Path) -> None:
    """Of ten requests an hour a diagnosis may use eight, the run's own among them; then it stays at the connection."""
    does = {f"127.0.0.{n}": DOWN for n in range(2, 8)}
    async with several(tmp_path, does) as host:
        target = Target(name="api", url=host.url.rstrip("/"), limit=Rate.parse("10/1h"))
        async with lab(target, wire=host.wire) as bench:
            plan = planned(made(Http, target=target, path="/"))
            for _ in range(3):
                seen = (await bench.execute.observe(plan, by_hand=True))[0]
                await burst(bench.execute, plan, seen, {}, bench.clock)
            assert sum(host.requests.values()) == 1 + 6 + 1 + 1  # the first burst asks six addresses, the others none
            assert (await bench.execute.observe(plan, by_hand=True))[0].verdict is Verdict.FAIL  # the tenth is the check's


async def test_the_failure_stands_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    """A diagnosis emits no observation: one finding, about the run that failed."""
    told: list[DiagnosisFinding] = []
    done = asyncio.Event()

    def take(finding: DiagnosisFinding) -> None:
        told.append(finding)
        done.set()

    async with several(tmp_path, {"127.0.0.2": None, "127.0.0.3": None}) as host, lab(wire=host.wire) as bench:
        plan = planned(Tcp(host=NAME, port=host.port))
        diagnosis = Diagnosis(take, bench.clock)
        diagnosis.plan(bench.execute, [plan])
        seen = (await bench.execute.observe(plan))[0]
        diagnosis(seen)
        await done.wait()
        await diagnosis.stop()
    assert [(one.text, one.trace_id) for one in told] == [("both addresses refuse", seen.trace_id)]


class Counted:
    """A diagnosis whose bursts find nothing, and how many there were."""

    def __init__(self, bench: Lab, *names: str) -> None:
        self.bench, self.plans = bench, {name: planned(Gone(host="127.0.0.1", port=9), name=name) for name in names}
        self.diagnosis = Diagnosis(lambda _: None, bench.clock)
        self.diagnosis.plan(bench.execute, list(self.plans.values()))

    def sees(self, name: str, verdict: Verdict = Verdict.FAIL, **more: Any) -> int:
        """Tells it of a run; returns how many bursts are under way."""
        reason = Reason.REFUSED if verdict is Verdict.FAIL else None
        self.diagnosis(Observation(self.plans[name].check, verdict, reason, "", 0.0, 0.1, **more))
        return len(self.diagnosis.running)

    async def settle(self) -> None:
        """Waits for the bursts."""
        while self.diagnosis.running:
            await asyncio.wait(self.diagnosis.running)


class Gone(Tcp):
    """Has no door: a burst ends at once."""

    def endpoint(self) -> None:  # type: ignore[override]
        return None


async def test_a_check_is_diagnosed_when_it_begins_to_fail_and_every_ten_minutes() -> None:
    """Not at each of its failures, and again after it was well."""
    async with lab() as bench:
        counted = Counted(bench, "api")
        began = []
        for verdict, wait in [(Verdict.FAIL, 0.0), (Verdict.FAIL, 15.0), (Verdict.FAIL, AGAIN), (Verdict.PASS, 1.0), (Verdict.FAIL, 1.0)]:
            bench.clock.advance(wait)
            began.append(counted.sees("api", verdict))
            await counted.settle()
    assert began == [1, 0, 1, 0, 1]


async def test_a_mass_outage_is_diagnosed_by_samples() -> None:
    """A thousand checks that fail at once start no thousand bursts: some at a time, some within a minute, the others later."""
    names = [f"check-{n}" for n in range(1000)]
    async with lab() as bench:
        counted = Counted(bench, *names)
        assert max(counted.sees(name) for name in names) == 4
        await counted.settle()
        total = 4
        for name in names:
            total += counted.sees(name)
            await counted.settle()
        assert total == MOST
        bench.clock.advance(61)
        assert counted.sees(names[-1]) == 1
        await counted.settle()


async def test_blips_and_unknown_runs_are_not_diagnosed() -> None:
    """What wasn't confirmed, and what says nothing of the target."""
    async with lab() as bench:
        counted = Counted(bench, "api")
        assert counted.sees("api", confirmed=False) == 0
        assert counted.sees("api", Verdict.UNKNOWN) == 0


async def test_a_changed_check_is_diagnosed_anew() -> None:
    """Its first failure after a reload is the first of another check; that of an unchanged one isn't."""
    async with lab() as bench:
        counted = Counted(bench, "api", "cache")
        for name in ("api", "cache"):
            counted.sees(name)
        await counted.settle()
        counted.plans["api"] = replace(counted.plans["api"], fingerprint="changed")
        counted.diagnosis.plan(bench.execute, list(counted.plans.values()))
        assert counted.sees("cache") == 0
        assert counted.sees("api") == 1
        await counted.settle()


async def test_what_is_found_of_a_changed_check_is_let_go(tmp_path: Path) -> None:
    """A reload comes while the trials run: their finding would stand beside failures of another check."""
    told: list[DiagnosisFinding] = []
    async with several(tmp_path, {"127.0.0.2": None, "127.0.0.3": None}) as host, lab(wire=host.wire) as bench:
        plan = planned(Tcp(host=NAME, port=host.port))
        diagnosis = Diagnosis(told.append, bench.clock)
        for changed in (plan, replace(plan, fingerprint="changed")):
            diagnosis.plan(bench.execute, [plan])
            diagnosis((await bench.execute.observe(plan))[0])
            diagnosis.plan(bench.execute, [changed])
            await asyncio.wait(diagnosis.running)
            bench.clock.advance(AGAIN)
    assert [one.text for one in told] == ["both addresses refuse"]


async def test_since_when_an_address_fails_is_that_of_the_check_itself(tmp_path: Path) -> None:
    """Before it was changed another check failed there; an unchanged one has failed there all the time."""
    told: list[DiagnosisFinding] = []
    async with several(tmp_path, {"127.0.0.2": DOWN, "127.0.0.3": OK}) as host, lab(wire=host.wire) as bench:
        plan = planned(made(Http, url=host.url))
        diagnosis = Diagnosis(told.append, bench.clock)
        for now in (plan, plan, replace(plan, fingerprint="changed")):
            diagnosis.plan(bench.execute, [now])
            diagnosis((await bench.execute.observe(now))[0])
            await asyncio.wait(diagnosis.running)
            bench.clock.advance(AGAIN)
    assert [one.text.partition("; ")[2].partition(" since ")[0] for one in told] == [
        "127.0.0.2 answers 503",
        "127.0.0.2 has failed",
        "127.0.0.2 answers 503",
    ]


@pytest.mark.slow
async def test_a_diagnosis_keeps_its_time(tmp_path: Path) -> None:
    """Silent addresses hold it up for seconds and no longer, and it leaves nothing behind."""
    async with several(tmp_path, {"127.0.0.2": b"", "127.0.0.3": b""}) as host, lab(wire=host.wire) as bench:
        began = bench.clock.monotonic()
        _, told = await found(bench, made(Http, url=host.url), timeout=0.5)
        assert bench.clock.monotonic() - began < 4
    assert told is not None
    assert told.text == "both addresses don't respond"
