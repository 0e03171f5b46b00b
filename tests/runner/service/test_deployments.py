"""`outrider annotate` and what `outrider gate` refuses, as a user calls them."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.grafana import TOKEN, StandInGrafana, standing_in

pytestmark = pytest.mark.slow  # each test starts the command several times

CHECKS = """\
version: 1
service: trips
environment: test
grafana: {url: "${GRAFANA_URL:-}", token: "${file:${TOKEN_FILE:-/nowhere}}"}
gate: {tags: [smoke], wait: 1s}
checks:
  database: {kind: postgres, dsn: "${DATABASE_URL}", tags: [smoke]}
"""


async def outrider(*words: str, folder: Path, **environ: str) -> tuple[int, str, str]:
    """Runs the command to its end: exit code, standard output, standard error."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    command = (sys.executable, "-m", "runner.cli", *words)
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env={**kept, **environ}, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with a checks.yaml, and Grafana's token in a file."""
    (tmp_path / "checks.yaml").write_text(CHECKS)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return tmp_path


@pytest.fixture
async def grafana() -> AsyncIterator[StandInGrafana]:
    """A stand-in that is up."""
    async with standing_in() as up:
        yield up


async def test_start_and_finish_by_different_jobs_of_a_run(folder: Path, grafana: StandInGrafana) -> None:
    """What ties them is printed and put out; the finish needs no value of any check, and finds the start again."""
    given = {
        "GRAFANA_URL": grafana.url,
        "TOKEN_FILE": "token",
        "GITHUB_REPOSITORY": "trips/api",
        "GITHUB_RUN_ID": "7",
        "GITHUB_SHA": "3f2c91a0",
    }
    put_out = folder / "outputs"
    code, _, err = await outrider("annotate", "start", folder=folder, GITHUB_OUTPUT=str(put_out), **given)
    assert (code, "deployment github/trips/api/7/1" in err) == (0, True), err
    assert (await asyncio.to_thread(put_out.read_text)).splitlines() == ["deployment=github/trips/api/7/1", "revision=3f2c91a0"]
    code, _, err = await outrider("annotate", "finish", "--verdict", "fail", "--detail", "it broke", folder=folder, **given)
    assert code == 0, err
    [region] = grafana.regions()
    assert {"verdict:fail", "revision:3f2c91a0", "service:trips", "environment:test"} <= set(region["tags"])
    assert region["timeEnd"] > region["time"]
    assert TOKEN not in err


async def test_a_finish_in_the_ci_says_what_the_start_said(folder: Path, grafana: StandInGrafana) -> None:
    """G4, GM14: a tag is deployed, so that the CI's commit is another one: neither the region nor the finish's output names it."""
    given = {"GRAFANA_URL": grafana.url, "TOKEN_FILE": "token", "GITHUB_RUN_ID": "7", "GITHUB_SHA": "feedface" * 5}
    put_out = folder / "outputs"
    words = ("annotate", "start", "--revision", "0123456789abcdef", "--version", "2.0.0")
    code, _, err = await outrider(*words, folder=folder, **given)
    assert (code, "start of deployment 0123456789ab" in err) == (0, True), err
    code, _, err = await outrider("annotate", "finish", "--verdict", "pass", folder=folder, GITHUB_OUTPUT=str(put_out), **given)
    assert (code, "region 'deployment 0123456789ab'" in err) == (0, True), err
    [region] = grafana.regions()
    assert region["text"].startswith("Deployment 0123456789ab (2.0.0) of trips to test: pass")
    assert {"revision:0123456789abcdef", "version:2.0.0"} <= set(region["tags"])
    assert (await asyncio.to_thread(put_out.read_text)).splitlines()[-1] == "revision=0123456789abcdef"


async def test_a_grafana_that_is_down_stops_no_deployment(folder: Path) -> None:
    """Exit 0, with a warning and the record kept; 1 where the mark is required."""
    given = {"GRAFANA_URL": "http://127.0.0.1:9", "TOKEN_FILE": "token"}
    words = ("annotate", "start", "--deployment", "d-1")
    (one, _, err), (two, _, _) = await asyncio.gather(
        outrider(*words, folder=folder, **given), outrider(*words, "--require", folder=folder, **given)
    )
    assert (one, two) == (0, 1)
    assert "kept in" in err
    assert "annotate flush" in err


MARKING = [
    ("annotate", "start", "--deployment", "d-1"),
    ("annotate", "finish", "--deployment", "d-1", "--verdict", "fail"),
    ("annotate", "flush"),
    ("gate", "--annotate", "--rounds", "1"),
]


@pytest.mark.parametrize("words", MARKING, ids=" ".join)
async def test_an_empty_address_of_grafana_stops_no_deployment(folder: Path, words: tuple[str, ...]) -> None:
    """A pipeline's lines hold with and without a Grafana: it is said that nothing is marked; exit 2 where the mark is required."""
    async with servers.serve(servers.Behaviour) as server:
        checks = f'grafana: {{url: ""}}\nchecks: {{port: {{kind: tcp, host: 127.0.0.1, port: {server.port}, tags: [smoke]}}}}\n'
        await asyncio.to_thread((folder / "checks.yaml").write_text, f"version: 1\n{checks}")
        (code, _, err), (required, _, why) = await asyncio.gather(
            outrider(*words, folder=folder), outrider(*words, "--require", folder=folder)
        )
    assert (code, "no annotation is written: the address in grafana: is empty" in err, "deployment d-1" in err) == (
        0,
        True,
        "d-1" in words,
    ), err
    assert (required, "--require needs the annotation" in why) == (2, True), why


@pytest.mark.parametrize("words", MARKING, ids=" ".join)
async def test_no_word_of_grafana_is_a_usage_error(folder: Path, words: tuple[str, ...]) -> None:
    """Who asks for a mark in a file that names no Grafana has forgotten something: it is said what to write."""
    checks = "version: 1\nchecks: {port: {kind: tcp, host: 127.0.0.1, port: 9, tags: [smoke]}}\n"
    await asyncio.to_thread((folder / "checks.yaml").write_text, checks)
    code, out, err = await outrider(*words, folder=folder)
    assert (code, out, "add grafana: {url: ..., token: ...} to checks.yaml" in err) == (2, "", True), err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gate", "--tag", "smok"), "did you mean smoke?"),
        (("gate", "--check", "databse"), "did you mean database?"),
        (("gate", "--rounds", "3", "--for", "1m"), "give either --rounds or --for"),
        (("gate", "--wait", "5"), "5 has no unit; write 5s"),
        (("gate", "--expect-revision", " "), "--expect-revision is empty: is its variable set?"),
        (("gate", "--fail-on-slower", "30"), "write a percentage"),
        (("gate", "--fail-on-slower", "30%"), "--fail-on-slower needs a --baseline"),
        (("gate", "--baseline", "nowhere.json"), "--baseline nowhere.json: No such file"),
        (("gate", "--baseline", "checks.yaml"), "outrider gate --save did not write this file"),
        (("gate", "--via", "runner:9797"), "must begin with http:// or https:// and a host"),
        (("gate", "--via", "http://127.0.0.1:9"), "$OPERATE_TOKEN"),
        (("gate", "--via", "http://127.0.0.1:9", "--save", "x.json"), "--save can't be used with --via"),
        (("gate",), "DATABASE_URL"),
    ],
)
async def test_usage_and_configuration_are_exit_2(folder: Path, words: tuple[str, ...], said: str) -> None:
    """Whatever is wrong, nothing is judged, and it is said what to write."""
    given = {} if words == ("gate",) else {"DATABASE_URL": "postgresql://probe@127.0.0.1:9/x"}
    code, out, err = await outrider(*words, folder=folder, TOKEN_FILE="token", **given)
    assert (code, said in err) == (2, True), err
    assert out == ""
    assert "Traceback" not in err


async def test_a_proxy_that_cannot_be_used_is_exit_2(folder: Path) -> None:
    """The runner is asked through the environment's proxy; one that needs TLS is refused before anything is sent."""
    given = {"HTTPS_PROXY": "socks5://127.0.0.1:9", "OPERATE_TOKEN": "token"}
    code, _, err = await outrider("gate", "--via", "https://runner.example", folder=folder, **given)
    assert code == 2
    assert (
        "the environment's proxy for https:// must be written like http://proxy.example:3128: the connection to a proxy is plain HTTP"
        in err
    )
