"""Whatever a probe does, one observation comes of it, in time, with the right reason and without a secret."""

from __future__ import annotations

import base64
import gc
import json
import random
import re
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from probes.core import Failed, LoginHeld, QuotaRefused, Reason, Result, Verdict
from probes.expect.patterns import shown
from probes.fields import Rate
from probes.probe import Context
from probes.target import Target
from runner.state import StateLedger
from tests.support.clock import ShiftedClock
from tests.support.lab import lab, raising, scripted


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


async def test_a_captured_secret_of_700_kilobytes_is_a_secret_like_any_other(capfd: pytest.CaptureFixture[str]) -> None:
    """XM5: the run has its observation, the secret is gone from it, and nothing of it is on standard error."""
    token = "".join(random.Random(5).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=700_000))  # noqa: S311 - a test's

    async def run(ctx: Context) -> Result:
        ctx.conceal(token)
        ctx.evidence["body"] = json.dumps({"t": token})[:50_000]
        raise Failed(Reason.BODY, f"$.t is {shown(token)}, expected {shown(5)}")

    async with lab() as bench:
        seen = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.BODY)
    assert seen.message == '$.t is "***…, expected 5'
    assert token[:8] not in json.dumps(asdict(seen), default=str)
    assert capfd.readouterr().err == ""


async def test_secrets_that_are_new_in_each_run_do_not_pile_up() -> None:
    """XM6: a target that sets forty new cookies in each run takes no more memory after many runs than after some."""
    signs = random.Random(6)  # noqa: S311 - a test's

    async def run(ctx: Context) -> Result:
        for _ in range(40):
            ctx.conceal(signs.randbytes(700).hex())
        return Result.passed()

    async with lab() as bench:
        for _ in range(30):
            await bench.observe(run)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(30):
                await bench.observe(run)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 12 * 2**20
        finally:
            tracemalloc.stop()


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
    """Scheduled, QuotaRefused comes out and nothing was sent; by hand it is unknown / quota; slots not used are given back."""
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
        with pytest.raises(QuotaRefused, match="limit of api: 5 of 5 in 1 h are taken, and this needs 2"):
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
        with pytest.raises(QuotaRefused):
            await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),))


async def test_a_hold_or_budget_inside_a_run_withholds_it() -> None:
    """A QuotaRefused from within the probe, in a group of exceptions too, is a decision and no failure."""
    async with lab() as bench:
        with pytest.raises(QuotaRefused, match="spent"):
            await bench.observe(raising(ExceptionGroup("g", [QuotaRefused("spent")])))
        seen = await bench.observe(raising(QuotaRefused("spent")), by_hand=True)
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.UNKNOWN, Reason.QUOTA, "spent")


async def test_a_held_login_stays_what_it_is() -> None:
    """R9: by hand it is fail / auth with the time of the hold, and no scheduled run is observed."""
    async with lab() as bench:
        with pytest.raises(LoginHeld):
            await bench.observe(raising(LoginHeld("held until noon: its login was refused (401)")))
        seen = await bench.observe(raising(LoginHeld("held until noon: its login was refused (401)")), by_hand=True)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.AUTH)
    assert seen.message == "held until noon: its login was refused (401)"
    assert seen.facts["login_held"] is True


async def test_a_run_that_is_withheld_midway_gives_its_slots_back() -> None:
    """Held before it has sent anything, it takes nothing from the others: scheduled and by hand."""
    target = limited("5/1h")
    urls = (("GET", "http://api.test/a"), ("GET", "http://api.test/b"))
    async with lab(target) as bench:
        with pytest.raises(QuotaRefused, match="held"):
            await bench.observe(raising(QuotaRefused("held")), target=target, urls=urls)
        await bench.observe(raising(QuotaRefused("held")), target=target, urls=urls, by_hand=True)
        assert await bench.ledger.taken("api", 3600) == 0


class Unwritable:
    """A ledger whose disk is full once the slots are taken."""

    def __init__(self, ledger: StateLedger, _: ShiftedClock) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def sent(self, used: Sequence[int], unused: Sequence[int] = ()) -> None:
        raise QuotaRefused("the state can't be read or written: disk full")


async def test_a_verdict_stands_where_its_slots_can_not_be_given_back() -> None:
    """The state can't be written after the run: what was seen is observed all the same, and the log says what stays taken."""

    async def run(_: Context) -> Result:
        return Result.passed()

    target = limited("5/1h")
    async with lab(target, limits=Unwritable) as bench:
        seen = await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),))
        assert await bench.ledger.taken("api", 3600) == 1
    assert seen.verdict is Verdict.PASS
    [logged] = bench.logged
    assert "can't be given back: the state can't be read or written: disk full" in logged


class Unprintable:
    """What breaks whoever writes it down."""

    def __str__(self) -> str:
        raise ValueError(SECRET)


@pytest.mark.parametrize(
    ("result", "verdict", "reason"),
    [
        (Result.failed(Reason.STATUS, "500"), Verdict.FAIL, Reason.STATUS),
        (Result.passed("fine"), Verdict.UNKNOWN, Reason.INTERNAL),
        (Result(Verdict.UNKNOWN, Reason.OFFLINE, "gone"), Verdict.UNKNOWN, Reason.INTERNAL),
    ],
)
@pytest.mark.parametrize("place", ["secret", "evidence"])
async def test_what_breaks_after_the_verdict_loses_no_run(result: Result, verdict: Verdict, reason: Reason, place: str) -> None:
    """XM5: the redaction or the record breaks: a failure stays a failure, all else is unknown / internal, and both say so."""

    async def run(ctx: Context) -> Result:
        if place == "secret":
            ctx.secrets.add(Unprintable())  # type: ignore[arg-type]  # a kind from outside may do anything
        else:
            ctx.evidence["answer"] = Unprintable()
        return result

    async with lab() as bench:
        seen = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (verdict, reason)
    assert "the runner broke and can't report this run" in seen.message
    assert SECRET not in seen.message + "".join(bench.logged)
    assert len(bench.logged) == 1


async def test_a_broken_record_has_its_parts_too() -> None:
    """XM5: each part is reported with its own verdict where it had one."""

    async def run(ctx: Context) -> Result:
        ctx.evidence["answer"] = Unprintable()
        return Result.passed("", {"a": Result.failed(Reason.BODY, "bad"), "b": Result.passed()})

    async with lab() as bench:
        seen = await bench.execute.observe(scripted(run, parts=("a", "b")))
    assert [(one.check.name, one.verdict) for one in seen] == [
        ("under-test", Verdict.UNKNOWN),
        ("under-test/a", Verdict.FAIL),
        ("under-test/b", Verdict.UNKNOWN),
    ]


async def test_an_exception_whose_report_breaks_is_a_run_too() -> None:
    """XM5: the probe breaks, and so does what would log it: unknown / internal."""

    async def run(ctx: Context) -> Result:
        ctx.secrets.add(Unprintable())  # type: ignore[arg-type]  # as above
        raise LookupError

    async with lab() as bench:
        seen = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)


class Unsettled(Unwritable):
    """A ledger that breaks as its slots are given back."""

    async def sent(self, used: Sequence[int], unused: Sequence[int] = ()) -> None:
        raise RuntimeError("a fault of ours")


async def test_a_verdict_stands_where_giving_back_breaks() -> None:
    """XM5: whatever the ledger raises after the run, its verdict stays."""

    async def run(_: Context) -> Result:
        return Result.failed(Reason.STATUS, "500")

    target = limited("5/1h")
    async with lab(target, limits=Unsettled) as bench:
        seen = await bench.observe(run, target=target, urls=(("GET", "http://api.test/a"),))
    assert (seen.verdict, seen.message) == (Verdict.FAIL, "500")
