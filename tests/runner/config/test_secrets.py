from __future__ import annotations

import pytest
from pydantic import BaseModel, SecretStr

from probes.kinds.tcp import Tcp
from runner.config.secret_names import is_secret_name, of_settings, of_url, worth_redacting


@pytest.mark.parametrize(
    "name",
    (
        "AI_KEY API_TOKEN operate_token Authorization X-Api-Key Set-Cookie DB_PASSWORD client_secret GRAFANA_API_KEY Proxy-Authorization "
        "DB_PASSWD KEY_PASSPHRASE GIT_CREDENTIAL GOOGLE_CREDENTIALS session_cookie WEBHOOK_SIGNATURE X-Hub-Signature"
    ).split(),
)
def test_names_of_secrets_are_known(name: str) -> None:
    """Variables, headers and parameters that end in a secret's word hold one."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", "API_URL PROBE_USER MAX_TOKENS X-Forwarded-Proto keyboard SECRETS TOKEN_URL".split())
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
