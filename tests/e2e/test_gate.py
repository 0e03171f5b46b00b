"""The gate from its command line, against the stand-in, carried out in the job itself."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path

import pytest

from demo._site import Site
from demo.servers import PostgresServer, RedisServer
from demo.standin import StandIn
from judge.observation import Observation
from probes.wire.wire import Wire
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.config.purpose import Purpose
from runner.config.read import read_plan
from runner.engine.execute import Execute
from runner.gate.gate import Gate
from runner.gate.settings import GateSettings
from runner.state import open_ledger
from tests.support.balancer import Balancer, Release
from tests.support.grafana import TOKEN, StandInGrafana
from tests.support.road import CHECKS, NEW, OLD, Road, by_header, gate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Silent:
    """Shows nobody what a gate does."""

    def say(self, text: str) -> None: ...

    def ran(self, seen: Observation, *, judged: bool = True) -> None: ...


async def test_a_good_release_passes_in_under_fifteen_seconds(road: Road) -> None:
    """With the default smoke checks, and it says what the answers prove."""
    ended = await road.outrider(*gate("--expect-revision", NEW))
    assert ended.code == 0, ended.err + ended.out
    assert ended.seconds < 15
    assert (ended.report["verdict"], ended.report["revision"]) == ("pass", NEW)
    assert [(one["check"], one["verdict"], one["runs"]) for one in ended.report["checks"]] == [
        (name, "pass", 5) for name in ("api", "ready", "database", "cache")
    ]
    assert "5 responses in a row: one old instance among two would have shown with 95 % confidence" in " ".join(ended.report["preamble"])


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
    assert f"did not serve revision {NEW} 5 times in a row" in ended.report["reasons"][0]["text"]
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
    """Many times slower than before, with every run within 500 ms: passed, and said; a failure only where that is asked for.

    The difference is far above what a busy machine adds to a run.
    """
    road.slow_down(0.02)
    road.release.version = OLD
    saved = str(road.folder / "before.json")
    before = await road.outrider("gate", "--save", saved)
    assert before.code == 0, before.out + before.err
    road.release.version = NEW
    road.slow_down(0.3)
    ended = await road.outrider(*gate("--expect-revision", NEW, "--baseline", saved))
    assert ended.code == 0, ended.err + ended.out
    assert any("slower than before the deployment: api" in note["text"] for note in ended.report["notes"])
    failing = await road.outrider(*gate("--expect-revision", NEW, "--baseline", saved, "--fail-on-slower", "30%"))
    assert failing.code == 1, failing.err + failing.out


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


async def test_ten_gates_at_the_edge_of_an_slo(servers: tuple[PostgresServer, RedisServer], tmp_path: Path) -> None:
    """On a real server that just meets its p95, no more gates fail than the confidence allows: of ten, at most two."""
    rng = random.Random(20261124)  # noqa: S311 - a seeded draw
    text = CHECKS.replace("threshold: 500ms", "threshold: 40ms").replace("slos: [availability, p95, p99]", "slos: [p95]")
    config = tmp_path / "checks.yaml"
    await asyncio.to_thread(config.write_text, text)
    async with StandIn(servers=servers, limits=False) as standin:

        async def pause() -> None:
            if rng.random() < 0.05:
                await standin.world.pause(0.06)

        site = Site(Release(standin.api, NEW, pause=pause))
        await site.start()
        environ = {**standin.environment(), "API_URL": site.url, "API_LIMIT": "100000/1h"}
        plan = await asyncio.to_thread(lambda: read_plan(config, environ=environ, purpose=Purpose.CHECKS, checks=["api"]))
        verdicts = [await _verdict(plan) for _ in range(10)]
        await site.stop()
    assert verdicts.count("fail") <= 2, verdicts
    assert verdicts.count("pass") + verdicts.count("fail") == 10


async def _verdict(plan: Plan) -> str:
    clock, wire = SystemClock(), Wire()
    ledger = await asyncio.to_thread(open_ledger, None, clock)
    execute = Execute(plan=plan, wire=wire, ledger=ledger, clock=clock, rng=random.SystemRandom(), version="0")
    settings = GateSettings(expect_revision=NEW, rounds=60)
    gate = Gate(plan, execute, settings, clock=clock, sleep=asyncio.sleep, stop=asyncio.Event(), display=Silent(), pace=0.0)
    try:
        return str((await gate.run()).report.verdict)
    finally:
        await wire.aclose()
        await ledger.aclose()
