"""The gate carried out by an always-on runner: the same verdicts and reports; and what it marks by itself."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx
import pytest

from demo._site import Site
from tests.support.balancer import Balancer, Release
from tests.support.grafana import TOKEN, StandInGrafana
from tests.support.road import NEW, OLD, OPERATE, Road, by_header, checks_of, gate, runner, via

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


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
    assert f"did not serve revision {NEW} 5 times in a row" in ended.report["reasons"][0]["text"]


async def test_a_lost_runner_is_asked_again(road: Road) -> None:
    """The gate goes on while the connection is cut, and its caller finds it again."""
    async with runner(road, checks_of(road)) as watched, Balancer([int(watched.url.rpartition(":")[2])]) as between:
        process = await road.begin(*gate("--via", between.url, "--for", "8s", "--expect-revision", NEW), OPERATE_TOKEN=OPERATE)
        assert process.stderr is not None
        async for line in process.stderr:
            if line.startswith(b"judging"):
                between.cut()
                break
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"; trying again" in err
    assert all(one["runs"] == 4 for one in json.loads(out)["checks"])


async def test_ctrl_c_ends_a_gate_that_runs_elsewhere(road: Road) -> None:
    """The runner's gate ends, too, and its verdict so far comes back."""
    async with runner(road, checks_of(road)) as watched:
        process = await road.begin(*gate(*via(watched), "--for", "5m", "--expect-revision", NEW), OPERATE_TOKEN=OPERATE)
        assert process.stderr is not None
        async for line in process.stderr:
            if line.startswith(b"judging"):
                process.send_signal(signal.SIGINT)
                break
        out, err = await process.communicate()
        again = await road.outrider(*gate(*via(watched), "--rounds", "1", "--expect-revision", NEW), OPERATE_TOKEN=OPERATE)
    assert process.returncode == 3, err
    assert any("interrupted after" in one["text"] for one in json.loads(out)["reasons"])
    assert again.code == 0, again.err


async def test_the_runner_marks_what_it_sees_by_itself(road: Road, grafana: StandInGrafana) -> None:
    """A revision that changed, an outage from first failure to recovery, and the release as metrics."""
    asked = asyncio.Event()
    grafana.before = lambda _: asked.set()

    async def marked(tag: str) -> dict[str, Any]:
        while not (found := [one for one in grafana.regions() if tag in one["tags"] and "state:open" not in one["tags"]]):
            asked.clear()
            await asyncio.wait_for(asked.wait(), 30)
        return found[0]

    road.release.revision = OLD
    road.environ |= {"GRAFANA_URL": grafana.url, "GRAFANA_API_KEY": TOKEN}
    async with runner(road, by_header(checks_of(road))) as watched:
        await road.release.until_asked("/api/tts/voices", 2)
        road.release.revision = NEW
        change = await marked("revision")
        assert f"revision:{NEW}" in change["tags"]
        await road.standin.switch_on("db-down")
        await watched.until(lambda line: '"database failed' in line, 2)
        await road.standin.switch_off("db-down")
        outage = await marked("check:database")
        assert {"outage", "service:roadtrip"} <= set(outage["tags"])
        assert outage["timeEnd"] > outage["time"]
        async with httpx.AsyncClient(trust_env=False) as client:
            metrics = (await client.get(f"{watched.url}/metrics")).text
    assert f'deployment_info{{revision="{NEW}",target="api",version="{NEW}"}} 1' in metrics
    assert '\ndeployment_timestamp_seconds{target="api"} 1' in metrics
