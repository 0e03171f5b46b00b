"""An outage's annotation in Grafana ends: by recovery, by a restart that finds it over, and when its check is gone."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.always_on import run, start, write
from tests.support.grafana import TOKEN, StandInGrafana, standing_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
OPEN = "state:open"


class Port:
    """A port on which nobody listens until it is brought up."""

    def __init__(self, kept: socket.socket) -> None:
        self._kept = kept
        kept.bind(("127.0.0.1", 0))
        self.number: int = kept.getsockname()[1]

    def bring_up(self) -> None:
        """From now on connections are accepted, by the kernel."""
        self._kept.listen(100)


@pytest.fixture
def port() -> Iterator[Port]:
    """One that refuses."""
    with socket.socket() as kept:
        yield Port(kept)


@pytest.fixture
async def grafana() -> AsyncIterator[StandInGrafana]:
    """A stand-in that is up."""
    async with standing_in() as up:
        yield up


def tcp(name: str, port: int, **more: str) -> str:
    """A check of kind tcp, every second."""
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return f"  {name}: {{kind: tcp, host: 127.0.0.1, port: {port}, interval: 1s, timeout: 900ms{rest}}}\n"


async def configure(folder: Path, grafana: StandInGrafana, *checks: str, environment: str = "test") -> None:
    """A checks.yaml that marks what it sees in this Grafana."""
    extra = f"environment: {environment}\ngrafana: {{url: '{grafana.url}', token: {TOKEN}}}\n"
    await write(folder, "".join(checks), extra)


def only(grafana: StandInGrafana) -> dict[str, Any]:
    """The one annotation that there is."""
    [annotation] = grafana.regions()
    return annotation


async def test_an_outage_ends_when_its_check_leaves_the_file(tmp_path: Path, grafana: StandInGrafana, port: Port) -> None:
    """A reload without the check closes the annotation at that moment and says why."""
    await configure(tmp_path, grafana, tcp("gone", port.number), tcp("other", port.number))
    async with run(tmp_path) as runner:
        await runner.until("start of outage of gone written")
        opened = dict(next(one for one in grafana.regions() if "check:gone" in one["tags"]))
        await configure(tmp_path, grafana, tcp("other", port.number))
        runner.process.send_signal(signal.SIGHUP)
        await runner.until("region 'outage of gone' written")
    assert OPEN in opened["tags"]
    gone, other = sorted(grafana.regions(), key=lambda one: OPEN in one["tags"])
    assert (gone["id"], gone["time"]) == (opened["id"], opened["time"])
    assert gone["timeEnd"] > gone["time"]
    assert OPEN not in gone["tags"]
    assert gone["text"].partition("\n")[0].endswith(", until it was removed from checks.yaml")
    assert {OPEN, "check:other"} <= set(other["tags"])


async def test_an_outage_that_is_over_after_a_restart_ends(tmp_path: Path, grafana: StandInGrafana, port: Port) -> None:
    """The first pass of the new process closes the annotation that the old one opened."""
    await configure(tmp_path, grafana, tcp("gone", port.number))
    async with run(tmp_path) as runner:
        await runner.until("start of outage of gone written")
    opened = dict(only(grafana))
    port.bring_up()
    async with run(tmp_path) as runner:
        await runner.until("region 'outage of gone' written")
    closed = only(grafana)
    assert (closed["id"], closed["time"]) == (opened["id"], opened["time"])
    assert closed["timeEnd"] > closed["time"]
    assert (OPEN in opened["tags"], OPEN in closed["tags"]) == (True, False)
    assert closed["text"].startswith("gone failed for ")


async def test_an_outage_that_goes_on_after_a_restart_is_the_same(tmp_path: Path, grafana: StandInGrafana, port: Port) -> None:
    """A process that was killed leaves it open, the next one goes on with it, and a third one closes it."""
    await configure(tmp_path, grafana, tcp("gone", port.number))
    async with run(tmp_path) as runner:
        await runner.until("start of outage of gone written")
    opened = dict(only(grafana))
    process = await start("run", folder=tmp_path)
    assert process.stdout
    failures = 0
    while failures < 4:
        failures += b"gone failed" in await process.stdout.readline()
    process.kill()
    await process.communicate()
    assert only(grafana) == opened
    port.bring_up()
    async with run(tmp_path) as runner:
        await runner.until("region 'outage of gone' written")
    assert (only(grafana)["id"], only(grafana)["time"]) == (opened["id"], opened["time"])


async def test_an_outage_ends_where_its_check_is_gone_after_a_restart(tmp_path: Path, grafana: StandInGrafana, port: Port) -> None:
    """The check was switched off while the runner was down. Grafana is down as well: the spool keeps the end, and a flush sends it."""
    await configure(tmp_path, grafana, tcp("gone", port.number))
    async with run(tmp_path) as runner:
        await runner.until("start of outage of gone written")
    await grafana.stop()
    await configure(tmp_path, grafana, tcp("gone", port.number, enabled="false"), tcp("other", port.number))
    async with run(tmp_path) as runner:
        await runner.until("the annotation of outage of gone is not written yet")
    await grafana.start()
    flush = await start("annotate", "flush", "--require", folder=tmp_path)
    await flush.communicate()
    assert flush.returncode == 0
    gone = next(one for one in grafana.regions() if "check:gone" in one["tags"])
    assert gone["text"].partition("\n")[0].endswith(", until it was switched off in checks.yaml")
    assert OPEN not in gone["tags"]


async def test_another_runner_on_the_same_state_closes_nothing(tmp_path: Path, grafana: StandInGrafana, port: Port) -> None:
    """One of another environment has no such check, and one where it passes: the outage stays that of the runner that saw it."""
    await configure(tmp_path, grafana, tcp("gone", port.number))
    async with run(tmp_path) as runner:
        await runner.until("start of outage of gone written")
    opened = dict(only(grafana))
    with socket.socket() as kept:
        well = Port(kept)
        well.bring_up()
        for checks in (tcp("other", well.number), tcp("gone", well.number)):
            await configure(tmp_path, grafana, checks, environment="staging")
            async with run(tmp_path) as runner:
                await runner.until(" passed")
                await asyncio.sleep(0)
    assert only(grafana) == opened
