"""`outrider heartbeat`: the job's own result always comes first, whatever the runner does."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from tests.support.always_on import start
from tests.support.web import Web, serving

JOB = "import sys; print('saved'); print('warned', file=sys.stderr); sys.exit({})"


async def heartbeat(folder: Path, *words: str, url: str = "", token: str = "the-token") -> tuple[int, str, str]:
    """Runs the command: exit code, standard output and standard error."""
    process = await start("heartbeat", *words, folder=folder, HEARTBEAT_URL=url or "http://127.0.0.1:1", HEARTBEAT_TOKEN=token)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def reports(web: Web) -> list[dict[str, object]]:
    """What the runner was sent."""
    return [json.loads(body) for _, body in web.requests]


@pytest.mark.timeout(60)
async def test_a_command_is_wrapped(tmp_path: Path) -> None:
    """Its output and exit code come through, and the runner gets start and end with the check's token."""
    async with serving({"POST /heartbeat/backup": {"heartbeat": "taken"}}) as web:
        done = await heartbeat(tmp_path, "backup", "--", sys.executable, "-c", JOB.format(3), url=web.url)
    assert done == (3, "saved\n", "warned\n")
    begin, end = reports(web)
    assert begin == {"state": "start", "run": end["run"]}
    assert (end["exit"], end["message"]) == (3, "")
    assert isinstance(end["seconds"], float)
    assert [headers["authorization"] for headers, _ in web.requests] == ["Bearer the-token", "Bearer the-token"]


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("words", "code"), [(("-c", JOB.format(0)), 0), (("-c", JOB.format(7)), 7), (("-c", "import os; os.kill(os.getpid(), 9)"), 137)]
)
async def test_a_runner_that_is_away_hides_no_result(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    """The command runs, and its exit code is passed on; standard error says that nobody was told."""
    found, _, err = await heartbeat(tmp_path, "backup", "--", sys.executable, *words)
    assert found == code
    assert err.count("outrider heartbeat backup: no runner responds at http://127.0.0.1:1: ") == 2


@pytest.mark.timeout(90)
async def test_a_wrong_token_or_address_hides_no_result_either(tmp_path: Path) -> None:
    """What is configured wrongly is told, and the backup runs all the same."""
    refusal = JSONResponse({"error": "A heartbeat needs the token of its check"}, 401)
    async with serving({"POST /heartbeat/backup": refusal}) as web:
        code, out, err = await heartbeat(tmp_path, "backup", "--", sys.executable, "-c", JOB.format(0), url=web.url)
    assert (code, out) == (0, "saved\n")
    assert "outrider heartbeat backup: refused: A heartbeat needs the token" in err
    assert len(web.requests) == 2  # a refusal isn't tried again
    code, out, err = await heartbeat(tmp_path, "backup", "--", sys.executable, "-c", JOB.format(5), url="nowhere")
    assert (code, out) == (5, "saved\n")
    assert "is no address of a runner" in err
    missing = ("--token-file", "missing", "backup", "--", sys.executable, "-c", JOB.format(6))
    assert (await heartbeat(tmp_path, *missing))[0] == 6


@pytest.mark.timeout(60)
async def test_a_command_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """Exit 127, as a shell has it, and the check learns why."""
    async with serving({"POST /heartbeat/backup": {"heartbeat": "taken"}}) as web:
        code, _, err = await heartbeat(tmp_path, "backup", "--", "no-such-program", url=web.url)
    assert (code, err) == (127, "no-such-program: No such file or directory\n")
    assert (reports(web)[1]["exit"], reports(web)[1]["message"]) == (127, "no-such-program: No such file or directory")


@pytest.mark.timeout(60)
async def test_sigterm_goes_to_the_command_and_its_end_is_reported(tmp_path: Path) -> None:
    """A job that is stopped may clean up; its own exit code counts."""
    ready = "import signal, sys; signal.signal(15, lambda *_: sys.exit(9)); print('ready', flush=True); signal.pause()"
    async with serving({"POST /heartbeat/backup": {"heartbeat": "taken"}}) as web:
        words = ("heartbeat", "backup", "--", sys.executable, "-c", ready)
        process = await start(*words, folder=tmp_path, HEARTBEAT_URL=web.url, HEARTBEAT_TOKEN="the-token")
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        process.terminate()
        await process.communicate()
    assert (process.returncode, reports(web)[1]["exit"]) == (9, 9)


@pytest.mark.timeout(60)
async def test_without_a_command_one_heartbeat_is_sent(tmp_path: Path) -> None:
    """For a script that reports its own steps: exit 0, or 1 with the reason."""
    async with serving({"POST /heartbeat/backup": {"heartbeat": "taken"}}) as web:
        codes = [
            (await heartbeat(tmp_path, "backup", *words, url=web.url))[0] for words in (["--start"], ["--exit", "4", "--message", "full"])
        ]
    assert codes == [0, 0]
    assert reports(web) == [{"state": "start", "message": ""}, {"exit": 4, "message": "full"}]
    code, _, err = await asyncio.wait_for(heartbeat(tmp_path, "backup"), 60)
    assert code == 1
    assert err.startswith("outrider heartbeat backup: no runner responds")
