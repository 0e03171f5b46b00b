"""A login of the runner that is always on: one for its checks, given back at a reload and at its end."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

from probes.core import Verdict
from runner.clock import SystemClock
from runner.config.plan import Plan, Server
from runner.config.read import read_plan
from runner.service.running import running
from runner.service.service import Service
from tests.probes.test_sessions import Application
from tests.support.web import serving

TEXT = """
version: 1
targets:
  api: {{url: "{url}", allow: [POST /token, POST /revoke]}}
logins:
  admin:
    target: api
    steps:
      - {{name: login, post: /token, form: {{password: "open sesame"}}, capture: {{token: $.token}}}}
      - {{name: leave, post: /revoke, json: {{token: "{{{{token}}}}"}}, always: true}}
    headers: {{Authorization: "Bearer {{{{token}}}}"}}
    lasts: {lasts}
checks:
  page: {{kind: http, target: api, path: /page, session: admin, cron: "0 0 1 1 *", timeout: 10s}}
  report: {{kind: http, target: api, path: /report, session: admin, cron: "0 0 1 1 *", timeout: 10s}}
"""


async def observe_all(service: Service) -> set[Verdict]:
    """The verdicts of the runner's checks, each run once now."""
    execute = service._execute(service.plan)
    return {seen.verdict for planned in service.plan.checks for seen in await execute.observe(planned, by_hand=True)}


async def read(folder: Path, url: str, lasts: str) -> Plan:
    """The plan, on a free port."""
    path = folder / "checks.yaml"
    await asyncio.to_thread(path.write_text, TEXT.format(url=url, lasts=lasts))
    plan = await asyncio.to_thread(lambda: read_plan(path, environ={}))
    return replace(plan, server=Server(port=0), state=folder)


async def test_a_runner_gives_its_sessions_back(tmp_path: Path) -> None:
    """One login for both checks; a reload gives the session back and makes another, and the runner's end leaves none."""
    app, journal = Application(), io.StringIO()
    async with serving(app.routes()) as web:
        plan, other = await read(tmp_path, web.url, "1h"), await read(tmp_path, web.url, "2h")
        assert plan.fingerprints != other.fingerprints  # another login is another check
        async with running(lambda: plan, path=tmp_path / "checks.yaml", clock=SystemClock(), version="0", journal=journal) as (service, *_):
            assert await observe_all(service) == {Verdict.PASS}
            assert app.logins == 1
            await service.apply(other)
            assert await observe_all(service) == {Verdict.PASS}
            assert app.logins == 2
        assert app.valid == set()
    assert "token-number" not in journal.getvalue()
    assert "open sesame" not in journal.getvalue()
