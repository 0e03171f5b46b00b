"""Addresses that can't be asked are told at load, with their place, and no message repeats a piece of a password."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes import discover
from runner.cli import outrider
from runner.config.errors import PlanError
from runner.config.read import read_plan

KINDS = discover()
HTTP = "http://"
PLACES: dict[str, tuple[str, str]] = {  # what stands where, and how the address begins
    "http": ("checks: {c: {kind: http, url: ADDRESS}}", HTTP),
    "target": ("targets: {t: {url: ADDRESS}}\nchecks: {c: {kind: http, target: t, path: /x}}", HTTP),
    "unused target": ("targets: {t: {url: ADDRESS}}\nchecks: {c: {kind: tcp, host: localhost, port: 1}}", HTTP),
    "websocket": ("checks: {c: {kind: websocket, url: ADDRESS}}", "ws://"),
    "websocket of a target": ("targets: {t: {url: ADDRESS}}\nchecks: {c: {kind: websocket, target: t}}", HTTP),
    "ai": ("checks: {c: {kind: ai, api: openai, model: m, prompt: p, url: ADDRESS}}", HTTP),
    "health_metrics": ("checks: {c: {kind: health_metrics, url: ADDRESS, parts: {db: $.db}}}", HTTP),
    "journey": ("targets: {t: {url: ADDRESS}}\nchecks: {c: {kind: journey, target: t, steps: [{name: a, get: /a}]}}", HTTP),
    "proxy": ("checks: {c: {kind: http, url: 'http://h/', proxy: ADDRESS}}", HTTP),
    "token": ("checks: {c: {kind: http, url: 'http://h/', oauth2: {token_url: ADDRESS, client_id: a, client_secret: b}}}", HTTP),
    "postgres": ("checks: {c: {kind: postgres, dsn: ADDRESS}}", "postgresql://"),
    "redis": ("checks: {c: {kind: redis, url: ADDRESS}}", "redis://"),
    "reference": ("references: [ADDRESS]\nchecks: {c: {kind: tcp, host: localhost, port: 1}}", HTTP),
    "grafana": ("grafana: {url: ADDRESS}\nchecks: {c: {kind: tcp, host: localhost, port: 1}}", HTTP),
}
PASSWORD = "Tops3cret/w0rd"
ODD = (
    "outrider:Tops3cret/w0rd@127.0.0.1/x",
    "outrider:Tops3cret#w0rd@127.0.0.1/x",
    "outrider:Tops3cret?w0rd@127.0.0.1/x",
    "outrider:Tops3cret@[::1",
    "outrider:Tops3cret@ho\u2100st/",  # urlsplit's own words repeat the whole
    "outrider:Tops3cret@host:80x/",
    "outrider:Tops3cret@host:99999/",
    "outrider:Tops3cret@host:0/",
    "outrider:Tops3cret@host:-1/",
    "outrider:Tops3cret@",
    "outrider:Tops3cret@:80",
    "outrider:Tops3cret@1.2.3.999/",
    "outrider:Tops3cret@ho st/",
    "outrider:Tops3cret\\w0rd@[host]/",
)


def wrong(place: str, address: str, folder: Path, *, variable: bool) -> str:
    """What is said of an address that can't be asked; "" where it is taken."""
    text, _ = PLACES[place]
    written = "${THE_URL}" if variable else address
    file = folder / "checks.yaml"
    file.write_text(f"version: 1\n{text.replace('ADDRESS', json.dumps(written, ensure_ascii=False))}\n", "utf-8")
    try:
        read_plan(file, environ={"THE_URL": address}, kinds=KINDS)
    except PlanError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("variable", [False, True], ids=["written", "from a variable"])
@pytest.mark.parametrize("address", ODD)
@pytest.mark.parametrize("place", PLACES)
def test_an_odd_address_is_told_with_its_place(place: str, address: str, variable: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """XM11: in every place that takes an address, an error with file, line and column, and no piece of the password."""
    said = wrong(place, PLACES[place][1] + address, tmp_path, variable=variable)
    unneeded = variable and place == "unused target"  # no value of it is read
    assert ("checks.yaml:2:" in said) is not unneeded
    assert "Tops3" not in said
    assert "w0rd" not in said


@settings(max_examples=150, deadline=None)
@given(
    place=st.sampled_from(sorted(PLACES)),
    password=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="*"), min_size=6, max_size=20).map(
        lambda text: f"Zq{text}"
    ),
    rest=st.sampled_from(["host", "host:80", "host:80x", "[::1]:9", "[::1", "host:", "", "hö.example", "1.2.3.4.5"]),
    escaped=st.booleans(),
)
@example(place="http", password="Zq\ufe55/12345", rest="host", escaped=False)
def test_no_address_shows_its_password(place: str, password: str, rest: str, escaped: bool) -> None:  # noqa: FBT001 - drawn
    """XM11: any password and any rest are taken, or refused in words of ours that hold nothing of the password."""
    with TemporaryDirectory() as folder:
        said = wrong(
            place, f"{PLACES[place][1]}user:{quote(password, safe='') if escaped else password}@{rest}/", Path(folder), variable=True
        )
    assert password not in said
    assert "Zq" not in said


@pytest.mark.parametrize("command", ["validate", "probe"])
def test_a_typo_in_a_port_is_no_traceback(command: str, tmp_path: Path) -> None:
    """XM11: `:80x` ends a command with exit 2 and the place."""
    file = tmp_path / "checks.yaml"
    file.write_text("version: 1\nchecks: {c: {kind: http, url: 'http://host:80x/'}}\n")
    ended = CliRunner().invoke(outrider, [command, "--config", str(file)])
    assert ended.exit_code == 2
    assert "checks.yaml:2:" in ended.output
    assert "checks.c.url: is no address" in ended.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "--via", "http://me:Tops3cret/w0rd@host/"),
        ("gate", "--via", "http://me:Tops3cret@host:80x/"),
        ("gate", "--via", "http://me:Tops3cret@[host"),
        ("health", "--url", "http://me:Tops3cret/w0rd@host/"),
        ("health", "--url", "http://me:Tops3cret@[host"),
    ],
    ids=" ".join,
)
def test_an_option_with_an_odd_address_is_told(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """XM11: options that take an address end with exit 2 in one line, without its password."""
    monkeypatch.setenv("OPERATE_TOKEN", "x")
    ended = CliRunner().invoke(outrider, arguments)
    assert ended.exit_code == 2
    assert "Tops3" not in ended.output
    assert len(ended.output.splitlines()) == 1
    assert arguments[1] in ended.output


def test_an_environment_with_an_odd_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """XM11: LISTEN, too."""
    monkeypatch.setenv("LISTEN", "127.0.0.1:80x")
    ended = CliRunner().invoke(outrider, ["health"])
    assert (ended.exit_code, ended.output) == (2, "LISTEN is no address; write it like 127.0.0.1:9797\n")
