"""What makes a load test believable, against a target that misbehaves on cue: stalls, lost workers, a starved generator."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from functools import partial
from pathlib import Path

import pytest

from judge.verdict import Outcome
from loadtests.result import LoadReport
from tests.support.load_site import CONFIG, ROOT, Run, Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def p99(report: LoadReport) -> float:
    """Of the response time of whole arrivals."""
    found = next(task for task in report.tasks if task.kind == "journey").response.quantile(0.99)
    assert found is not None
    return found


async def test_a_stall_of_a_second_shows_in_an_open_load_and_hides_in_a_closed_one(tmp_path: Path) -> None:
    """The same target stalls for a second in mid-run. Users who arrive when they are due have waited for it.

    Their run fails in that window. Two users who wait for each answer are two slow requests among thousands: p99 says nothing.
    """
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)
        site.at[200] = site.stall
        code, opened = await run.load("page", "--rate", "50/s", "--duration", "8s", "--arrivals", "even")
        site.at = {site.pages + 1000: site.stall}
        _, closed = await run.load("page", "--duration", "8s", "--arrivals", "closed", "--users", "2")

    assert p99(opened) > 0.8
    assert (code, opened.verdict) == (1, Outcome.FAIL), opened.reasons
    assert any(reason.task == "page/page" and reason.slo == "p99" for reason in opened.reasons)
    slowest = next(task for task in closed.tasks if task.kind == "journey").response.largest
    assert slowest is not None
    assert slowest > 0.8  # it was there, and asked
    assert p99(closed) < 0.3
    assert not any(reason.outcome is Outcome.FAIL for reason in closed.reasons)


async def test_who_is_never_answered_has_timed_out(tmp_path: Path) -> None:
    """A target that hangs for good: each arrival ends at its own deadline with `timeout`, and the run says nothing else; exit 1."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)
        site.at[40] = lambda: site.stall(60.0)
        code, report = await run.load("page", "--rate", "50/s", "--duration", "4s", "--warm-up", "100ms")

    assert (code, report.verdict) == (1, Outcome.FAIL)
    journey = next(task for task in report.tasks if task.kind == "journey")
    assert set(journey.reasons) == {"timeout"}
    assert journey.reasons["timeout"] > 100
    assert journey.done == journey.started


async def test_zero_requests_are_inconclusive(tmp_path: Path) -> None:
    """A load in which nobody comes proves nothing: exit 3."""
    async with Site() as site:
        code, report = await (await asyncio.to_thread(Run, site, tmp_path)).load(
            "page", "--rate", "0.1/s", "--duration", "2s", "--arrivals", "even"
        )
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert "nothing was sent" in [reason.text for reason in report.reasons]


async def test_a_starved_generator_is_inconclusive(tmp_path: Path) -> None:
    """The generator stands still for a second: its own lateness is no result of the target's, whatever the times say; exit 3."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)

        async def starve() -> None:
            pid = await run.sending()
            os.kill(pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(1.0, os.kill, pid, signal.SIGCONT)

        site.at[100] = starve
        code, report = await run.load("page", "--rate", "50/s", "--duration", "6s")

    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert "late, and at most 100 ms is allowed" in report.generator.saturated
    assert [reason.cause for reason in report.reasons] == ["saturated"]


async def test_a_generator_that_is_asked_too_much_is_inconclusive(tmp_path: Path) -> None:
    """More than a process can send: it says so, and gives no verdict; exit 3."""
    async with Site() as site:
        code, report = await (await asyncio.to_thread(Run, site, tmp_path)).load("page", "--rate", "20000/s", "--duration", "1s")
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert report.generator.saturated


async def test_a_killed_worker_is_inconclusive(tmp_path: Path) -> None:
    """One of two workers dies in mid-run: what it was to send is missing, so that nothing is proven; exit 3."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)

        async def kill() -> None:
            os.kill(await run.worker(), signal.SIGKILL)

        site.at[100] = kill
        code, report = await run.load("page", "--rate", "50/s", "--duration", "6s", "--workers", "2")

    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert sorted(worker.state for worker in report.workers) == ["done", "lost"]
    assert "worker" in [reason.cause for reason in report.reasons]


async def test_another_revision_than_before_is_inconclusive(tmp_path: Path) -> None:
    """The target was deployed under the load: which of the two was measured, nobody can say; exit 3."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)

        async def deploy() -> None:
            site.version = b"2.0.0"

        site.at[50] = deploy
        code, report = await run.load("page", "--rate", "50/s", "--duration", "3s")
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert (report.revision_before, report.revision_after) == ("1.0.0", "2.0.0")


async def test_an_interrupted_run_says_what_it_has_seen(tmp_path: Path) -> None:
    """Ctrl-C: the report comes all the same, inconclusive; exit 3."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)

        async def interrupt() -> None:
            os.kill(await run.sending(), signal.SIGINT)

        site.at[60] = interrupt
        code, report = await run.load("page", "--rate", "50/s", "--duration", "30s")
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert "interrupted" in [reason.cause for reason in report.reasons]
    assert report.generator.started < 200


async def test_a_breach_ends_the_run_where_that_is_wanted(tmp_path: Path) -> None:
    """--abort-on-breach: a target that has stopped answering in time is left alone long before the end; exit 1."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)
        site.at = dict.fromkeys(range(50, 3000, 5), site.stall)
        code, report = await run.load("page", "--rate", "50/s", "--duration", "40s", "--warm-up", "1s", "--abort-on-breach")
    assert (code, report.verdict) == (1, Outcome.FAIL), report.reasons
    assert report.finished - report.started < 30
    assert any("ended early" in note.text for note in report.notes)


async def test_a_journey_is_sent_alike_by_the_probe_and_by_the_load(tmp_path: Path) -> None:
    """One interpreter under both drivers: method, path, query, own headers and body of every step, byte for byte."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path)
        code, _, err = await run("probe", "visit")
        assert code == 0, err
        probed, site.asked = site.asked, []
        await run.load("visit", "--rate", "1/s", "--duration", "1s", "--arrivals", "even")
        loaded = [asked for asked in site.asked if asked[1] != "/version"]

    assert probed == loaded
    assert [(method, path) for method, path, *_ in probed] == [
        ("POST", "/login"),
        ("GET", "/things/t%2F1?near=37.8%2C-122.4"),
        ("POST", "/leave"),
    ]
    assert probed[0][3] == b"user=a+b&password=p%26q"
    assert json.loads(probed[2][3]) == {"token": "t/1"}


async def test_locust_never_enters_the_runners_process(tmp_path: Path) -> None:
    """A whole load from within an interpreter of ours: Locust and gevent were in another one."""
    script = """
import sys
from runner.cli import outrider
code = 0
try:
    code = outrider.main(sys.argv[1:], standalone_mode=False) or 0
except SystemExit as ended:
    code = ended.code
assert not {"locust", "gevent"} & sys.modules.keys(), sorted(sys.modules)
print("apart", code)
"""
    async with Site() as site:
        await asyncio.to_thread(Run, site, tmp_path)
        words = ("load", "page", "--rate", "40/s", "--duration", "2s", "--config", str(tmp_path / "checks.yaml"))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *words, cwd=ROOT, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out.decode().splitlines()[-1].startswith("apart")
    assert site.pages > 40


async def test_a_generator_without_descriptors_judges_nobody(tmp_path: Path) -> None:
    """G5: a slow target is not a failing one because the generator may open 64 files only: exit 3, and the limit is named."""
    async with Site() as site:
        run = await asyncio.to_thread(partial(Run, site, tmp_path, limits=("--nofile=64",)))
        site.at[1] = lambda: site.stall(4.0)
        code, report = await run.load("page", "--rate", "50/s", "--duration", "4s", "--warm-up", "100ms")

    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    saturated = next(reason.text for reason in report.reasons if reason.cause == "saturated")
    assert "no file descriptors are left (a process may have 64)" in saturated
    request = next(task for task in report.tasks if task.kind == "request")
    assert set(request.reasons) == {"starved"}


@pytest.mark.alone  # 40/s must be offered in time
async def test_a_search_runs_each_rate_long_enough(tmp_path: Path) -> None:
    """U10: --duration 1s proves nothing at 20/s; each trial lasts as long as its SLO needs, and a healthy target reaches the ceiling."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, CONFIG.replace("50000/s", "40/s"))
        code, out, err = await run("load", "visit", "--rate", "20/s", "--duration", "1s", "--find-capacity", "--arrivals", "even")
    assert code == 0, out + err
    assert "so that each trial lasts longer" in err
    assert "40/s meets the SLOs, confirmed by a second run; the ceiling was reached" in out
