from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from probes.kinds.tcp import Tcp
from runner.config.read import read_plan
from runner.config.secret_names import is_secret_name, of_settings, of_url, worth_redacting


@pytest.mark.parametrize(
    "name",
    (
        "AI_KEY API_TOKEN operate_token Authorization X-Api-Key Set-Cookie DB_PASSWORD client_secret GRAFANA_API_KEY Proxy-Authorization "
        "X_AUTH X-Auth SESSION X-Session JWT GH_PAT sig DB_PASS API_KEY_PROD TOKEN_STAGING SECRET_KEY_BASE SLACK_WEBHOOK xAuth PGPASS_2 "
        "SLACK_WEBHOOK_URL apikey DB_PWD GITHUB_TOKEN_OLD auth-token access_key_1 X-Hub-Sig SESSION_ID "
        "DB_PASSWD KEY_PASSPHRASE GIT_CREDENTIAL GOOGLE_CREDENTIALS session_cookie WEBHOOK_SIGNATURE X-Hub-Signature"
    ).split(),
)
def test_names_of_secrets_are_known(name: str) -> None:
    """m6: variables, headers and parameters that end in a secret's word hold one, whichever of several it is."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "API_URL PROBE_USER MAX_TOKENS X-Forwarded-Proto keyboard SECRETS TOKEN_URL compass AUTHOR design path pinned X-Env".split(),
)
def test_everyday_names_are_not_taken_for_secrets(name: str) -> None:
    """What only speaks of secrets, or holds the word by chance, is none."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://role:pa%2Fss@db/x", {"pa%2Fss", "pa/ss"}),
        ("redis://:only@host", {"only"}),
        ("redis://user:p@ss/wo#rd@host", {"p", "p@ss/wo#rd"}),
        ("https://host/path?api_key=abc&x=1", {"abc"}),
        ("https://user@host", set()),
        ("https://host:443/a", set()),
        ("no url: with@colon", set()),
    ],
)
def test_passwords_inside_addresses_are_found(url: str, found: set[str]) -> None:
    """As written and decoded, in parameters too, and where somebody forgot to escape it."""
    assert set(of_url(url)) == found


@pytest.mark.parametrize("value", ["", "true", "HTTPS", "none", "Bearer {{token}}"])
def test_everyday_words_are_not_blotted_out(value: str) -> None:
    """A value that would blot out half of every text protects nothing."""
    assert not worth_redacting(value)


class _Inner(BaseModel):
    password: str
    token: str = "$.access_token"


class _Settings(BaseModel):
    key: SecretStr
    url: SecretStr = SecretStr("http://host:80/path")
    dsn: SecretStr = SecretStr("redis://u:inside@host")
    headers: dict[str, SecretStr] = {"Authorization": SecretStr("Bearer abcdef"), "X-Forwarded-Proto": SecretStr("https")}
    form: dict[str, SecretStr] = {
        "grant_type": SecretStr("password"),
        "user": SecretStr("me@example.com"),
        "client_secret": SecretStr("xyz"),
    }
    inner: tuple[_Inner, ...] = (_Inner(password="written-out"),)


def test_a_command_from_a_variable_is_a_secret() -> None:
    """W16: what a dialogue sends is a secret, but for a bare command that the file itself writes."""
    probe = Tcp.model_validate({"host": "x", "port": 1, "dialogue": [{"send": "STARTTLS"}, {"send": "HUNTER"}, {"send": "PASS x"}]})
    assert set(of_settings(probe, {"HUNTER"})) == {"HUNTER", "PASS x"}


def test_secrets_are_found_in_settings_by_field_name_and_source() -> None:
    """Fields typed Secret, secret headers and form fields, what came from elsewhere, and passwords of addresses; no more."""
    found = set(of_settings(_Settings(key=SecretStr("the-key")), {"me@example.com"}))
    assert found == {"the-key", "redis://u:inside@host", "inside", "Bearer abcdef", "abcdef", "me@example.com", "xyz", "written-out"}


PLACES = {
    "a target's header": "targets: {t: {url: 'http://h/', headers: {X-Plain: 'v ${ODD}'}}}\nchecks: {c: {kind: http, target: t}}",
    "a check's header": "checks: {c: {kind: http, url: 'http://h/', headers: {X-Plain: '${ODD}'}}}",
    "a WebSocket's header": "checks: {c: {kind: websocket, url: 'ws://h/', headers: {X-Plain: 'a=${ODD}'}}}",
    "a query": "checks: {c: {kind: http, url: 'http://h/?plain=${ODD}&x=1'}}",
    "a path's query": "targets: {t: {url: 'http://h/'}}\nchecks: {c: {kind: http, target: t, path: '/x?plain=${ODD}'}}",
    "a default's variable": "checks: {c: {kind: http, url: 'http://h/?plain=${NOT_SET:-${ODD}}'}}",
    "a step's header": "targets: {t: {url: 'http://h/'}}\n"
    "checks: {c: {kind: journey, target: t, steps: [{name: a, get: /, headers: {X-Plain: '${ODD}'}}]}}",
    "a step's query": "targets: {t: {url: 'http://h/'}}\n"
    "checks: {c: {kind: journey, target: t, steps: [{name: a, get: /, query: {plain: '${ODD}'}}]}}",
    "a step's path": "targets: {t: {url: 'http://h/'}}\nchecks: {c: {kind: journey, target: t, steps: [{name: a, get: '/?plain=${ODD}'}]}}",
}


@pytest.mark.parametrize("place", PLACES)
def test_what_fills_a_header_or_a_query_is_a_secret(place: str, tmp_path: Path) -> None:
    """m6: whatever the variable and the header are called, the value from elsewhere is redacted."""
    file = tmp_path / "checks.yaml"
    file.write_text(f"version: 1\n{PLACES[place]}\n")
    assert "odd-value-7" in read_plan(file, environ={"ODD": "odd-value-7"}).secrets


def test_what_the_file_itself_says_is_no_secret(tmp_path: Path) -> None:
    """m6: neither a default nor what is expected of a header's value, nor a host."""
    file = tmp_path / "checks.yaml"
    file.write_text(
        "version: 1\nchecks: {c: {kind: http, url: 'http://${HOST}/?a=${NOT_SET:-written}', headers: {X-A: '${NOT_SET:-written}'},"
        " expect: {headers: {x-b: '${WANTED}'}}}}\n"
    )
    assert read_plan(file, environ={"HOST": "some-host", "WANTED": "wanted-value"}).secrets == frozenset()
