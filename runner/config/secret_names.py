"""Which values are secrets: what every output must redact. A secret is known by its field, its source or its name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, SecretStr

_WORDS = (  # the last words of a name that holds a secret
    "api_?key|apikey|key|key_base|token|secret|passw(?:or)?d|passphrase|credentials?|cookie|authorization|signature|bearer|pgpass|webhook(?:_?url)?|salt"
)
_SHORT_WORDS = "auth|session(?:_?id)?|sid|jwt|pat|sig|pass|pwd|pw|pin|otp|hmac|creds?"  # words that everyday names hold, too
_PLACES = "prod|production|staging|stage|dev|test|qa|live|old|new|next|primary|secondary|main|eu|us|[0-9]+"  # which of several it is
_SECRET_NAME = re.compile(
    rf"(?:(?:{_WORDS})|(?:\A|[^a-z])(?:{_SHORT_WORDS})|[a-z](?-i:Auth|Session|Jwt|Pat|Sig|Pass))(?:[_-](?:{_PLACES}))*\Z", re.IGNORECASE
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([^#]*).*", re.DOTALL)
_PASSWORD = re.compile(r"passw|passphrase|secret", re.IGNORECASE)
_COMMAND = re.compile(r"(?:[A-Za-z]?[0-9]{1,4} )?(?:[A-Z]{1,16}|AUTH (?:TLS|SSL))\Z")
_BARE = (bool, int, float)
_EVERYDAY = frozenset(
    {"true", "false", "null", "none", "yes", "no", "on", "off", "http", "https"}
    | {"production", "staging", "development", "test", "localhost"}
)


def is_secret_name(name: str) -> bool:
    """Whether a variable, a header or a key is named like a secret: AI_KEY, X-Api-Key, Authorization, probe_password."""
    return _SECRET_NAME.search(name) is not None


def worth_redacting(value: str) -> bool:
    """False for what is too common to be blotted out of every text, and for what a journey fills in later."""
    return value != "" and value.lower() not in _EVERYDAY and "{{" not in value


def of_url(text: str) -> Iterator[str]:
    """The passwords inside a URL or DSN, as written and decoded, and its parameters that are named like a secret.

    A password whose characters should have been escaped (p@ss/word) is found as well: it reaches up to the last @.
    """
    if "://" not in text:
        return
    for found in _URL.finditer(text):
        for user in (found[1].rpartition("@")[0], found[0].partition("://")[2].rpartition("@")[0]):
            password = user.partition(":")[2]
            if password:
                yield from (password, unquote(password))
        query = found[2].partition("?")[2]
        yield from (value for name, value in parse_qsl(query) if is_secret_name(name))


def of_header(name: str, value: str) -> Iterator[str]:
    """A header's value, whole and without its scheme (`Bearer x`), where its name says that it is a secret."""
    if is_secret_name(name):
        yield value
        yield value.rpartition(" ")[2]


def of_settings(value: Any, filled_in: Collection[str] = ()) -> Iterator[str]:
    """Every secret in a kind's settings: fields typed Secret, passwords, and what stands inside addresses.

    In a mapping (headers, a form) what the file itself writes under an everyday name is none: `grant_type: password`.
    `filled_in` are the texts that came from elsewhere.
    """
    if isinstance(value, BaseModel):
        for name, item in _fields_with_text(value):
            if isinstance(item, SecretStr):
                yield from _of_secret(name, item.get_secret_value(), filled_in)
            elif name == "headers" and isinstance(item, Mapping):
                for key, header in item.items():
                    yield from of_header(str(key), header.get_secret_value() if isinstance(header, SecretStr) else str(header))
            else:
                yield from of_settings({name: item}, filled_in)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_entry(str(key), item, filled_in)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from of_settings(item, filled_in)


def _fields_with_text(value: BaseModel) -> Iterator[tuple[str, Any]]:
    """Most fields hold none: they are empty, or numbers."""
    for name in type(value).model_fields:
        if (item := getattr(value, name)) and item.__class__ not in _BARE:
            yield name, item


def _of_secret(name: str, text: str, filled_in: Collection[str]) -> Iterator[str]:
    if name == "send" and _COMMAND.match(text) and text not in filled_in:
        return  # a bare command such as STARTTLS, which servers repeat
    inside = list(of_url(text))
    yield from inside
    if inside or "://" not in text:
        yield text


def _of_entry(key: str, item: Any, filled_in: Collection[str]) -> Iterator[str]:
    if isinstance(item, SecretStr):
        text = item.get_secret_value()
        yield from of_url(text)
        if text in filled_in or is_secret_name(key):
            yield text
    elif isinstance(item, str):
        yield from of_url(item)
        if _PASSWORD.search(key):  # a text by the name of `token` may be a JSONPath: its value is known by its source
            yield item
    elif isinstance(item, list | tuple):
        for each in item:
            yield from _of_entry(key, each, filled_in)
    else:
        yield from of_settings(item, filled_in)
