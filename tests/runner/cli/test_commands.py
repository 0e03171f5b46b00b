"""The commands as a user calls them: real processes, their exit codes, what they print and where."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from runner.state import STATE_FILE
from tests.support import servers
from tests.support.always_on import run, start, write

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def outrider(*words: str, folder: Path, **environ: str) -> tuple[int, str, str]:
    """Runs the command to its end: exit code, standard output, standard error."""
    process = await start(*words, folder=folder, **environ)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def http(url: str, name: str = "api", **more: str) -> str:
    """A check of kind http."""
    return f"  {name}: {{kind: http, url: '{url}', interval: 1s, timeout: 900ms{''.join(f', {k}: {v}' for k, v in more.items())}}}\n"


@asynccontextmanager
async def web() -> AsyncIterator[servers.Server]:
    """A server that always answers 200."""

    class Answering(servers.Behaviour):
        def respond(self) -> None:
            self.transport.write(OK)

    async with servers.serve(Answering) as server:
        yield server


@pytest.mark.timeout(60)  # a process starts in two seconds, and on a busy machine in twenty
async def test_a_runner_probes_serves_and_drains(tmp_path: Path) -> None:
    """It says where its page is, its metrics tell of the check, and SIGTERM ends it with exit 0 and nothing on standard error."""
    async with web() as server:
        await write(tmp_path, http(server.url))
        async with run(tmp_path) as runner:
            await runner.until("api passed")
            metrics = await runner.scrape()
            async with httpx.AsyncClient(trust_env=False) as client:
                page = await client.get(runner.url)
                healthy = await client.get(f"{runner.url}-/healthy")
                ready = await client.get(f"{runner.url}-/ready")

    assert 'probe_success{check="api",kind="http"} 1' in metrics
    assert 'probe_next_run_timestamp_seconds{check="api",kind="http"}' in metrics
    assert b"Outrider/" in server.received
    assert (page.status_code, healthy.status_code, ready.status_code) == (200, 200, 200)
    assert "api" in page.text


@pytest.mark.slow
async def test_a_limit_is_known_to_the_state_from_the_plan_on(tmp_path: Path) -> None:
    """At the start and at a reload the windows of the plan's limits stand in the state, before anything was sent."""
    checks = "  api: {kind: http, target: partner, cron: '0 3 1 1 *'}\n"
    await write(tmp_path, checks, "targets: {partner: {url: 'http://127.0.0.1:9', limit: 2/7d}}\n")
    async with run(tmp_path) as runner:
        first = await asyncio.to_thread(_windows, tmp_path)
        await write(tmp_path, checks, "targets: {partner: {url: 'http://127.0.0.1:9', limit: 2/30d}}\n")
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{runner.url}-/reload", headers={"Authorization": "Bearer let-me-operate"})
        second = await asyncio.to_thread(_windows, tmp_path)
    assert answer.status_code == 200
    assert (first, second) == ([("partner", 7 * 86400.0)], [("partner", 30 * 86400.0)])


def _windows(folder: Path) -> list[tuple[str, float]]:
    with closing(sqlite3.connect(folder / ".outrider" / STATE_FILE)) as connection:
        return connection.execute("SELECT name, longest FROM windows").fetchall()


@pytest.mark.slow
async def test_a_changed_file_a_bad_file_and_a_signal(tmp_path: Path) -> None:
    """U12: SIGHUP takes a new file over; a bad one keeps the old plan running, and log, metric, page and health report say so."""
    async with web() as server:
        path = await write(tmp_path, http(server.url))
        async with run(tmp_path) as runner:
            await runner.until("api passed")
            await write(tmp_path, http(server.url) + http(server.url, "second"))
            runner.process.send_signal(signal.SIGHUP)
            await runner.until("second passed")
            await asyncio.to_thread(path.write_text, "version: 1\nchecks: {api: {kind: htp}}\n")
            runner.process.send_signal(signal.SIGHUP)
            refused = await runner.until("so the runner keeps its present configuration:")
            metrics = await runner.scrape()
            async with httpx.AsyncClient(trust_env=False) as client:
                page, health = await client.get(runner.url), await client.get(f"{runner.url}health/metrics")

    assert "did you mean http" in refused["message"]
    assert "nothing was started" not in refused["message"]
    assert "checks.yaml is refused" in page.text
    assert "did you mean http" in page.text
    assert health.json()["configuration"]["loaded"] is False
    assert refused["level"] == "ERROR"
    assert "outrider_config_last_reload_successful 0" in metrics
    assert 'probe_success{check="second",kind="http"} 1' in metrics


@pytest.mark.slow
async def test_operating_needs_the_token(tmp_path: Path) -> None:
    """POST /-/reload answers 401 without the token, and reloads with it."""
    async with web() as server:
        await write(tmp_path, http(server.url))
        async with run(tmp_path) as runner, httpx.AsyncClient(trust_env=False) as client:
            stranger = await client.post(f"{runner.url}-/reload")
            await write(tmp_path, http(server.url, "renamed"))
            operator = await client.post(f"{runner.url}-/reload", headers={"Authorization": "Bearer let-me-operate"})
            await runner.until("renamed passed")

    assert (stranger.status_code, operator.status_code) == (401, 200)


@pytest.mark.slow
async def test_a_busy_port_is_a_configuration_error(tmp_path: Path) -> None:
    """Exit 2, with the address and what to do; nothing was asked of anybody."""
    async with web() as server:
        path = await write(tmp_path, http(server.url))
        text = await asyncio.to_thread(path.read_text)
        await asyncio.to_thread(path.write_text, text.replace("127.0.0.1:0", f"127.0.0.1:{server.port}"))
        code, _, err = await outrider("run", folder=tmp_path)

    assert code == 2
    assert f"127.0.0.1:{server.port} is busy" in err
    assert not server.received


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "probe", "validate"])
async def test_a_wrong_configuration_starts_nothing(tmp_path: Path, command: str) -> None:
    """Every problem with its place, on standard error; exit 2."""
    await write(tmp_path, "  api: {kind: http, url: 'http://127.0.0.1:9/', timeout: 5, intervall: 30s}\n")
    code, out, err = await outrider(command, folder=tmp_path)

    assert (code, out) == (2, "")
    assert "checks.yaml:5:58  checks.api.timeout: 5 has no unit; write 5s" in err
    assert "did you mean interval" in err
    assert "2 errors; nothing was started" in err


@pytest.mark.slow
async def test_probe_tells_pass_from_fail(tmp_path: Path) -> None:
    """Exit 0 when all passed, 1 when one failed; the reason and the line are told."""
    async with web() as server, servers.refusing() as dead:
        await write(tmp_path, http(server.url) + http(dead.url, "dead"))
        good = await outrider("probe", "api", folder=tmp_path)
        bad = await outrider("probe", folder=tmp_path)

    assert good[0] == 0
    assert good[1].startswith("PASS    api")
    assert bad[0] == 1
    assert "FAIL    dead  refused" in bad[1]
    assert "checks.yaml:6" in bad[1]


@pytest.mark.slow
async def test_probe_as_json_is_for_scripts(tmp_path: Path) -> None:
    """A list with an object per check, with the promised keys; nothing else on standard output."""
    async with web() as server:
        await write(tmp_path, http(server.url))
        code, out, _ = await outrider("probe", "--json", folder=tmp_path)

    told = json.loads(out)
    promised = {"check", "kind", "verdict", "reason", "message", "at", "seconds", "phases", "facts", "evidence"}
    assert code == 0
    assert [(one["check"], one["verdict"]) for one in told] == [("api", "pass")]
    assert promised <= told[0].keys()


@pytest.mark.slow
async def test_an_unknown_tag_or_check_is_a_usage_error(tmp_path: Path) -> None:
    """Exit 2, and what is unknown: a gate that runs nothing must not look green."""
    await write(tmp_path, http("http://127.0.0.1:9/", tags="[smoke]"))
    for words, hint in ((("--tag", "smoky"), "smoke"), (("apy",), "no such check: apy")):
        code, _, err = await outrider("probe", *words, folder=tmp_path)

        assert code == 2
        assert hint in err


@pytest.mark.slow
async def test_secrets_are_in_no_output(tmp_path: Path) -> None:
    """A token in the configuration, sent and echoed by the server, is in neither form of the output."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
        await writer.drain()

    async with servers.speaking(echo) as server:
        await write(tmp_path, http(server.url, bearer="'${TOKEN}'"))
        text = await outrider("probe", folder=tmp_path, TOKEN="s3cret-t0ken-value")
        told = await outrider("probe", "--json", folder=tmp_path, TOKEN="s3cret-t0ken-value")

    assert (text[0], told[0]) == (1, 1)
    assert "Authorization" in told[1]
    assert "s3cret-t0ken" not in "".join(map(str, (*text, *told)))


@pytest.mark.slow
async def test_health_asks_the_runner_on_this_machine(tmp_path: Path) -> None:
    """Exit 0 while it lives, 1 when nobody answers."""
    async with web() as server:
        await write(tmp_path, http(server.url))
        async with run(tmp_path) as runner:
            alive = await outrider("health", "--url", runner.url, folder=tmp_path)
    gone = await outrider("health", "--url", runner.url, folder=tmp_path)

    assert alive[0] == 0
    assert gone[0] == 1
    assert "no runner responds at 127.0.0.1:" in gone[2]


@pytest.mark.slow
async def test_health_as_json_is_for_scripts(tmp_path: Path) -> None:
    """One object on standard output, whatever the answer, and the same exit codes."""
    async with web() as server, servers.refusing() as dead:
        alive = await outrider("health", "--json", "--url", server.url, folder=tmp_path)
        gone = await outrider("health", "--json", "--ready", "--url", dead.url, folder=tmp_path)

    assert (alive[0], gone[0], gone[2]) == (0, 1, "")
    assert json.loads(alive[1]) == {"url": f"{server.url}-/healthy", "ok": True, "status": 200, "message": "ok"}
    told = json.loads(gone[1])
    assert (told["url"], told["ok"], told["status"]) == (f"{dead.url}-/ready", False, None)
    assert told["message"].startswith(f"no runner responds at 127.0.0.1:{dead.port}: ")


@pytest.mark.slow
async def test_validate_says_what_will_be_done(tmp_path: Path) -> None:
    """Runs a day and what each target with a limit is asked; a plan that goes over it is told how to mend."""
    await write(
        tmp_path,
        "  api: {kind: http, target: api, path: /x, interval: 15s}\n",
        "targets: {api: {url: '${API_URL}', limit: 100/1h}}\n",
    )
    code, out, _ = await outrider("validate", "--no-secrets", folder=tmp_path)

    assert code == 0
    assert "1 check, 0 SLOs" in out
    assert "5,760 runs a day" in out
    assert "over its limit: api gets 240 requests in 1h and allows 100; raise the interval of checks.api to" in out


OFF = (
    "  api: {kind: http, target: api, path: /x, interval: 15s, alert: page, tags: [smoke]}\n"
    "  cache: {kind: tcp, host: 127.0.0.1, port: 9, slos: [up]}\n"
    "  names: {kind: tcp, host: 127.0.0.1, port: 9, alert: none}\n"
    "  certificate: {kind: tls, host: '${HOST}', enabled: '${TLS:-false}', tags: [smoke]}\n"
)
AROUND = "targets: {api: {url: 'http://127.0.0.1:9', limit: 100/1h}}\nslos: {up: {objective: 99%}}\n"


@pytest.mark.slow
async def test_validate_says_what_is_off_and_who_is_called(tmp_path: Path) -> None:
    """A check that a variable switches off is named, so that nobody takes it for watched; and whom each failure calls."""
    await write(tmp_path, OFF, AROUND)
    ended = await asyncio.gather(
        outrider("validate", folder=tmp_path),
        outrider("validate", "--tag", "smoke", folder=tmp_path),
        outrider("validate", folder=tmp_path, TLS="true", HOST="127.0.0.1"),
        outrider("validate", "--check", "api", folder=tmp_path),
    )
    out, smoke, on, one = (text for _, text, _ in ended)

    assert "off (enabled: false): certificate\n" in out
    paged = "api: a failure raises an alert of severity critical\n"
    assert f"{paged}cache: a failure raises an alert of severity warning\nnames: a failure raises no alert\n" in out
    assert "off (enabled: false): certificate\n" in smoke
    assert "off (enabled: false)" not in on + one
    assert "cache, certificate: a failure raises an alert of severity warning\n" in on


@pytest.mark.slow
async def test_validate_as_json_is_for_scripts(tmp_path: Path) -> None:
    """The same facts as an object; a wrong file is told with its places, and exit 2."""
    await write(tmp_path, OFF, AROUND)
    code, out, _ = await outrider("validate", "--json", folder=tmp_path)
    await write(tmp_path, "  api: {kind: htp}\n")
    wrong = await outrider("validate", "--json", folder=tmp_path)

    told = json.loads(out)
    assert (code, wrong[0], json.loads(wrong[1])["errors"][0]["line"]) == (0, 2, 5)
    assert told.keys() == {"checks", "off", "slos", "runs_a_day", "limits"}
    assert told["checks"][0] == {
        "check": "api",
        "file": None,
        "kind": "http",
        "line": told["checks"][0]["line"],
        "interval": 15.0,
        "target": "api",
        "tags": ["smoke"],
        "slos": [],
        "alert": "page",
    }
    assert (told["off"], told["slos"], told["runs_a_day"]) == (["certificate"], ["up"], 11520)
    assert [(one["target"], one["asks"], one["limit"], one["over"]) for one in told["limits"]] == [("api", 240, 100, True)]


@pytest.mark.slow
async def test_help_names_every_command(tmp_path: Path) -> None:
    """The list is the folder's files."""
    code, out, _ = await outrider("--help", folder=tmp_path)

    assert code == 0
    for command in ("run", "probe", "validate", "render", "health", "demo"):
        assert f"\n  {command} " in out


@pytest.mark.slow
async def test_a_demo_that_isnt_installed_says_what_works(tmp_path: Path) -> None:
    """Exit 2, and a command that a clone has; no index needs to know Outrider."""
    without = "import sys; sys.modules['demo'] = None; from runner.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", without, "demo", cwd=tmp_path, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()

    assert (process.returncode, out) == (2, b"")
    assert b"make install, then .venv/bin/outrider demo" in err


@pytest.mark.slow
async def test_a_person_reads_words_and_a_program_json(tmp_path: Path) -> None:
    """U7: --log text writes a line of words for each change; without a terminal the journal is JSON."""
    async with web() as server:
        await write(tmp_path, http(server.url))
        process = await start("run", "--log", "text", folder=tmp_path)
        assert process.stdout
        lines = [await process.stdout.readline() for _ in range(2)]
        process.terminate()
        rest, err = await process.communicate()
    text = b"".join((*lines, rest)).decode()
    assert (process.returncode, err) == (0, b"")
    assert re.search(r"^\d\d:\d\d:\d\d  1 check of checks.yaml run; times are UTC; the page is at http://127", text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d  api is up", text, re.MULTILINE)
    assert "{" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-v",), 0, "outrider "),
        (("demo", "--fault", "db-dwon"), 2, "there is no fault db-dwon; the faults are api-500"),
        (("demo", "--as", "written"), 2, "'written' is not one of 'guide', 'built'"),
        (("demo", "--fault", "all"), 2, "there is no fault all"),
        (("demo", "--off", "all"), 1, "no demo is running"),
        (("demo", "--faults"), 0, "   db-down          PostgreSQL is stopped"),
    ],
)
async def test_small_words_of_the_command_line(tmp_path: Path, words: tuple[str, ...], code: int, text: str) -> None:
    """U17, U23: an unknown fault is a usage error, all is for --off alone, and -v says the version."""
    ended, out, err = await outrider(*words, folder=tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
    assert (ended, text in out + err) == (code, True)
