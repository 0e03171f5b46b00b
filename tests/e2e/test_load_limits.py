"""What a load may spend, and how it reaches its target: paid beforehand, refused before a packet, TLS as the journeys have it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from judge.verdict import Outcome
from runner.state import STATE_FILE
from tests.support.ca import Authority
from tests.support.load_site import Run, Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
CONFIG = """
version: 1
targets:
  api: {{url: "http://127.0.0.1:{port}", load: true, limit: LIMIT, allow: [POST /login, POST /leave]}}
  partner: {{url: "http://partner.invalid", limit: 30/1m, headers: {{X-Key: "${{NOT_SET_HERE}}"}}}}
slos:
  p95: {{objective: 95%, threshold: 500ms}}
load:
  ceiling: {{rate: 500/s, duration: 1m}}
  most: {{MOST}}
  scenarios:
    page: {{mix: {{page: 1}}, slos: [p95]}}
checks:
  page: {{kind: journey, target: api, steps: [{{name: page, get: /page}}]}}
"""


def config(limit: str = "100000/1h", most: str = "") -> str:
    """A file with these limits."""
    return CONFIG.replace("LIMIT", limit).replace("{{MOST}}", f"{{{{{most}}}}}")


def taken(folder: Path, name: str) -> int:
    """How many slots of a limit the ledger holds."""
    with sqlite3.connect(folder / ".outrider" / STATE_FILE) as ledger:
        return int(ledger.execute("SELECT count(*) FROM slots WHERE name = ?", (name,)).fetchone()[0])


@pytest.mark.parametrize(
    ("most", "said"),
    [
        ("GET /page: 60/1d", "limit of GET /page under load: 0 of 60 in 1 d are taken"),
        ("GET /page: partner", "limit of partner: 0 of 30 in 1 min are taken"),
        ("GET /page: [100000/1d, partner]", "limit of partner: 0 of 30 in 1 min are taken"),
    ],
)
async def test_what_requests_cost_others_is_a_limit_too(tmp_path: Path, most: str, said: str) -> None:
    """A model's budget, a partner's limit: exit 2 before a packet, and nothing of any other limit is taken."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config(most=most))
        code, _, err = await run("load", "page", "--rate", "50/s", "--duration", "2s")
    assert code == 2
    assert said in err
    assert "nothing was sent" in err
    assert site.asked == []
    assert await asyncio.to_thread(taken, tmp_path, "api") == 0


async def test_what_was_not_sent_is_given_back(tmp_path: Path) -> None:
    """Beforehand the most that chance makes likely is paid, in the end what was sent, of each limit."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config(most="GET /page: 2000/1d"))
        code, _, err = await run("load", "page", "--rate", "50/s", "--duration", "4s")
    assert code == 0, err
    assert "GET /page: at most" in err
    assert "of the 2,000 that it allows in 24 h" in err
    assert await asyncio.to_thread(taken, tmp_path, "GET /page under load") == site.pages
    assert await asyncio.to_thread(taken, tmp_path, "api") == site.pages + 5


async def test_a_closed_loop_sends_no_more_than_it_has_paid(tmp_path: Path) -> None:
    """It has a number of requests where there is a limit: it ends with them, which is said, and they are what the ledger holds."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config())
        code, report = await run.load(
            "page", "--arrivals", "closed", "--users", "5", "--requests", "300", "--duration", "20s", "--warm-up", "10ms"
        )
    assert code in (0, 3)  # so few prove it or don't; nothing failed
    assert 290 <= site.pages <= 300
    assert any("all 300 requests that it may send (--requests) are used" in note.text for note in report.notes)
    assert report.finished - report.started < 15


@pytest.mark.alone  # a generator that waits for a core tries a rate once more
async def test_a_search_that_meets_a_limit_keeps_what_it_has_found(tmp_path: Path) -> None:
    """The curve is told, and no capacity is claimed; exit 3."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config(limit="700/1h"))
        code, report = await run.load("page", "--rate", "40/s", "--duration", "4s", "--find-capacity")
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert report.capacity is not None
    assert [point.rate for point in report.capacity.curve] == [40.0, 80.0]
    assert "limit of api" in report.capacity.ended
    assert len(site.asked) <= 700


TLS = """
version: 1
targets:
  api: {{url: "https://localhost:{port}", load: true}}
slos:
  p95: {{objective: 95%, threshold: 500ms}}
load:
  scenarios:
    page: {{mix: {{page: 1}}, slos: [p95]}}
checks:
  page: {{kind: journey, target: api, WAY, steps: [{{name: page, get: /page}}]}}
"""


def way(settings: str) -> str:
    """A file whose journey reaches its target so."""
    return TLS.replace("WAY", settings.replace("{", "{{").replace("}", "}}"))


async def test_the_authority_of_a_journey_counts_under_load(tmp_path: Path, authority: Authority) -> None:
    """tls: ca: a certificate of one's own authority is verified; without it every request fails, and the reason says why."""
    async with Site(authority.good) as site:
        run = await asyncio.to_thread(Run, site, tmp_path, way(f"tls: {{ca: '{authority.ca_file}'}}"))
        code, report = await run.load("page", "--rate", "40/s", "--duration", "4s")
        assert code == 0, report.reasons
        assert site.pages > 40
        other = await asyncio.to_thread(Run, site, tmp_path, way("compression: true"))
        code, report = await other.load("page", "--rate", "40/s", "--duration", "4s")
    assert code == 1
    assert any("CERTIFICATE_VERIFY_FAILED" in said for task in report.tasks for said in task.messages.values())


async def test_a_certificate_that_is_not_verified_is_not(tmp_path: Path, authority: Authority) -> None:
    """tls: verify: false."""
    async with Site(authority.self_signed) as site:
        run = await asyncio.to_thread(Run, site, tmp_path, way("tls: {verify: false}"))
        code, report = await run.load("page", "--rate", "40/s", "--duration", "4s")
    assert code == 0, report.reasons


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("proxy: 'http://127.0.0.1:9'", "checks.page goes through a proxy, which a load test doesn't support"),
        ("http: 2, ip: 4", "checks.page uses HTTP/2 and requires IPv4, which a load test doesn't support"),
        ("tls: {ca: no-such.pem}", "no-such.pem"),
    ],
)
async def test_a_way_that_a_load_does_not_know_is_refused(tmp_path: Path, authority: Authority, settings: str, said: str) -> None:
    """Another way would be another measurement: exit 2, and nothing was sent."""
    async with Site(authority.good) as site:
        run = await asyncio.to_thread(Run, site, tmp_path, way(settings))
        code, _, err = await run("load", "page")
    assert code == 2
    assert said in err
    assert site.asked == []


async def test_a_metadata_address_is_reached_by_no_load(tmp_path: Path) -> None:
    """What hands out credentials is no target: policy, as for a probe, and no connection is made."""
    async with Site() as site:
        text = config().replace("http://127.0.0.1:{port}", "http://169.254.169.254")
        run = await asyncio.to_thread(Run, site, tmp_path, text)
        code, report = await run.load("page", "--rate", "20/s", "--duration", "2s")
    assert code == 1
    task = next(task for task in report.tasks if task.kind == "journey")
    assert set(task.reasons) == {"policy"}
    assert "link-local or metadata address" in task.messages["policy"]


async def test_a_request_is_sent_once(tmp_path: Path) -> None:
    """A server that closes instead of answering sees each GET once: nobody has paid for another, and its answer would be no good one."""
    async with Site() as site:
        site.shut = True
        run = await asyncio.to_thread(Run, site, tmp_path, config())
        code, report = await run.load("page", "--rate", "20/s", "--duration", "3s")
    assert code == 1
    done = next(task.done for task in report.tasks if task.kind == "request")
    assert site.pages == done > 40


async def test_ctrl_c_with_workers_gives_nothing_back_that_was_sent(tmp_path: Path) -> None:
    """The whole terminal gets it: the workers say their last words all the same, and the ledger holds what the target saw."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config())

        async def interrupt() -> None:
            pids = [run.pid, await run.sending(), await run.worker()]
            for pid in pids:
                os.kill(pid, signal.SIGINT)

        site.at[60] = interrupt
        code, report = await run.load("page", "--rate", "30/s", "--duration", "30s", "--workers", "2")
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert [reason.cause for reason in report.reasons if reason.outcome is Outcome.INCONCLUSIVE][:1] == ["interrupted"]
    assert {worker.state for worker in report.workers} == {"done"}
    assert await asyncio.to_thread(taken, tmp_path, "api") >= len(site.asked)


async def test_sigterm_ends_a_run_in_order(tmp_path: Path) -> None:
    """As containers are stopped: the report comes, inconclusive; exit 3."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config())

        async def stop() -> None:
            os.kill(run.pid, signal.SIGTERM)

        site.at[40] = stop
        code, report = await run.load("page", "--rate", "30/s", "--duration", "30s")
    assert (code, report.verdict) == (3, Outcome.INCONCLUSIVE)
    assert "interrupted" in [reason.cause for reason in report.reasons]


async def test_a_closed_loop_stays_below_the_ceiling_too(tmp_path: Path) -> None:
    """Ten users who could ask hundreds of times a second."""
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, config().replace("500/s", "20/s"))
        await run.load("page", "--arrivals", "closed", "--users", "10", "--duration", "4s", "--workers", "2")
    assert 50 < site.pages <= 84


async def test_no_secret_is_told(tmp_path: Path) -> None:
    """Neither one that a header can't carry, nor one that an answer repeats, nor what a playing has learnt, in any output."""
    text = config(most="GET /page: 5000/1d").replace("load: true", 'load: true, headers: {{X-Key: "s€cret-value-1234"}}')
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, text)
        code, out, err = await run("load", "page", "--rate", "20/s", "--duration", "2s", "--json")
        assert code == 2  # S9: told when the file is read
        assert "cret-value-1234" not in out + err
        assert site.pages == 0

    text = ECHO.replace("SECRETS", str(tmp_path))
    await asyncio.to_thread((tmp_path / "password").write_text, "hunter2-secret")
    async with Site() as site:
        run = await asyncio.to_thread(Run, site, tmp_path, text)
        code, out, err = await run("load", "enter", "--rate", "20/s", "--duration", "2s", "--json")
    assert code == 1
    assert "t/1-learnt" not in out + err
    assert "hunter" not in out + err
    assert '"body"' in out


ECHO = """
version: 1
targets:
  api: {{url: "http://127.0.0.1:{port}", load: true, allow: [POST /login, POST /echo]}}
slos:
  p95: {{objective: 95%, threshold: 500ms}}
load:
  scenarios:
    enter: {{mix: {{enter: 1}}, slos: [p95]}}
checks:
  enter:
    kind: journey
    target: api
    steps:
      - {{name: login, post: /login, form: {{user: me, password: "${{file:SECRETS/password}}"}}, capture: {{token: $.learnt}}}}
      - {{name: repeat, post: /echo, json: {{token: "{{{{token}}}}", password: "${{file:SECRETS/password}}"}}, expect: {{text: never}}}}
"""
