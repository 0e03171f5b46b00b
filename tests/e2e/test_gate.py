"""The gate from its command line, against the stand-in: here and by an always-on runner, with the same outcome."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo._site import Site
from demo.servers import Postgres, Redis
from demo.standin import StandIn
from tests.support.balancer import Balancer, Release
from tests.support.grafana import TOKEN, StandInGrafana, standing_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
OUTRIDER = [sys.executable, "-m", "runner.cli"]
CHECKS = (ROOT / "checks.yaml").read_text(encoding="utf-8")
OLD, NEW = "1.4.2", "1.5.0"
OPERATE = "operate-this-runner"


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def report(self) -> dict[str, Any]:
        """What it printed with --json."""
        told: dict[str, Any] = json.loads(self.out)
        return told


@dataclass
class Road:
    """The stand-in's API behind a release of its own, and the environment that leads there."""

    standin: StandIn
    release: Release
    site: Site
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    async def outrider(self, *arguments: str, **environ: str) -> Ended:
        """Runs a command to its end."""
        began = time.monotonic()
        process = await self.begin(*arguments, **environ)
        out, err = await process.communicate()
        return Ended(process.returncode or 0, out.decode(), err.decode(), time.monotonic() - began)

    async def begin(self, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
        """Starts a command."""
        pipe = asyncio.subprocess.PIPE
        given = {**self.environ, **environ}
        return await asyncio.create_subprocess_exec(*OUTRIDER, *arguments, cwd=ROOT, env=given, stdout=pipe, stderr=pipe, limit=2**20)

    def slow_down(self, seconds: float) -> None:
        """Every answer takes so much longer."""

        async def pause() -> None:
            await self.standin.world.pause(seconds)

        self.release.pause = pause


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Redis]]:
    """One PostgreSQL and one Redis for all tests here."""
    both = (Postgres(), Redis())

    async def start() -> None:
        await asyncio.gather(*(server.start() for server in both))

    async def close() -> None:
        await asyncio.gather(*(server.close() for server in both))

    asyncio.run(start())
    try:
        yield both
    finally:
        asyncio.run(close())


@pytest.fixture
async def road(servers: tuple[Postgres, Redis], tmp_path: Path) -> AsyncIterator[Road]:
    """The new release, well, behind no balancer."""
    async with StandIn(servers=servers) as standin:
        release = Release(standin.api, NEW)
        site = Site(release)
        await site.start()
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_", "GRAFANA_"))}
        environ = {**ours, **standin.environment(), "API_URL": site.url, "STATE_DIR": str(tmp_path / "state"), "API_LIMIT": "100000/1h"}
        try:
            yield Road(standin, release, site, tmp_path, environ)
        finally:
            await site.stop()


@asynccontextmanager
async def runner(road: Road, checks: str) -> AsyncIterator[Runner]:
    """An always-on runner with these checks, that listens."""
    config = road.folder / "checks.yaml"
    await asyncio.to_thread(config.write_text, checks)
    process = await road.begin("run", "--config", str(config), LISTEN="127.0.0.1:0", OPERATE_TOKEN=OPERATE)
    watched = Runner(process)
    reading = asyncio.create_task(watched.read())
    try:
        await watched.until(lambda line: "the page is at" in line)
        yield watched
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await reading


@dataclass
class Runner:
    """A runner that writes its journal."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Takes its journal up, line by line."""
        if self.process.stdout is None:
            return
        async for line in self.process.stdout:
            self.lines.append(line.decode())
            self.news.set()

    async def until(self, wanted: Any, count: int = 1, start: int = 0) -> None:
        """Waits until so many lines are as wanted."""
        while sum(1 for line in self.lines[start:] if wanted(line)) < count:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 30)

    @property
    def url(self) -> str:
        """Where it listens."""
        line = next(line for line in self.lines if "the page is at" in line)
        return str(json.loads(line)["message"].rpartition(" ")[2]).rstrip("/")


def checks_of(road: Road) -> str:
    """The committed checks, asked each second, so that a test needn't wait for them."""
    text = CHECKS.replace("interval: 15s", "interval: 1s").replace("interval: 30s, timeout: 5s", "interval: 1s, timeout: 1s")
    return text.replace("state: ${STATE_DIR:-.outrider}", f"state: {road.folder}/runner-state")


def by_header(checks: str) -> str:
    """The same checks, where every answer tells its revision."""
    return checks.replace("revision: {path: /health/, json: $.version}", "revision: {header: X-Revision}")


def gate(*more: str) -> tuple[str, ...]:
    """The command, with a report for us."""
    return ("gate", "--json", *more)


def via(watched: Runner) -> tuple[str, ...]:
    """The options that let a runner carry it out."""
    return ("--via", watched.url)


async def test_a_good_release_passes_in_under_fifteen_seconds(road: Road) -> None:
    """With the default smoke checks, and it says what the answers prove."""
    ended = await road.outrider(*gate("--expect-revision", NEW))
    assert ended.code == 0, ended.err + ended.out
    assert ended.seconds < 15
    assert (ended.report["verdict"], ended.report["revision"]) == ("pass", NEW)
    assert [(one["check"], one["verdict"], one["runs"]) for one in ended.report["checks"]] == [
        (name, "pass", 5) for name in ("api", "ready", "database", "cache")
    ]
    assert "5 answers in a row: one old instance among two would have shown with 95 %" in " ".join(ended.report["preamble"])


async def test_a_broken_release_fails_with_the_check_and_its_line(road: Road) -> None:
    """It doesn't wait for the rest: nothing that comes could change the verdict."""
    await road.standin.switch_on("api-500")
    ended = await road.outrider(*gate("--expect-revision", NEW, "--wait", "20s"))
    assert ended.code == 1, ended.err + ended.out
    line = CHECKS.splitlines().index("  api:", 60) + 1
    assert {"check": "api", "line": line} == {k: ended.report["reasons"][0][k] for k in ("check", "line")}
    assert ended.seconds < 40


async def test_an_old_instance_behind_a_balancer_is_inconclusive(road: Road) -> None:
    """One of two backends was not replaced: answers of the new release never come in a row."""
    old = Site(Release(road.standin.api, OLD))
    await old.start()
    async with Balancer([road.site.port, old.port]) as balancer:
        ended = await road.outrider(*gate("--expect-revision", NEW, "--wait", "3s"), API_URL=balancer.url)
    await old.stop()
    assert ended.code == 3, ended.err + ended.out
    assert f"never answered 5 times in a row with revision {NEW}" in ended.report["reasons"][0]["text"]
    assert OLD in ended.report["reasons"][0]["text"]


async def test_an_old_instance_that_comes_back_while_judging_is_inconclusive(road: Road) -> None:
    """A header in the judged answers themselves gives it away."""
    config = road.folder / "checks.yaml"
    await asyncio.to_thread(config.write_text, by_header(CHECKS))
    road.release.revision = "4f1c9e7aa0"
    process = await road.begin(*gate("--config", str(config), "--expect-revision", "4f1c9e7"))
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(b"judging"):
            road.release.revision = "0ld0ld0"
            break
    out, _ = await process.communicate()
    assert process.returncode == 3
    assert any("revision 0ld0ld0 answered" in one["text"] for one in json.loads(out)["reasons"]), out.decode()


async def test_a_slower_release_inside_its_slo_is_reported(road: Road) -> None:
    """Thirty per cent slower than before, with every run within 500 ms: passed, and said; a failure only where that is asked for."""
    road.slow_down(0.06)
    road.release.version = OLD
    saved = str(road.folder / "before.json")
    before = await road.outrider("gate", "--save", saved)
    assert before.code == 0, before.out + before.err
    road.release.version = NEW
    road.slow_down(0.09)
    ended = await road.outrider(*gate("--expect-revision", NEW, "--baseline", saved))
    assert ended.code == 0, ended.err + ended.out
    assert any("slower than before the deployment: api" in note["text"] for note in ended.report["notes"])
    failing = await road.outrider(*gate("--expect-revision", NEW, "--baseline", saved, "--fail-on-slower", "30%"))
    assert failing.code == 1, failing.err + failing.out


async def test_the_same_five_by_an_always_on_runner(road: Road) -> None:
    """Good, slower, old, broken and unknown: the verdicts, codes and reports are those of a gate in the job itself."""
    road.release.revision = OLD
    road.slow_down(0.06)
    async with runner(road, by_header(checks_of(road))) as watched:
        environ = {"OPERATE_TOKEN": OPERATE}
        await road.release.until_asked("/api/tts/voices", 9)
        road.release.revision = NEW
        good = await road.outrider(*gate(*via(watched), "--expect-revision", NEW), **environ)
        assert good.code == 0, good.err + good.out
        assert good.seconds < 15
        assert {one["check"] for one in good.report["checks"]} == {"api", "ready", "database", "cache"}
        road.slow_down(0.1)
        slower = await road.outrider(*gate(*via(watched), "--expect-revision", NEW, "--rounds", "6"), **environ)
        assert slower.code == 0, slower.err + slower.out
        assert any("slower than before the deployment: api" in one["text"] for one in slower.report["notes"]), slower.out
        never = await road.outrider(*gate(*via(watched), "--expect-revision", "9.9.9", "--wait", "2s"), **environ)
        assert never.code == 3
        await road.standin.switch_on("db-down")
        broken = await road.outrider(*gate(*via(watched), "--expect-revision", NEW), **environ)
        assert broken.code == 1
        assert {one["check"] for one in broken.report["reasons"]} >= {"database"}
        assert all(one["line"] for one in broken.report["reasons"])
        await road.standin.switch_off("db-down")
        unknown = await road.outrider(*gate(*via(watched), "--tag", "smok"), **environ)
        assert (unknown.code, "no check carries the tag smok" in unknown.err) == (2, True)
        stranger = await road.outrider(*gate(*via(watched)), OPERATE_TOKEN="another")
        assert stranger.code == 2


async def test_an_old_instance_seen_by_an_always_on_runner(road: Road) -> None:
    """Inconclusive there, too."""
    old = Site(Release(road.standin.api, OLD))
    await old.start()
    async with Balancer([road.site.port, old.port]) as balancer:
        road.environ["API_URL"] = balancer.url
        async with runner(road, checks_of(road)) as watched:
            ended = await road.outrider(*gate(*via(watched), "--expect-revision", NEW, "--wait", "3s"), OPERATE_TOKEN=OPERATE)
    await old.stop()
    assert ended.code == 3, ended.err + ended.out
    assert f"never answered 5 times in a row with revision {NEW}" in ended.report["reasons"][0]["text"]


@pytest.fixture
async def grafana() -> AsyncIterator[StandInGrafana]:
    """A stand-in that is up."""
    async with standing_in() as up:
        yield up


async def test_a_deployment_is_marked_from_start_to_verdict(road: Road, grafana: StandInGrafana) -> None:
    """One region, with the verdict as a tag, whoever told its start."""
    environ = {"GRAFANA_URL": grafana.url, "GRAFANA_API_KEY": TOKEN}
    start = await road.outrider("annotate", "start", "--deployment", "d-1", "--revision", NEW, **environ)
    assert start.code == 0, start.err
    ended = await road.outrider(*gate("--rounds", "1", "--expect-revision", NEW, "--annotate", "--deployment", "d-1"), **environ)
    assert ended.code == 0, ended.err
    [region] = grafana.regions()
    assert {"deployment", "verdict:pass", f"revision:{NEW}", "service:roadtrip", "environment:demo"} <= set(region["tags"])
    assert region["timeEnd"] > region["time"]


async def test_a_grafana_that_dies_in_mid_run_costs_nothing(road: Road, grafana: StandInGrafana) -> None:
    """The exit code is the gate's, the record is kept, and a flush sends it."""
    environ = {"GRAFANA_URL": grafana.url, "GRAFANA_API_KEY": TOKEN}
    process = await road.begin(*gate("--rounds", "2", "--expect-revision", NEW, "--annotate", "--deployment", "d-2"), **environ)
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(b"judging"):
            await grafana.stop()
            break
    _, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"kept in" in err
    required = await road.outrider(*gate("--rounds", "1", "--annotate", "--require", "--deployment", "d-3"), **environ)
    assert required.code == 1
    await grafana.start()
    flushed = await road.outrider("annotate", "flush", "--require", **environ)
    assert flushed.code == 0, flushed.err
    verdicts = [tag for region in grafana.regions() for tag in region["tags"] if tag.startswith("verdict:")]
    assert verdicts == ["verdict:pass", "verdict:pass"]


async def test_ctrl_c_ends_with_a_verdict_so_far(road: Road) -> None:
    """Nothing has failed, so nothing is certain: 3, with the report of what was judged."""
    process = await road.begin(*gate("--expect-revision", NEW, "--for", "60s"))
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(b"PASS") and b"warm-up" not in line and b"cache" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = await process.communicate()
    assert process.returncode == 3, err
    told = json.loads(out)
    assert any("interrupted after" in one["text"] for one in told["reasons"])
    assert all(one["passed"] == one["runs"] for one in told["checks"])
    assert b"Traceback" not in err
