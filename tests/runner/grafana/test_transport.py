from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import RedirectResponse, Response

from runner.grafana import Patience, RecordState, Settings
from tests.support import servers
from tests.support.grafana import StandInGrafana
from tests.support.recording import desk, done, release
from tests.support.web import serving

ONCE = Patience(tries=1)


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://grafana", "http://", ""])
def test_an_url_without_host_or_scheme_is_refused(url: str) -> None:
    """And the message doesn't quote it: there may be a password in it."""
    with pytest.raises(ValueError, match="grafana's url is not an http or https address"):
        Settings(url)


def test_the_place_has_no_secret_in_it() -> None:
    """Neither name nor password nor query; a path below which Grafana lies stays."""
    settings = Settings("https://admin:secret@grafana.example:8443/grafana/?x=secret")
    assert settings.place == "https://grafana.example:8443/grafana"
    assert "secret" not in repr(settings)
    assert Settings("http://[::1]:3000").place == "http://[::1]:3000"


async def test_a_silent_grafana_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    """It accepts and says nothing: the request's own time ends, and so does patience as a whole."""
    async with servers.silent() as server:
        async with desk(server.url, tmp_path, patience=ONCE, timeout=0.05) as at:
            assert "didn't respond to GET /api/annotations within 0.05 s" in (await at.recorder.finish(done())).message
        async with desk(server.url, tmp_path, patience=Patience(total=0.05)) as at:
            assert "took longer than 0.05 s" in (await at.recorder.finish(done())).message


async def test_a_command_that_is_killed_while_it_sends_loses_nothing(tmp_path: Path) -> None:
    """The record is on disk before the first byte is sent."""
    async with servers.silent() as server, desk(server.url, tmp_path) as at:
        sending = asyncio.create_task(at.recorder.finish(done()))
        await server.asked.wait()
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        assert [k.event.end for k in await at.waiting()] == [done().finished]


async def test_something_else_than_grafana_is_told(tmp_path: Path) -> None:
    """A flood, a JSON that is no list, another place for the same path: each is said, asked once, and kept for later."""
    path = "GET /api/annotations"
    answers = {
        "more than 4 MiB": Response(b" " * (5 << 20), media_type="application/json"),
        "did not return a list for": Response(b'{"annotations": []}', media_type="application/json"),
        "to https://grafana.example: write that as Grafana's url": RedirectResponse("https://grafana.example/api/annotations", 301),
    }
    for said, answer in answers.items():
        async with serving({path: answer}) as web, desk(web.url, tmp_path) as at:
            outcome = await at.recorder.finish(done())
            assert outcome.state is RecordState.KEPT
            assert said in outcome.message
            assert len(web.asked) == 1


async def test_a_404_of_a_proxy_changes_no_api(grafana: StandInGrafana, tmp_path: Path) -> None:
    """Both are gone for a moment: neither is chosen for good, and the advice is about the url."""
    async with desk(grafana.url, tmp_path) as at:
        grafana.odd = {"no-legacy", "no-apis"}
        assert "see the url" in (await at.recorder.start(release())).message
        grafana.odd = set()
        assert (await at.recorder.finish(done())).state is RecordState.WRITTEN
    assert (len(grafana.annotations), grafana.resources) == (1, {})


async def test_the_new_api_may_change(tmp_path: Path) -> None:
    """An alpha whose answer has another shape is said to be one, and nothing breaks."""
    routes: dict[str, Any] = {
        "GET /apis/annotation.grafana.app/v0alpha1/namespaces/org-7/annotations/{name}": {"metadata": [], "spec": None}
    }
    async with serving(routes) as web, desk(web.url, tmp_path, api="apis", namespace="org-7") as at:
        assert "that API is an alpha version and may have changed" in (await at.recorder.finish(done())).message
