from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from runner.grafana import Patience, RecordState, outage, revision_change
from tests.support.grafana import TOKEN, StandInGrafana
from tests.support.recording import FINISHED, STARTED, TAGS, desk, done, release, shown

BOTH = pytest.mark.parametrize("api", ["legacy", "apis"])


@BOTH
async def test_a_region_from_start_to_verdict(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """start marks a point, finish makes one region of it, with every tag and the verdict; read back, and nothing left to send."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        started = await at.recorder.start(release())
        assert (started.state, started.message) == (RecordState.WRITTEN, "Grafana: start of deployment 3f2c91a written and read back")
        assert shown(grafana) == [(STARTED, STARTED, TAGS | {"state:open"})]
        finished = await at.recorder.finish(done())
        assert (finished.state, finished.message) == (RecordState.WRITTEN, "Grafana: region 'deployment 3f2c91a' written and read back")
        assert shown(grafana) == [(STARTED, FINISHED, TAGS | {"verdict:pass"})]
        assert grafana.regions()[0]["text"] == "Deployment 3f2c91a (1.4.2) of roadtrip to production: pass"
        assert await at.waiting() == ()
        assert (finished.id, finished.warnings, at.waits) == ("github/acme/roadtrip/1/1", (), [])


@BOTH
async def test_told_twice_it_stands_there_once(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """Every step may be repeated: the second time it says that it stood there, and writes nothing."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        states = [(await at.recorder.start(release())).state for _ in range(2)]
        assert states == [RecordState.WRITTEN, RecordState.THERE]
        await at.recorder.finish(done())
        writes = len([m for m, _ in grafana.asked if m != "GET"])
        assert (await at.recorder.finish(done())).message == "Grafana: region 'deployment 3f2c91a' was already there"
        assert (await at.recorder.start(release())).state is RecordState.THERE  # a start that is told late opens nothing
        assert len([m for m, _ in grafana.asked if m != "GET"]) == writes
        assert [end for _, end, _ in shown(grafana)] == [FINISHED]


@BOTH
async def test_start_and_finish_on_different_machines(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """finish knows neither the time of the start nor its annotation: it finds them by the tags."""
    async with desk(grafana.url, tmp_path / "one", api=api) as one:
        await one.recorder.start(release())
    async with desk(grafana.url, tmp_path / "two", api=api) as two:
        assert (await two.recorder.finish(done(started=None))).state is RecordState.WRITTEN
    assert shown(grafana) == [(STARTED, FINISHED, TAGS | {"verdict:pass"})]


@BOTH
async def test_a_finish_of_another_attempt_finds_the_start_of_its_run(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """Only the failed job is run again, as attempt 2: it closes the start that attempt 1 told, and later changes its verdict."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        await at.recorder.start(release())
        second = done(id="github/acme/roadtrip/1/2", run="github/acme/roadtrip/1", started=None, verdict="fail")
        assert (await at.recorder.finish(second)).id == "github/acme/roadtrip/1/1"
        assert shown(grafana) == [(STARTED, FINISHED, TAGS | {"verdict:fail"})]
        third = done(id="github/acme/roadtrip/1/3", run="github/acme/roadtrip/1", started=None, finished=FINISHED + 60)
        assert (await at.recorder.finish(third)).state is RecordState.WRITTEN
        assert shown(grafana) == [(STARTED, FINISHED + 60, TAGS | {"verdict:pass"})]


@BOTH
async def test_a_rollback_is_a_deployment_of_its_own(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """The same revision once more, in a later run: two regions."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        await at.recorder.finish(done(1))
        await at.recorder.finish(done(2, started=STARTED + 600, finished=FINISHED + 600))
    assert [(start, end) for start, end, _ in shown(grafana)] == [(STARTED, FINISHED), (STARTED + 600, FINISHED + 600)]


@BOTH
async def test_an_id_that_is_used_again_is_told(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """Days later under the same id: one region, stretched, with a warning that says what to do."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        await at.recorder.finish(done())
        outcome = await at.recorder.finish(done(started=STARTED + 86400, finished=FINISHED + 86400))
        said = (
            "id github/acme/roadtrip/1/1 was used before, for one that ended at 2026-11-24 12:01 UTC, "
            "and its region now reaches to now; give each an id of its own"
        )
        assert outcome.warnings == (said,)
    assert [(s, e) for s, e, _ in shown(grafana)] == [(STARTED, FINISHED + 86400)]


@BOTH
async def test_a_start_that_never_finished_is_closed_by_the_next(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """The next deployment of the same service and environment closes it, says so in both places, and touches no other's."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        await at.recorder.start(release(1))
        await at.recorder.start(release(9, environment="staging"))
        at.clock.advance(900)
        outcome = await at.recorder.start(release(2, started=STARTED + 900))
        assert outcome.warnings == ("deployment github/acme/roadtrip/1/1 never finished; its region is closed",)
        closed = next(r for r in grafana.regions() if "verdict:unfinished" in r["tags"])
        assert (closed["time"] / 1000, closed["timeEnd"] / 1000) == (STARTED, STARTED + 900)
        assert closed["text"].endswith("never finished: closed when deployment 3f2c91a began")
        assert sum("state:open" in tags for _, _, tags in shown(grafana)) == 2
        late = await at.recorder.finish(done(1))  # it was alive after all: its own end counts
        assert (late.state, late.warnings) == (RecordState.WRITTEN, ())
        assert (STARTED, FINISHED, TAGS | {"verdict:pass"}) in shown(grafana)


@BOTH
async def test_an_outage_is_marked_from_failure_to_recovery(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """What the runner sees by itself goes the same way: an outage, and a revision that changed."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        where: Any = {"service": "roadtrip", "environment": "production"}
        await at.recorder.record(outage("database", began=STARTED, why="refused", **where))
        await at.recorder.record(outage("database", began=STARTED, ended=STARTED + 3725, **where))
        outcome = await at.recorder.record(revision_change("api", at=STARTED, before="91be20d", after="3f2c91a", **where))
        assert outcome.message == "Grafana: point 'revision 3f2c91a of api' written and read back"
    assert sorted(r["text"] for r in grafana.regions()) == [
        "api serves revision 3f2c91a, before that 91be20d",
        "database failed for 1 h 2 min",
    ]


@BOTH
async def test_a_dashboard_is_checked_first(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """A known dashboard gets the mark; an unknown one is said, and the mark stands for the whole organization."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        assert (await at.recorder.finish(done(1, dashboard="roadtrip-overview", panel=4))).warnings == ()
        outcome = await at.recorder.finish(done(2, dashboard="gone"))
        assert outcome.warnings == ("dashboard gone doesn't exist; the annotation is for the whole organization instead",)
    assert [r.get("dashboardUID", "") for r in grafana.regions()] == ["roadtrip-overview", ""]


@pytest.mark.parametrize("odd", [{"patch-keeps-end"}, {"patch-keeps-end", "put-keeps-end"}, {"id-0"}, {"no-patch"}, {"no-patch", "no-put"}])
async def test_odd_answers_of_the_legacy_api(grafana: StandInGrafana, tmp_path: Path, odd: set[str]) -> None:
    """A PATCH that changes no end, one that is forbidden, an id of 0: the region stands there all the same."""
    grafana.odd = odd
    async with desk(grafana.url, tmp_path) as at:
        await at.recorder.start(release())
        assert (await at.recorder.finish(done())).state is RecordState.WRITTEN
        assert (await at.recorder.finish(done())).state is RecordState.THERE
    assert [s for s in shown(grafana) if s[1] != s[0]] == [(STARTED, FINISHED, TAGS | {"verdict:pass"})]
    assert len(grafana.annotations) == (2 if odd == {"id-0"} else 1)


async def test_odd_answers_of_the_new_api(grafana: StandInGrafana, tmp_path: Path) -> None:
    """No search yet, and no right to delete: the start's mark stays a point, and says no longer that it is under way."""
    grafana.odd = {"no-search", "no-delete"}
    async with desk(grafana.url, tmp_path, api="apis") as at:
        await at.recorder.start(release())
        await at.recorder.finish(done())
        await at.recorder.start(release(2, started=STARTED + 900))
    assert [(s, e) for s, e, _ in shown(grafana)] == [(STARTED, STARTED), (STARTED, FINISHED), (STARTED + 900, STARTED + 900)]
    assert [t for *_, t in shown(grafana) if "state:open" in t] == [
        TAGS - {"id:github/acme/roadtrip/1/1"} | {"id:github/acme/roadtrip/2/1", "state:open"}
    ]


async def test_the_new_api_takes_over_where_the_old_one_is_gone(grafana: StandInGrafana, tmp_path: Path) -> None:
    """By itself it uses the API that every version has, until that answers 404."""
    grafana.odd = {"no-legacy"}
    async with desk(grafana.url, tmp_path) as at:
        assert (await at.recorder.finish(done())).state is RecordState.WRITTEN
    assert (grafana.annotations, len(grafana.resources)) == ([], 1)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("fault", ["lost", "reset", 500, 503, "slow-down"])
async def test_no_fault_at_any_moment_loses_or_doubles_a_mark(grafana: StandInGrafana, tmp_path: Path, api: str, fault: str | int) -> None:
    """Whichever question goes wrong, even one that was carried out unheard: one region each, after one wait at most."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        for question in range(8):
            await at.recorder.start(release(question, environment=f"stage-{question}"))
            at.waits.clear()
            grafana.faults = [*["none"] * question, fault]
            finished = await at.recorder.finish(done(question, environment=f"stage-{question}"))
            grafana.faults.clear()
            assert finished.state in (RecordState.WRITTEN, RecordState.THERE)
            assert at.waits in ([], [7.0]) if fault == "slow-down" else len(at.waits) <= 1
            assert sum(at.waits) <= 7
    assert [(start, end) for start, end, _ in shown(grafana)] == [(STARTED, FINISHED)] * 8


@pytest.mark.slow
@BOTH
async def test_a_bad_day_leaves_one_region_each(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """Every third question goes wrong in some way, drawn with a seed: what the attempts don't settle, the flushes do."""
    rng = random.Random(20261124)  # noqa: S311 - the same bad day in every run
    faults: list[str | int] = ["lost", "reset", 500, 502, 503, "slow-down", "login", "page"]
    async with desk(grafana.url, tmp_path, api=api, patience=Patience(tries=3)) as at:
        grafana.before = lambda _: grafana.faults.__setitem__(slice(None), [rng.choice(faults) if rng.random() < 0.3 else "none"])
        for number in range(12):
            await at.recorder.start(release(number, environment=f"stage-{number}"))
            await at.recorder.finish(done(number, environment=f"stage-{number}", started=None))
            await at.recorder.flush()
        while await at.waiting():
            await at.recorder.flush()
        grafana.before = lambda _: None
        grafana.faults.clear()
        for number in range(12):
            await at.recorder.finish(done(number, environment=f"stage-{number}"))
    assert sorted((s, e) for s, e, tags in shown(grafana) if "verdict:pass" in tags) == [(STARTED, FINISHED)] * 12
    assert len(grafana.regions()) == 12


@pytest.mark.parametrize("odd", [{"no-delete"}, {"no-delete", "no-patch"}])
async def test_a_duplicate_that_can_not_be_removed_is_closed(grafana: StandInGrafana, tmp_path: Path, odd: set[str]) -> None:
    """GM11: a lagging replica led to four annotations of one start, and the token may not delete: none stays open."""
    async with desk(grafana.url, tmp_path) as at:
        await at.recorder.start(release())
        for number in range(3):
            grafana.annotations.append({**grafana.annotations[0], "id": 100 + number})
        grafana.odd = odd
        outcome = await at.recorder.finish(done())
    assert outcome.state is RecordState.WRITTEN
    assert [one for one in grafana.regions() if "state:open" in one["tags"]] == []
    assert [tags for *_, tags in shown(grafana) if "verdict:pass" in tags] == [TAGS | {"verdict:pass"}]


CI = "feedface" * 5
START: dict[str, Any] = {"revision": "0123456789abcdef", "version": "2.0.0", "link": "https://ci/1", "commit": CI, "id": "d1"}
FINISH: dict[str, Any] = {"revision": "", "version": "", "link": "https://ci/2", "commit": CI, "id": "d1", "started": None}


@BOTH
@pytest.mark.parametrize("route", ["told", "spooled", "start spooled", "finish spooled", "late start"])
async def test_a_finish_keeps_what_the_start_said(grafana: StandInGrafana, tmp_path: Path, api: str, route: str) -> None:
    """G4, GM14: revision, version, title, link and tags of others stand, by whichever way and order the two records come.

    The CI's own commit beats nothing that was said.
    """
    async with desk(grafana.url, tmp_path / "one", api=api) as one, desk(grafana.url, tmp_path / "two", api=api) as two:
        finisher = two if route in ("finish spooled", "late start") else one
        grafana.always = 503 if route in ("spooled", "start spooled", "late start") else None
        await one.recorder.start(release(**START))
        grafana.always = 503 if route in ("spooled", "finish spooled") else None
        for standing in grafana.regions():
            standing["tags"].append("team:blue")
        outcome = await finisher.recorder.finish(done(**FINISH))
        grafana.always = None
        await one.recorder.flush()
        flushed = await two.recorder.flush()
        again = await finisher.recorder.finish(done(**FINISH))
    [region] = grafana.regions()
    assert region["text"] == "Deployment 0123456789ab (2.0.0) of roadtrip to production: pass\nhttps://ci/1" or route == "late start"
    tags = {
        "deployment",
        "service:roadtrip",
        "environment:production",
        "id:d1",
        "verdict:pass",
        "version:2.0.0",
        "revision:0123456789abcdef",
    }
    assert set(region["tags"]) == tags | ({"team:blue"} if route in ("told", "finish spooled") else set())
    assert (region["time"] / 1000, region["timeEnd"] / 1000) == (STARTED, FINISHED)
    assert again.state is RecordState.THERE
    assert again.message == "Grafana: region 'deployment 0123456789ab' was already there"
    if route == "finish spooled":
        assert flushed.sent == ("Grafana: region 'deployment 0123456789ab' written and read back",)
    if route == "told":
        assert outcome.message == "Grafana: region 'deployment 0123456789ab' written and read back"
        assert outcome.deployment is not None
        assert outcome.deployment.deployed == "0123456789abcdef"


@BOTH
async def test_a_finish_that_is_told_others_says_others(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """G4: a revision or version that the finish itself is given counts; what it isn't given stands."""
    async with desk(grafana.url, tmp_path, api=api) as at:
        await at.recorder.start(release(**START))
        await at.recorder.finish(done(**{**FINISH, "revision": "fedcba9876543210"}))
        assert grafana.regions()[-1]["text"].startswith("Deployment fedcba987654 (2.0.0) of roadtrip to production: pass")
        await at.recorder.finish(done(**{**FINISH, "version": "2.0.1", "verdict": "fail", "detail": "it broke"}))
    [region] = grafana.regions()
    assert region["text"] == "Deployment fedcba987654 (2.0.1) of roadtrip to production: fail\nit broke\nhttps://ci/1"
    assert {"version:2.0.1", "revision:fedcba9876543210", "verdict:fail"} <= set(region["tags"])
    assert "verdict:pass" not in region["tags"]


@BOTH
async def test_without_any_word_the_cis_commit_is_the_revision(grafana: StandInGrafana, tmp_path: Path, api: str) -> None:
    """G4: neither start nor finish is given one: the commit of the start's CI, also where the finish runs at another commit."""
    plain = {**START, "revision": "", "version": ""}
    async with desk(grafana.url, tmp_path, api=api) as at:
        await at.recorder.start(release(**plain))
        await at.recorder.finish(done(**{**FINISH, "commit": "abad1dea" * 5}))
    [region] = grafana.regions()
    assert f"revision:{CI}" in region["tags"]
    assert region["text"].startswith("Deployment feedfacefeed of roadtrip")


async def test_two_who_write_at_the_same_moment_leave_one(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Both found nothing and both wrote: both keep the same one, and the other goes."""
    async with desk(grafana.url, tmp_path / "one") as one, desk(grafana.url, tmp_path / "two") as two:
        outcomes = await asyncio.gather(one.recorder.finish(done()), two.recorder.finish(done()))
        assert {o.state for o in outcomes} <= {RecordState.WRITTEN, RecordState.THERE}
        await one.recorder.finish(done())
    assert shown(grafana) == [(STARTED, FINISHED, TAGS | {"verdict:pass"})]


async def test_a_token_is_in_no_message_and_no_file(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Refused with an answer that quotes the token: neither the message nor the spool holds it, and the advice says what is wrong."""
    wrong = "glsa_wrong-but-secret"
    async with desk(grafana.url.replace("http://", "http://user:pass-word@"), tmp_path, token=wrong) as at:
        outcome = await at.recorder.finish(done())
        assert "answered 401 (invalid API key Bearer ***); the token is unknown or has expired" in outcome.message
        written = await asyncio.to_thread(at.spool.path.read_text)
        for secret in (wrong, "pass-word", TOKEN):
            assert secret not in outcome.message + written
            assert secret not in repr(at.grafana.__dict__)


async def test_a_name_and_a_password_in_the_url_work_and_stay_secret(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Without a token they are Basic authorization; an answer that quotes it is made discreet."""
    async with desk(grafana.url.replace("http://", "http://admin:pass%40word@"), tmp_path, token="") as at:
        outcome = await at.recorder.finish(done())
        assert "answered 401 (invalid API key Basic ***)" in outcome.message


async def test_a_viewer_is_told_what_it_lacks(grafana: StandInGrafana, tmp_path: Path) -> None:
    """403 says which right is needed; waiting wouldn't help, so that it is asked once."""
    grafana.odd = {"viewer"}
    async with desk(grafana.url, tmp_path) as at:
        outcome = await at.recorder.finish(done())
        assert outcome.state is RecordState.KEPT
        assert "the token needs annotations:create, read and write (an Editor's service account)" in outcome.message
        assert at.waits == []


async def test_a_disk_that_can_not_be_written_stops_no_mark(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Without a spool the mark is written all the same; with Grafana down as well, it is lost and said to be."""
    blocked = tmp_path / "file"
    await asyncio.to_thread(blocked.write_text, "in the way")
    async with desk(grafana.url, blocked) as at:
        outcome = await at.recorder.finish(done())
        assert (outcome.state, len(outcome.warnings)) == (RecordState.WRITTEN, 1)
        grafana.always = 413
        lost = await at.recorder.finish(done(2))
        assert (lost.state, lost.exit_code(require=True)) == (RecordState.LOST, 1)


async def test_patience_ends(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Waits double up to their most, and all of it ends before the total; a wait that would go beyond isn't begun."""
    grafana.always = 500
    async with desk(grafana.url, tmp_path, patience=Patience(tries=50, first=1, most=4, total=20)) as at:
        await at.recorder.finish(done())
        assert sum(at.waits) <= 20
        assert max(at.waits) <= 4
        assert len(at.waits) >= 5
