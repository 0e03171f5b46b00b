"""What `outrider validate` says of a plan, without a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from runner.cli.gate import command as gate
from runner.cli.load import command as load
from runner.cli.validate import command, summary
from runner.config.read import read_plan
from runner.shares.shard import Shard
from runner.usage import Unusable

FILE = """\
version: 1
targets: {{api: {{url: "http://127.0.0.1:9", allow: [POST /*, PUT /*, PATCH /*]}}}}
checks:
  trip:
    kind: journey
    target: api
    steps:
      - {{name: enter, {step}}}
"""


def said(tmp_path: Path, step: str) -> list[str]:
    """The lines about logins for a journey with this step."""
    file = tmp_path / "checks.yaml"
    file.write_text(FILE.format(step=step))
    return [line for line in summary(read_plan(file, environ={})) if "login" in line]


@pytest.mark.parametrize(
    "step",
    [
        "post: /x, form: {user: a, password: b}",
        "post: /x, json: {auth: {userPassword: b}}",
        "put: /x, json: [{client_secret: b}]",
        "post: /x, body: 'user=a&passwd=b'",
        "post: /oauth/token, form: {refresh: x}",
        "post: /users/sign_in, json: {}",
        "post: /session, body: x",
        "post: /x, form: {grant_type: client_credentials}",
        "post: /x, json: {}, capture: {token: $.token}",
    ],
)
def test_a_step_that_looks_like_a_login_is_told(tmp_path: Path, step: str) -> None:
    """S2: validate says that a step is taken for a login, and how to write whether it is one."""
    (line,) = said(tmp_path, step)
    assert line.startswith("trip: step enter looks like a login, so that after a refused one none is tried for a while; ")
    assert line.endswith("write login: true, or login: false if it is none")
    assert said(tmp_path, f"{step}, login: true") == said(tmp_path, f"{step}, login: false") == []


@pytest.mark.parametrize("step", ["get: /login", "post: /things, json: {name: x}", "patch: /things/1, json: {a: 1}, capture: {x: $.x}"])
def test_other_steps_are_not(tmp_path: Path, step: str) -> None:
    """S2: a step that sends nothing like a password is no login."""
    assert said(tmp_path, step) == []


SHARDED = """\
version: 1
targets: {api: {url: "http://127.0.0.1:9", limit: 100/1h}}
checks:
  a: {kind: http, target: api, interval: 2m}
  b: {kind: http, target: api, interval: 2m}
  e: {kind: http, target: api, interval: 2m}
"""


def test_a_shard_is_told_its_part_of_each_limit(tmp_path: Path) -> None:
    """validate --shard says how many checks the shard runs, and which part of a limit it may use; without it the whole plan is told."""
    file = tmp_path / "checks.yaml"
    file.write_text(SHARDED)
    plan = read_plan(file, environ={})
    assert summary(plan, Shard(1, 2))[:3] == [
        "shard 1/2: 2 of 3 checks",
        "limit of api: 66 of 100 requests in 1h, shared by what the checks of each shard ask, and rounded down",
        f"{file}: 2 checks, 0 SLOs, every 2m: 1,440 runs a day",
    ]
    assert "api gets 60 of 66 allowed requests in 1h" in summary(plan, Shard(1, 2))
    assert "api gets 90 of 100 allowed requests in 1h" in summary(plan)


def test_the_shard_is_told_to_programs(tmp_path: Path) -> None:
    """validate --json has the shard beside its checks and limits."""
    file = tmp_path / "checks.yaml"
    file.write_text(SHARDED)
    done = CliRunner().invoke(command, ["--config", str(file), "--shard", "1/2", "--json"])
    told = json.loads(done.output)
    assert told["shard"] == {"ordinal": 1, "shards": 2, "checks": 2, "of_checks": 3}
    assert [check["check"] for check in told["checks"]] == ["a", "b"]
    assert told["limits"][0]["limit"] == 66
    assert CliRunner().invoke(command, ["--config", str(file), "--shard", "2/2"]).exit_code == 2


REFERENCES = """\
version: 1
references: ["{reference}"]
targets: {{api: {{url: "https://Api.test/v1"}}}}
checks:
  api: {{kind: http, target: api, path: /x}}
  cache: {{kind: tcp, host: cache.test, port: 6379}}
"""


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("https://api.test/generate_204", "target api"),
        ("http://api.test:443/", "target api"),
        ("http://cache.test:6379/", "check cache"),
        ("https://api.test:8443/", ""),
        ("https://www.test/", ""),
    ],
)
def test_a_reference_that_is_a_target_is_told(tmp_path: Path, reference: str, name: str) -> None:
    """R10: an outage of such a target would count as one of the runner's network: validate names both, whatever scheme and path."""
    file = tmp_path / "checks.yaml"
    file.write_text(REFERENCES.format(reference=reference))
    lines = [line for line in summary(read_plan(file, environ={})) if line.startswith("references:")]
    assert len(lines) == (1 if name else 0)
    assert all(f"is the address of {name} too" in line for line in lines)


WRONG = """\
version: 1
checks:
  api: {kind: http, url: "http://127.0.0.1:9/", timeout: 5}
  other: {kind: htp}
"""


def test_what_is_wrong_is_told_to_programs(tmp_path: Path) -> None:
    """U23: validate --json has every error with its place, key, message and hint on standard output, and the exit stays 2."""
    file = tmp_path / "checks.yaml"
    file.write_text(WRONG)
    done = CliRunner().invoke(command, ["--config", str(file), "--json", "--tag", "smok"], standalone_mode=False)
    told = json.loads(done.stdout)
    assert told["file"] == str(file)
    first, second, third = told["errors"]
    assert first == {"path": str(file), "key": "--tag smok", "line": 0, "column": 0, "message": "no check carries the tag smok", "hint": ""}
    place = {"path": str(file), "line": 3, "column": 58, "key": "checks.api.timeout"}
    assert second == {**place, "message": "5 has no unit", "hint": "write 5s"}
    assert (third["line"], third["key"], third["message"]) == (4, "checks.other.kind", "no such kind: htp")
    assert third["hint"].startswith("did you mean http?")
    assert isinstance(done.exception, Unusable)
    assert f"3 errors in {file}" in str(done.exception)


def test_what_is_wrong_is_shown_by_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """U23: validate --github prints an annotation for each error, at its line, with the path from the workspace."""
    folder = tmp_path / "deploy"
    folder.mkdir()
    (folder / "checks.yaml").write_text(WRONG)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    done = CliRunner().invoke(command, ["--config", str(folder / "checks.yaml"), "--github"], standalone_mode=False)
    first, second = done.stdout.splitlines()
    assert first == "::error file=deploy/checks.yaml,line=3,col=58,title=checks.yaml::checks.api.timeout: 5 has no unit; write 5s"
    assert second.startswith("::error file=deploy/checks.yaml,line=4,col=17,")


@pytest.mark.parametrize(("other", "spread"), [("30s", "every 30s:"), ("0.5m", "every 30s:"), ("1m", "every 30s to 1m:")])
def test_the_summary_names_its_file_and_no_interval_twice(tmp_path: Path, other: str, spread: str) -> None:
    """U23: which file is meant comes first, and "every 30s to 30s" is never said."""
    file = tmp_path / "checks.yaml"
    file.write_text(SHARDED.replace("interval: 2m", f"interval: {other}").replace(f"interval: {other}", "interval: 30s", 1))
    line = summary(read_plan(file, environ={}))[0]
    assert line.startswith(f"{file}: 3 checks, 0 SLOs, ")
    assert spread in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rate", "50"), "'--rate': 50: write an amount in a period, such as 900/1h"),
        (("--duration", "5"), "'--duration': 5 has no unit; write 5s"),
        (("--pause", "soon"), "'--pause': 'soon' is no duration"),
        (("--warm-up", "1"), "'--warm-up': 1 has no unit; write 1s"),
    ],
)
def test_an_option_that_is_wrong_is_named_with_its_value(words: tuple[str, str], said: str) -> None:
    """U20: which option, which value, and what to write."""
    done = CliRunner().invoke(load, ["shop", *words])
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_option_of_the_gate_that_is_wrong_is_named_with_its_value() -> None:
    """U20: --wait 5 too."""
    done = CliRunner().invoke(gate, ["--wait", "5"])
    assert done.exit_code == 2
    assert "'--wait': 5 has no unit; write 5s" in done.stderr


def test_an_slo_of_a_load_alone_is_counted(tmp_path: Path) -> None:
    """What a scenario is held against is an SLO of the file, too."""
    file = tmp_path / "checks.yaml"
    file.write_text(
        "version: 1\nslos: {p95: {objective: 95%, threshold: 1s}, p50: {objective: 50%, threshold: 1s}}\n"
        "targets: {api: {url: 'http://127.0.0.1:9', load: true}}\n"
        "checks: {home: {kind: http, target: api, path: /, slos: [p95]}}\n"
        "load: {scenarios: {browse: {mix: {home: 1}, slos: [p95, p50]}}}\n"
    )
    assert summary(read_plan(file, environ={}))[0].startswith(f"{file}: 1 check, 2 SLOs")
    told = json.loads(CliRunner().invoke(command, ["--json", "-c", str(file)]).output)
    assert told["slos"] == ["p95", "p50"]
