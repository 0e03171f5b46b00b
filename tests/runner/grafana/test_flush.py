"""What is kept while Grafana takes nothing, and sent later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runner.grafana import Patience, RecordState
from tests.support.grafana import StandInGrafana
from tests.support.recording import FINISHED, STARTED, TAGS, desk, done, release, shown


@pytest.mark.parametrize(
    ("fault", "said", "tries"),
    [
        (502, "answered 502", 5),
        ("login", "redirects (302) to /login: a login page, not Grafana's API; see the token and the url", 1),
        ("page", "answered 200 with something that is not JSON: a login page or a proxy, not Grafana's API", 1),
        (413, "answered 413; a proxy before Grafana refuses requests of this size", 1),
    ],
)
async def test_what_is_not_taken_is_kept_and_sent_later(
    grafana: StandInGrafana, tmp_path: Path, fault: str | int, said: str, tries: int
) -> None:
    """The deployment goes on (exit 0, 1 with --require), the record waits on disk, and a flush sends it once."""
    grafana.always = fault
    async with desk(grafana.url, tmp_path) as at:
        outcome = await at.recorder.finish(done())
        assert outcome.state is RecordState.KEPT
        where = f"it is kept in {at.spool.path}; send it with: outrider annotate flush"
        assert outcome.message == f"Grafana: the annotation of deployment 3f2c91a is not written yet: {grafana.url} {said}; {where}"
        assert (outcome.exit_code(require=False), outcome.exit_code(require=True)) == (0, 1)
        assert len(grafana.asked) == tries
        assert (await at.recorder.flush()).exit_code(require=True) == 1
        grafana.always = None
        assert (await at.recorder.flush()).sent == ("Grafana: region 'deployment 3f2c91a' written and read back",)
        assert await at.recorder.flush() == await at.recorder.flush()
    assert shown(grafana) == [(STARTED, FINISHED, TAGS | {"verdict:pass"})]


async def test_a_grafana_that_is_killed_in_mid_run_loses_nothing(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Up at the start, gone at the finish, back later: one region; and one that never came up keeps both in one record."""
    quick = Patience(tries=2, total=5)
    async with desk(grafana.url, tmp_path, patience=quick) as at:
        await at.recorder.start(release(1))
        await grafana.stop()
        kept = await at.recorder.finish(done(1))
        assert kept.state is RecordState.KEPT
        assert f"{grafana.url} can't be reached" in kept.message
        await at.recorder.start(release(2))
        await at.recorder.finish(done(2, started=None, verdict="fail"))
        assert [k.event.start for k in await at.waiting()] == [STARTED, STARTED]
        await grafana.start()
        assert len((await at.recorder.flush()).sent) == 2
    assert [(s, e) for s, e, _ in shown(grafana)] == [(STARTED, FINISHED)] * 2


async def test_one_that_is_down_stops_the_flush_and_one_that_is_refused_does_not(grafana: StandInGrafana, tmp_path: Path) -> None:
    """A record that Grafana refuses for what it is stands in nobody's way, and is given up after five tries, which is said."""
    async with desk(grafana.url, tmp_path) as at:
        grafana.always = 413
        await at.recorder.finish(done(1))
        await at.recorder.finish(done(2))
        for _ in range(3):
            assert len((await at.recorder.flush()).waiting) == 2
        grafana.always, grafana.faults = None, ["none", 413]
        flushed = await at.recorder.flush()
        assert (len(flushed.sent), len(flushed.waiting), len(flushed.given_up)) == (1, 0, 1)
        assert await at.waiting() == ()


@pytest.mark.parametrize(
    ("fault", "bad"),
    [(fault, (0, 1)) for fault in (500, 400, 413, "page", "huge", "reset")] + [(500, bad) for bad in ((0,), (2,), (0, 3))],
)
async def test_one_bad_record_holds_up_nobody(grafana: StandInGrafana, tmp_path: Path, fault: str | int, bad: tuple[int, ...]) -> None:
    """G7: whatever goes wrong with some records, the others are sent by the first flush; the bad ones are given up after a while."""
    grafana.always = 503
    async with desk(grafana.url, tmp_path, patience=Patience(tries=1)) as at:
        for number in range(5):
            await at.recorder.finish(done(number, version=f"poison-{number}" if number in bad else "1.4.2"))
        grafana.always = None

        def poisoned(method: str) -> None:
            grafana.faults = [fault] if method == "POST" and b"poison" in grafana.sent[-1] else []

        grafana.before = poisoned
        first = await at.recorder.flush()
        if fault == "reset":  # nobody can tell whose fault that is: those who come later are sent by the next flushes
            for _ in range(3):
                await at.recorder.flush()
        else:
            assert (len(first.sent), len(first.waiting)) == (5 - len(bad), len(bad))
        assert len(grafana.regions()) == 5 - len(bad)
        given_up = len(first.given_up)
        for number in range(10, 16):
            await at.recorder.start(release(number))  # what comes new is taken meanwhile, and shows that Grafana is up
            await asyncio.to_thread(at.spool.add, done(number).event(), STARTED)
            given_up += len((await at.recorder.flush()).given_up)
        assert (given_up, await at.waiting()) == (len(bad), ()) if fault != "reset" else (given_up <= len(bad), True)


async def test_a_grafana_that_takes_nothing_loses_no_record(grafana: StandInGrafana, tmp_path: Path) -> None:
    """G7: however often everything goes wrong, no record is blamed; each flush asks a few, and begins with others than the one before."""
    grafana.always = 500
    async with desk(grafana.url, tmp_path, patience=Patience(tries=1)) as at:
        for number in range(6):
            await at.recorder.finish(done(number))
        for _ in range(20):
            grafana.asked.clear()
            assert len((await at.recorder.flush()).waiting) == 6
            assert len(grafana.asked) == 3
        assert {kept.tries for kept in await at.waiting()} == {11}
        grafana.always = None
        assert len((await at.recorder.flush()).sent) == 6


async def test_when_to_come_back_is_said(grafana: StandInGrafana, tmp_path: Path) -> None:
    """GM13: Retry-After is longer than a deployment may wait: given up at once, with the time that Grafana asks for."""
    grafana.always = "slow-down3600"
    async with desk(grafana.url, tmp_path) as at:
        outcome = await at.recorder.finish(done())
    assert "answered 429 (too many requests); it asks to come back in 1 h; it is kept" in outcome.message
    assert (len(grafana.asked), at.waits) == (1, [])


async def test_a_second_flush_leaves_it_to_the_first(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Two processes don't send the same records at the same time."""
    grafana.always = 413
    async with desk(grafana.url, tmp_path) as at:
        await at.recorder.finish(done())
        claim = await asyncio.to_thread(at.spool.claim)
        assert claim is not None
        assert (await at.recorder.flush()).busy
        at.spool.release(claim)
        assert not (await at.recorder.flush()).busy
