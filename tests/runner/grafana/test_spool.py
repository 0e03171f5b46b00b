from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from runner.grafana import Spool
from tests.support.recording import FINISHED, STARTED, done, release


def test_what_is_kept_is_there_for_another_process(tmp_path: Path) -> None:
    """A record outlives who wrote it, whole, and only its owner may read it."""
    Spool(tmp_path / "state").add(done(detail="ünïcode\nlines").event(), STARTED)
    spool = Spool(tmp_path / "state")
    [kept] = spool.waiting()
    assert (kept.event, kept.since, kept.tries) == (done(detail="ünïcode\nlines").event(), STARTED, 0)
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.path.parent.stat().st_mode) == 0o700


def test_start_and_finish_become_one(tmp_path: Path) -> None:
    """However they come, what is sent is one region."""
    for name, events in {"one": [release(), done(started=None)], "two": [done(started=None), release()]}.items():
        spool = Spool(tmp_path / name)
        for event in events:
            spool.add(event.event(), STARTED)
        assert [(k.event.start, k.event.end) for k in spool.waiting()] == [(STARTED, FINISHED)]


def test_a_finish_keeps_what_the_start_said(tmp_path: Path) -> None:
    """G4: in the spool as in Grafana, in either order: the start's revision, version and link, and the finish's verdict."""
    start = release(revision="0123456", version="2.0.0", link="https://ci/1", commit="feedface")
    finish = done(revision="", version="", link="https://ci/2", commit="feedface", started=None, detail="well")
    for name, events in {"one": [start, finish], "two": [finish, start]}.items():
        spool = Spool(tmp_path / name)
        for event in events:
            spool.add(event.event(), STARTED)
        [kept] = spool.waiting()
        assert kept.event.text == "Deployment 0123456 (2.0.0) of roadtrip to production: pass\nwell\nhttps://ci/1"
        assert {"revision:0123456", "version:2.0.0", "verdict:pass"} <= set(kept.event.tags)
        assert kept.event.title == "deployment 0123456"


def test_what_an_older_version_kept_is_read(tmp_path: Path) -> None:
    """A record without what it was made of waits on, and is sent as it is."""
    old = '{"event": {"identity": ["id:1"], "text": "x", "start": 1.0, "end": 2.0}, "since": 1.0, "tries": 3, "why": "down"}\n'
    (tmp_path / "annotations.jsonl").write_text(old)
    [kept] = Spool(tmp_path).waiting()
    assert (kept.event.text, kept.event.deployment, kept.tries, kept.blamed) == ("x", None, 3, 0)


def test_one_that_was_told_more_of_stays(tmp_path: Path) -> None:
    """The start was being sent while the finish came: only what was sent goes."""
    spool = Spool(tmp_path)
    sent, _ = spool.add(release().event(), STARTED)
    spool.add(done().event(), STARTED)
    spool.done(sent)
    [left] = spool.waiting()
    assert left.event.end == FINISHED
    spool.done(left)
    assert spool.waiting() == ()


def test_it_is_bounded(tmp_path: Path) -> None:
    """The eldest goes when one more comes than there is room for, and that is told."""
    spool = Spool(tmp_path, most=3)
    dropped = [spool.add(done(number).event(), STARTED)[1] for number in range(5)]
    assert dropped == [0, 0, 0, 1, 1]
    assert [k.event.id for k in spool.waiting()] == [f"github/acme/roadtrip/{n}/1" for n in (2, 3, 4)]


def test_a_full_spool_lets_go_of_a_bad_record_first(tmp_path: Path) -> None:
    """G7: one that Grafana refused goes before those that were never refused, though it stands at the end."""
    spool = Spool(tmp_path, most=3)
    bad, _ = spool.add(done(0).event(), STARTED)
    for number in (1, 2):
        spool.add(done(number).event(), STARTED + number)
    spool.tried(bad, "answered 400", blamed=True)
    assert [k.event.id for k in spool.waiting()] == [f"github/acme/roadtrip/{n}/1" for n in (1, 2, 0)]
    assert spool.add(done(3).event(), STARTED + 3)[1] == 1
    assert [k.event.id for k in spool.waiting()] == [f"github/acme/roadtrip/{n}/1" for n in (1, 2, 3)]


def test_tries_are_counted(tmp_path: Path) -> None:
    """Each try in vain is noted with its reason."""
    spool = Spool(tmp_path)
    kept, _ = spool.add(done().event(), STARTED)
    spool.tried(kept, "answered 503")
    spool.tried(kept, "answered 502")
    assert [(k.tries, k.why) for k in spool.waiting()] == [(2, "answered 502")]


@pytest.mark.parametrize("damage", [b"{torn", b"\xff\xfe", b"[]", b'{"event": {"identity": [], "text": "x", "start": 1}, "since": 1}'])
def test_a_damaged_line_stops_no_other(tmp_path: Path, damage: bytes) -> None:
    """It is moved aside, and the rest is read."""
    spool = Spool(tmp_path)
    spool.add(done().event(), STARTED)
    spool.path.write_bytes(damage + b"\n" + spool.path.read_bytes())
    assert len(spool.waiting()) == 1
    assert damage in (tmp_path / "annotations.damaged.jsonl").read_bytes()
    assert damage not in spool.path.read_bytes()


def test_many_at_once_lose_none(tmp_path: Path) -> None:
    """Writers of several threads take turns at the file."""
    threads = [threading.Thread(target=Spool(tmp_path).add, args=(done(number).event(), STARTED)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Spool(tmp_path).waiting()) == 8


def test_an_empty_spool_makes_no_folder(tmp_path: Path) -> None:
    """Looking leaves nothing behind."""
    assert Spool(tmp_path / "none").waiting() == ()
    assert not (tmp_path / "none").exists()
