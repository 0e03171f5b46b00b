"""`outrider maintenance` as a user calls it, against a runner in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from runner.cli import outrider
from tests.runner.service.test_maintenance import TOKEN, serving
from tests.support.clock import ShiftedClock


async def call(*words: str, **environ: str) -> Result:
    """Runs a command in a thread: it asks a runner in this loop."""
    return await asyncio.to_thread(
        CliRunner().invoke, outrider, ["maintenance", *words], env={"LISTEN": None, "OPERATE_TOKEN": None, **environ}
    )


async def test_a_window_is_opened_listed_and_ended(tmp_path: Path) -> None:
    """Start prints until when, for which checks, and how it is ended; list shows who and why; the token may be in a file."""
    async with serving(tmp_path, ShiftedClock()) as (service, client):
        via = ("--via", str(client.base_url))
        opened = await call("start", "--for", "30m", "--tag", "smoke", "--why", "new disks", "--by", "ada", *via, OPERATE_TOKEN=TOKEN)
        assert opened.exit_code == 0, opened.output
        assert "for api" in opened.stdout
        [one] = service.maintenance.windows()
        assert (one.window.why, one.window.by, one.span.end - one.span.start) == ("new disks", "ada", 1800.0)
        assert f"outrider maintenance end {one.window.id}" in opened.stdout
        listed = await call("list", *via)
        assert f"{one.window.id}  opened by hand  open until " in listed.stdout
        assert listed.stdout.endswith("api, by ada: new disks\n")
        assert json.loads((await call("list", "--json", *via)).stdout)[0]["id"] == one.window.id
        await asyncio.to_thread((tmp_path / "token").write_text, f"{TOKEN}\n")
        ended = await call("end", one.window.id, "--token-file", str(tmp_path / "token"), *via)
        assert (ended.exit_code, ended.stdout) == (0, "ended: opened by hand, opened by ada: new disks\n")
        assert (await call("list", *via)).stdout == "no window is open or planned\n"
        again = await call("end", one.window.id, *via, OPERATE_TOKEN=TOKEN)
        assert (again.exit_code, again.stderr.startswith("no window with this id is open")) == (1, True)


async def test_what_is_refused_says_why(tmp_path: Path) -> None:
    """Exit 1 with the runner's words; exit 2 for a call that names nothing to cover."""
    async with serving(tmp_path, ShiftedClock()) as (_, client):
        via = ("--via", str(client.base_url))
        unknown = await call("start", "--for", "30m", "--check", "databse", "--why", "x", *via, OPERATE_TOKEN=TOKEN)
        assert (unknown.exit_code, unknown.stderr) == (1, "there is no check databse; did you mean database?\n")
        refused = await call("start", "--for", "30m", "--all", "--why", "x", *via, OPERATE_TOKEN="wrong")
        assert refused.exit_code == 1
        assert "needs the operate token" in refused.stderr
        nothing = await call("start", "--for", "30m", "--why", "x", *via)
        assert (nothing.exit_code, nothing.stderr) == (2, "say what it covers: --check, --tag or --target, or --all\n")


@pytest.mark.parametrize("via", ["127.0.0.1:9797", "ftp://x", "http://ada:pass@127.0.0.1:9797", "http://[", "http://x:99999999"])
def test_an_address_that_is_none_is_a_usage_error(via: str) -> None:
    """Its own words may hold a password, so they aren't repeated."""
    asked = CliRunner().invoke(outrider, ["maintenance", "list", "--via", via])
    assert (asked.exit_code, asked.stderr) == (2, "--via is no address of a runner; write it like http://127.0.0.1:9797\n")


def test_a_runner_that_is_not_there_is_named() -> None:
    """Exit 1, and where none responds."""
    asked = CliRunner().invoke(outrider, ["maintenance", "list"], env={"LISTEN": "0.0.0.0:1"})
    assert isinstance(outrider, click.Group)
    assert asked.exit_code == 1
    assert asked.stderr.startswith("no runner responds at http://127.0.0.1:1: ")
